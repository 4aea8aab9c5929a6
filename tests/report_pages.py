"""report_pages.py APPS CONFIGS: makes tiny runs with the programs of APPS and opens their pages in headless Chromium: the report of a run, of a stage, of an
ablation, and a comparison. At 390 and 1280 pixels, light and dark: no script error, no page wider than its window, text that stands out from its ground, values
under the pointer, tables that sort. Exits with 77 where Chromium is not installed."""
import html
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
faults = []


def expect(holds, message):
    if not holds:
        faults.append(message)


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f'{program} {" ".join(map(str, arguments))} ended with {done.returncode}: {done.stderr}')
    return done.stderr


# Before the page's own scripts.
WATCH = '''<script>window.faults = []; addEventListener('error', e => faults.push(e.message)); addEventListener('unhandledrejection', e => faults.push('' + e.reason));</script>'''
# After them. A contrast is that of the WCAG: (lighter + .05) / (darker + .05) of the relative luminances.
MEASURE = '''<script>addEventListener('load', () => {
  const light = color => { const c = color.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255).map(x => x > .04045 ? ((x + .055) / 1.055) ** 2.4 : x / 12.92);
    return .2126 * c[0] + .7152 * c[1] + .0722 * c[2]; };
  const ground = getComputedStyle(document.body).backgroundColor;
  const contrast = color => { const [a, b] = [light(color), light(ground)].sort((a, b) => b - a); return (a + .05) / (b + .05); };
  document.querySelectorAll('details').forEach(part => part.open = true);
  const wide = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + .5 && !e.closest('.wide, .strip, pre, svg, .tip'));
  const pale = [...document.querySelectorAll('p, td, th, h1, h2, h3, figcaption, caption, pre, a')].filter(e => e.textContent && contrast(getComputedStyle(e).color) < 4.5)
    .concat([...document.querySelectorAll('svg.plot text')].filter(e => contrast(getComputedStyle(e).fill) < 4.5));
  const lines = [...document.querySelectorAll('svg.plot path[fill="none"]')].map(e => contrast(getComputedStyle(e).stroke));
  const curves = [...document.querySelectorAll('svg.plot')].find(e => e.querySelector('path[fill="none"]') && e.querySelector('circle[data-says]'));
  let tip = '';
  if (curves) {
    curves.scrollIntoView();
    const box = curves.getBoundingClientRect();
    curves.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + box.width * .9, clientY: box.top + box.height / 2, bubbles: true}));
    const shown = document.querySelector('.tip'), place = shown.getBoundingClientRect();
    tip = shown.hidden ? 'hidden' : place.left < 0 || place.right > innerWidth ? 'outside' : shown.textContent;
  }
  const button = document.querySelector('table.sortable th:nth-child(2) button'), keys = [];
  if (button) { button.click(); for (const row of button.closest('table').tBodies[0].rows) keys.push(row.cells[1].dataset.key); }
  const small = [...document.querySelectorAll('svg.plot')].map(e => e.querySelector('text').getBoundingClientRect().height);
  parent.postMessage({page: document.title, name: 'NAME', inner: innerWidth, content: document.documentElement.scrollWidth, faults: window.faults,
    wide: wide.map(e => e.outerHTML.slice(0, 150)), pale: pale.map(e => e.outerHTML.slice(0, 150)), lines: Math.min(9, ...lines), tip, keys,
    small: Math.min(99, ...small), ground: light(ground), broken: [...document.images].filter(i => !i.naturalWidth).length, images: document.images.length,
    plots: document.querySelectorAll('svg.plot').length}, '*'); });</script></body>'''
FRAMES = '''<!DOCTYPE html><body>%s<script>addEventListener('message', event => {
  const line = document.createElement('pre'); line.textContent = 'measured ' + JSON.stringify(event.data); document.body.append(line); });</script>'''


def measured(pages, work, dark):
    """What each page reports. On a busy machine Chromium may end before the last page is there: those are opened again."""
    found, missing = [], dict(pages)
    for attempt in range(4):
        found += opened(missing, work / f'{"dark" if dark else "light"}{attempt}', dark)
        missing = {name: file for name, file in pages.items() if sum(one['name'] == name for one in found) < 2}
        found = [one for one in found if one['name'] not in missing]
        if not missing:
            break
    expect(not missing, f'Chromium does not open {list(missing)}')
    return found


