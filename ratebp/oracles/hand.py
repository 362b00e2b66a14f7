"""What the oracles share: copies of a model with other layers, a value with a slope, a LIF loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.dynamics import Dynamics
from ratebp.neurons import LIF

Loss = Callable[[Tensor, Tensor], Tensor]
Gradients = dict[str, Tensor]


def swapped(model: nn.Module, kind: type, make: Callable[[Any, str], nn.Module]) -> nn.Module:
    """Return a copy of `model` whose layers of a `kind` are what `make` makes of layer and path."""
    made = copy.deepcopy(model)
    for path, layer in list(made.named_modules()):
        if isinstance(layer, kind):
            made.set_submodule(path, make(layer, path))
    return made


def gradients(model: nn.Module, value: Tensor) -> Gradients:
    """Return the gradients of a scalar by the parameters of a model, by name."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, parameters), strict=True))


class _Given(torch.autograd.Function):
    """A value whose gradient by the current is `slope` times that by the value."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0] * ctx.saved_tensors[0], None, None


def given(current: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    """Return `value`, whose gradient by `current` is `slope`."""
    out: Tensor = _Given.apply(current, value, slope)  # type: ignore[no-untyped-call]
    return out


class FunctionNeuron(nn.Module):
    """A neuron whose value and slope `f` makes of its current."""

    def __init__(self, f: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        """Take `f`."""
        super().__init__()
        self.f = f

    def forward(self, current: Tensor) -> Tensor:
        """Return the value."""
        return given(current, *self.f(current.detach()))


def spiking(currents: Tensor, d: Dynamics) -> tuple[Tensor, Tensor]:
    """Return the potentials and spikes of a LIF neuron for currents ``[T, B, ...]``."""
    left = torch.zeros_like(currents[0])
    potentials, spikes = [], []
    for now in currents:
        u = left + now
        s = (u >= d.threshold).to(u.dtype)
        left = d.decay * (u * (1 - s) if d.reset == "hard" else u - d.threshold * s)
        potentials.append(u)
        spikes.append(s)
    return torch.stack(potentials), torch.stack(spikes)


def fading(decay: float, timesteps: int) -> list[float]:
    """Return T weights ``decay^(T-t)``, of sum 1."""
    raw = [decay ** (timesteps - 1 - t) for t in range(timesteps)]
    return [each / sum(raw) for each in raw]


def weighted(weights: Sequence[float], steps: Tensor) -> Tensor:
    """Return the weighted sum of steps ``[T, ...]``."""
    total = torch.zeros_like(steps[0])
    for weight, now in zip(weights, steps, strict=True):
        total = total + weight * now
    return total


class OverTime(nn.Module):
    """A LIF neuron over steps ``[T*B, ...]``, with the backward `f` of currents and spikes."""

    def __init__(self, lif: LIF, timesteps: int, f: Callable[..., Tensor]) -> None:
        """Take the constants of `lif`."""
        super().__init__()
        self.dynamics, self.timesteps, self.f = lif.dynamics, timesteps, f

    def forward(self, folded: Tensor) -> Tensor:
        """Return the spikes."""
        currents = folded.unflatten(0, (self.timesteps, -1))
        u, spikes = spiking(currents.detach(), self.dynamics)
        return self.f(currents, u, spikes, self.dynamics).flatten(0, 1)
