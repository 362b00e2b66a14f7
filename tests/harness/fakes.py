"""The fake worker and catalogue as commands, and a listener that remembers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.outcome import Outcome
from harness.spec import TrialSpec

_HERE = Path(__file__).parent
WORKER = [sys.executable, str(_HERE / "fake_worker.py")]
CATALOGUE = [sys.executable, str(_HERE / "fake_catalogue.py")]
DRIVE = [sys.executable, str(_HERE / "drive.py")]


class Recorder:
    """A listener that remembers what it was told."""

    def __init__(self) -> None:
        self.todo: list[TrialSpec] = []
        self.total = self.jobs = 0
        self.done: list[tuple[TrialSpec, Outcome]] = []
        self.notices: list[str] = []

    def planned(self, todo: Sequence[TrialSpec], total: int, jobs: int) -> None:
        self.todo, self.total, self.jobs = list(todo), total, jobs

    def finished(self, spec: TrialSpec, outcome: Outcome) -> None:
        self.done.append((spec, outcome))

    def notice(self, text: str) -> None:
        self.notices.append(text)
