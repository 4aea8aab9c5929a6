#!/usr/bin/env python3
"""Removes each __syncthreads() of the CUDA kernels in turn and prints which race-checked test detects it.

    tests/cuda/without_barriers.py BUILD_FOLDER        (about 20 seconds a barrier; needs `ninja test_cuda_races` to have run)
"""
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = pathlib.Path('tensor/kernels/cuda')
# A file with barriers, the unit that is compiled for it, and the tests that run its kernels.
FILES = [
    ('attention_tiles.cuh', 'attention', ['cuda/attention']),
    ('copy.cu', 'copy', ['cuda/copy']),
    ('index.cu', 'index', ['cuda/index_random']),
    ('reduce.cu', 'reduce', ['tensor/elementwise', 'autodiff/elementwise']),
    ('rows.cu', 'rows', ['cuda/rows']),
]
PROGRAM = 'tests/cuda/test_cuda_races'


def compile_and_link(build, unit, folder):
    """Builds the race-checked tests, with the kernels in `folder` in place of the engine's."""
    commands = json.loads((build / 'compile_commands.json').read_text())
    command = next(c for c in commands if 'race_checked' in c['output'] and f'_{unit}_on_host' in c['output'])
    words = shlex.split(command['command'])
    words[words.index('-o') + 1] = f'{folder}/kernel.o'
    words[words.index('-MF') + 1] = f'{folder}/kernel.d'
    first_include = next(i for i, w in enumerate(words) if w.startswith('-I'))
    words.insert(first_include, f'-I{folder}')
    subprocess.run(words, cwd=build, check=True)
    listed = subprocess.run(['ninja', '-C', build, '-t', 'commands', '-s', PROGRAM], capture_output=True, text=True, check=True).stdout
    words = [f'{folder}/kernel.o' if w == command['output'] else w for w in shlex.split(listed.strip().split('\n')[-1])]
    words[words.index('-o') + 1] = f'{folder}/tests'
    subprocess.run(words, cwd=build, check=True)


def report(folder, tests):
    for blocks in '0', '2':
        for test in tests:
            environment = dict(os.environ, OMP_WAIT_POLICY='passive', FLOWMAP_HOST_CUDA_BLOCKS=blocks)
            run = subprocess.run([f'{folder}/tests', f'--source-file=*/{test}.cpp', '--abort-after=1'], capture_output=True, text=True, env=environment)
            found = re.search(r'(race|out of bounds): [^\n"]*', run.stdout)
            if found:
                return f'{test}{" with two blocks" if blocks == "2" else ""}: {found.group(0)}'
    return ''


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    missed = 0
    for name, unit, tests in FILES:
        text = (ROOT / KERNELS / name).read_text()
        for barrier in re.finditer(r'__syncthreads\(\);', text):
            with tempfile.TemporaryDirectory() as folder:
                (pathlib.Path(folder) / KERNELS).mkdir(parents=True)
                (pathlib.Path(folder) / KERNELS / name).write_text(text[:barrier.start()] + ';' + text[barrier.end():])
                compile_and_link(build, unit, folder)
                found = report(folder, tests)
            missed += not found
            print(f'{name}:{text.count(chr(10), 0, barrier.start()) + 1}  {found or "MISSED"}', flush=True)
    print(f'{missed} missed')
    return missed > 0


if __name__ == '__main__':
    sys.exit(main())
