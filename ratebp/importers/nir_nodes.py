"""Nodes of a NIR graph as modules: layers, and neurons in discrete time.

NIR's neurons are equations in continuous time, ``tau dv/dt = v_leak - v + r I``. In time steps of
dt they are ``v[t] = decay v[t-1] + (1 - decay) (v_leak + r I[t])`` with

    decay = 1 - dt / tau      integrator="euler"
    decay = exp(-dt / tau)    integrator="exact", for a current that is constant within a step

Counted from v_leak and divided by the gain ``r (1 - decay)`` of the current this is a `LIF`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ratebp.errors import BindError, OptionError
from ratebp.neurons import LIF, Neuron, UndecayedLIF
from ratebp.ops.spike import spike
from ratebp.surrogates import Surrogate

RESETS = ("hard", "soft", "soft_undecayed")
INTEGRATORS = ("euler", "exact")


@dataclass(frozen=True)
class NirOptions:
    """What a NIR file does not say.

    Attributes:
        dt: length of a time step, in the file's unit of tau.
        reset: "hard", "soft" or "soft_undecayed".
        integrator: "euler" or "exact".
        detach_reset: of the neurons.
        surrogate: of the neurons.
    """

    dt: float
    reset: str
    integrator: str
    detach_reset: bool
    surrogate: Surrogate


@dataclass(frozen=True)
class Constants:
    """A neuron in discrete time: ``v = decay v + gain I`` from rest, and its threshold."""

    decay: float
    gain: float
    threshold: float


class NirScale(nn.Module):
    """A constant factor for each element, NIR's Scale."""

    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        """Keep the factors."""
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return the product."""
        return x * self.scale


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(np.asarray(value), dtype=torch.float32).clone()


def _pair(value: Any) -> Any:
    return value if isinstance(value, str) else tuple(int(each) for each in np.atleast_1d(value))


def _linear(path: str, node: Any) -> nn.Module:
    weight = _tensor(node.weight)
    bias = type(node).__name__ == "Affine"
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
    made.weight = nn.Parameter(weight)
    if bias:
        made.bias = nn.Parameter(_tensor(node.bias))
    return made


def _conv(cls: Any) -> Callable[[str, Any], nn.Module]:
    def make(path: str, node: Any) -> nn.Module:
        weight, groups = _tensor(node.weight), int(node.groups)
        made = cls(
            weight.shape[1] * groups,
            weight.shape[0],
            tuple(weight.shape[2:]),
            _pair(node.stride),
            _pair(node.padding),
            _pair(node.dilation),
            groups,
        )
        made.weight, made.bias = nn.Parameter(weight), nn.Parameter(_tensor(node.bias))
        return made  # type: ignore[no-any-return]

    return make


def _pool(divisor: int | None) -> Callable[[str, Any], nn.Module]:
    def make(path: str, node: Any) -> nn.Module:
        kernel, stride, padding = map(_pair, (node.kernel_size, node.stride, node.padding))
        return nn.AvgPool2d(kernel, stride, padding, divisor_override=divisor)

    return make


def _flatten(path: str, node: Any) -> nn.Module:
    start, end = int(node.start_dim), int(node.end_dim)
    # NIR counts the dimensions of one sample.
    return nn.Flatten(start + (start >= 0), end + (end >= 0))


LAYERS: dict[str, Callable[[str, Any], nn.Module]] = {
    "Linear": _linear,
    "Affine": _linear,
    "Conv1d": _conv(nn.Conv1d),
    "Conv2d": _conv(nn.Conv2d),
    "SumPool2d": _pool(1),
    "AvgPool2d": _pool(None),
    "Flatten": _flatten,
    "Scale": lambda path, node: NirScale(_tensor(node.scale)),
}


def constants(path: str, node: Any, reading: NirOptions) -> Constants:
    """Return a NIR neuron in discrete time.

    Raises:
        BindError: for constants that differ among neurons, a rest that is not the reset, and a
            time step that no leak fits in.
    """
    leaky = type(node).__name__ == "LIF"
    names = ("r", "v_threshold", "v_reset", *(("tau", "v_leak") if leaky else ()))
    one = {name: _one(path, name, getattr(node, name)) for name in names}
    rest = one.get("v_leak", one["v_reset"])
    if rest != one["v_reset"]:
        raise BindError(
            f"`{path}` rests at v_leak={rest:g} and is reset to v_reset={one['v_reset']:g}, but a "
            "neuron of ratebp rests at what it is reset to. Write the file with both equal."
        )
    decay = 1.0
    if leaky:
        share = reading.dt / one["tau"]
        decay = 1 - share if reading.integrator == "euler" else math.exp(-share)
        if not 0 <= decay <= 1:
            raise BindError(
                f"`{path}` has tau={one['tau']:g}, so a time step of dt={reading.dt:g} leaves "
                f"decay={decay:g}, which is not in [0, 1]. Exporters write tau in seconds, in time "
                "steps or divided by dt: give dt in the file's unit."
            )
    # An IF has no tau to measure dt by: its current is that of a whole time step.
    gain = one["r"] * (1 - decay) if leaky else one["r"]
    threshold = one["v_threshold"] - rest
    if threshold <= 0 or gain <= 0:
        raise BindError(
            f"`{path}` has a threshold {threshold:g} above rest and a gain {gain:g} of its current,"
            " which must be positive."
        )
    return Constants(decay, gain, threshold)


def _one(path: str, name: str, value: Any) -> float:
    values = np.unique(np.asarray(value, dtype=float))
    if len(values) != 1:
        raise BindError(
            f"`{path}` has {len(values)} values of {name}, but a layer of ratebp has one. Split the"
            " layer by its constants."
        )
    return float(values[0])


def neuron(c: Constants, reading: NirOptions) -> Neuron:
    """Return ours: the potential is divided by the gain, and the surrogate's sharpness with it."""
    known = reading.surrogate
    shape = known.name, known.alpha * c.gain
    threshold = c.threshold / c.gain
    if reading.reset == "soft_undecayed":
        return UndecayedLIF(c.decay, threshold, reading.detach_reset, *shape)
    return LIF(c.decay, threshold, reading.reset, reading.detach_reset, *shape)


class Simulated(nn.Module):
    """A NIR neuron as its equation says, one time step a call: what an import is proven against.

    Args:
        c: its constants.
        reading: what the file does not say.
    """

    def __init__(self, c: Constants, reading: NirOptions) -> None:
        """Start at rest."""
        super().__init__()
        self.c, self.reading = c, reading
        self.last: tuple[Tensor, Tensor] | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step; the potential is counted from rest."""
        c, reset = self.c, self.reading.reset
        v = c.gain * current
        if self.last is not None:
            before, by = self.last
            if reset == "hard":
                v = c.decay * before * (1 - by) + v
            else:
                share = c.decay if reset == "soft" else 1.0
                v = c.decay * before - share * c.threshold * by + v
        s = spike(v, c.threshold, self.reading.surrogate)
        self.last = v, s.detach() if self.reading.detach_reset else s
        return s


def package() -> Any:
    """Return the package nir.

    Raises:
        OptionError: where it is missing.
    """
    try:
        return importlib.import_module("nir")
    except ImportError as error:
        raise OptionError(
            f"NIR files need the package nir ({error}). Install it: pip install 'ratebp[nir]'."
        ) from error
