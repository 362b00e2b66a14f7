"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Grade = Literal["good", "fair", "bad"]
GRADES: Final[tuple[Grade, ...]] = ("good", "fair", "bad")
"""Fit for every figure; fit with care; figures of that kind are worth nothing here."""


@dataclass(frozen=True)
class Examination:
    """One examined thing.

    Attributes:
        topic: A word or two: "load", "step noise".
        verdict: one of `GRADES`.
        found: what was seen, with figures.
        advice: what to do about it; empty where nothing needs doing.
    """

    topic: str
    verdict: Grade
    found: str
    advice: str = ""


def graded(value: float, fair: float, bad: float) -> Grade:
    """Grade a figure of which less is better."""
    if value < fair:
        return "good"
    return "fair" if value < bad else "bad"


def worst(findings: list[Examination]) -> Grade:
    """The verdict on the whole machine; "good" for an empty list."""
    return max((finding.verdict for finding in findings), key=GRADES.index, default="good")
