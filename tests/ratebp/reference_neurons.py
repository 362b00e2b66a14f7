"""Plain autograd loops over time, written out once more for the tests of the neurons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import ratebp
from ratebp.testing import Problem, problem, seeded_step

TOLERANCE = 1e-11
SHAPES = [(1, 1), (1, 3, 5), (3, 63), (5, 2, 3, 7, 1), (17, 1, 1)]
Loop = Callable[[Tensor, nn.Module], Tensor]


class Fire(torch.autograd.Function):
    """1 where x >= 0; the derivative of arctangent shape, alpha 2, as PLIF and PSN have it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] / (1 + (torch.pi * x) ** 2)


def fire(x: Tensor) -> Tensor:
    out: Tensor = Fire.apply(x)  # type: ignore[no-untyped-call]
    return out


def gradients_of(run: Callable[[Tensor], Tensor], current: Tensor, neuron: nn.Module) -> Any:
    """Return the spikes and the gradients of the current and of every parameter, by name."""
    neuron.zero_grad()
    x = current.detach().clone().requires_grad_()
    spikes = run(x)
    weights = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(1)).to(spikes)
    (spikes * weights).sum().backward()
    grads = {n: p.grad.clone() for n, p in neuron.named_parameters() if p.grad is not None}
    return spikes.detach(), {"current": x.grad, **grads}


def assert_equal(got: Any, want: Any) -> None:
    assert torch.equal(got[0], want[0])
    assert got[1].keys() == want[1].keys()
    for name, gradient in want[1].items():
        torch.testing.assert_close(got[1][name], gradient, rtol=TOLERANCE, atol=TOLERANCE)


def with_neurons(make: Callable[[], nn.Module], **settings: Any) -> Problem:
    """Return the problem of `ratebp.testing` with other neurons in its three places."""
    case = problem(**settings)
    for place in ("lif0", "lif1", "lif2"):
        setattr(case.model, place, make().to(case.x.dtype))
    return case


def network_gradients(method: str, case: Problem, **options: Any) -> dict[str, Tensor]:
    case.model.zero_grad()
    seeded_step(
        ratebp.methods.get(method, **options).bind(case.model, case.timesteps), case.x, case.y
    )
    return {n: p.grad.clone() for n, p in case.model.named_parameters() if p.grad is not None}


def loop_gradients(case: Problem, loop: Loop) -> dict[str, Tensor]:
    """Return the gradients of the loss of the mean output, without norms, by `loop` alone."""
    model: Any = case.model
    model.zero_grad()

    def each(layer: nn.Module, steps: Tensor) -> Tensor:
        return torch.stack([layer(now) for now in steps.unbind(0)])

    a = loop(each(model.stem, case.x), model.lif0)
    p = each(model.conv2, loop(each(model.conv1, a), model.lif1))
    out = each(model.head, loop(p + each(model.shortcut, a), model.lif2)).mean(0)
    nn.functional.cross_entropy(out, case.y).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
