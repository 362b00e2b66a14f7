"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["good", "fair", "bad"]
VERDICTS: Final[tuple[Verdict, ...]] = ("good", "fair", "bad")
"""Fit for every figure; fit with care; figures of that kind are worth nothing here."""


@dataclass(frozen=True)
class Finding:
    """One examined thing.

    Attributes
    ----------
    topic:
        A word or two: "load", "step noise".
    verdict:
        One of `VERDICTS`.
    found:
        What was seen, with figures.
    advice:
        What to do about it; empty where nothing needs doing.
    """

    topic: str
    verdict: Verdict
    found: str
    advice: str = ""


def graded(value: float, fair: float, bad: float) -> Verdict:
    """Grade a figure of which less is better."""
    if value < fair:
        return "good"
    return "fair" if value < bad else "bad"


def worst(findings: list[Finding]) -> Verdict:
    """The verdict on the whole machine; "good" for an empty list."""
    return max((finding.verdict for finding in findings), key=VERDICTS.index, default="good")