def opened(pages, work, dark):
    frames = ''
    work.mkdir()
    for name, file in pages.items():
        text = file.read_text(encoding='utf-8')
        (work / f'{name}.html').write_text(text.replace('<head>', '<head>' + WATCH).replace('</body>', MEASURE.replace('NAME', name)), encoding='utf-8')
        frames += ''.join(f'<iframe src="{name}.html" style="border: 0; width: {width}px; height: 800px"></iframe>' for width in (390, 1280))
    (work / 'frames.html').write_text(FRAMES % frames, encoding='utf-8')
    root = ['--no-sandbox'] if os.geteuid() == 0 else []
    scheme = ['--blink-settings=preferredColorScheme=0'] if dark else []
    shown = subprocess.run([CHROMIUM, '--headless', '--disable-gpu', *root, *scheme, f'--user-data-dir={work}/profile', '--window-size=1400,900', '--virtual-time-budget=20000',
                            '--dump-dom', (work / 'frames.html').as_uri()], capture_output=True, text=True, timeout=250)
    return [json.loads(html.unescape(one)) for one in re.findall(r'<pre>measured (\{.*?\})</pre>', shown.stdout, flags=re.S)]


def check(one, dark):
    where = f'{one["name"]} at {one["inner"]} pixels, {"dark" if dark else "light"}'
    expect(not one['faults'], f'{where}: script errors {one["faults"]}')
    expect(one['content'] <= one['inner'] and not one['wide'], f'{where}: {one["content"]} pixels wide: {one["wide"]}')
    expect(not one['pale'], f'{where}: text of low contrast: {one["pale"]}')
    expect(one['lines'] > 2, f'{where}: a curve has a contrast of only {one["lines"]:.2f}')
    expect((one['ground'] < .05) == dark, f'{where}: the background has luminance {one["ground"]:.2f}')
    expect(one['small'] >= 8, f'{where}: text of a plot is only {one["small"]:.1f} pixels high')
    expect(one['broken'] == 0, f'{where}: {one["broken"]} images cannot be shown')
    expect(one['plots'] > 0, f'{where}: no plot')
    expect(re.search(r'\d', one['tip']), f'{where}: no number in the tooltip "{one["tip"]}"')
    numbers = [float(key) for key in one['keys'] if re.fullmatch(r'-?[\d.]+(e[-+]\d+)?', key)]
    expect(numbers == sorted(numbers), f'{where}: a click sorts to {one["keys"]}')
    if one['name'] in ('ablation', 'comparison'):
        expect(len(one['keys']) >= 2, f'{where}: no sortable table of two rows or more')
    if one['name'] in ('run', 'stage', 'comparison'):
        expect(one['images'] >= 1, f'{where}: no images')


def made(apps, configs, work):
    tiny = ['--config', configs / 'tiny_shapes.toml', '--threads', '1', '-q']
    run(apps / 'flowmap_train', 'pipeline', *tiny, '--out', work / 'a')
    run(apps / 'flowmap_train', 'pipeline', *tiny, '--out', work / 'b', '--seed', '2')
    toy = ['--config', configs / 'toy.toml', '--threads', '1', '-q', '--out', work / 'toy', '--set', 'mfd.loop.steps=40', '--set', 'mfd.loop.log_every=1']
    run(apps / 'flowmap_train', 'pipeline', *toy, '--set', 'fm.loop.steps=40', '--set', 'fm.loop.log_every=1', '--set', 'cmt.loop.steps=20')
    run(apps / 'ablate', *toy, '--what', 'derivative', '--samples', '100')
    variants = sorted(folder for folder in (work / 'toy/ablate/derivative').iterdir() if folder.is_dir())
    run(apps / 'flowmap_train', 'compare', work / 'a', work / 'b', '--out', work / 'runs.html')
    run(apps / 'flowmap_train', 'compare', work / 'toy/mfd', *variants[:3], '--out', work / 'variants.html')
    return {'run': work / 'a/report.html', 'stage': work / 'a/mfd/report.html', 'points': work / 'toy/report.html', 'long_stage': work / 'toy/mfd/report.html',
            'ablation': work / 'toy/ablate/derivative/report.html', 'comparison': work / 'runs.html', 'variants': work / 'variants.html'}


def main():
    if CHROMIUM is None:
        print('skipped: no Chromium')
        return 77
    apps, configs = (pathlib.Path(one).resolve() for one in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        pages = made(apps, configs, work)
        for dark in (False, True):
            found = measured(pages, work, dark)
            expect(sorted((one['name'], one['inner']) for one in found) == sorted((name, width) for name in pages for width in (390, 1280)),
                   f'opened: {sorted((one["name"], one["inner"]) for one in found)}')
            for one in found:
                check(one, dark)
    for fault in faults:
        print(fault)
    print(f'{len(pages)} pages, {len(faults)} faults')
    return 1 if faults else 0


sys.exit(main())
