"""The order of trials, chosen so that a drift of the machine changes all methods alike.

The first repeat of every trial comes before the second of any. Within a repeat the trials are
sorted by probe. Within a probe, cells that differ in nothing but the method form a group. The
groups are shuffled, the methods of one group stay neighbours, and each group begins with another
method.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final

from harness.spec import AXES
from harness.sweep.expand import Question

PROBE_ORDER: Final = ("time", "energy", "accuracy", "fidelity", "activity", "memory")
"""Probes in the order in which they are measured.

Trials of `time` and `energy` run alone. Of the others, which run side by side, the long ones come
first: a long trial that is started last would keep one core busy while the others are idle.
"""


def arrange(questions: Iterable[Question], repeats: int, seed: int) -> list[tuple[Question, int]]:
    """Every question `repeats` times, as (question, repeat), in the order to measure them.

    The same arguments give the same order on every machine.
    """
    groups: dict[object, list[Question]] = {}
    for question in questions:
        groups.setdefault(_group(question), []).append(question)
    ordered: list[tuple[Question, int]] = []
    for repeat in range(repeats):
        shuffled = list(groups.values())
        random.Random(f"{seed} {repeat}").shuffle(shuffled)
        shuffled.sort(key=lambda group: PROBE_ORDER.index(group[0].probe))
        for number, group in enumerate(shuffled):
            first = (number + repeat) % len(group)
            ordered += [(question, repeat) for question in group[first:] + group[:first]]
    return ordered


def _group(question: Question) -> object:
    axes = (getattr(question.cell, axis.name) for axis in AXES if axis.name != "method")
    return (question.probe, *axes)
