"""The oracle of the habit tests: the user's own network, stepped by a plain autograd loop."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.errors import RatebpError
from ratebp.testing import seeded_step

TOLERANCE = 1e-10
STEPS = 4
EVERY = ratebp.methods.names()
EXACT = ("bptt_m", "bptt_s", "bptt_ckpt")
CUT = ("sltt", "ottt_a", "ottt_o", "ndot_a", "ndot_o", "ostl")
"""Online methods whose gradient by the input is that of the loop without edges through time."""


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        sig = torch.sigmoid(4.0 * ctx.saved_tensors[0])
        return grads[0] * 4.0 * sig * (1 - sig)


class ByHand(ratebp.LIF):
    """A LIF of soft, detached reset that runs; as the library's default, written out again."""

    potential: Tensor | None = None
    cut = False

    def forward(self, current: Tensor) -> Tensor:
        d, u = self.dynamics, current
        if self.potential is not None:
            fired = (self.potential >= d.threshold).to(current.dtype)
            left = d.decay * (self.potential - d.threshold * fired)
            u = u + (left.detach() if self.cut else left)
        self.potential = u
        out: Tensor = _Fire.apply(u - d.threshold)  # type: ignore[no-untyped-call]
        return out


def runnable(model: nn.Module, *, cut: bool = False) -> nn.Module:
    """Return a copy of `model` whose neurons run; `cut` leaves out the gradient through time."""
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if type(module) is ratebp.LIF:
            module.__class__ = ByHand
        if isinstance(module, ratebp.LIF):
            module.cut = cut  # type: ignore[assignment]
    return twin


def loop(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    per_step: bool = False,
    cut: bool = False,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Step a copy of `model`; return its mean logits and the gradients of its parameters."""
    twin = runnable(model, cut=cut)
    outs = [twin(now) for now in x.unbind(0)]
    mean = torch.stack(outs).mean(0)
    value = torch.stack([loss(o, y) for o in outs]).mean() if per_step else loss(mean, y)
    twin.zero_grad()
    value.backward()
    return mean.detach(), {n: p.grad for n, p in twin.named_parameters() if p.grad is not None}


def step(name: str, model: nn.Module, x: Tensor, y: Tensor, **options: Any) -> Any:
    """Run one step of the method `name` from zero, with updates withheld."""
    model.zero_grad()
    return seeded_step(ratebp.methods.get(name, **options).bind(model, len(x)), x, y)


def found(model: nn.Module) -> dict[str, Tensor]:
    """Return the gradients of the model's parameters, by name."""
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_close(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    """Check that gradients have the same names and values."""
    assert got.keys() == want.keys()
    for name, value in want.items():
        torch.testing.assert_close(got[name], value, rtol=TOLERANCE, atol=1e-13, msg=name)


def assert_exact(name: str, model: nn.Module, x: Tensor, y: Tensor, **options: Any) -> None:
    """Check logits and gradients of an exact method against the loop."""
    logits, grads = loop(model, x, y)
    result = step(name, model, x, y, **options)
    torch.testing.assert_close(result.logits, logits, rtol=TOLERANCE, atol=1e-13)
    assert_close(found(model), grads)
    assert any(float(g.norm()) > 0 for g in grads.values())


def refused(call: Callable[[], Any]) -> str:
    """Return the words with which `call` is refused by the library."""
    try:
        call()
    except RatebpError as error:
        return str(error)
    raise AssertionError("it was not refused")


def data(*shape: int, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Return a seeded float64 sequence of `shape`, ``[T, B, ...]``, and classes."""
    draw = torch.Generator().manual_seed(1)
    x = 2 * torch.randn(*shape, dtype=torch.float64, generator=draw)
    return x, torch.arange(shape[1]) % classes


def small(neuron: Callable[[], nn.Module] = lambda: ratebp.LIF(decay=0.9, threshold=0.3)) -> Any:
    """Return a seeded network of float64, ``[B, 5] -> [B, 4]``, all of whose layers spike."""
    torch.manual_seed(0)
    layers = (nn.Linear(5, 6), neuron(), nn.Linear(6, 6), neuron(), nn.Linear(6, 4))
    return nn.Sequential(*layers).double()
