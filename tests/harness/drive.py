"""A run in a process of its own, to be killed by tests.

`python drive.py SWEEP RESULTS [JOBS]` runs once. `python drive.py` alone reads such arguments from
standard input, a JSON list with a log file in front a line, and forks a process for each, so that a
hundred runs need not import everything a hundred times; it answers with the process's id and, when
that has ended, with its exit status.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from fakes import CATALOGUE, WORKER
from rich.console import Console

from harness.console.progress import PlainProgress
from harness.errors import HarnessError
from harness.machine import environment, gpu
from harness.run.executors.local import LocalExecutor
from harness.run.runner import RunRequest, run
from harness.run.sources import Sources


def drive(sweep: str, results: str, jobs: str = "1") -> int:
    """Run a sweep with the fakes, with the command line's exit codes."""
    request = RunRequest(sweep, results=Path(results), jobs=int(jobs))
    executor = LocalExecutor(WORKER, grace_s=0.3)
    try:
        summary = run(request, PlainProgress(Console()), executor=executor, command=CATALOGUE)
    except HarnessError as error:
        print(f"error: {error}")
        return 2
    print("heavy:", sorted({"torch", "ratebp", "plotly"} & set(sys.modules)))
    return summary.exit_code


def serve() -> None:
    gpu.inventory()  # what it imports, it imports once
    # One code for all runs, whoever edits the tree meanwhile.
    Sources.code = lambda self, method, probe, others=(): f"{method} {probe}"
    Sources.shared = "shared"
    Sources.changed = lambda self: []
    checkout = environment.commit()
    environment.commit = lambda: checkout
    for line in sys.stdin:
        log, *arguments = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(log, arguments)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(log: str, arguments: list[str]) -> None:
    """Run in a forked process and end it here, whatever happens."""
    status = 99
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = drive(*arguments)
    except KeyboardInterrupt:
        status = 130
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(drive(*sys.argv[1:]))
    serve()
