"""One step by a method beside one plain step, and what that says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp import methods
from ratebp.controls import Control
from ratebp.errors import OracleError, RatebpError
from ratebp.method import Method
from ratebp.schedules import SEQUENCE_LOSSES, Loss
from ratebp.verification.compare import (
    TOLERANCE,
    Difference,
    cosines,
    error_of,
    first_leaf,
    forward_differences,
    gradient_differences,
    lost,
)
from ratebp.verification.oracle import Run
from ratebp.verification.promises import (
    Promise,
    frame_neurons,
    in_last_spiking,
    own_network,
    promises,
)
from ratebp.verification.sides import FailedError, Sides

OUTCOMES = ("exact", "equal at T=1", "approximate", "refused", "wrong")


@dataclass(frozen=True)
class Check:
    """What `verify` found; print it.

    Attributes:
        method: the method with its options.
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
    x: Tensor,
    y: Tensor,
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
        x: a small batch, time-major ``[T, B, ...]``; its gradient is compared if it asks for one.
        y: targets.
        loss: as for `Bound.step`.

    Returns:
        What was found. It raises nothing for a method that fails: a refusal is the outcome
        "refused", any other error is "wrong".

    Raises:
        OptionError: for an unknown method.
        OracleError: for a network that cannot be copied, or run without a method.
    """
    method = methods.get(method) if isinstance(method, str) else method
    return _Verification(model, method, _double(x), _double(y), loss).check()


def _double(x: Tensor) -> Tensor:
    # `to` would make an expanded constant input a full one.
    wide = x.detach()
    if wide.is_floating_point():
        constant = wide.dim() > 0 and wide.stride(0) == 0
        wide = wide[:1].double().expand_as(wide) if constant else wide.double()
    return wide.requires_grad_(x.requires_grad)


@dataclass(frozen=True)
class _Found:
    """What one comparison found."""

    differences: tuple[Difference, ...]
    outcome: str
    reason: str = ""
    cosines: Mapping[str, float] = field(default_factory=dict)
    want: Run | None = None

    @property
    def wrong(self) -> list[Difference]:
        return [each for each in self.differences if each.error > TOLERANCE]


class _Verification:
    """One network, one method, one batch."""

    def __init__(self, model: nn.Module, method: Method, x: Tensor, y: Tensor, loss: Loss) -> None:
        self._model = model
        self._method = method
        self._sides = Sides(model, method, y, loss)
        self._loss = loss
        self._x = x

    def check(self) -> Check:
        try:
            under = self._method.under(self._loss)
            over_time = self._over_time(under)
            found = over_time
            if not over_time.wrong and over_time.outcome != "exact" and len(self._x) > 1:
                found = self._at_one_step(under, over_time)
            return self._told(found, self._x if found is over_time else self._x[:1])
        except RatebpError as error:
            if isinstance(error, OracleError):
                raise
            return Check(str(self._method), "refused", reason=str(error))
        except FailedError as failed:
            cause = failed.__cause__
            self._sides.plainly(self._x, torch.get_rng_state(), "single", "mean")
            text = f"it fails with {type(cause).__name__}: {cause}".partition("\n")[0]
            return Check(str(self._method), "wrong", float("inf"), reason=text)

    def _over_time(self, under: Method) -> _Found:
        """Compare at the T that was asked for."""
        promise = self._promise(under, len(self._x))
        if promise is not None and promise.over == "all":
            return self._equal(self._x, promise)
        if isinstance(under, Control) and frame_neurons(under, len(self._x)) is not None:
            return self._frames(under)
        if own_network(under):
            return self._own(under)
        return self._approximate(under)

    def _promise(self, method: Method, timesteps: int) -> Promise | None:
        """Return the promise that holds here, one over all parameters first."""
        held = [p for p in promises(method) if p.holds(self._model, timesteps)]
        return min(held, key=lambda p: (p.over != "all", "timesteps" in p.when), default=None)

    def _promises_all(self, method: Method) -> bool:
        promise = self._promise(method, 1)
        return promise is not None and promise.over == "all"

    def _equal(self, x: Tensor, promise: Promise) -> _Found:
        """Compare with the plain loop what a promise says is equal."""
        side = self._sides.by_method(x)
        want = self._sides.plainly(x, side.drawing, promise.layout, promise.loss_mode)
        if want.draws and promise.layout == "multi" and len(x) > 1:
            return _Found(
                (),
                "unknown",
                "The forward draws random numbers, in another order than the plain loop's.",
            )
        scale = 1 / len(x) if promise.inverse_t else 1.0
        names = None if promise.over == "all" else in_last_spiking(self._model, want)
        differences = (
            *forward_differences(side.run, want),
            *gradient_differences(side.run, want, names, scale),
        )
        whole = promise.over == "all" and "timesteps" not in promise.when
        return _Found(differences, "exact" if whole else "equal at T=1", want=want)

    def _frames(self, control: Control) -> _Found:
        """Compare with the one-step network that a control says it trains."""
        side = self._sides.by_method(self._x)
        neurons = frame_neurons(control, len(self._x))
        frames = control.frames(self._x)
        want = self._sides.plainly(frames, side.drawing, "multi", "mean", neurons=neurons)
        differences = (
            *forward_differences(side.run, want),
            *gradient_differences(side.run, want),
        )
        reason = "Exact in the network that it trains, which is not the spiking one over T steps."
        return _Found(differences, "approximate", reason, want=want)

    def _own(self, method: Method) -> _Found:
        """Check what can be checked of a network that is the method's own."""
        side = self._sides.by_method(self._x, plain=True)
        mode = method.info.loss if method.info.loss in SEQUENCE_LOSSES else "mean"
        cut = self._sides.plainly(
            self._x, side.drawing, method.info.layout, mode, through_time=False
        )
        assert side.plain is not None
        output = Difference("the mean output", error_of(side.run.logits, side.plain))
        reason = "Its network is its own; its gradients were found complete, its output its own."
        return _Found(
            (output, *lost(side.run, cut, zero_too=False)), "approximate", reason, want=None
        )

    def _approximate(self, method: Method) -> _Found:
        """Compare the forward, and look for gradients that are not there."""
        side = self._sides.by_method(self._x)
        info = method.info
        mode = getattr(method, "loss_mode", info.loss)
        known = mode in SEQUENCE_LOSSES
        plainly = (self._x, side.drawing, info.layout, mode if known else "mean")
        want = self._sides.plainly(*plainly)
        cut = self._sides.plainly(*plainly, through_time=False)
        if want.draws and info.layout == "multi" and len(self._x) > 1:
            return _Found((), "unknown", "The forward draws random numbers.")
        differences = (
            *forward_differences(side.run, want, with_loss=known),
            *lost(side.run, cut, zero_too=self._promises_all(method)),
        )
        return _Found(differences, "approximate", cosines=cosines(side.run, want), want=want)

    def _at_one_step(self, method: Method, over_time: _Found) -> _Found:
        """Compare at T=1 where an approximation promises it; else hand on what was found."""
        promise = self._promise(method, 1)
        if promise is None:
            if over_time.outcome == "unknown":
                return replace(over_time, outcome="approximate")
            return over_time
        try:
            found = self._equal(self._x[:1], promise)
        except RatebpError as error:
            reason = f"At one step it could not be compared: {error}"
            return replace(over_time, outcome="approximate", reason=reason)
        if found.wrong:
            return replace(found, reason="At T=1")
        outcome = "equal at T=1" if promise.over == "all" else "approximate"
        both = (*over_time.differences, *found.differences)
        return replace(over_time, outcome=outcome, differences=both)

    def _told(self, found: _Found, x: Tensor) -> Check:
        name = str(self._method)
        worst = max((each.error for each in found.differences), default=0.0)
        if not found.wrong:
            return Check(name, found.outcome, worst, found.cosines, None, found.reason)
        first = found.wrong[0]
        if found.want is not None and any("output" in each.what for each in found.wrong):
            side = self._sides.by_method(x, watched=True)
            first = first_leaf(side.records, found.want) or first
        steps = f"at T={len(x)} "
        return Check(name, "wrong", worst, found.cosines, first.leaf, f"{steps}{first}")
