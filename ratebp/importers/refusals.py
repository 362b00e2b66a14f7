"""Refusing an import: the first layer that differs from the source's, and what causes it."""

from __future__ import annotations

from torch import Tensor

from ratebp.errors import BindError
from ratebp.importers.pair import Pair
from ratebp.importers.report import brief

RTOL, ATOL = 1e-5, 1e-9
"""Gradients and outputs in float64 that differ by no more are equal; spikes must be."""


def refuse_other_neuron(pair: Pair, share: float, slope: float) -> None:
    """Check that a neuron by itself is what stands for it.

    Args:
        pair: the neuron.
        share: of equal spikes on drawn currents.
        slope: largest difference of the gradients, relative to the largest gradient.

    Raises:
        BindError: when they differ.
    """
    if share == 1 and slope <= RTOL:
        return
    what = "its spikes are equal" if share == 1 else f"{share:.2%} of its spikes are equal"
    if slope > RTOL:
        what += f" and its gradients differ by {slope:.2g} of the largest"
    raise BindError(
        f"`{pair.path}` ({pair.source}) by itself is not {brief(pair.module)}: on drawn currents "
        f"{what}. It computes something else than its settings say (a subclass, a replaced method, "
        "or a setting of another version). Use the package's own neuron, or write it with "
        "ratebp.LIF."
    )


def other_shape(pair: Pair, theirs: Tensor, ours: Tensor | None) -> str:
    """Return the message for spikes of another shape, time steps first in both."""
    found = "none" if ours is None else f"{[*ours.shape]}"
    return (
        f"`{pair.path}` gives spikes {[*theirs.shape]} (time steps first) in the source, but "
        f"{found} in the imported model, which runs one time step a call. Let the forward treat "
        "the time axis as the package's own layers do, or write it for one time step [B, ...]."
    )


def network_differs(pair: Pair, theirs: Tensor, ours: Tensor, currents: Tensor) -> BindError:
    """Return the refusal of a neuron whose spikes differ in the network; it names the cause.

    Args:
        pair: the neuron.
        theirs: spikes of the source ``[T, B, ...]``.
        ours: spikes of the imported model.
        currents: of the imported model.
    """
    other = theirs != ours
    first = int(other.flatten(1).any(1).nonzero()[0])
    share = 1 - float(other.double().mean())
    near = (currents[first][other[first]] - pair.scale).abs() / pair.scale
    cause = (
        "By itself the neuron is equal, so its current differs: an operation of the forward in "
        "front of it does something else in one time step. Write that part for one time step "
        "[B, ...]"
    )
    if first == 0 and bool((near < ATOL).all()):
        cause = (
            "Where they differ the potential is the threshold: the source fires above it, ratebp "
            "at it. Use a threshold that sums of weights do not meet"
        )
    return BindError(
        f"`{pair.path}` ({pair.source}) is the first layer whose spikes differ: {share:.2%} are "
        f"equal on the probe batch, from time step {first} on. {cause}."
    )
