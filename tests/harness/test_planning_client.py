"""The parent's side of planning processes that answer, die, hang and talk nonsense."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.outcome import Outcome
from harness.planning.client import Planner
from harness.spec import Cell, Choice

FAKE = [sys.executable, str(Path(__file__).with_name("fake_planner.py"))]


def _cell(method: str = "fine", T: int = 2, batch: int = 4) -> Cell:
    return Cell(Choice.make(method), Choice.make("tiny"), "digits", T, batch)


def test_every_cell_gets_its_own_answer_once() -> None:
    cells = [_cell(T=T, batch=batch) for T in (1, 9, 3) for batch in (1, 2)]
    with Planner(2, command=FAKE) as planner:
        told = list(planner.predict([*cells, cells[0]]))
        first = told[0][1].facts["pid"]
        again = dict(planner.predict(cells))
    assert len(told) == len(cells)
    for cell, prediction in told:
        assert prediction.demand == 100 + cell.batch * (10 + 3 * cell.T)
        assert prediction.seconds == 0.5
    assert len({prediction.facts["pid"] for prediction in again.values()}) <= 2
    assert first in {p.facts["pid"] for p in again.values()}, "children are kept"


def test_long_cells_come_first() -> None:
    with Planner(1, command=FAKE) as planner:
        order = [cell.T for cell, _ in planner.predict([_cell(T=T) for T in (1, 8, 4, 2)])]
    assert order == [8, 4, 2, 1]


def test_a_process_that_dies_is_a_crash_of_its_cell_and_is_replaced() -> None:
    cells = [_cell("segfaults", T=9), _cell(T=5), _cell("segfaults", T=4), _cell(T=1)]
    with Planner(1, command=FAKE) as planner:
        told = {cell.T: prediction for cell, prediction in planner.predict(cells)}
    assert [told[T].status for T in (9, 5, 4, 1)] == ["crash", "ok", "crash", "ok"]
    assert told[9].error is not None
    assert "killed by SIGSEGV" in told[9].error
    assert "about to die" in told[9].error
    assert told[5].facts["pid"] != told[1].facts["pid"]


def test_a_process_that_hangs_is_killed_at_its_deadline() -> None:
    with Planner(1, command=FAKE, timeout_s=1.0) as planner:
        told = dict(planner.predict([_cell("hangs", T=9), _cell(T=1)]))
    assert told[_cell("hangs", T=9)].status == "timeout"
    assert told[_cell("hangs", T=9)].error == "no answer after 1 s"
    assert told[_cell(T=1)].status == "ok"


def test_nonsense_is_a_crash() -> None:
    with Planner(1, command=FAKE) as planner:
        told = planner.submit(_cell("torn")).result()
        after = planner.submit(_cell()).result()
    assert told.status == "crash"
    assert "no valid answer" in str(told.error)
    assert after.status == "ok"


def test_a_command_that_is_not_there_is_a_crash_not_a_hang() -> None:
    with Planner(1, command=["/nowhere/at/all"]) as planner:
        told = planner.submit(_cell()).result()
    assert told.status == "crash"
    assert "exit code 1" in str(told.error)


def test_a_figure_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match=r"mem\.live_peak \(update\)"):
        Outcome("ok").figure("mem.live_peak", "update")


def test_closing_ends_the_children_even_in_the_middle_of_a_cell() -> None:
    with Planner(2, command=FAKE) as planner:
        pid = planner.submit(_cell()).result().facts["pid"]
        planner.submit(_cell("hangs"))
    assert not psutil.pid_exists(pid)
    with pytest.raises(RuntimeError):
        planner.submit(_cell())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills orphans by itself")
def test_children_end_with_a_parent_that_is_killed() -> None:
    code = (
        "import sys, time\n"
        "from harness.planning.client import Planner\n"
        "from harness.spec import Cell, Choice\n"
        "planner = Planner(1, command=sys.argv[1:])\n"
        "cell = Cell(Choice.make('fine'), Choice.make('tiny'), 'digits', 1, 1)\n"
        "print(planner.submit(cell).result().facts['pid'], flush=True)\n"
        "planner.submit(Cell(Choice.make('hangs'), cell.model, 'digits', 1, 1))\n"
        "time.sleep(300)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, *FAKE], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, harness.planning.commands, harness.console.plans\n"
        "sys.exit(str({'torch', 'ratebp', 'plotly'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
