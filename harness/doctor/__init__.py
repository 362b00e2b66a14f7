"""The doctor: whether this machine's figures can be trusted, and what to do where they cannot.

    machine    what is seen at rest: cores, load, clocks, memory, disk, commit
    counters   what this machine cannot count
    graphics   the state of its GPUs
    noise      how far equal trials differ

Each examination gives findings; nothing here changes the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from harness.doctor import counters, graphics, machine, noise
from harness.doctor.finding import GRADES, Examination, Grade, worst
from harness.run.executors import Executor

__all__ = ["GRADES", "Examination", "Grade", "at_rest", "noise", "worst"]


def at_rest(results: Path) -> Iterator[Examination]:
    """Everything that is seen without running a trial; takes about a second."""
    yield machine.cores()
    yield from machine.load()
    yield machine.clocks()
    yield machine.compiler()
    yield machine.memory()
    yield machine.disk(results)
    yield machine.commit()
    yield counters.packages()
    yield counters.resident()
    yield counters.killer()
    yield counters.energy()
    yield from graphics.examine()


def under_load(
    executor: Executor, processes: int, tell: Callable[[int, int], None]
) -> list[Examination]:
    """What equal trials say of each other; see `harness.doctor.noise`."""
    return noise.examine(executor, processes, tell)
