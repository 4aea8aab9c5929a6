"""Runs one command that may hang, eat memory, fill the disk or leave children behind, and cleans up after it."""
import ctypes
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """Processes whose parent ends become children of this one, so that kill_children finds those that left their group."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    if int(f.read().rpartition(")")[2].split()[1]) == pid:
                        found.append(int(entry))
            except (OSError, ValueError, IndexError):
                pass
    return found


def kill_children():
    """Ends every process below this one."""
    for _ in range(100):
        below, todo = [], children(os.getpid())
        while todo:
            pid = todo.pop()
            below.append(pid)
            todo += children(pid)
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0] > 0:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def limits(seconds, memory_gib, file_gib):
    def apply():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (int(4 * seconds) + 1, int(4 * seconds) + 2))
        if memory_gib:
            resource.setrlimit(resource.RLIMIT_AS, (int(memory_gib * 2**30),) * 2)
        if file_gib:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_gib * 2**30),) * 2)
    return apply


def run(command, cwd, env, seconds, memory_gib=0, file_gib=0):
    """(exit code or None when time ran out, the last lines of its output, seconds). TMPDIR is a folder of its own, removed afterwards."""
    folder = tempfile.mkdtemp(prefix="flowmap-mutant-")
    begin = time.monotonic()
    try:
        with tempfile.TemporaryFile() as out:
            process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **env, "TMPDIR": folder}, stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=limits(seconds, memory_gib, file_gib))
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                kill_children()
                process.wait()                # known by now; it would otherwise warn
            out.seek(max(0, out.seek(0, os.SEEK_END) - 4000))
            return code, out.read().decode(errors="replace"), time.monotonic() - begin
    finally:
        shutil.rmtree(folder, ignore_errors=True)
