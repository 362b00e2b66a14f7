"""How often the time tier errs, from recorded pairs of equal processes: no new measurements.

A simulated job draws pairs, with replacement, from those that were recorded side by side on one
machine, so that it has that machine's noise with its tails; the sign of a pair is tossed, as which
side went first is. One family is made slower by a known factor, the others and the placebo are not.
The verdicts come from `harness.gate.time.decide`, the code that real jobs use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.gate.time import PAIRS, PLACEBO, decide
from harness.gate.verdict import Verdict

CHANGED: Final = "changed"
"""The family that is made slower."""


@dataclass(frozen=True)
class Rates:
    """Shares of simulated jobs.

    Attributes:
        found: the changed family was called SLOWER, and the job was not void.
        false: another family was, and the job was not void.
        void: the placebo alarmed.
        undecided: the changed family stayed INCONCLUSIVE.
        extended: A second look was needed.
    """

    families: int
    slower: float
    jobs: int
    found: float
    false: float
    void: float
    undecided: float
    extended: float


def simulate(
    recorded: ArrayLike, slower: float, *, families: int = 3, jobs: int = 2000, seed: int = 0
) -> Rates:
    """Run the protocol `jobs` times.

    Args:
        recorded: differences of log ratios of pairs with equal code on both sides.
        slower: by how much the changed family is slower: 0.1 is 10 %; 0 makes all equal.
        families: claims of a job, the changed one among them.

    Raises:
        ValueError: if there are too few recorded pairs to stand for a machine's noise.
    """
    noise = np.asarray(recorded, dtype=np.float64)
    if noise.size < 2 * PAIRS:
        raise ValueError(f"{noise.size} recorded pairs are too few; give at least {2 * PAIRS}")
    generator = np.random.default_rng(seed)
    seen = np.zeros(5)
    for _ in range(jobs):
        seen += _job(generator, noise, slower, families)
    found, false, void, undecided, extended = (seen / jobs).tolist()
    return Rates(families, slower, jobs, found, false, void, undecided, extended)


def _job(
    generator: np.random.Generator, noise: NDArray[np.float64], slower: float, families: int
) -> NDArray[np.float64]:
    names = [CHANGED, *(f"equal {number}" for number in range(1, families))]
    drawn: dict[str, list[float]] = {name: [] for name in (*names, PLACEBO)}

    def measure(arms: Sequence[str], pairs: range) -> dict[str, list[float]]:
        for name in arms:
            picked = generator.choice(noise, len(pairs)) * generator.choice((-1, 1), len(pairs))
            by = np.log1p(slower) if name == CHANGED else 0.0
            drawn[name] += (picked + by).tolist()
        return drawn

    decision = decide(names, measure)
    verdicts = {name: finding.verdict for name, finding in decision.findings.items()}
    alarmed = [name for name in names if verdicts[name] is Verdict.SLOWER and not decision.void]
    return np.array(
        [
            CHANGED in alarmed,
            any(name != CHANGED for name in alarmed),
            decision.void,
            verdicts[CHANGED] is Verdict.INCONCLUSIVE and not decision.void,
            len(drawn[PLACEBO]) > PAIRS,
        ],
        dtype=np.float64,
    )
