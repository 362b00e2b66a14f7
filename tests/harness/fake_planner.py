"""Stands in for `harness.trial.planner`: answers, dies or hangs as the method's name says.

The count of a cell is `batch * (10 + 3 * T) + 100` bytes, of which 100 are persistent.
"""

import json
import os
import signal
import sys
import time


def row(metric, phase, unit, value):
    keys = ("metric", "phase", "unit", "kind", "values")
    return dict(zip(keys, (metric, phase, unit, "exact", [value]), strict=True))


def rows(cell):
    live = cell["batch"] * (10 + 3 * cell["T"])
    return [
        row("mem.live_peak", "step", "B", live),
        row("mem.persistent", "step", "B", 100),
        row("mem.live_after_forward", "forward", "B", live // 2),
        row("mem.trace", "forward", "B", live // 4),
        row("ops.flops", "step", "FLOP", 7 * live),
        row("ops.elem_bytes", "step", "B", 2 * live),
        row("ops.count", "step", "1", 11),
    ]


for line in sys.stdin:
    cell = json.loads(line)
    ending = cell["method"]["name"]
    answer = {"status": "ok", "error": None, "facts": {"pid": os.getpid()}, "seconds": 0.5}
    if ending == "segfaults":
        print("about to die", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    elif ending == "hangs":
        time.sleep(300)
    elif ending == "torn":
        print('{"status": "ok"', flush=True)
        continue
    elif ending == "refuses":
        answer |= {"status": "skipped", "error": "cannot cross the norm"}
    found = rows(cell) if answer["status"] == "ok" else []
    print(json.dumps(answer | {"rows": found}), flush=True)
