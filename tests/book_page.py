"""book_page.py ROOT: makes the book's page (docs/book/page/make.sh) and checks it. All pages are there, every formula of the Markdown became MathML, no
TeX is left in the text, nothing is loaded from elsewhere, every link within the page has its target. Where Chromium is installed, no page of 390 or
1280 pixels overflows. Then checks that faults of the Markdown are refused, each with its line."""
import html.parser
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

APPENDICES = ['glossary', 'from_pytorch', 'from_diffusion', 'papers']
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
faults = []


def expect(holds, message):
    if not holds:
        faults.append(message)


class Page(html.parser.HTMLParser):
    """Text outside code, identifiers, links, loaded addresses, and numbers of elements."""

    LOADED = {('img', 'src'), ('script', 'src'), ('link', 'href'), ('iframe', 'src'), ('source', 'src'), ('image', 'href')}
    UNSHOWN = {'script', 'style', 'annotation', 'code', 'pre', 'title'}

    def __init__(self, text):
        super().__init__()
        self.text, self.ids, self.links, self.loaded, self.count, self.headings = [], [], [], [], {}, []
        self.unshown = 0
        self.in_heading = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.unshown += tag in self.UNSHOWN
        if tag == 'h1':
            self.in_heading = True
            self.headings.append('')
        for name, value in attributes:
            if name == 'id':
                self.ids.append(value)
            if tag == 'a' and name == 'href':
                self.links.append(value)
            if (tag, name) in self.LOADED and not value.startswith('data:'):
                self.loaded.append(value)
            if name == 'style' and 'url(' in value:
                self.loaded.append(value)

    def handle_endtag(self, tag):
        self.unshown -= tag in self.UNSHOWN
        if tag == 'h1':
            self.in_heading = False

    def handle_data(self, data):
        if self.in_heading and not self.unshown:
            self.headings[-1] += data
        if not self.unshown:
            self.text.append(data)


def make(root, page, environment=None):
    script = pathlib.Path(__file__).resolve().parent.parent / 'docs/book/page/make.sh'
    return subprocess.run(['/bin/sh', script, root, page], capture_output=True, text=True, env=environment)


def formulas(markdown):
    """The number of formulas of a Markdown page, by its dollar signs outside code."""
    text = re.sub(r'^```.*?^```', '', markdown, flags=re.S | re.M)
    text = re.sub(r'`[^`\n]*`', '', text)
    text, displayed = re.subn(r'\$\$.+?\$\$', '', text, flags=re.S)
    return displayed + len(re.findall(r'\$[^$\n]+\$', text))


def check_page(root, file):
    text = file.read_text(encoding='utf-8')
    page = Page(text)
    sources = [root / 'docs/book/README.md', *sorted((root / 'docs/book').glob('[0-9][0-9]_*.md')), *(root / f'docs/{name}.md' for name in APPENDICES)]
    markdown = [source.read_text(encoding='utf-8') for source in sources]
    # Headings: those of the Markdown in their order, appendices with a letter.
    headings = [re.sub(r'\s+', ' ', heading) for heading in page.headings]
    wanted = [re.search(r'^# (.*)$', one, flags=re.M).group(1) for one in markdown]
    wanted[-len(APPENDICES):] = [f'{chr(65 + i)}. {title}' for i, title in enumerate(wanted[-len(APPENDICES):])]
    expect(headings == wanted, f'headings {headings} instead of {wanted}')
    expect(page.count['math'] == sum(map(formulas, markdown)), f'{page.count["math"]} formulas instead of {sum(map(formulas, markdown))}')
    figures = sum(len(re.findall(r'!\[', one)) for one in markdown)
    expect(page.count['img'] == figures, f'{page.count["img"]} figures instead of {figures}')
    answers = sum(len(re.findall('^<details>', one, flags=re.M)) for one in markdown)
    expect(page.count['details'] == answers + 1, f'{page.count["details"]} boxes to unfold instead of those of {answers} answers and of the contents')
    expect('<mstyle mathvariant="normal">' not in text, 'browsers show the letters of an <mstyle mathvariant="normal"> in italics')
    for line in ' '.join(page.text).split('\n'):
        expect('$' not in line and '\\' not in line, f'TeX is left: {line.strip()}')
        expect(not re.search(r'\]\(|```|\*\*|</?\w+>', line), f'Markdown is left: {line.strip()}')
    expect(not page.loaded, f'loads {page.loaded}')
    expect('@import' not in text and not re.search(r'url\((?!["\']?data:)', text), 'a style loads something')
    expect(len(set(page.ids)) == len(page.ids), f'duplicate identifiers: {sorted(x for x in set(page.ids) if page.ids.count(x) > 1)}')
    for link in page.links:
        expect(link.startswith('https://') or (link.startswith('#') and link[1:] in page.ids), f'{link} has no target')
    within = sum(link.startswith('#') for link in page.links)
    print(f'{len(sources)} pages, {page.count["math"]} formulas, {figures} figures, {within} links within the page, {len(text) // 1024} KiB')


