"""The frozen reference step: plain multi-step BPTT of the cell's own network, our own copy.

Seconds of one machine say nothing on another, and drift on the same one. The time probe therefore
alternates the method's step with this one in the same process and reports their ratio. A yardstick
must not change when the library gets faster or slower: nothing here imports the library, and a
test ties the text of this file to `REFERENCE_VERSION`. Ratios to different versions are different
metrics.

What the reference is, whatever the cell says: each spiking layer runs over all T steps at once,
batch norm sees T*B samples jointly, the spike inside the reset is a constant in the backward, the
surrogate is the sigmoid of sharpness 4, the loss is the cross entropy of the mean output, and the
update is SGD with momentum. The constants of the neurons (decay, threshold, reset) and everything
else of the network are the cell's.

::

    u[t] = decay * (u[t-1] - threshold * s[t-1]) + I[t]      soft reset
    u[t] = decay * u[t-1] * (1 - s[t-1]) + I[t]              hard reset
    s[t] = 1 if u[t] >= threshold else 0,    ds/du = 4 sig(4x) (1 - sig(4x)),  x = u - threshold

Source: Wu et al. 2018 (STBP), arXiv 1706.02609. Memory grows linearly with T.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.trial.probe import Neuron, Phase

REFERENCE_VERSION: Final = 1

_ALPHA: Final = 4.0
_RATE: Final = 1e-3
_MOMENTUM: Final = 0.9


class Reference:
    """A copy of a network with its own parameters and optimiser, trained by plain BPTT.

    Args:
        model: A network for one time step, `[B, ...] -> [B, K]`; it is copied, never changed.
        neurons: its spiking layers.
        timesteps: T, the length of every sequence that `step` will be given.
        autocast: whether the forward runs under bfloat16 autocast; potentials stay in float32
            then.
    """

    def __init__(
        self, model: nn.Module, neurons: Sequence[Neuron], timesteps: int, *, autocast: bool = False
    ) -> None:
        """Copy the network and put the frozen neuron where the spiking layers were."""
        self.model = _with_scans(copy.deepcopy(model), neurons, timesteps)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=_RATE, momentum=_MOMENTUM)
        self._timesteps = timesteps
        self._autocast = autocast

    def gradient(self, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        """Add the gradient for `x [T, B, ...]`, `y [B]` to `.grad`; return the loss, detached."""
        with phase("forward"), self._precision(x.device):
            out = self.model(x.flatten(0, 1)).unflatten(0, (self._timesteps, -1))
            loss = cross_entropy(out.mean(0), y)
        with phase("backward"):
            loss.backward()
        return loss.detach()

    def step(self, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        """Take one training step; the loss is detached, so no graph outlives the call."""
        loss = self.gradient(x, y, phase)
        with phase("update"):
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=False)
        return loss

    def _precision(self, device: torch.device) -> AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16) if self._autocast else nullcontext()


class _Spike(torch.autograd.Function):
    """Heaviside step of `u - threshold`; sigmoid derivative in the backward."""

    @staticmethod
    def forward(ctx: Any, over: Tensor) -> Tensor:
        ctx.save_for_backward(over)
        return (over >= 0).to(over.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        sig = torch.sigmoid(_ALPHA * ctx.saved_tensors[0])
        return grads[0] * (_ALPHA * sig * (1 - sig))


class _Scan(nn.Module):
    """A spiking layer over a whole sequence: folded current `[T*B, ...]` to folded spikes."""

    def __init__(self, neuron: Neuron, timesteps: int) -> None:
        super().__init__()
        self.neuron = neuron
        self.timesteps = timesteps

    def forward(self, current: Tensor) -> Tensor:
        u: Tensor | None = None
        spikes: list[Tensor] = []
        # The gradient of current[t] would be a full [T, ...] tensor at each t; unbind's is one.
        for now in current.unflatten(0, (self.timesteps, -1)).unbind(0):
            inflow = now.to(torch.promote_types(now.dtype, torch.float32))
            u = inflow if u is None else self._carry(u, spikes[-1].to(u.dtype)) + inflow
            fired: Tensor = _Spike.apply(u - self.neuron.threshold)  # type: ignore[no-untyped-call]
            spikes.append(fired.to(current.dtype))
        return torch.stack(spikes).flatten(0, 1)

    def _carry(self, u: Tensor, spikes: Tensor) -> Tensor:
        if self.neuron.reset == "soft":
            return self.neuron.decay * (u - self.neuron.threshold * spikes.detach())
        return self.neuron.decay * u * (1 - spikes.detach())


def _with_scans(model: nn.Module, neurons: Sequence[Neuron], timesteps: int) -> nn.Module:
    """Replace the spiking layers of `model`, wherever each of them stands."""
    scans = {model.get_submodule(neuron.path): _Scan(neuron, timesteps) for neuron in neurons}
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if module in scans and path:
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, scans[module])
    return scans.get(model, model)
