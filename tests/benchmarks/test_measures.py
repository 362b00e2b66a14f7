"""The scripts behind docs/performance.md: growth in T, achieved rate, autocast, processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import achieved_rate, autocast, growth, processes
from harness.errors import HarnessError
from harness.spec import Cell, Choice
from harness.trial.bench import build
from ratebp.dynamics import Dynamics
from ratebp.ops import advance, at_rest, rate_scan

SMALL = Choice.make("tiny_resnet", {"width": 0.25})


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_slope_is_the_exponent() -> None:
    assert growth.slope((2, 8, 32), [3 * T**1.5 for T in (2, 8, 32)]) == pytest.approx(1.5)


def test_every_length_gets_a_time() -> None:
    request = {"method": "bptt_m", "rounds": 2, "batch": 2, "width": 8, "lengths": [2, 4]}
    seconds = growth.measure(request)
    assert len(seconds) == 2
    assert all(each > 0 for each in seconds)


@pytest.mark.deep
def test_growth_is_printed_from_several_processes(capfd: pytest.CaptureFixture[str]) -> None:
    code = growth.main(["--processes", "2", "--rounds", "1", "--lengths", "1", "2"])
    out = capfd.readouterr().out
    assert code in (0, 1)
    assert "T=1: backward" in out
    assert "over 2 processes" in out


def test_what_counts_is_recorded_and_run_again_alone() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5))
    x = torch.randn(2, 2, 4, 4)
    recorder = achieved_rate.Recorder()
    with FlopCounterMode(display=False) as whole, recorder:
        model(x).sum().backward()
    names = {str(func._overloadpacket) for func, _, _ in recorder.calls}
    assert "aten.convolution" in names
    assert "aten.convolution_backward" in names
    assert "aten.relu" not in names
    with FlopCounterMode(display=False) as alone:
        recorder.replay()
    assert alone.get_total_flops() == whole.get_total_flops() > 0


def test_a_step_is_compared_with_its_own_arithmetic() -> None:
    request = {
        **{"method": "rate_m", "options": {}, "model": "tiny_resnet", "data": "digits"},
        **{"T": 2, "batch": 4, "blocks": 1},
    }
    found = achieved_rate.measure(request)
    assert found["flops"] > 0
    assert found["share"] == pytest.approx(found["alone_s"] / found["step_s"])


def test_a_refusal_comes_back_as_the_parents_error() -> None:
    request = {"method": "rate_m", "rounds": 1, "batch": 2, "width": 4, "lengths": [1]}
    with pytest.raises(HarnessError, match="its own words are above"):
        list(processes.answers("benchmarks.growth:nothing", request, 1))
    request = {"peer": "benchmarks.peers.rate_bp", "checkout": "/nowhere", "classes": 10}
    cell = {"method": "bptt_m", "options": {}, "model": "tiny_resnet", "data": "digits"}
    whole = {**request, **cell, "T": 1, "batch": 2, "device": "cpu"}
    with pytest.raises(HarnessError, match=r"/nowhere holds no model/resnet\.py"):
        list(processes.answers("benchmarks.peers.race:check", whole, 1))


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_eligibility_and_counts_do_not_round_to_bfloat16(reset: str) -> None:
    """Of currents in bfloat16 the statistics are those of the same currents in float64."""
    torch.manual_seed(0)
    current = torch.randn(8, 4, 500).bfloat16()
    dynamics = Dynamics(0.5, 1.0, reset, detach_reset=False)
    _, count, eligibility = rate_scan(current, dynamics, torch.bfloat16)
    _, want_count, want = rate_scan(current.double(), dynamics, torch.float64)
    assert eligibility.dtype == torch.float32
    assert torch.equal(count, want_count)
    torch.testing.assert_close(eligibility.double(), want, rtol=1e-5, atol=1e-6)
    state = at_rest(current[0], dynamics, len(current))
    for now in current:
        advance(now, state, dynamics)
    torch.testing.assert_close(state.eligibility.double(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["bptt_m", "rate_m", "rate_s", "sltt"])
def test_autocast_is_measured_against_float32(method: str) -> None:
    found = autocast.examine(method, SMALL, "digits", T=2, batch=8)
    assert 0.4 < found.bfloat16.cosine < 0.99999, "nothing was rounded, or everything"
    assert found.float32.cosine > 0.999
    assert found.float32.error < found.bfloat16.error
    assert found.kept["float32"] > 0


def test_statistics_of_norms_are_float32_under_autocast() -> None:
    for method in ("bptt_m", "rate_m", "rate_s"):
        bench = build(Cell(Choice(method), SMALL, "digits", 2, 8, "bfloat16"))
        bench.gradient(None, bench.x, bench.y)
        norms = [m for m in bench.model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms
        assert {n.running_var.dtype for n in norms} == {torch.float32}
        assert {p.grad.dtype for p in bench.model.parameters() if p.grad is not None} == {
            torch.float32
        }
