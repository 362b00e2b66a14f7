"""What one comparison of a method with the plain loop finds, and which comparison it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd

from ratebp import methods
from ratebp.claims import Identity, Oracle
from ratebp.controls import Control
from ratebp.errors import OracleError
from ratebp.inputs import tensors_of
from ratebp.method import Method
from ratebp.neurons import LIF
from ratebp.oracles.hand import OverTime, swapped
from ratebp.schedules import SEQUENCE_LOSSES
from ratebp.verification.compare import (
    TOLERANCE,
    Difference,
    cosines,
    error_of,
    forward_differences,
    gradient_differences,
    lost,
    output_error,
)
from ratebp.verification.oracle import Run
from ratebp.verification.promises import (
    Promise,
    best,
    frame_neurons,
    in_last_spiking,
    kin,
    own_network,
)
from ratebp.verification.sides import FailedError, RefusedError, Side, Sides

EXACT = "exact"
AT_ONE = "equal at T=1"
APPROXIMATE = "approximate"
DRAWS = "The forward draws random numbers, layer by layer in another order than step by step."


@dataclass(frozen=True)
class Finding:
    """What a comparison found.

    Attributes:
        differences: all that was compared, with its error.
        outcome: if nothing is wrong.
        reason: to add to it.
        cosines: with BPTT's gradients, of an approximation.
        want: what the plain loop gave, if leaves can be compared with it.
    """

    differences: tuple[Difference, ...]
    outcome: str
    reason: str = ""
    cosines: Mapping[str, float] = field(default_factory=dict)
    want: Run | None = None

    @property
    def wrong(self) -> list[Difference]:
        """Return what is off by more than rounding."""
        return [each for each in self.differences if each.error > TOLERANCE]


def over_time(sides: Sides, method: Method, x: Tensor) -> Finding:
    """Compare over all time steps of ``x [T, B, ...]``, as the method promises.

    Args:
        sides: the network and the method.
        method: what it becomes under the loss.
        x: inputs.

    Raises:
        RefusedError: when the method refuses.
        OracleError: for a network without an oracle.
        FailedError: when it raises anything else.
    """
    promise = best(method, sides.model, len(x))
    if promise is not None and promise.over == "all":
        return _equal(sides, x, promise)
    if isinstance(method, Control) and frame_neurons(method, len(x)) is not None:
        return _frames(sides, method, x)
    return _own(sides, method, x) if own_network(method) else _approximate(sides, method, x)


def at_one_step(sides: Sides, method: Method, x: Tensor, found: Finding) -> Finding:
    """Return what `found` becomes by a comparison of the first time step alone.

    Args:
        sides: the network and the method.
        method: what it becomes under the loss.
        x: inputs.
        found: over all of them, with nothing wrong.

    Raises:
        FailedError: when the method raises anything but a refusal.
    """
    promise = best(method, sides.model, 1)
    if promise is None:
        return found
    try:
        one = _equal(sides, x[:1], promise)
    except (RefusedError, OracleError) as error:
        reason = f"One time step could not be compared: {error.__cause__ or error}"
        return replace(found, outcome=APPROXIMATE, reason=reason)
    if one.wrong:
        return one
    both = (*found.differences, *one.differences)
    outcome = AT_ONE if promise.over == "all" else APPROXIMATE
    return replace(found, outcome=outcome, differences=both)


def _equal(sides: Sides, x: Tensor, promise: Promise) -> Finding:
    """Compare with the plain loop what a promise says is equal."""
    side = sides.by_method(x)
    want = sides.plainly(x, side.drawing, promise.layout, promise.loss_mode)
    if want.draws and promise.layout == "multi" and len(x) > 1:
        return Finding((), APPROXIMATE, DRAWS)
    scale = 1 / len(x) if promise.inverse_t else 1.0
    names = None if promise.over == "all" else in_last_spiking(*sides.copied(x), want)
    differences = (
        *forward_differences(side.run, want),
        *gradient_differences(side.run, want, names, scale),
    )
    whole = promise.over == "all" and "timesteps" not in promise.when
    return Finding(differences, EXACT if whole else AT_ONE, want=want)


def _frames(sides: Sides, control: Control, x: Tensor) -> Finding:
    """Compare with the one-step network that a control says it trains."""
    side = sides.by_method(x)
    neurons = frame_neurons(control, len(x))
    frames = control.frames(x)
    want = sides.plainly(frames, side.drawing, "multi", "mean", neurons=neurons)
    if len(frames) < len(x):  # the mean frame's, a T-th each
        pairs = zip(want.input_gradients, tensors_of(x), strict=True)
        each = (None if g is None else (g / len(x)).expand_as(given) for g, given in pairs)
        want = replace(want, input_gradients=tuple(each))
    differences = (*forward_differences(side.run, want), *gradient_differences(side.run, want))
    reason = "Exact in the network that it trains, which is not the spiking one over T steps."
    return Finding(differences, APPROXIMATE, reason, want=want)


def _own(sides: Sides, method: Method, x: Tensor) -> Finding:
    """Check what can be checked of a network that is the method's own."""
    side = sides.by_method(x, plain=True)
    mode = method.info.loss if method.info.loss in SEQUENCE_LOSSES else "mean"
    cut = sides.plainly(x, side.drawing, method.info.layout, mode, through_time=False)
    assert side.plain is not None
    output = Difference("the mean output", output_error(side.run.logits, side.plain))
    reason = "Its network is its own: gradients are complete, the output is its plain forward's."
    return Finding((output, *lost(side.run, cut, zero_too=False)), APPROXIMATE, reason)


