"""Warm-up and samples: every task once a sample, in an order that changes each time.

The samples of a round go through every order of the tasks, so that each task follows each other
one equally often: what a neighbour leaves behind (caches, a hot core) is the same for all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, permutations
from statistics import median
from typing import Final

from harness.trial.probes.time.stopwatch import Clock, Spans, Task

WINDOW: Final = 3
STABLE: Final = 0.95
MIN_WARM_UP: Final = 2
MAX_WARM_UP: Final = 30
MAX_WARM_UP_SECONDS: Final = 1.0

ENOUGH_SAMPLES: Final = 12
ENOUGH_SECONDS: Final = 1.0
MIN_SAMPLES: Final = 6
MAX_SAMPLES: Final = 498
MAX_SECONDS: Final = 2.0

Sample = dict[str, Spans]
"""Of one sample, the seconds of each task by phase."""


@dataclass(frozen=True)
class WarmUp:
    """How the warm-up went.

    `stable` is None if the time was up before the rule could be asked.
    """

    samples: int
    seconds: float
    stable: bool | None


def warm_up(tasks: Mapping[str, Task], clock: Clock) -> WarmUp:
    """Run samples until they stop getting faster, or `MAX_WARM_UP` or its seconds are reached.

    Stable means that the median of the last `WINDOW` samples (all tasks together) is at least
    `STABLE` of the median of as many before them: one odd sample decides nothing.
    """
    spent: list[float] = []
    start = time.perf_counter()
    for sample in _samples(tasks, clock):
        spent.append(sum(spans["step"] for spans in sample.values()))
        seconds = time.perf_counter() - start
        stable = _stable(spent)
        late = len(spent) >= MIN_WARM_UP and seconds >= MAX_WARM_UP_SECONDS
        if stable or late or len(spent) >= MAX_WARM_UP:
            break
    return WarmUp(len(spent), seconds, stable)


def take(tasks: Mapping[str, Task], clock: Clock) -> list[Sample]:
    """Whole rounds of samples, until there are enough or the time is up."""
    taken: list[Sample] = []
    whole = len(list(permutations(tasks)))
    start = time.perf_counter()
    for sample in _samples(tasks, clock):
        taken.append(sample)
        if len(taken) % whole == 0 and enough(len(taken), time.perf_counter() - start):
            break
    return taken


def enough(samples: int, seconds: float) -> bool:
    """Whether this many samples that took so long will do."""
    full = samples >= ENOUGH_SAMPLES and seconds >= ENOUGH_SECONDS
    late = samples >= MIN_SAMPLES and seconds >= MAX_SECONDS
    return full or late or samples >= MAX_SAMPLES


def drift(seconds: list[float]) -> float:
    """Median of the later half of at least two samples over that of the earlier half."""
    half = len(seconds) // 2
    return median(seconds[-half:]) / median(seconds[:half])


def _samples(tasks: Mapping[str, Task], clock: Clock) -> Iterator[Sample]:
    for order in cycle(permutations(tasks)):
        yield {name: clock(tasks[name]) for name in order}


def _stable(spent: list[float]) -> bool | None:
    if len(spent) < 2 * WINDOW:
        return None
    return median(spent[-WINDOW:]) >= STABLE * median(spent[-2 * WINDOW : -WINDOW])
