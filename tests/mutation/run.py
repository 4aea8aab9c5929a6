#!/usr/bin/env python3
"""Changes one place of the sources at a time and runs the tests: a change that no test notices shows what is not tested. See README.md."""
import argparse
import fnmatch
import json
import os
import pathlib
import re
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mutants as places  # noqa: E402
import sandbox  # noqa: E402
import workshop  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


def options():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seed", type=int, default=1, help="chooses the mutants (default 1)")
    p.add_argument("--count", type=int, default=40, help="number of mutants (default 40)")
    p.add_argument("--folder", action="append", help="folder to change, repeatable (default: %s)" % ", ".join(workshop.FOLDERS))
    p.add_argument("--file", action="append", help="file to change, repeatable (default: all of the folders)")
    p.add_argument("--tests", action="append", help="pattern of tests to run, such as 'flowmap/*', repeatable (default: all)")
    p.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "flowmap-mutation"),
                   help="folder for the copy, its build and the results (default: %(default)s)")
    p.add_argument("--jobs", type=int, default=1, help="compilers at once (default 1)")
    p.add_argument("--minutes", type=float, default=1e9, help="stop after the mutant during which these are over")
    p.add_argument("--memory", type=float, default=6, help="address space of one test, GiB (default 6)")
    p.add_argument("--slow", type=float, default=30, help="slow tests of the same folder run if they take at most these seconds (default 30)")
    p.add_argument("--again", help="run the mutants with this outcome once more, for example survived")
    p.add_argument("--id", action="append", help="this mutant alone, repeatable")
    p.add_argument("--list", action="store_true", help="print the chosen mutants and stop")
    p.add_argument("--summary", action="store_true", help="print the counts and the survivors recorded so far and stop")
    return p.parse_args()


class Results:
    """One JSON line a mutant; the last one of an id counts."""
    def __init__(self, path):
        self.path, self.by_id = path, {}
        if path.is_file():
            for line in path.read_text().splitlines():
                row = json.loads(line)
                self.by_id[row["id"]] = row

    def add(self, row):
        with open(self.path, "a") as f:
            f.write(json.dumps(row) + "\n")
        self.by_id[row["id"]] = row

    def summary(self):
        rows = list(self.by_id.values())
        count = {o: sum(r["outcome"] == o for r in rows) for o in ("killed", "survived", "same code", "does not compile")}
        tried = count["killed"] + count["survived"]
        print(", ".join(f"{n} {o}" for o, n in count.items()) + (f": {100 * count['killed'] / tried:.1f} % killed" if tried else ""))
        for r in rows:
            if r["outcome"] == "survived":
                print(f"  {r['id']}  {r['file']}:{r['line']}  {r['kind']}: {r['before']} -> {r['after']}\n      {r['text']}")


def words(name):
    """The parts of a path that say what a test or a source is about."""
    return set(re.split(r"[/_.]", name)) - {"h", "cpp", "apps", "train", "ops", "rules", "models", "of"}


# What includes a folder's files, itself among them (tests/layers.sh): tests of other folders cannot notice a change in it.
ABOVE = {"autodiff": {"autodiff", "nn", "flowmap"}, "nn": {"nn", "flowmap"}, "flowmap": {"flowmap"}, "data": {"data", "flowmap"}, "apps": set()}


def reaches(file, name, source):
    """The test can call what `file` defines: its folder lies above, or it includes a file of such a folder."""
    above = ABOVE.get(file.split("/")[0])
    folder = name.split("/")[0]
    if above is None or folder not in ("tensor", *ABOVE) or folder == "apps":
        return True
    return folder in above or any(f'#include "{f}/' in source for f in above | {file.split("/")[0]})


def order(file, tests, seconds, slow_limit, sources):
    """The tests in the order in which they are likely to notice a change of `file`: of the same name, including its header, of the same
    folder, the rest of what can reach it; within each the quickest first. Slow tests only where they are of the first two kinds or of the
    folder and short."""
    stem, header = pathlib.Path(file).stem, str(pathlib.Path(file).with_suffix(".h"))
    ranked = []
    for name, test in tests.items():
        source = sources.get(name, "")
        if not reaches(file, name, source):
            continue
        same_folder = name.split("/")[0] == file.split("/")[0]
        if same_folder and (pathlib.Path(name).name == stem or f'"{header}"' in source):
            rank = 0
        elif f'"{header}"' in source:
            rank = 1
        elif same_folder and words(name) & words(file) - {file.split("/")[0]}:
            rank = 2
        elif same_folder:
            rank = 3
        else:
            rank = 4
        if test["quick"] or (rank <= 3 and seconds[name] <= slow_limit):
            ranked.append((rank, seconds[name], name))
    return [(rank, name) for rank, _, name in sorted(ranked)]


