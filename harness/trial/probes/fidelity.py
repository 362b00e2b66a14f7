"""How close a method's gradient is to BPTT's, and whether rate-BP's assumptions hold.

All at two stages: of the model as built ("initial"), and after the cell's budget of training by the
cell's own method ("trained"). One value per batch, over the first batches of the training split;
every gradient is taken in training mode, from the same weights, buffers and random state.

`fidelity.<stage>.<reference>.cosine` and `.norm_ratio`
    Cosine between the method's gradient and the reference's, and their norms' ratio |g_method| /
    |g_reference|; the phase is the path of a parameter, or "all" for the whole gradient. Both
    references minimise the loss of the mean output. A method minimises its own loss (the mean of
    the per-step losses if it is online), with its own scale: that difference is part of the figure,
    as it is part of training. `bptt_m` and `bptt_s` differ by the scope of batch norm.
`assumption.<stage>.<a1|a2|a3>_cosine`, `assumption.<stage>.<a1|a2>_correlation`
    As `ratebp.assumptions` defines them; the phase is the path of a neuron (A1) or a synapse. They
    belong to the model and the weights, always by `bptt_m` and `rate_m`, whatever the method.

A cosine with a zero gradient does not exist: that batch has no value, and a fact says why. So it is
with rounding noise, such as all there is at a bias in front of a batch norm, see `NOISE`, and with
all figures of a reference that cannot train the network.
"""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import islice
from typing import Any, Final

import torch
from torch import Tensor

from harness.errors import AbsentError, TrialError
from harness.rows import Row
from harness.trial.probe import Bench, Probe, Reading
from harness.trial.training import buffers_kept, stages

REFERENCES: Final = ("bptt_m", "bptt_s")
BATCHES: Final = 4
"""Batches of the training split, one value each."""

NOISE: Final = 32
"""A parameter's gradient counts as zero below this many eps of the whole gradient's norm."""

ASSUMED: Final = ("bptt_m", "rate_m")
"""The methods by which the assumptions are looked at."""

ALL: Final = "all"
"""Phase of the figures over all parameters together."""

ASSUMPTIONS: Final = ("a1_cosine", "a1_correlation", "a2_cosine", "a2_correlation", "a3_cosine")

_Gradient = dict[str, Tensor]
_Products = tuple[float, float, float]
"""Squared norm of the method's gradient, of the reference's, and their inner product."""


class _Figures:
    """Values by metric and phase, and reasons for those that do not exist."""

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._absent: defaultdict[str, dict[str, str]] = defaultdict(dict)

    def put(self, metric: str, phase: str, value: float | str) -> None:
        if isinstance(value, str):
            self._absent[metric][phase] = value
        else:
            self._values[metric, phase].append(value)

    def rows(self) -> tuple[Row, ...]:
        return tuple(
            Row(metric, phase, "1", "outcome", tuple(values))
            for (metric, phase), values in self._values.items()
        )

    def absent(self) -> dict[str, Any]:
        return {metric: dict(phases) for metric, phases in self._absent.items()}


class Fidelity(Probe):
    """Compares gradients, trains, compares again."""

    def measure(self, bench: Bench) -> Reading:
        """Measure at both stages.

        Raises:
            AbsentError: if neither reference can train the network.
            TrialError: if the cell has no training budget, or a loss or a gradient is not finite.
        """
        figures = _Figures()
        batches = list(islice(bench.batches("train", 0), BATCHES))
        for stage in stages(bench):
            for seed, (x, y) in enumerate(batches):
                _compare(bench, f"fidelity.{stage}", figures, seed, x, y)
                _assume(bench, f"assumption.{stage}", figures, x, y)
        facts = {
            "batches": len(batches),
            "reference_loss": "of the mean output; the method minimises its own loss",
            "assumptions": f"by {' and '.join(ASSUMED)}",
            "absent": figures.absent(),
        }
        return Reading(figures.rows(), facts)


def _compare(bench: Bench, prefix: str, figures: _Figures, seed: int, x: Tensor, y: Tensor) -> None:
    """Put the figures of one batch."""
    eps = torch.finfo(next(bench.model.parameters()).dtype).eps
    mine = _gradient(bench, None, seed, x, y)
    refusals = []
    for reference in REFERENCES:
        metric = f"{prefix}.{reference}"
        try:
            exact = _gradient(bench, reference, seed, x, y)
        except AbsentError as refusal:
            refusals.append(str(refusal))
            for name in ("cosine", "norm_ratio"):
                figures.put(f"{metric}.{name}", ALL, str(refusal))
            continue
        for phase, (own, other, both) in _products(mine, exact, eps).items():
            figures.put(f"{metric}.cosine", phase, _cosine(own, other, both))
            ratio = math.sqrt(own / other) if other > 0 else "the reference's gradient is zero"
            figures.put(f"{metric}.norm_ratio", phase, ratio)
    if len(refusals) == len(REFERENCES):
        raise AbsentError(" ".join(refusals))


def _assume(bench: Bench, prefix: str, figures: _Figures, x: Tensor, y: Tensor) -> None:
    """Put what one batch says of rate-BP's assumptions."""
    try:
        measured = bench.assumptions(x, y)
    except AbsentError as refusal:
        for name in ASSUMPTIONS:
            figures.put(f"{prefix}.{name}", ALL, str(refusal))
        return
    for path, found in measured.items():
        for name, value in found.items():
            figures.put(f"{prefix}.{name}", path, value)


def _gradient(bench: Bench, method: str | None, seed: int, x: Tensor, y: Tensor) -> _Gradient:
    """One batch's gradient by parameter, float64; only `.grad` and the random state move."""
    parameters = dict(bench.model.named_parameters())
    for parameter in parameters.values():
        parameter.grad = None
    torch.manual_seed(seed)  # the same draws for every method; others for another batch
    name = bench.cell.method.name if method is None else method
    with buffers_kept(bench):
        loss = float(bench.gradient(method, x, y))
    if not math.isfinite(loss):
        raise TrialError(f"the loss of {name} is {loss}: its gradient means nothing")
    found: _Gradient = {}
    for path, parameter in parameters.items():
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if not bool(grad.isfinite().all()):
            raise TrialError(f"the gradient of {name} at `{path}` is not finite")
        found[path] = grad.detach().double()
    return found


def _products(mine: _Gradient, exact: _Gradient, eps: float) -> dict[str, _Products]:
    """By phase; squared norms of nothing but noise are 0."""
    table = []
    for own, other in zip(mine.values(), exact.values(), strict=True):
        products = torch.stack([(own * own).sum(), (other * other).sum(), (own * other).sum()])
        table.append(products.tolist())
    own_sum, other_sum, both_sum = (float(sum(column)) for column in zip(*table, strict=True))
    floor = (NOISE * eps) ** 2
    found = {ALL: (own_sum, other_sum, both_sum)}
    for path, (own_square, other_square, both) in zip(mine, table, strict=True):
        loud = own_square > floor * own_sum, other_square > floor * other_sum
        found[path] = own_square * loud[0], other_square * loud[1], both
    return found


def _cosine(own: float, other: float, both: float) -> float | str:
    if own == 0 or other == 0:
        which = "method" if own == 0 else "reference"
        return f"the {which}'s gradient is zero, so it has no direction"
    low, high = sorted((own, other))
    return both / high / math.sqrt(low / high)  # the product of the two may underflow
