"""Checkpointed BPTT: exact (E11), small between forward and backward, one forward more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import ratebp
from harness.trial.exact.tracker import LiveBytes
from ratebp.errors import BindError, OptionError
from ratebp.testing import Problem, problem, seeded_step
from ratebp.testing.gradients import differences, gradients

RTOL = 1e-12
RESETS = tuple(itertools.product(("soft", "hard"), (True, False)))


class Watched(ratebp.StepContext):
    """Notes the phases and surrounds each by what `watch` gives."""

    def __init__(self, watch: Any) -> None:
        super().__init__()
        self.entered: list[str] = []
        self.watch = watch

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.entered.append(name)
        with self.watch(name):
            yield


def ckpt(segment: int, **options: Any) -> Any:
    return ratebp.methods.get("bptt_ckpt", over="time", segment=segment, **options)


def after_a_step(method: Any, case: Problem, **bind: Any) -> dict[str, Tensor]:
    """Return gradients, buffers, loss and logits after one step."""
    bound = method.bind(case.model, case.timesteps, **bind)
    case.model.zero_grad()
    result = seeded_step(bound, case.x, case.y)
    found = {f"grad {n}": p.grad for n, p in case.model.named_parameters() if p.grad is not None}
    return found | dict(case.model.named_buffers()) | {"loss": result.loss, "logits": result.logits}


def same(method: Any, reference: Any, make: Any) -> dict[str, Tensor]:
    """Return what differs after a step, by name; counters and frozen buffers may be zero."""
    got, want = after_a_step(method, make()), after_a_step(reference, make())
    assert got.keys() == want.keys()
    return {n: got[n] for n in want if not torch.allclose(got[n], want[n], RTOL, RTOL)}


@pytest.mark.parametrize("norm", ["none", "batch", "frozen"])
@pytest.mark.parametrize(("reset", "detach"), RESETS)
@pytest.mark.parametrize("segment", [1, 2, 5])
def test_e11_gradients_and_buffers_are_those_of_bptt(
    segment: int, reset: str, detach: bool, norm: str
) -> None:
    def make() -> Problem:
        return problem(norm=norm, timesteps=5, reset=reset, detach_reset=detach)

    for mode in ("mean", "per_step"):
        reference = ratebp.methods.get("bptt_s", loss_mode=mode)
        assert same(ckpt(segment, loss_mode=mode), reference, make) == {}


def test_one_segment_is_bptt_to_the_bit() -> None:
    got = after_a_step(ckpt(9), problem(norm="batch", timesteps=4))
    want = after_a_step(ratebp.methods.get("bptt_s"), problem(norm="batch", timesteps=4))
    assert got.keys() == want.keys()
    assert all(torch.equal(got[name], want[name]) for name in want)


@pytest.mark.parametrize("segment", [1, 2])
def test_autocast_holds_in_the_recomputation(segment: int) -> None:
    """Wherever the backward runs, what counts is where the forward ran."""

    class Outside(ratebp.StepContext):
        def backward(self, loss: Tensor) -> None:
            with torch.autocast("cpu", enabled=False):
                super().backward(loss)

    found = []
    for method in (ckpt(segment), ratebp.methods.get("bptt_s")):
        case = problem(norm="batch", timesteps=4, dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            method.bind(case.model, 4).step(case.x, case.y, context=Outside())
        found.append({n: p.grad for n, p in case.model.named_parameters()})
    assert all(g is not None and g.dtype == torch.float32 for g in found[0].values())
    assert differences(*found, rtol=1e-2) == {}  # sums of bfloat16 gradients in another order


def dropping(kind: str) -> Problem:
    """A problem whose masks are drawn by a module, or by a function in the forward."""

    class Functional(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x, 0.4)

    case = problem(norm="batch", timesteps=5)
    case.model.head.insert(0, nn.Dropout(0.4) if kind == "module" else Functional())  # type: ignore[operator, union-attr]
    return case


@pytest.mark.parametrize("kind", ["module", "function"])
@pytest.mark.parametrize("segment", [1, 2])
def test_dropout_draws_the_same_masks_again(segment: int, kind: str) -> None:
    def make() -> Problem:
        return dropping(kind)

    assert same(ckpt(segment), ratebp.methods.get("bptt_s"), make) == {}


def test_the_random_state_moves_as_in_bptt() -> None:
    states = []
    with torch.random.fork_rng(devices=[]):
        for method in (ckpt(2), ratebp.methods.get("bptt_s")):
            torch.manual_seed(3)
            case = dropping("module")
            method.bind(case.model, 5).step(case.x, case.y)
            states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("segment", [1, 2, 9])
def test_inputs_that_need_a_gradient_get_it(segment: int) -> None:
    found = []
    for method in (ckpt(segment), ratebp.methods.get("bptt_s")):
        case = problem(timesteps=3)
        x = case.x.clone().requires_grad_()
        method.bind(case.model, 3).step(x, case.y)
        assert x.grad is not None
        found.append({"x": x.grad})
    assert differences(*found, rtol=RTOL) == {}


def test_a_frozen_body_trains_the_head_alone() -> None:
    def make() -> Problem:
        case = problem(norm="batch")
        for name, parameter in case.model.named_parameters():
            parameter.requires_grad_(name.startswith("head"))
        return case

    assert same(ckpt(1), ratebp.methods.get("bptt_s"), make) == {}


def test_a_scaled_loss_scales_the_gradients() -> None:
    class Scaled(ratebp.StepContext):
        def backward(self, loss: Tensor) -> None:
            super().backward(8 * loss)

    case = problem(timesteps=4)
    plain = gradients(ckpt(2), case)
    case.model.zero_grad()
    ckpt(2).bind(case.model, 4).step(case.x, case.y, context=Scaled())
    scaled = {n: p.grad / 8 for n, p in case.model.named_parameters() if p.grad is not None}
    assert differences(scaled, plain, RTOL) == {}


def test_compiled_segments_equal_eager_ones() -> None:
    eager = gradients(ckpt(2), problem(norm="batch", timesteps=5))
    torch.compiler.reset()
    compiled = gradients(
        ckpt(2),
        problem(norm="batch", timesteps=5),
        wrap=lambda m, _: torch.compile(m, fullgraph=True, backend="aot_eager"),
    )
    assert differences(compiled, eager, RTOL) == {}


def live_at_the_boundary(method: Any, timesteps: int) -> int:
    case = problem(norm="batch", timesteps=timesteps)
    bound = method.bind(case.model, timesteps)
    bound.step(case.x, case.y)
    grads = [p.grad for p in case.model.parameters() if p.grad is not None]
    tracker = LiveBytes([*case.model.parameters(), *case.model.buffers(), *grads, case.x, case.y])
    with tracker:
        bound.step(case.x, case.y, context=Watched(tracker.phase))
    return tracker.at_entry("backward")


def test_what_is_kept_is_one_potential_per_neuron_and_border() -> None:
    potentials = 8 * 3 * (4 * 7 * 7 + 6 * 4 * 4 + 6 * 4 * 4)  # float64, batch 3, lif0 to lif2
    kept = {(s, t): live_at_the_boundary(ckpt(s), t) for s in (1, 4, 8) for t in (4, 8)}
    logits = 8 * 3 * 5
    assert kept[1, 8] - kept[1, 4] == 4 * (potentials + logits)
    assert kept[1, 8] - kept[4, 8] == 6 * potentials
    assert kept[4, 8] - kept[8, 8] == potentials
    assert kept[8, 8] - kept[8, 4] == 4 * logits
    whole = live_at_the_boundary(ratebp.methods.get("bptt_s"), 8)
    assert whole > kept[1, 8]  # bptt_s keeps one float a neuron and step, and its spikes as bits
    assert whole > 7 * kept[4, 8]


def test_the_cost_is_one_forward_more_and_all_of_it_in_the_backward() -> None:
    flops: dict[tuple[str, str], int] = {}
    for label, method in (("ckpt", ckpt(2)), ("bptt", ratebp.methods.get("bptt_s"))):
        case = problem(norm="batch", timesteps=5)
        bound = method.bind(case.model, 5)

        @contextmanager
        def counted(phase: str, label: str = label) -> Iterator[None]:
            with FlopCounterMode(display=False) as counter:
                yield
            flops[label, phase] = counter.get_total_flops()

        context = Watched(counted)
        bound.step(case.x, case.y, context=context)
        assert context.entered == ["forward", "backward"]
    assert flops["ckpt", "forward"] == flops["bptt", "forward"] > 0
    assert flops["ckpt", "backward"] == flops["bptt", "backward"] + flops["bptt", "forward"]


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)])
def test_norms_without_statistics_need_no_rule(norm: nn.Module) -> None:
    def make() -> Problem:
        case = problem(timesteps=3)
        case.model.norm0 = norm.double()
        return case

    assert same(ckpt(2), ratebp.methods.get("bptt_s"), make) == {}


@pytest.mark.parametrize(
    "norm", [nn.InstanceNorm2d(4, track_running_stats=True), nn.SyncBatchNorm(4)]
)
def test_other_running_statistics_are_refused_by_name(norm: nn.Module) -> None:
    case = problem()
    case.model.norm0 = norm
    with pytest.raises(BindError, match=rf"{type(norm).__name__} .*at `norm0`.*bptt_s"):
        ckpt(1).bind(case.model, 3)


def test_segments_of_no_steps_are_refused() -> None:
    with pytest.raises(OptionError, match=r"segment=0 must be an integer of at least 1"):
        ckpt(0)
