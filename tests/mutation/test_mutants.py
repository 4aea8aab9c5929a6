"""Tests of mutants.py and sandbox.py: python3 tests/mutation/test_mutants.py"""
import os
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


if __name__ == "__main__":
    unittest.main()
