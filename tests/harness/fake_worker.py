"""Stands in for `python -m harness.trial.worker SPEC OUT`: ends as the method's name says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SAMPLES = {
    "time": [
        ("time.step", "step", "s", "noisy", [0.25, 0.5]),
        ("time.forward", "forward", "s", "noisy", [0.125]),
    ],
    "memory": [("mem.live_peak", "step", "B", "exact", [3 * 2**20])],
    "accuracy": [("acc.test", "test", "1", "outcome", [0.5, 0.75])],
}


def answer(out, status="ok", error=None, rows=(), facts=None):
    keys = ("metric", "phase", "unit", "kind", "values")
    plain = {
        "status": status,
        "error": error,
        "rows": [dict(zip(keys, row, strict=True)) for row in rows],
        "facts": {"threads": os.environ["OMP_NUM_THREADS"], **(facts or {})},
    }
    out.write_text(json.dumps(plain))


def fine(spec, out):
    facts = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
    answer(out, rows=SAMPLES[spec["probe"]], facts=facts)


def raises(spec, out):
    raise RuntimeError("the method is broken")


def segfaults(spec, out):
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(spec, out):
    """Ignore SIGTERM, with a grandchild that does so too; its process id is left in a file."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
    grandchild = subprocess.Popen([sys.executable, "-c", code])
    (out.parent / "pids").write_text(f"{os.getpid()} {grandchild.pid}")
    print("hanging", file=sys.stderr, flush=True)
    time.sleep(300)


def outlives(spec, out):
    """End well, but leave a grandchild in the group that holds the pipe of standard output."""
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    answer(out, rows=SAMPLES[spec["probe"]], facts={"grandchild": grandchild.pid})


def oom(spec, out):
    answer(out, "oom_cuda", "CUDA out of memory. Tried to allocate 2.00 GiB")


def torn(spec, out):
    out.write_text('{"status": "ok", "rows": [')


def badrow(spec, out):
    answer(out, rows=[("nonsense", "step", "s", "noisy", [1.0])])


def measures(spec, out):
    """The handshake: say when the figures stand, wait for the parent, then answer."""
    print("measured", flush=True)
    line = sys.stdin.readline()
    answer(out, rows=SAMPLES[spec["probe"]], facts={"heard": line})


def waits(spec, out):
    """Get ready, wait for the turn, then answer with when it came."""
    if "--turn" in sys.argv:
        print("ready", flush=True)
        sys.stdin.readline()
    start = time.monotonic()
    time.sleep(0.2)
    spans = {"start": start, "end": time.monotonic(), "in_turn": "--turn" in sys.argv}
    answer(out, rows=SAMPLES[spec["probe"]], facts=spans)


def disturbed(spec, out):
    """Find somebody else on the GPU the first time, be alone the second."""
    mark = Path(os.environ["FAKE_MARK"])
    if mark.exists():
        fine(spec, out)
    else:
        mark.touch()
        answer(out, "invalid", "process 7 computes on the GPU", facts={"foreign": [7]})


def diverges(spec, out):
    answer(out, "invalid", "the loss is nan")


def flaky(spec, out):
    """Crash the first time, end well the second."""
    mark = Path(os.environ["FAKE_MARK"])
    if not mark.exists():
        mark.touch()
        os._exit(3)
    fine(spec, out)


if __name__ == "__main__":
    specification = json.loads(Path(sys.argv[1]).read_text())
    if "FAKE_LOG" in os.environ:
        with open(os.environ["FAKE_LOG"], "a") as log:
            log.write(specification["trial"] + "\n")
    # Longer for some trials than for others, and for each always the same.
    share = 1 + int(specification["trial"][:2], 16) / 255 * float(os.environ.get("FAKE_VARY", "0"))
    time.sleep(float(os.environ.get("FAKE_SLEEP", "0")) * share)
    ending = globals().get(specification["cell"]["method"]["name"], fine)
    ending(specification, Path(sys.argv[2]))
