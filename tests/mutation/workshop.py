"""A copy of the sources with a build of its own, in which one file at a time is changed."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

import sandbox

FOLDERS = ["tensor/ops", "autodiff", "nn", "flowmap", "data", "apps/train"]


class Workshop:
    def __init__(self, root, work, jobs):
        self.root, self.copy, self.jobs = pathlib.Path(root), pathlib.Path(work) / "sources", str(jobs)
        self.build = self.copy / "build"          # where it usually lies, so that ccache finds what was compiled in the tree itself

    def refresh(self):
        """Brings the copy up to date. Files that are equal keep their time, so only what depends on changed ones is built anew."""
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=self.root, check=True,
                                stdout=subprocess.PIPE).stdout.decode()
        names = {n for n in listed.split("\0") if n and (self.root / n).is_file()}
        for name in sorted(names):
            data = (self.root / name).read_bytes()
            if name.endswith("meson.build"):      # shared libraries: a mutant links one library again rather than every program
                data = data.replace(b"= static_library('flowmap", b"= shared_library('flowmap")
                # The same golden files, and the same command lines as in the tree itself, which ccache knows.
                data = data.replace(b"""'-DFM_TESTS_FOLDER="' + meson.current_source_dir() + '"'""", b"""'-DFM_TESTS_FOLDER="%s"'""" % str(self.root / "tests").encode())
            target = self.copy / name
            if not target.is_file() or target.read_bytes() != data:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                shutil.copymode(self.root / name, target)
        for path in list(self.copy.rglob("*")):
            if path.is_file() and self.build not in path.parents and str(path.relative_to(self.copy)) not in names:
                path.unlink()
        if not (self.build / "build.ninja").is_file():
            compiler = os.environ.get("CXX", "c++")
            if shutil.which("ccache") and "ccache" not in compiler:
                compiler = "ccache " + compiler
            subprocess.run(["meson", "setup", str(self.build), str(self.copy), "-Dcuda=disabled", "-Dtogether=disabled"], check=True,
                           env={**os.environ, "CXX": compiler}, stdout=subprocess.DEVNULL)

    def sources(self, folders, files):
        for folder in folders:
            for path in sorted((self.copy / folder).rglob("*")):
                name = str(path.relative_to(self.copy))
                if path.suffix in (".h", ".cpp") and (not files or name in files):
                    yield name, path.read_text()

    def ninja(self, targets, seconds):
        """True when the targets are built."""
        code, out, _ = sandbox.run(["ninja", "-C", str(self.build), "-j", self.jobs, *targets], self.copy, {}, seconds)
        return code == 0, out

    def tests(self):
        """What Meson knows of the tests: {name: {command, env, targets to build, quick}}. Checks of the tree and benchmarks are left out."""
        def ask(what):
            return json.loads(subprocess.run(["meson", "introspect", what, str(self.build)], check=True, stdout=subprocess.PIPE).stdout)
        files = {t["id"]: [os.path.relpath(f, self.build) for f in t["filename"]] for t in ask("--targets")}
        out = {}
        for t in ask("--tests"):
            program = os.path.relpath(t["cmd"][0], self.build)
            if program.startswith("tests/test_"):
                needed = [f for d in t["depends"] for f in files.get(d, [])]
                out[t["name"]] = {"command": t["cmd"], "env": t["env"], "targets": sorted({program, *needed}),
                                  "quick": any("quick" in s for s in t["suite"]), "cwd": t["workdir"] or str(self.build)}
        return out

    def objects(self):
        """A fingerprint of the library's objects: equal to that of the sources unchanged, a mutant is the same program."""
        total = hashlib.sha256()
        for path in sorted(self.build.rglob("*.o")):
            if not str(path.relative_to(self.build)).startswith("tests"):
                total.update(str(path).encode() + hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()
