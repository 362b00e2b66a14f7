"""The live-bytes tracker: gradients that autograd adds, phases, garbage, and what is refused."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from probe_bench import small_heap
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile

from harness.errors import TrialError
from harness.trial.exact.tracker import LiveBytes


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> Iterator[None]:
    with small_heap():
        yield


N = 4000  # bytes of `block()`


def block() -> Tensor:
    return torch.zeros(N // 4)


class Double(torch.autograd.Function):
    """y = 2x; saves nothing, so that gradients are all that backward needs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


class AddInBackward(torch.autograd.Function):
    """A backward in Python that adds two temporaries: three tensors at once, out of place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 5

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2 + grad * 3


def twice(keep: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """A tensor that two operators use, so that backward adds its two gradients."""
    leaf = block().requires_grad_()
    hidden = Double.apply(leaf)
    ends = [Double.apply(hidden), Double.apply(hidden)]
    if keep:  # hold on to both gradients of `hidden`: nobody may add to them in place
        for end in ends:
            end.grad_fn.register_hook(lambda inputs, _: keep.extend(inputs))
    return ends, leaf


def profiled_peak(step: Callable[[], object]) -> int:
    """Peak of the allocator's own events: what an unwatched run really holds."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        step()
    live = peak = 0
    for event in run.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


@pytest.mark.parametrize(("kept", "tensors"), [(False, 2), (True, 4)])  # 4: both, sum, product
def test_two_gradients_add_in_place_unless_somebody_holds_them(kept: bool, tensors: int) -> None:
    def backward(tracker: LiveBytes | None) -> None:
        torch.autograd.backward(ends, seeds)
        if tracker:
            assert tracker.peak() == tensors * N

    seeds = [block(), block()]
    held: list[Tensor] = [block()] if kept else []
    ends, leaf = twice(held)
    leaf.grad = block()
    plain = profiled_peak(lambda: backward(None))
    ends, leaf = twice(held)
    leaf.grad = block()
    with LiveBytes([*ends, *seeds, leaf, leaf.grad, *held]) as tracker:
        backward(tracker)
    assert plain == pytest.approx(tensors * N, abs=64)  # scalars inside operators


def test_an_addition_inside_a_python_backward_is_out_of_place() -> None:
    leaf = block().requires_grad_()
    leaf.grad = block()
    seed = block()
    end = AddInBackward.apply(leaf)
    with LiveBytes([leaf, leaf.grad, seed, end]) as tracker:
        end.backward(seed)
    assert tracker.peak() == 3 * N


def test_phases_may_alternate_and_keep_their_own_peaks() -> None:
    with LiveBytes() as tracker:
        kept = []
        for _ in range(3):
            with tracker.phase("forward"):
                kept.append(block())
                block() + 1  # two tensors for a moment
            with tracker.phase("backward"):
                block()
        outside = [block() for _ in range(4)]
        with tracker.phase("update"):
            pass
        del outside
    assert tracker.at_entry("forward") == 2 * N
    assert tracker.at_entry("backward") == 3 * N
    assert tracker.peak("forward") == 5 * N
    assert tracker.peak("backward") == 4 * N
    assert tracker.peak("update") == 7 * N
    assert tracker.peak() == 7 * N
    assert tracker.live == 3 * N


def test_a_phase_that_never_ran_has_no_peak() -> None:
    with LiveBytes() as tracker:
        pass
    with pytest.raises(KeyError):
        tracker.peak("backward")


def test_storages_freed_after_the_end_change_nothing() -> None:
    with LiveBytes() as tracker:
        x = block()
    del x
    assert (tracker.live, tracker.peak()) == (N, N)


def test_trackers_can_follow_one_another_and_nest() -> None:
    x = block()
    with LiveBytes([x]) as outer:
        with LiveBytes([x]) as inner:
            y = x + 1
            y.untyped_storage().resize_(2 * N)
        del y
    assert inner.peak() == outer.peak() == 2 * N
    assert (inner.live, outer.live) == (2 * N, 0)


@pytest.mark.parametrize("warm", [False, True])
def test_compiled_code_is_refused(warm: bool) -> None:
    compiled = torch.compile(lambda x: x.sin() * 2, backend="eager")
    x = block()
    if warm:
        compiled(x)
    with pytest.raises(TrialError, match=r"torch\.compile.*eager"), LiveBytes([x]):
        compiled(x)
    assert compiled(x).shape == x.shape  # allowed again


def test_tensors_from_outside_the_dispatcher_are_refused() -> None:
    with pytest.raises(TrialError, match=r"mul.*no dispatched operator"), LiveBytes():
        torch.get_rng_state() * 2


def test_a_layout_without_storage_is_refused() -> None:
    with pytest.raises(TrialError, match="sparse"), LiveBytes():
        torch.eye(3).to_sparse()


def test_other_errors_pass_through_unchanged() -> None:
    with pytest.raises(RuntimeError, match="size of tensor"), LiveBytes():
        torch.zeros(3) + torch.zeros(4)


def test_fake_tensors_count_like_real_ones() -> None:
    with FakeTensorMode(), LiveBytes() as tracker:
        y = torch.zeros(1 << 40).expand(3, -1) * 2  # 4 TiB, then 12
        assert tracker.live == 3 << 42
        del y
    assert tracker.peak() == 4 << 42


def test_garbage_from_before_is_collected_first() -> None:
    gc.disable()
    try:
        cycle: list[Any] = [block()]
        cycle.append(cycle)
        del cycle
        with LiveBytes() as tracker:
            assert not gc.isenabled()
            gc.collect()
        assert tracker.live == 0
        assert tracker.persistent == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled: bool) -> None:
    try:
        gc.enable() if enabled else gc.disable()
        with LiveBytes():
            pass
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
