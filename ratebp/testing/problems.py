"""Small seeded networks with data: residual, float64, seconds on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.errors import OptionError
from ratebp.method import Bound, Method
from ratebp.neurons import LIF
from ratebp.schedules import Result
from ratebp.verification.sides import WithheldUpdates
from ratebp.wiring import trace

NORMS = ("none", "batch", "frozen")


class SmallResidual(nn.Module):
    """Two residual stages with a strided shortcut, average pooling and a linear readout."""

    def __init__(self, norm: str, **neuron: Any) -> None:
        """Build for inputs ``[B, 2, 7, 7]`` and 5 classes."""
        super().__init__()
        bias = norm == "none"
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=bias)
        self.conv1 = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=bias)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, bias=bias, groups=2)
        self.shortcut = nn.Conv2d(4, 6, 1, stride=2, bias=bias)
        widths = (4, 6, 6, 6)
        norms = [nn.Identity() if norm == "none" else nn.BatchNorm2d(w) for w in widths]
        self.norm0, self.norm1, self.norm2, self.norm3 = norms
        self.lif0, self.lif1, self.lif2 = (LIF(**neuron) for _ in range(3))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[B, 5]``."""
        a = self.lif0(self.norm0(self.stem(x)))
        p = self.norm2(self.conv2(self.lif1(self.norm1(self.conv1(a)))))
        out: Tensor = self.head(self.lif2(p + self.norm3(self.shortcut(a))))
        return out


@dataclass(frozen=True)
class Problem:
    """A model in training mode, a sequence ``x [T, B, ...]`` that changes, and targets ``y``."""

    model: nn.Module
    x: Tensor
    y: Tensor

    @property
    def timesteps(self) -> int:
        """Return T."""
        return self.x.shape[0]


def problem(
    *,
    norm: str = "none",
    timesteps: int = 3,
    batch: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    **neuron: Any,
) -> Problem:
    """Return a seeded problem.

    Args:
        norm: "none", "batch", or "frozen" (batch norms in eval mode).
        timesteps: T.
        batch: B.
        seed: of weights and data; the global random state is left as it was.
        dtype: of both.
        **neuron: settings of `LIF`; the default decay here is 0.5, so that time matters.

    Raises:
        OptionError: for an unknown norm.
    """
    if norm not in NORMS:
        raise OptionError.unknown("norm of a problem", norm, NORMS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SmallResidual(norm, **{"decay": 0.5, **neuron}).to(dtype)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(2.5)  # so that all layers spike, and none always
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    _disturb(module)
        x = 1.5 * torch.randn(timesteps, batch, 2, 7, 7, dtype=dtype)
        y = torch.randint(0, 5, (batch,))
    for module in model.modules():
        if norm == "frozen" and isinstance(module, nn.BatchNorm2d):
            module.eval()
    return Problem(model, x, y)


def fitting(method: Method, *, norm: str, **settings: Any) -> Problem:
    """Return the problem with `norm`, or without any if `method` refuses norms; see `problem`."""
    return problem(norm=norm if method.info.norms else "none", **settings)


def seeded_step(bound: Bound, x: Tensor, y: Tensor) -> Result:
    """Run `bound.step` with the same draws every time, and with updates withheld."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return bound.step(x, y, context=WithheldUpdates())


def into_last_spiking_layer(model: nn.Module) -> list[str]:
    """Return the names of the parameters of the synapses into the last spiking layer."""
    wiring = trace(model)
    neurons = {path for behind in wiring.behind.values() for path in behind}
    last = {path for path in neurons if not wiring.behind[path]}
    feeding = [p for p, behind in wiring.behind.items() if behind and behind <= last]
    names = {n for n, _ in model.named_parameters()}
    found = [f"{p}.{kind}" for p in feeding for kind in ("weight", "bias")]
    assert any(name in names for name in found)
    return [name for name in found if name in names]


def _disturb(norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.bias.normal_(0.3, 0.3)
    norm.weight.uniform_(0.8, 1.5)
    norm.running_mean.normal_(0, 0.2)
    norm.running_var.uniform_(0.5, 1.5)
