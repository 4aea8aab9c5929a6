"""links.py ROOT: checks the project's Markdown pages. Relative links name files that exist, with headings that exist; README.md has at most 200 lines;
mathematics uses only what GitHub shows. Prints each fault with its page and line."""
import pathlib
import re
import sys

README_LINES = 200
# GitHub refuses \operatorname, and takes the backslash of \, \; \! as Markdown's own, so that a comma is shown.
UNSHOWN = re.compile(r'\\operatorname|\\[,;!:]')
LINK = re.compile(r'\]\(([^)\s]+)\)')
HEADING = re.compile(r'^#+ (.*)$')


def anchor(heading):
    """GitHub's anchor of a heading: lower case, punctuation gone, spaces as hyphens."""
    text = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading).replace('`', '').replace('*', '').strip().lower()
    return re.sub(r'[^\w\- ]', '', text).replace(' ', '-')


def prose(page):
    """The page's lines with their numbers, without fenced code; inline code is blanked."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding='utf-8').split('\n'), 1):
        if line.lstrip().startswith('```'):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r'`[^`]*`', '``', line)


def anchors(page):
    seen, found = {}, set()
    fenced = False
    for line in page.read_text(encoding='utf-8').split('\n'):
        if line.lstrip().startswith('```'):
            fenced = not fenced
        heading = None if fenced else HEADING.match(line)
        if heading:
            name = anchor(heading.group(1))
            count = seen.get(name, 0)
            seen[name] = count + 1
            found.add(name if count == 0 else f'{name}-{count}')
    return found


def faults_of(page, root):
    for number, line in prose(page):
        for math in re.findall(r'\$[^$]+\$', line):
            if UNSHOWN.search(math):
                yield number, f'GitHub does not show {UNSHOWN.search(math).group(0)} in {math}'
        for target in LINK.findall(line):
            if re.match(r'[a-z]+:', target):
                continue
            path, _, heading = target.partition('#')
            file = (page.parent / path).resolve() if path else page
            if root not in file.parents and file != root:
                yield number, f'{target} leaves the project'
            elif not file.exists():
                yield number, f'{target} does not exist'
            elif heading and file.suffix == '.md' and heading not in anchors(file):
                yield number, f'{target}: {file.relative_to(root)} has no such heading'


def pages(root):
    tops = ['apps', 'autodiff', 'configs', 'data', 'docs', 'flowmap', 'nn', 'tensor', 'tests']
    yield from sorted(root.glob('*.md'))
    for top in tops:
        yield from sorted((root / top).rglob('*.md'))


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    faults = checked = 0
    for page in pages(root):
        checked += 1
        for number, fault in faults_of(page, root):
            print(f'{page.relative_to(root)}:{number}: {fault}')
            faults += 1
    lines = (root / 'README.md').read_text(encoding='utf-8').count('\n')
    if lines > README_LINES:
        print(f'README.md has {lines} lines, more than {README_LINES}: move details to docs/')
        faults += 1
    print(f'{checked} pages, {faults} faults')
    return 1 if faults else 0


sys.exit(main())
