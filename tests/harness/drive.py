"""A run in a process of its own: `python drive.py SWEEP RESULTS [JOBS]`, to be killed by tests."""

from __future__ import annotations

import sys
from pathlib import Path

from fakes import CATALOGUE, WORKER
from rich.console import Console

from harness.console.progress import PlainProgress
from harness.executors.local import LocalExecutor
from harness.runner import Request, run

if __name__ == "__main__":
    jobs = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    request = Request(sys.argv[1], results=Path(sys.argv[2]), jobs=jobs)
    executor = LocalExecutor(WORKER, grace_s=0.3)
    summary = run(request, PlainProgress(Console()), executor=executor, command=CATALOGUE)
    print("heavy:", sorted({"torch", "ratebp", "plotly"} & set(sys.modules)))
    sys.exit(summary.exit_code)
