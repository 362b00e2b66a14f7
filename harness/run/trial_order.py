"""The order of trials: drift of the machine must hit all methods alike.

Blocks by repeat. Inside a block the probes follow each other; inside a probe, groups of cells that
are equal but for the method come in shuffled order; inside a group the methods are neighbours, and
each group starts with another of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final

from harness.spec import AXES
from harness.sweep.expand import Question

PROBE_ORDER: Final = ("time", "energy", "accuracy", "fidelity", "activity", "memory")
"""Long trials that may share the machine come before short ones, so that none is left alone."""


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