MEASURE = '''<script>addEventListener('load', () => {
  document.querySelectorAll('details').forEach(part => part.open = true);
  const wide = [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth && !e.closest('pre, .table, .formula, .long, table'));
  const cut = [...document.querySelectorAll('.formula, .long, .table')].filter(e => e.scrollHeight > e.clientHeight && getComputedStyle(e).overflowY === 'hidden');
  const flat = [...document.querySelectorAll('main math, main img')].filter(e => e.getBoundingClientRect().height < 5);
  parent.postMessage({inner: innerWidth, content: document.documentElement.scrollWidth, wide: wide.map(e => e.outerHTML.slice(0, 200)),
    flat: flat.map(e => e.outerHTML.slice(0, 200)), cut: cut.map(e => e.scrollHeight - e.clientHeight + ' pixels of ' + e.textContent)}, '*'); });</script></body>'''
FRAMES = '''<!DOCTYPE html><body>%s<script>addEventListener('message', event => {
  const line = document.createElement('pre'); line.textContent = 'measured ' + JSON.stringify(event.data); document.body.append(line); });</script>'''


def check_in_browser(file, work):
    """Opens the page in frames of both widths. Elements that scroll in boxes of their own may be wider than the frame."""
    (work / 'measured.html').write_text(file.read_text(encoding='utf-8').replace('</body>', MEASURE), encoding='utf-8')
    frames = ''.join(f'<iframe src="measured.html" style="border: 0; width: {width}px; height: 800px"></iframe>' for width in (390, 1280))
    (work / 'frames.html').write_text(FRAMES % frames, encoding='utf-8')
    root = ['--no-sandbox'] if os.geteuid() == 0 else []
    shown = subprocess.run([CHROMIUM, '--headless', '--disable-gpu', *root, f'--user-data-dir={work}/profile', '--window-size=1400,900', '--virtual-time-budget=20000',
                            '--dump-dom', (work / 'frames.html').as_uri()], capture_output=True, text=True, timeout=250)
    measured = [json.loads(html.unescape(one)) for one in re.findall(r'measured (\{.*?\})</pre>', shown.stdout)]
    expect(sorted(one['inner'] for one in measured) == [390, 1280], f'Chromium measured {measured}: {shown.stderr[-500:]}')
    for one in measured:
        expect(one['content'] <= one['inner'] and not one['wide'], f'{one["content"]} pixels at a width of {one["inner"]}: {one["wide"]}')
        expect(not one['cut'], f'cut at a width of {one["inner"]}: {one["cut"]}')
        expect(not one['flat'], f'elements without height: {one["flat"]}')
    print('in Chromium: ' + ', '.join(f'{one["content"]} pixels at {one["inner"]}' for one in measured))


def check_refusals(work):
    """Each fault on a line of its own; the message names page and line. Without pandoc the message names its package."""
    (work / 'docs/book').mkdir(parents=True)
    for name in APPENDICES:
        (work / f'docs/{name}.md').write_text(f'# {name}\n')
    (work / 'docs/book/README.md').write_text('# The book\n\nA [chapter](01_a.md), ![a figure](figure.svg)\n')
    (work / 'docs/book/figure.svg').write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    chapter = work / 'docs/book/01_a.md'
    chapter.write_text('# 1. A\n\n## B\n\n$x$ [b](#b), [glossary](../glossary.md), [a file](README.md)\n')
    good = make(work, work / 'good.html')
    expect(good.returncode == 0, f'a good page is refused: {good.stderr}')
    for line, said in {r'$\unknown{x}$': r'$\unknown{x}$', '[x](missing.md)': 'missing.md does not exist', '![x](missing.svg)': 'missing.svg does not exist',
                       '[x](#none)': '#none: docs/book/01_a.md has no such heading', '[x](../glossary.md#none)': 'docs/glossary.md has no such heading'}.items():
        chapter.write_text(f'# 1. A\n\n{line}\n')
        refused = make(work, work / 'bad.html')
        expect(refused.returncode != 0 and not (work / 'bad.html').exists(), f'{line} is not refused')
        expect(any('docs/book/01_a.md:3: ' in one and said in one for one in refused.stderr.split('\n')), f'{line} is refused by: {refused.stderr}')
    without = make(work, work / 'bad.html', {'PATH': str(work)})
    expect(without.returncode != 0 and 'apt-get install pandoc' in without.stderr, f'without pandoc: {without.stderr}')


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        made = make(root, work / 'book.html')
        expect(made.returncode == 0, made.stderr)
        if made.returncode == 0:
            check_page(root, work / 'book.html')
            if CHROMIUM:
                check_in_browser(work / 'book.html', work)
        check_refusals(work / 'faults')
    for fault in faults:
        print(fault)
    print(f'{len(faults)} faults')
    return 1 if faults else 0


sys.exit(main())
