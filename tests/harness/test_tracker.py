"""The live-bytes tracker against byte counts worked out by hand, one test for each trap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from probe_bench import small_heap
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from harness.trial.exact.tracker import LiveBytes

N = 1000  # bytes of `block()`


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> Iterator[None]:
    with small_heap():
        yield


def block(*, requires_grad: bool = False) -> Tensor:
    return torch.zeros(N // 4, requires_grad=requires_grad)


class Scale(torch.autograd.Function):
    """y = 2x; saves nothing, so that every live byte in a test is a visible tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


class KeepOnContext(torch.autograd.Function):
    """Holds a tensor as an attribute of `ctx`, which saved-tensor hooks do not see."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.hidden = x * 2
        return x * 3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.hidden


def test_a_new_tensor_counts_until_it_dies() -> None:
    with LiveBytes() as tracker:
        a = block()
        b = block()
        assert tracker.live == 2 * N
        del a
        assert tracker.live == N
        del b
        assert tracker.live == 0
    assert tracker.peak() == 2 * N


def test_the_tracker_keeps_no_tensor_alive() -> None:
    with LiveBytes() as tracker:
        for _ in range(50):
            block() + 1
    assert (tracker.peak(), tracker.live) == (2 * N, 0)


def test_addresses_that_are_reused_are_new_storages() -> None:
    with LiveBytes() as tracker:
        first = block()
        address = first.data_ptr()
        del first
        second = block()
        meta = [torch.empty(N // 4, device="meta") for _ in range(3)]  # every address is 0
        assert tracker.live == 4 * N
        del second, meta
    assert tracker.live == 0
    assert address != 0


def test_views_of_persistent_tensors_are_not_new() -> None:
    x = block()
    with LiveBytes([x]) as tracker:
        views = [x[10:], x.view(10, 25), x.detach(), x.expand(7, -1)]
        assert tracker.live == 0
        del views
    assert (tracker.persistent, tracker.peak()) == (N, 0)


def test_persistent_tensors_that_share_a_storage_count_once() -> None:
    x = block()
    assert LiveBytes([x, x[5:], x.expand(3, -1)]).persistent == N


def test_views_and_in_place_operators_count_once() -> None:
    with LiveBytes() as tracker:
        x = block()
        y = x.view(10, 25).t()
        y.add_(1)
        x[3:5] = 2.0
        assert tracker.live == N
        del x
        assert tracker.live == N  # the view keeps the storage
        del y
        assert tracker.live == 0


def test_an_expanded_tensor_counts_its_storage_once() -> None:
    with LiveBytes() as tracker:
        x = block().expand(16, -1)
        assert tracker.live == N
        y = x + 1  # dense
        assert tracker.live == 17 * N
        del x, y


def test_zero_size_tensors_count_nothing() -> None:
    with LiveBytes() as tracker:
        empty = torch.zeros(0, 5)
        assert tracker.live == 0
        grown = empty + torch.zeros(1, 5)
        del empty, grown
    assert tracker.live == 0


def test_resized_storages_are_followed() -> None:
    with LiveBytes() as tracker:
        x = block()
        x.untyped_storage().resize_(0)
        assert tracker.live == 0
        x.untyped_storage().resize_(3 * N)
        assert (tracker.live, tracker.peak()) == (3 * N, 3 * N)
        x.untyped_storage().resize_(N)
        x.resize_(N // 2)  # the operator: twice as many elements
        assert tracker.live == 2 * N
        y = block()
        torch.add(x[: N // 4], 1, out=y)
        assert tracker.live == 3 * N
        del x, y
    assert tracker.live == 0


def test_tensors_made_from_python_data_count() -> None:
    with LiveBytes() as tracker:
        x = torch.tensor([1.0, 2.0])
        y = torch.from_numpy(np.zeros(N, dtype=np.uint8))
        assert tracker.live == 8 + N
        del x, y
    assert tracker.live == 0


def test_meta_tensors_made_from_python_data_count_from_their_first_use() -> None:
    with LiveBytes() as tracker:
        x = torch.tensor([1.0, 2.0], device="meta")
        y = x * 2
        assert tracker.live == 16
        del x, y
    assert tracker.live == 0


def test_replaced_data_counts_the_new_storage() -> None:
    x = block()
    with LiveBytes([x]) as tracker:
        x.data = torch.zeros(N)  # 4N bytes, and the old storage dies
        assert tracker.live == 3 * N


def test_what_autograd_saves_counts() -> None:
    x = block(requires_grad=True)
    with LiveBytes([x]) as tracker:
        y = x.exp()  # saves its result, which y is
        z = y.exp()
        del y
        assert tracker.live == 2 * N
        del z
        assert tracker.live == 0


def test_attributes_of_ctx_count() -> None:
    x = block(requires_grad=True)
    with LiveBytes([x]) as tracker:
        y = KeepOnContext.apply(x)
        assert tracker.live == 2 * N
        del y
    assert tracker.live == 0


def test_state_on_modules_counts_as_growth_then_as_persistent() -> None:
    module = nn.Identity()
    x = block()
    with LiveBytes([x]) as first:
        module.trace = x + 1
        assert first.live == N
    with LiveBytes([x]) as second:
        module.trace = module.trace * 0.5 + x  # old state, product, new state
    assert (second.persistent, second.live, second.peak()) == (2 * N, 0, 2 * N)
    with LiveBytes([x]) as unused:
        x + 1
    assert unused.persistent == N  # state that the step never touches is no part of it


def test_nested_saved_tensor_hooks_count_what_they_pack() -> None:
    x = block(requires_grad=True)

    def halve(tensor: Tensor) -> Tensor:
        return tensor.to(torch.float16)

    with LiveBytes([x]) as tracker:
        with (
            saved_tensors_hooks(lambda t: t, lambda t: t),
            saved_tensors_hooks(halve, Tensor.float),
        ):
            y = x.exp()
        assert tracker.live == N + N // 2
        del y
    assert tracker.live == 0


def test_save_on_cpu_moves_bytes_and_does_not_hide_them() -> None:
    x = block(requires_grad=True)
    with LiveBytes([x]) as tracker:
        h = x * 2
        with save_on_cpu():
            y = h * h
        del h
        assert tracker.live == 2 * N  # the result, and what was moved aside
        del y
    assert tracker.live == 0


def test_the_interior_of_a_checkpoint_shows_up_in_backward() -> None:
    x = block(requires_grad=True)
    x.grad = block()

    def interior(t: Tensor) -> Tensor:
        return t.exp().exp().exp()

    with LiveBytes([x, x.grad]) as tracker:
        with tracker.phase("forward"):
            y = checkpoint(interior, x, use_reentrant=False)
        with tracker.phase("backward"):
            y.backward(y.detach())
    # In between only y. Backward recomputes three tensors, then multiplies the first gradient.
    assert tracker.at_entry("backward") == N
    assert tracker.peak("backward") == 5 * N


def test_gradients_count_when_backward_creates_them() -> None:
    x = block(requires_grad=True)
    ones = torch.ones(N // 4)
    with LiveBytes([x, ones]) as tracker:
        Scale.apply(x).backward(ones)
        assert tracker.live == N
    assert x.grad is not None


def test_gradients_that_exist_are_added_in_place() -> None:
    x = block(requires_grad=True)
    x.grad = block()
    ones = torch.ones(N // 4)
    with LiveBytes([x, x.grad, ones]) as tracker:
        y = Scale.apply(x)
        with tracker.phase("backward"):
            y.backward(ones)
        del y
    assert tracker.live == 0
    assert tracker.peak("backward") == 2 * N  # y and the incoming gradient
    assert tracker.persistent == 3 * N


def test_freed_gradients_lower_the_count() -> None:
    x = block(requires_grad=True)
    x.grad = block()
    with LiveBytes([x, x.grad]) as tracker:
        x.grad = None
        assert tracker.live == -N
        x.grad = block()
        assert tracker.live == 0