def _approximate(sides: Sides, method: Method, x: Tensor) -> Finding:
    """Compare the forward, look for gradients that are not there, and ask the method's kin."""
    side = sides.by_method(x)
    layout = method.info.layout
    mode = getattr(method, "loss_mode", method.info.loss)
    known = mode in SEQUENCE_LOSSES
    plainly = (x, side.drawing, layout, mode if known else "mean")
    want = sides.plainly(*plainly)
    if want.draws and layout == "multi" and len(x) > 1:
        return Finding((), APPROXIMATE, DRAWS)
    one = best(method, sides.model, 1)
    whole_at_one = one is not None and one.over == "all"
    cut = sides.plainly(*plainly, through_time=False)
    differences = (
        *forward_differences(side.run, want, with_loss=known),
        *lost(side.run, cut, zero_too=whole_at_one),
        *(() if want.draws else _unlike_kin(sides, method, x, side, want)),
    )
    return Finding(differences, APPROXIMATE, "", cosines(side.run, want), want)


def _unlike_kin(
    sides: Sides, method: Method, x: Tensor, side: Side, want: Run
) -> Iterator[Difference]:
    """Compare with the other approximations, and the oracles, that the method says it equals."""
    for identity in kin(method, sides.model, len(x)):
        if identity.oracle is None:
            theirs = _by_other(sides, identity, x, want)
        else:
            theirs = _by_oracle(sides, identity.oracle, x, want)
        if theirs is None:
            continue
        scale = 1 / len(x) if identity.scale == "inverse_t" else 1.0
        names = None if identity.over == "all" else in_last_spiking(*sides.copied(x), want)
        alone = (None,) * len(want.input_gradients)
        reference = replace(want, gradients=theirs, input_gradients=alone)
        for each in gradient_differences(side.run, reference, names, scale):
            yield replace(each, what=f"{each.what}, beside that of {identity},")


def _by_other(
    sides: Sides, identity: Identity, x: Tensor, want: Run
) -> Mapping[str, Tensor | None] | None:
    """Return the gradients of another method; None where it is no measure."""
    other = replace(sides, method=methods.get(identity.other, **identity.other_options))
    try:
        run = other.by_method(x).run
    except (RefusedError, OracleError, FailedError):
        return None  # what it cannot train says nothing about this method
    at_fault = output_error(run.logits, want.logits) > TOLERANCE
    return None if at_fault else run.gradients


def _by_oracle(
    sides: Sides, oracle: Oracle, x: Tensor, want: Run
) -> Mapping[str, Tensor | None] | None:
    """Return the gradients by an oracle; None where it cannot run the network.

    Oracles fold the steps into the batch and put other classes in the neurons' places. A network
    that gives something else when that is done to it is none for them.
    """
    model, own = sides.copied(x)
    if any(isinstance(m, _DropoutNd) and m.training and m.p > 0 for m in model.modules()):
        return None  # its masks are drawn a time step, not a sequence
    try:
        folded = swapped(model, LIF, lambda lif, _: OverTime(lif, len(x), lambda c, u, s, d: s))
        with torch.no_grad():
            logits = folded(own.flatten(0, 1)).unflatten(0, (len(x), -1)).mean(0)
        if error_of(logits, want.logits) > TOLERANCE:
            return None
        return oracle(*sides.copied(x), sides.y, sides.loss)
    except Exception:  # whatever it does not know: no neuron but LIF, an integer input, a detour
        return None
