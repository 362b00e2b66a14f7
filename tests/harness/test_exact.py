"""The exact tier of a bench: its rows, its passes, what it refuses, growth in T."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from probe_bench import Linear, bench, small_heap
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness.errors import TrialError
from harness.spec import Cell, Choice
from harness.trial.bench import virtual
from harness.trial.exact import tier
from harness.trial.probe import Bench, Phase, unwatched

Figures = dict[tuple[str, str], int]


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> Iterator[None]:
    with small_heap():
        yield


def figures(bench: Bench) -> Figures:
    rows = tier.measure(bench).rows
    assert {(row.kind, len(row.values)) for row in rows} == {("exact", 1)}
    return {(row.metric, row.phase): int(row.values[0]) for row in rows}


def planned(method: str, T: int, **options: Any) -> Figures:
    model = Choice.make("tiny_resnet", {"width": 0.05})
    cell = Cell(Choice.make(method, options), model, "synthetic-3x16x16-4", T, 2)
    with virtual(cell) as made:
        return figures(made)


def test_every_row_of_a_linear_layer() -> None:
    """5 samples of 6 inputs in 3 features at T=2, float32, as two forward and backward parts."""
    value = figures(bench())
    units = {"mem.saved_count": "1", "ops.count": "1", "ops.flops": "FLOP"}
    for row in tier.measure(bench()).rows:
        assert row.unit == units.get(row.metric, "B")
    parameters, inputs = 4 * (6 * 3 + 3), 4 * 5 * 6 + 8 * 5
    assert value["mem.persistent", "step"] == 3 * parameters + inputs
    assert value["mem.plain_forward", "forward"] == 4 * 2 * 5 * 6 + 4 * 2 * 5 * 3
    product = 2 * 5 * 6 * 3  # of one time step and the whole batch
    assert value["ops.flops", "plain_forward"] == 2 * product
    assert value["ops.flops", "backward"] == 2 * product  # weights only: inputs need no gradient
    assert value["ops.flops", "update"] == 0
    for metric in ("ops.count", "ops.flops"):
        phases = [value[metric, phase] for phase in ("forward", "backward", "update")]
        assert value[metric, "step"] >= sum(phases)
    peaks = [value["mem.live_peak", phase] for phase in ("forward", "backward", "update")]
    assert value["mem.live_peak", "step"] == max(peaks)
    assert value["mem.saved", "forward"] > 0
    assert tier.measure(bench()).facts == {"dispatch_device": "cpu", "operators": "torch"}


def test_three_passes_and_no_more() -> None:
    log: list[str] = []
    tier.measure(bench(log=log))
    assert log == ["step", "step", "plain"]


def test_more_warm_up_changes_nothing() -> None:
    once, often = bench(), bench()
    for _ in range(3):
        often.step()
        often.plain_forward()
    assert figures(once) == figures(often)


def stepping(step: Callable[[Linear, Tensor, Tensor, Phase], Tensor]) -> Bench:
    net = Linear([])
    return replace(
        bench(),
        model=net.model,
        optimizer=net.optimizer,
        train_step=lambda x, y, phase: step(net, x, y, phase),
    )


def test_state_that_a_method_keeps_is_persistent() -> None:
    kept: list[Tensor] = []

    def step(net: Linear, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        with phase("forward"):
            trace = kept.pop() * 0.5 if kept else torch.zeros(1000)
            kept.append(trace + 1)
        return net.train_step(x, y, phase)

    without = figures(bench())
    value = figures(stepping(step))
    assert value["mem.persistent", "step"] == without["mem.persistent", "step"] + 4000


def test_a_step_that_hoards_is_refused() -> None:
    kept: list[Tensor] = []

    def step(net: Linear, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        kept.append(torch.zeros(1000))
        return net.train_step(x, y, phase)

    with pytest.raises(TrialError, match="keeps 4000 bytes more"):
        tier.measure(stepping(step))


def test_reference_cycles_are_no_hoard() -> None:
    def step(net: Linear, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        cycle: list[Any] = [torch.zeros(1000)]
        cycle.append(cycle)
        return net.train_step(x, y, phase)

    difference = figures(stepping(step))["mem.live_peak", "step"] - 4000
    assert difference == figures(bench())["mem.live_peak", "step"]


def test_a_phase_left_out_is_refused() -> None:
    def step(net: Linear, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        with phase("forward"), phase("backward"):
            loss = cross_entropy(net.model(x).mean(0), y)
            loss.backward()
        return loss.detach()

    with pytest.raises(TrialError, match="never entered phase 'update'"):
        tier.measure(stepping(step))


def test_the_count_of_the_step_is_that_of_an_ordinary_one() -> None:
    """Hooks that hold what autograd saves are in the warm-up alone."""
    made = bench()
    figures_first = figures(made)
    weights = [p.detach().clone() for p in made.model.parameters()]
    made.step(unwatched)
    assert any(not torch.equal(a, b) for a, b in zip(weights, made.model.parameters(), strict=True))
    assert figures(made) == figures_first


@pytest.mark.parametrize("method", ["rate_m", "rate_s", "sltt", "ottt_a"])
def test_saved_bytes_are_constant_in_time(method: str) -> None:
    found = [planned(method, T) for T in (2, 3, 5)]
    assert len({each["mem.saved", "forward"] for each in found}) == 1
    assert len({each["mem.saved_count", "forward"] for each in found}) == 1


@pytest.mark.deep
@pytest.mark.parametrize("method", ["bptt_m", "bptt_s"])
def test_saved_bytes_are_affine_in_time_for_bptt(method: str) -> None:
    saved = [planned(method, T)["mem.saved", "forward"] for T in (2, 3, 4, 6)]
    slope = saved[1] - saved[0]
    assert slope > 0
    assert [each - saved[0] for each in saved] == [0, slope, 2 * slope, 4 * slope]


def test_the_forward_trace_of_an_online_method_is_counted() -> None:
    value = planned("ottt_a", 3)
    trace = value["mem.live_peak", "forward"] - value["mem.plain_forward", "forward"]
    assert value["mem.trace", "forward"] == trace > 0
