"""What the hooks of autograd see, and what they do not: the table of blind spots, in bytes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from harness.trial.exact.saved import Saved

N = 4000


def leaf() -> Tensor:
    return torch.ones(N // 4, requires_grad=True)


class OnContext(torch.autograd.Function):
    """Keeps its result as an attribute of `ctx`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.hidden = x * 2
        return x * 3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.hidden


def on_module(x: Tensor) -> Tensor:
    module = nn.Identity()
    module.trace = x.detach() * 2
    return x + module.trace


def packed_by_inner_hooks(x: Tensor) -> Tensor:
    with saved_tensors_hooks(lambda t: t.to(torch.int8), lambda t: t.float()):
        return x.exp()


def moved_aside(x: Tensor) -> Tensor:
    with save_on_cpu():
        return x.exp()


def recomputed(x: Tensor) -> Tensor:
    hidden = x * 2
    return checkpoint(lambda t: t.exp().exp(), hidden, use_reentrant=False)


def recomputed_reentrant(x: Tensor) -> Tensor:
    hidden = x * 2
    return checkpoint(lambda t: t.exp().exp(), hidden, use_reentrant=True)


TABLE: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "save_for_backward": (torch.exp, 1),
    "the same tensor for two operators": (lambda x: x.exp() * x.exp().sin(), 3),
    "attribute of ctx": (OnContext.apply, 0),
    "state on a module": (on_module, 0),
    "inner hooks": (packed_by_inner_hooks, 0),
    "save_on_cpu": (moved_aside, 0),
    "checkpoint": (recomputed, 1),
    "reentrant checkpoint": (recomputed_reentrant, 1),
}


@pytest.mark.parametrize("way", TABLE)
def test_what_hooks_see(way: str) -> None:
    work, tensors = TABLE[way]
    x = leaf()
    saved = Saved([x])
    with saved.phase("forward"):
        result = work(x)
    assert (saved.nbytes, saved.count) == (tensors * N, tensors)
    result.sum().backward()
    assert x.grad is not None


def test_persistent_tensors_and_views_of_one_storage() -> None:
    x, weight = leaf(), torch.ones(N // 4)
    saved = Saved([x, weight])
    with saved.phase("forward"):
        hidden = x * weight
        parts = hidden.view(2, -1).unbind(0)
        result = parts[0] * parts[1]
    assert (saved.nbytes, saved.count) == (N, 1)
    assert result.numel() == N // 8


def test_only_the_forward_is_watched() -> None:
    x = leaf()
    saved = Saved([x])
    with saved.phase("update"):
        x.exp().sum()
    assert (saved.nbytes, saved.count) == (0, 0)


@pytest.mark.parametrize("fake", [False, True])
def test_what_backward_has_freed_counts_no_longer(fake: bool) -> None:
    def run(steps: int, *, online: bool) -> Saved:
        x = leaf()
        saved = Saved([x])
        losses = []
        for _ in range(steps):
            with saved.phase("forward"):
                losses.append(x.exp().sum())
            if online:
                losses.pop().backward()
        return saved

    with FakeTensorMode(allow_non_fake_inputs=True) if fake else torch.enable_grad():
        assert [run(steps, online=True).nbytes for steps in (1, 4)] == [N, N]
        assert [run(steps, online=False).nbytes for steps in (1, 4)] == [N, 4 * N]


def test_gradients_are_unchanged_and_nothing_stays() -> None:
    def gradient(saved: Saved) -> Tensor:
        x = leaf()
        with saved.phase("forward"):
            y = (x * 3).exp().sin().sum()
        y.backward()
        assert x.grad is not None
        return x.grad

    saved = Saved()
    gc.disable()
    try:
        watched = gradient(saved)
    finally:
        gc.enable()
    assert saved.nbytes > 0
    assert saved._live == 0
    torch.testing.assert_close(watched, gradient(Saved()), rtol=0, atol=0)
