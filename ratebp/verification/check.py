"""One step by a method beside one plain step, and what that says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp import methods
from ratebp.checks import refuse_inputs
from ratebp.errors import OptionError
from ratebp.inputs import Given, each_of, gathered, tensors_of
from ratebp.method import Method
from ratebp.schedules import Loss
from ratebp.structures import mapped
from ratebp.verification.compare import first_leaf
from ratebp.verification.findings import APPROXIMATE, AT_ONE, Finding, at_one_step, over_time
from ratebp.verification.sides import FailedError, RefusedError, Sides

OUTCOMES = ("exact", AT_ONE, APPROXIMATE, "refused", "wrong")


@dataclass(frozen=True)
class Check:
    """What `verify` found; print it.

    Attributes:
        method: its name, with options that are not the default.
        outcome: one of

            - "exact": loss, mean output, every gradient and every buffer are those of the plain
              loop.
            - "equal at T=1": so they are at one time step; over T steps the backward approximates,
              as declared, and the forward was found equal.
            - "approximate": it never promises BPTT's gradients of all parameters; what it does
              promise was found so.
            - "refused": the method declines this network; `reason` has its words.
            - "wrong": something that it promises is not so.
        error: the largest relative error among what had to be equal; None if refused.
        cosines: of each parameter's gradient with that of BPTT, over T steps.
        leaf: where it first goes wrong: in the order of the forward if an output differs, else in
            the order of the backward.
        reason: one sentence.
    """

    method: str
    outcome: str
    error: float | None = None
    cosines: Mapping[str, float] = field(default_factory=dict)
    leaf: str | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong: a refusal is fine, too."""
        return self.outcome != "wrong"

    def __str__(self) -> str:
        """Return the finding in words, with a line for each parameter of an approximation."""
        head = f"{self.method}: {self.outcome}"
        head += f", at `{self.leaf}`" if self.leaf else ""
        lines = [f"{head}. {self.reason}" if self.reason else f"{head}."]
        if self.outcome in ("equal at T=1", "approximate"):
            lines += [f"    cosine {value:+.4f}  {name}" for name, value in self.cosines.items()]
        return "\n".join(lines)


def verify(
    model: nn.Module,
    method: str | Method,
    x: Given,
    y: Any,
    *,
    loss: Loss = F.cross_entropy,
) -> Check:
    """Check one training step of `method` on the user's own network against a plain autograd loop.

    Both run in float64 on copies; `model` is left as it is. The loop runs the model one time step
    after the other with nothing of this library but the neurons' equations. Batch statistics are
    taken as the method's layout says: of each step, or over T*B.

    Args:
        model: as for `Method.bind`, in the mode that it is to be trained in.
        method: a name, or a method with options.
        x: a small batch, time-major ``[T, B, ...]``, or several as for `Bound.step`; the gradient
            of each is compared if it asks for one.
        y: targets.
        loss: as for `Bound.step`.

    Returns:
        What was found. It raises nothing for a method that fails: a refusal is the outcome
        "refused", any other error is "wrong".

    Raises:
        OptionError: for an unknown method, or what is none.
        InputError: for an input that no method could take.
        OracleError: for a network that cannot be copied, or run without a method.
    """
    method = methods.get(method) if isinstance(method, str) else method
    if not isinstance(method, Method):
        raise OptionError(
            f"the method is of type {type(method).__name__}, but must be one name or one method: "
            "verify(model, 'rate_m', x, y). For several, call it once for each."
        )
    given = gathered(x)
    for each in tensors_of(given):
        if not isinstance(each, Tensor):
            refuse_inputs(model, given)
    return _check(Sides(model, method, mapped(_as_target, y), loss), each_of(given, _double))


def _check(sides: Sides, x: Tensor) -> Check:
    name = _named(sides.method)
    try:
        under = _under(sides.method, sides.loss)
        found, at = over_time(sides, under, x), x
        if not found.wrong and found.outcome != "exact" and len(x) > 1:
            one = at_one_step(sides, under, x, found)
            found, at = one, x[:1] if one.wrong else x
        return _told(name, sides, found, at)
    except RefusedError as refused:
        return Check(name, "refused", reason=str(refused.__cause__))
    except FailedError as failed:
        sides.plainly(x, torch.get_rng_state(), "single", "mean")  # or is it the network?
        cause = failed.__cause__
        text = f"It fails with {type(cause).__name__}: {cause}".partition("\n")[0]
        return Check(name, "wrong", float("inf"), reason=text)


def _under(method: Method, loss: Loss) -> Method:
    try:
        return method.under(loss)
    except OptionError as error:
        raise RefusedError from error


def _told(name: str, sides: Sides, found: Finding, x: Tensor) -> Check:
    worst = max((each.error for each in found.differences), default=0.0)
    if not found.wrong:
        return Check(name, found.outcome, worst, found.cosines, None, found.reason)
    first = found.wrong[0]
    if found.want is not None and any("output" in each.what for each in found.wrong):
        first = first_leaf(sides.by_method(x, watched=True).records, found.want) or first
    reason = f"At T={len(x)} {first}."
    return Check(name, "wrong", worst, found.cosines, first.leaf, reason)


def _named(method: Method) -> str:
    """Return the method's name with the options that are not the default."""
    cls = type(method)
    known = (name for name, entry in methods.entries().items() if entry.cls is cls)
    given = {f.name: getattr(method, f.name) for f in fields(cls)}  # type: ignore[arg-type]
    other = {n: v for n, v in given.items() if v != getattr(cls(), n)}
    options = f"({', '.join(f'{n}={v}' for n, v in other.items())})" if other else ""
    return next(known, cls.__name__) + options


def _as_target(y: Any) -> Any:
    return _double(y) if isinstance(y, Tensor) else y


def _double(x: Tensor) -> Tensor:
    # `to` would make an expanded constant input a full one.
    wide = x.detach()
    if wide.is_floating_point():
        constant = wide.dim() > 0 and wide.stride(0) == 0
        wide = wide[:1].double().expand_as(wide) if constant else wide.double()
    return wide.requires_grad_(x.requires_grad)
