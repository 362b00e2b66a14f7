"""What differs between two training steps, and at which leaf it begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ratebp.structures import Output, members, named_members
from ratebp.verification.oracle import Run

TOLERANCE = 1e-8
"""Relative, in float64: rounding stays below 1e-10, a wrong equation shows at 1e-3."""

FLOOR = 1e-3
"""Of the largest gradient: below it a gradient counts as rounding (a bias before a batch norm)."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not what it should be.

    Attributes:
        what: in words, "the gradient of `fc.weight`".
        error: relative; infinite for what is missing or not finite.
        leaf: dotted path, or None where there is none.
    """

    what: str
    error: float
    leaf: str | None = None

    def __str__(self) -> str:
        """Return what it is and how large."""
        how = "missing or not finite" if self.error == float("inf") else f"off by {self.error:.2g}"
        return f"{self.what} is {how}"


def error_of(got: Tensor, want: Tensor, floor: float = 0.0) -> float:
    """Return the relative error of `got`, infinite where it is not finite or of another shape."""
    if got.shape != want.shape or not bool(torch.isfinite(got).all()):
        return float("inf")
    if got.numel() == 0:
        return 0.0
    got, want = got.double(), want.double()
    size = max(float(want.norm()), floor)
    distance = float((got - want).norm())
    return distance / size if size else (float("inf") if distance else 0.0)


def output_error(got: Output, want: Output) -> float:
    """Return the largest relative error of the members of an output."""
    pairs = named_members(got), named_members(want)
    if [name for name, _ in pairs[0]] != [name for name, _ in pairs[1]]:
        return float("inf")
    return max(
        error_of(mine, right) for mine, right in zip(members(got), members(want), strict=True)
    )


def cosines(got: Run, want: Run) -> dict[str, float]:
    """Return the cosine between the gradients of each parameter that has one on both sides.

    One that is rounding alone has no direction.
    """
    found, floor = {}, floor_of(want)
    for name, right in want.gradients.items():
        mine = got.gradients[name]
        if mine is None or right is None or float(right.norm()) <= floor:
            continue
        size = float(mine.norm() * right.norm())
        if size > 0:
            found[name] = float(mine.flatten() @ right.flatten()) / size
    return found


def floor_of(run: Run) -> float:
    """Return the norm below which a gradient of `run` counts as rounding."""
    return FLOOR * max(
        (float(g.norm()) for g in run.gradients.values() if g is not None), default=0
    )


def forward_differences(got: Run, want: Run, *, with_loss: bool = True) -> Iterator[Difference]:
    """Compare logits, loss and buffers."""
    yield Difference("the mean output", output_error(got.logits, want.logits))
    pairs = [("the loss", got.loss, want.loss)] if with_loss else []
    pairs += [(f"the buffer `{n}`", got.buffers[n], b) for n, b in want.buffers.items()]
    for what, mine, right in pairs:
        yield Difference(what, error_of(mine, right), _owner(what))


def gradient_differences(
    got: Run, want: Run, names: Iterable[str] | None = None, scale: float = 1.0
) -> Iterator[Difference]:
    """Compare the gradients, in the order in which the backward meets them.

    Args:
        got: of the method.
        want: of the plain loop.
        names: parameters to compare; all, and the input, if None.
        scale: `got` should be this times `want`.
    """
    order = list(want.outputs)
    floor = floor_of(want)
    found: list[tuple[int, Difference]] = []
    for name, right in want.gradients.items():
        if names is not None and name not in names:
            continue
        owner = name.rpartition(".")[0]
        mine = got.gradients[name]
        if mine is None and right is None:
            continue
        if mine is None:
            error = float("inf")
        else:
            right = torch.zeros_like(mine) if right is None else right
            error = error_of(mine, right * scale, floor)
        place = order.index(owner) if owner in order else -1
        found.append((place, Difference(f"the gradient of `{name}`", error, owner)))
    yield from (each for _, each in sorted(found, key=lambda pair: -pair[0]))
    pairs = zip(got.input_gradients, want.input_gradients, strict=True)
    for mine, right in pairs if names is None else ():
        if right is not None:
            error = float("inf") if mine is None else error_of(mine, right * scale)
            yield Difference("the gradient of the input", error)


def lost(got: Run, here: Run, *, zero_too: bool) -> Iterator[Difference]:
    """Return the gradients that are not there at all, though no truncation in time explains it.

    Args:
        got: of the method.
        here: of the plain loop without gradients through time.
        zero_too: whether one that is exactly zero is lost: not where a method has slopes of its
            own, which are zero outside of some range.
    """
    floor = floor_of(here)
    for name, right in here.gradients.items():
        mine, owner = got.gradients[name], name.rpartition(".")[0]
        if mine is not None and not bool(torch.isfinite(mine).all()):
            yield Difference(f"the gradient of `{name}`", float("inf"), owner)
        elif right is not None and float(right.norm()) > floor:
            if mine is None:
                yield Difference(f"the gradient of `{name}`", float("inf"), owner)
            elif zero_too and not float(mine.norm()):
                yield Difference(f"the gradient of `{name}`, exactly zero,", 1.0, owner)
    for mine, right in zip(got.input_gradients, here.input_gradients, strict=True):
        if right is not None and mine is None:
            yield Difference("the gradient of the input", float("inf"))


def first_leaf(records: Mapping[str, Mapping[str, list[Tensor]]], want: Run) -> Difference | None:
    """Return the first leaf, in the order of the forward, whose outputs differ.

    Args:
        records: of each view of the method: outputs of its leaves by path.
        want: of the plain loop.
    """
    for path, steps in want.outputs.items():
        right = torch.stack(steps)
        for outputs in records.values():
            got = _as_steps(outputs.get(path, []), right)
            if got is None:
                continue
            error = error_of(got, right)
            if error > TOLERANCE:
                return Difference(f"the output of `{path}`", error, path)
            break
    return None


def _as_steps(outputs: list[Tensor], like: Tensor) -> Tensor | None:
    """Return recorded outputs as ``[T, B, ...]``, or None where they are something else."""
    if not outputs or len({each.shape[1:] for each in outputs}) > 1:
        return None
    whole = torch.cat([each.detach() for each in outputs])
    if whole.numel() != like.numel() or bool(whole.isnan().any()):
        return None
    return whole.double().view(like.shape)


def _owner(what: str) -> str | None:
    return what.split("`")[1].rpartition(".")[0] if "`" in what else None