class Runner:
    def __init__(self, o):
        self.o, self.work = o, pathlib.Path(o.work).resolve()
        if self.work == ROOT or ROOT in self.work.parents:
            sys.exit(f"--work {o.work} is inside the sources, which would be copied into themselves: name a folder elsewhere")
        self.work.mkdir(parents=True, exist_ok=True)
        self.shop = workshop.Workshop(ROOT, self.work, o.jobs)
        self.results = Results(self.work / "results.jsonl")

    def test(self, name, seconds):
        t = self.tests[name]
        return sandbox.run(t["command"], t["cwd"], {**t["env"], "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}, seconds, self.o.memory, 4)

    def baseline(self):
        """Builds the sources unchanged and times every test. A test that fails there is left out, with a word."""
        self.tests, file = self.shop.tests(), self.work / "baseline.json"
        if self.o.tests:
            self.tests = {n: t for n, t in self.tests.items() if any(fnmatch.fnmatch(n, p) for p in self.o.tests)}
        self.all = sorted({t for test in self.tests.values() for t in test["targets"]})
        good, out = self.shop.ninja(self.all, 24 * 3600)
        if not good:
            sys.exit("the sources do not build unchanged:\n" + out)
        self.seconds = json.loads(file.read_text()) if file.is_file() else {}
        for name in [n for n in self.tests if n not in self.seconds]:
            code, out, seconds = self.test(name, 600)
            self.seconds[name] = seconds if code == 0 else -1
            if code != 0:
                print(f"left out, fails unchanged: {name}\n{out[-500:]}", flush=True)
            file.write_text(json.dumps(self.seconds, indent=1))
        self.tests = {n: t for n, t in self.tests.items() if self.seconds[n] >= 0}
        self.sources = {n: p.read_text() for n in self.tests if (p := self.shop.copy / "tests" / (n + ".cpp")).is_file()}
        self.unchanged = self.shop.objects()

    def same_code(self):
        """The objects are those of the sources unchanged, also of the programs that the first test does not need."""
        same = lambda: self.shop.objects() == self.unchanged  # noqa: E731
        return same() and self.shop.ninja(self.all, 3600)[0] and same()

    def judge(self, mutant):
        """(outcome, by what)."""
        first = True
        ranked = order(mutant.file, self.tests, self.seconds, self.o.slow, self.sources)
        for rank in range(5):
            names = [n for r, n in ranked if r == rank]
            groups = [[n] for n in names] if rank < 2 else [names] if names else []
            for group in groups:
                good, out = self.shop.ninja(sorted({t for n in group for t in self.tests[n]["targets"]}), 3600)
                if not good:
                    return "does not compile", out[-300:]
                if first and self.same_code():
                    return "same code", ""
                first = False
                for name in group:
                    code, out, _ = self.test(name, max(20.0, 8 * self.seconds[name]))
                    if code != 0:
                        return "killed", name + (": time" if code is None else f": exit {code}" if code > 0 else f": signal {-code}")
        return "survived", ""

    def one(self, mutant):
        path = self.shop.copy / mutant.file
        source, begin = path.read_text(), time.monotonic()
        try:
            path.write_text(mutant.apply(source))
            outcome, by = self.judge(mutant)
        finally:
            path.write_text(source)
        row = {k: getattr(mutant, k) for k in ("id", "file", "line", "kind", "before", "after", "text")}
        self.results.add({**row, "outcome": outcome, "by": by, "seconds": round(time.monotonic() - begin, 1)})
        print(f"{outcome:16} {mutant.file}:{mutant.line} {mutant.kind}: {mutant.before} -> {mutant.after}  [{by.splitlines()[0] if by else ''}]", flush=True)

    def main(self):
        o = self.o
        if o.summary:
            return self.results.summary()
        sandbox.adopt_orphans()
        self.shop.refresh()
        found = [m for name, text in self.shop.sources(o.folder or workshop.FOLDERS, o.file) for m in places.find(name, text)]
        if o.id:
            chosen = [m for m in found if m.id in o.id]
        elif o.again:
            chosen = [m for m in found if self.results.by_id.get(m.id, {}).get("outcome") == o.again]
        else:
            chosen = places.choose(found, o.seed, o.count)
        if o.list:
            for m in chosen:
                print(f"{m.id}  {m.file}:{m.line}  {m.kind}: {m.before} -> {m.after}\n    {m.text}")
            return None
        if not o.id and not o.again:
            chosen = [m for m in chosen if m.id not in self.results.by_id]
        self.baseline()
        begin = time.monotonic()
        for mutant in chosen:
            if time.monotonic() - begin > 60 * o.minutes:
                break
            self.one(mutant)
        self.results.summary()
        return None


if __name__ == "__main__":
    Runner(options()).main()
