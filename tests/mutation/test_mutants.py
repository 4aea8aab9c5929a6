"""Tests of the mutation runner, the last one on a small project of its own: python3 tests/mutation/test_mutants.py"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mutants  # noqa: E402
import sandbox  # noqa: E402

SOURCE = """#include "a < b"
// if (x < 1) y = 2;
double f(const double* p, std::vector<int> v, int n) {
  if (n < 3 && *p > 0.5) throw Error(fmt::format("n + 1 is {}", n + 1));
  auto s = R"(a * b)";
  total += p[n] * 2.5;
  log.info("{}", n - 1);
  v.reserve(n + 7);
  advance(first, last);
  return -total;
}
"""


def changes(text):
    return {(m.line, m.before, m.after) for m in mutants.find("a.cpp", text)}


class Mutants(unittest.TestCase):
    def test_places(self):
        found = changes(SOURCE)
        for wanted in [(4, "<", "<="), (4, "<", ">="), (4, "&&", "||"), (4, ">", ">="), (4, "0.5", "1.0"), (4, "3", "4"),
                       (4, "n < 3 && *p > 0.5", "!(n < 3 && *p > 0.5)"), (6, "+=", "-="), (6, "*", "/"), (6, "2.5", "5.0"),
                       (6, "total += p[n] * 2.5;", ";"), (9, "first, last", "last, first"), (9, "advance(first, last);", ";"), (10, "-", "")]:
            self.assertIn(wanted, found)

    def test_left_alone(self):
        lines = {line for line, _, _ in changes(SOURCE)}
        self.assertFalse(lines & {1, 2, 3, 5, 7, 8, 11}, lines)             # includes, comments, types, strings, logs, capacity
        self.assertFalse([c for c in changes(SOURCE) if c[0] == 4 and c[1] == "+"])          # the text of an error

    def test_applied(self):
        for m in mutants.find("a.cpp", SOURCE):
            self.assertEqual(m.apply(SOURCE).replace(m.after, m.before, 0)[:m.start], SOURCE[:m.start])
            self.assertEqual(len(m.apply(SOURCE)), len(SOURCE) - len(m.before) + len(m.after))

    def test_choice_is_stable(self):
        found = mutants.find("a.cpp", SOURCE)
        moved = mutants.find("a.cpp", "\n\n" + SOURCE)
        self.assertEqual([m.id for m in mutants.choose(found, 7, 5)], [m.id for m in mutants.choose(moved, 7, 5)])
        self.assertNotEqual([m.id for m in mutants.choose(found, 7, 5)], [m.id for m in mutants.choose(found, 8, 5)])
        self.assertEqual(len({m.id for m in found}), len(found))


class Sandbox(unittest.TestCase):
    def test_hang(self):
        sandbox.adopt_orphans()
        code, _, seconds = sandbox.run(["sh", "-c", "setsid sleep 100 & sleep 100"], "/", {}, 0.3)
        self.assertIsNone(code)
        self.assertLess(seconds, 50)
        self.assertEqual(sandbox.children(os.getpid()), [])

    def test_memory_and_files(self):
        code, _, _ = sandbox.run([sys.executable, "-c", "x = bytearray(3 << 30)"], "/", {}, 60, memory_gib=1)
        self.assertNotIn(code, (0, None))
        write = "import tempfile; f = tempfile.TemporaryFile(buffering=0); f.write(bytes(2 << 20)); f.write(b'x')"
        self.assertNotIn(sandbox.run([sys.executable, "-c", write], "/", {}, 60, file_gib=1 / 1024)[0], (0, None))

    def test_leaves_nothing(self):
        _, out, _ = sandbox.run(["sh", "-c", "echo $TMPDIR; touch $TMPDIR/x"], "/", {}, 60)
        self.assertFalse(os.path.exists(out.strip()))
        self.assertTrue(out.startswith(tempfile.gettempdir()))


PROJECT = {
    "meson_options.txt": "option('cuda', type: 'feature')\noption('together', type: 'feature')\n",
    "meson.build": """project('small', 'cpp')
root = include_directories('.')
flowmap_lib = static_library('flowmap', 'nn/clamp.cpp')
subdir('tests')
""",
    "nn/clamp.cpp": """int clamp(int x, int low, int high) {
  if (x < low) return low;
  return x > high ? high : x;
}
int spare(int x) {
  int y = 3;
  y += x;
  return y;
}
""",
    "tests/meson.build": "test('nn/clamp', executable('test_nn_clamp', 'nn/clamp.cpp', link_with: flowmap_lib), suite: 'quick')\n",
    "tests/nn/clamp.cpp": """int clamp(int, int, int);
int main() { return clamp(5, 1, 3) == 3 && clamp(-5, 1, 3) == 1 && clamp(2, 1, 3) == 2 ? 0 : 1; }
""",
}


@unittest.skipUnless(all(map(shutil.which, ("meson", "ninja", "git"))), "needs meson, ninja and git")
class EndToEnd(unittest.TestCase):
    def test_small_project(self):
        with tempfile.TemporaryDirectory() as folder:
            root, work = pathlib.Path(folder) / "project", pathlib.Path(folder) / "work"
            for name, text in PROJECT.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            shutil.copytree(os.path.dirname(os.path.abspath(__file__)), root / "tests/mutation", ignore=shutil.ignore_patterns("__pycache__"))
            subprocess.run(["git", "init", "-q", str(root)], check=True)
            run = [sys.executable, str(root / "tests/mutation/run.py"), "--work", str(work), "--folder", "nn", "--count", "100"]
            out = subprocess.run(run, check=True, stdout=subprocess.PIPE).stdout.decode()
            rows = [json.loads(line) for line in (work / "results.jsonl").read_text().splitlines()]
            outcome = {(r["line"], r["before"], r["after"]): r["outcome"] for r in rows}
            self.assertEqual(len(outcome), len(places_of_project()), out)
            self.assertEqual(outcome[2, "<", ">="], "killed", out)
            self.assertEqual(outcome[2, "x < low", "!(x < low)"], "killed", out)
            self.assertEqual({o for (line, _, _), o in outcome.items() if line in (6, 7)}, {"survived"}, out)
            self.assertTrue(all(r["by"].startswith("nn/clamp: exit 1") for r in rows if r["outcome"] == "killed"), out)
            self.assertEqual((work / "sources/nn/clamp.cpp").read_text(), PROJECT["nn/clamp.cpp"])
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL)                     # nothing is left to do
            self.assertEqual(len((work / "results.jsonl").read_text().splitlines()), len(rows))


def places_of_project():
    return mutants.find("nn/clamp.cpp", PROJECT["nn/clamp.cpp"])


if __name__ == "__main__":
    unittest.main()
