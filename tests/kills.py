#!/usr/bin/env python3
"""Kills trainings at random moments, starts them again, and compares what they leave with a training that was not disturbed, byte for byte.

    python3 tests/kills.py [--build build] [--kills 400] [--seed 1] [--record kills.jsonl] [--stages fm,mft]

A trial is one stage of configs/tiny_shapes.toml. It is started and killed (SIGKILL) one to four times, then started until it is done. Half of the
kills come after a random time; the others, where strace exists, at a random call of the system that writes, flushes, renames, links or removes,
that is inside of a save or beside it. Each moment goes into the record (JSON lines) with the seed, so that it can be tried again:
`call` and `number` are strace's `-e inject=CALL:signal=KILL:when=NUMBER`.

After a trial these must be those of the undisturbed training: all files of all checkpoints that are kept, `latest`, metrics.csv without its
columns of time and memory, the last sample grid, and the weights that the stage leaves beside its checkpoints. run.json must have an end, and no
temporary file may be left. (A process killed before it had removed a checkpoint that is too old leaves that to the next save.) The exit code is 1 if anything differs. 400 kills take four minutes on two cores. Not part of CI.
"""
import argparse, collections, json, os, random, re, shutil, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CALLS = ["openat", "write", "fsync", "rename", "symlink", "unlink", "unlinkat", "close", "mkdir"]
STAGES = ["judge", "encoder", "decoder", "fm", "cmt", "mfd", "mft"]
VARYING = {"time", "samples_per_second", "memory_mib", "tensor_peak_mib", "tensor_held_mib"}


def command(options, stage, out):
    return [os.path.join(options.build, "apps", "flowmap_train"), stage, "--config", os.path.join(ROOT, "configs", "tiny_shapes.toml"),
            "--out", out, "--threads", "1", "--steps", "10", "--ckpt-every", "2", "--log-every", "1", "-q"]


def run(options, stage, out, kill=None):
    """Exit code, -9 when killed, and the seconds that it took. `kill`: None, seconds, or (call, number)."""
    line = command(options, stage, out)
    if isinstance(kill, tuple):
        line = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + kill[0], "-e", "inject=%s:signal=KILL:when=%d" % kill] + line
    begin = time.monotonic()
    child = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, err = child.communicate(timeout=kill if isinstance(kill, float) else None)
    except subprocess.TimeoutExpired:
        child.kill()
        _, err = child.communicate()
    code = -9 if child.returncode == 137 else child.returncode     # strace ends as its program did
    return code, time.monotonic() - begin, err.decode(errors="replace")


def fresh(options, stage, name):
    """A folder with what the stage needs and nothing of its own."""
    out = os.path.join(options.work, name)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(options.base, out, symlinks=True)
    shutil.rmtree(os.path.join(out, stage))
    return out


def read(path):
    with open(path, "rb") as file:
        return file.read()


def left(out, stage):
    """What a training leaves that may not depend on kills: name -> bytes."""
    folder, found = os.path.join(out, stage), {}
    for inner, folders, files in os.walk(folder):
        for name in files + [f for f in folders if os.path.islink(os.path.join(inner, f))]:
            path = os.path.join(inner, name)
            key = os.path.relpath(path, folder)
            if os.path.islink(path):
                found[key] = os.readlink(path).encode()
            elif name == "metrics.csv":
                rows = [line.split(",") for line in read(path).decode().splitlines()]
                keep = [i for i, column in enumerate(rows[0]) if column not in VARYING]
                found[key] = "\n".join(",".join(row[i] for i in keep) for row in rows).encode()
            elif key.startswith("checkpoints" + os.sep) or name.endswith((".safetensors", ".png")):
                # The config in state.json names the folder of the run nowhere: state.json is compared whole.
                found[key] = read(path)
            elif ".tmp-" in name:
                found[key] = b"a temporary"
            elif name == "run.json":
                session = json.loads(read(path))["sessions"][-1]
                found["end of run.json"] = b"%d at %d" % (session.get("exit_code", -1), session.get("last_step", -1))
    return found


