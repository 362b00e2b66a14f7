"""Killed at random moments, parents and trials alike: every trial is stored once, and stays."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
from fakes import DRIVE

from harness.results.store import Store, Tables, load

KILLS = 100
TRIALS = 24
LONGEST_PAUSE_S = 0.3
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TIMES = ["started", "seconds", "attempts"]
Snapshot = dict[str, tuple[int, int, str]]


class Life:
    """One run of a sweep, from its start to its end by whatever cause."""

    def __init__(self, server: subprocess.Popen[str], sweep: Path, results: Path) -> None:
        assert server.stdin is not None
        assert server.stdout is not None
        self._output = server.stdout
        log = results.with_suffix(".log")
        print(json.dumps([str(log), str(sweep), str(results), "2"]), file=server.stdin, flush=True)
        self.pid = int(self._output.readline())
        self.code: int | None = None
        self._over = threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()
        self._logs = str(results / "runs" / "demo" / "logs")

    def _wait(self) -> None:
        self.code = int(self._output.readline())
        self._over.set()

    def over(self, within_s: float) -> bool:
        """Whether it has ended, after a while."""
        return self._over.wait(within_s)

    def trials(self) -> list[psutil.Process]:
        """The trial processes that it has; waits for the first, as long as there can be one."""
        found: list[psutil.Process] = []
        while not found and not self.over(0.01):
            found = self._trials()
        return found

    def _trials(self) -> list[psutil.Process]:
        found = []
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if any(self._logs in word for word in child.cmdline()):
                        found.append(child)
        return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    own = {"FAKE_SLEEP": "0.015", "FAKE_VARY": "2", "FAKE_LOG": str(tmp_path / "started")}
    with subprocess.Popen(
        DRIVE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | own | {"OPENBLAS_NUM_THREADS": "1"},
    ) as process:
        yield process
        process.kill()


def _kill(life: Life, chance: random.Random, kills: Counter[str]) -> bool:
    """Send one signal to the run or to one of its trials; whether the run is given up by it."""
    number = chance.choice(SIGNALS)
    name = signal.Signals(number).name
    if chance.random() < 0.5:
        if trials := life.trials():
            with contextlib.suppress(psutil.Error):
                chance.choice(trials).send_signal(number)
                kills[f"trial {name}"] += 1
        return False
    if life.over(0):
        return False
    os.kill(life.pid, number)
    kills[f"run {name}"] += 1
    return True


def _snapshot(folder: Path) -> Snapshot:
    """The records that are final, as they lie on the disk; every record must be whole."""
    store, found = Store(folder), {}
    for path in folder.glob("trials/*.json"):
        record = store.record(path.stem)
        assert record is not None, store.notices
        assert record["trial"] == path.stem
        if record["status"] == "ok":
            facts = path.stat()
            found[path.stem] = (facts.st_ino, facts.st_mtime_ns, path.read_text())
    return found


def _orphans(folder: Path) -> list[str]:
    """Processes that still work for the folder after some seconds."""
    deadline = time.monotonic() + 10
    while True:
        commands = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
        left = [command for command in commands if str(folder / "logs") in command]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def _same(tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    return tables.trials.drop(columns=TIMES), tables.measurements


def _live(
    start: Callable[[], Life], folder: Path, chance: random.Random, kills: Counter[str]
) -> int | None:
    """One run with its kills; checks what it leaves behind, and returns its exit status."""
    before = _snapshot(folder)
    log = folder.parents[2] / "started"
    begun = len(log.read_text().split()) if log.exists() else 0
    life = start()
    while sum(kills.values()) < KILLS:
        if life.over(chance.uniform(0, LONGEST_PAUSE_S)) or _kill(life, chance, kills):
            break
    assert life.over(60), "the run does not end"
    assert _orphans(folder) == []
    after = _snapshot(folder)
    assert {trial: after.get(trial) for trial in before} == before
    started = log.read_text().split()[begun:] if log.exists() else []
    assert set(started) & set(before) == set()
    return life.code


@pytest.mark.deep
def test_a_hundred_kills(
    write_sweep: Callable[..., Path], tmp_path: Path, server: subprocess.Popen[str]
) -> None:
    sweep = write_sweep("repeats = 2", T=[1, 2, 3])
    chance, kills, codes = random.Random(20), Counter[str](), Counter[int | None]()
    undisturbed = Life(server, sweep, tmp_path / "calm")
    assert undisturbed.over(60)
    assert undisturbed.code == 0
    expected = load(tmp_path / "calm" / "runs" / "demo")
    sweeps = 0
    while sum(kills.values()) < KILLS:
        results = tmp_path / f"killed {sweeps}"
        folder = results / "runs" / "demo"
        code = None
        while code != 0:
            code = _live(lambda to=results: Life(server, sweep, to), folder, chance, kills)
            codes[code] += 1
        found = load(folder)
        assert found.notices == ()
        assert sorted(found.trials["trial"]) == sorted(set(expected.trials["trial"]))
        assert len(found.trials) == len(list(folder.glob("trials/*"))) == TRIALS
        for mine, calm in zip(_same(found), _same(expected), strict=True):
            pd.testing.assert_frame_equal(mine, calm)
        for name in ("trials.csv", "measurements.csv"):
            lines = (folder / name).read_text().splitlines()
            calm = (tmp_path / "calm" / "runs" / "demo" / name).read_text().splitlines()
            assert len(lines) == len(calm)
        assert list(folder.rglob("*.part")) == []
        assert not (folder / "logs").exists()
        sweeps += 1
    print(f"{dict(kills)}; runs by exit status: {dict(codes)}; {sweeps} sweeps", file=sys.stderr)
    assert len(kills) == 2 * len(SIGNALS)
    assert set(codes) <= {0, 1, 2, 130, 143, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT}