def count_calls(options, stage):
    """How often an undisturbed training makes each call, or nothing without strace."""
    if options.strace is None:
        return {}
    out, trace = fresh(options, stage, "count"), os.path.join(options.work, "trace")
    known = [c for c in CALLS if subprocess.run(["strace", "-e", "trace=" + c, "true"], capture_output=True).returncode == 0]
    subprocess.run(["strace", "-f", "-qq", "-o", trace, "-e", "trace=" + ",".join(known)] + command(options, stage, out), check=True)
    counts = collections.Counter(re.sub(r"^\d+ +", "", line).split("(")[0] for line in read(trace).decode(errors="replace").splitlines())
    return {c: counts[c] for c in known if counts[c]}


def moment(options, dice, reference):
    if reference["calls"] and dice.random() < 0.5:
        call = dice.choice(sorted(reference["calls"]))
        return call, dice.randint(1, reference["calls"][call])
    return dice.uniform(0.02, 1.1) * reference["seconds"]


def trial(options, dice, stage, reference, number, record):
    out, wanted, kills, inside = fresh(options, stage, "trial"), dice.randint(1, 4), 0, 0
    for _ in range(wanted):
        kill = moment(options, dice, reference)
        code, seconds, err = run(options, stage, out, kill)
        saving = any(".tmp-" in name for _, folders, files in os.walk(os.path.join(out, stage)) for name in folders + files)
        entry = {"seed": options.seed, "trial": number, "stage": stage, "exit": code, "saving": saving}
        entry.update({"call": kill[0], "number": kill[1]} if isinstance(kill, tuple) else {"seconds": round(kill, 4)})
        record.write(json.dumps(entry) + "\n")
        record.flush()
        if code not in (0, -9):
            return kills, inside, ["exit %d after %s: %s" % (code, kill, err.strip())]
        if code == 0:
            break                                  # done before its moment came
        kills, inside = kills + 1, inside + saving
    code, _, err = run(options, stage, out)
    if code != 0:
        return kills, inside, ["exit %d when restarted: %s" % (code, err.strip())]
    found = left(out, stage)
    kept = min(key for key in reference["left"] if key.startswith("checkpoints" + os.sep + "step-"))
    found = {key: bytes for key, bytes in found.items() if not (key.startswith("checkpoints" + os.sep + "step-") and key < kept)}
    return kills, inside, [key for key in sorted(set(found) | set(reference["left"])) if found.get(key) != reference["left"].get(key)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--kills", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", default="kills.jsonl")
    parser.add_argument("--stages", default=",".join(STAGES))
    options = parser.parse_args()
    options.strace = shutil.which("strace")
    os.environ.update(OMP_WAIT_POLICY="passive", OMP_NUM_THREADS="1")
    dice, stages = random.Random(options.seed), options.stages.split(",")
    with tempfile.TemporaryDirectory() as options.work, open(options.record, "w") as record:
        options.base = os.path.join(options.work, "base")
        subprocess.run([command(options, "", "")[0], "pipeline", "--config", os.path.join(ROOT, "configs", "tiny_shapes.toml"), "--out", options.base, "-q"], check=True)
        references = {}
        for stage in stages:
            out = fresh(options, stage, "straight")
            code, seconds, err = run(options, stage, out)
            if code != 0:
                sys.exit("%s: exit %d: %s" % (stage, code, err))
            references[stage] = {"left": left(out, stage), "seconds": seconds, "calls": count_calls(options, stage)}
        kills = inside = trials = 0
        wrong, begin = [], time.monotonic()
        while kills < options.kills:
            stage = stages[trials % len(stages)]
            killed, saving, differs = trial(options, dice, stage, references[stage], trials, record)
            kills, inside, trials = kills + killed, inside + saving, trials + 1
            if differs:
                wrong.append((trials - 1, stage, differs))
                print("trial %d (%s): %s" % wrong[-1], flush=True)
                shutil.copytree(os.path.join(options.work, "trial"), "%s.trial-%d" % (options.record, trials - 1), symlinks=True)
        print("%d trainings, killed %d times, %d of them while a file or folder was being written; %d of them differ from an undisturbed one (seed %d, %.0f s)"
              % (trials, kills, inside, len(wrong), options.seed, time.monotonic() - begin))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
