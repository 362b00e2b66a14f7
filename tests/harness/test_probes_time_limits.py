"""What bounds a timed step: its arithmetic against the ceiling, and the memory of the reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from probe_bench import bench

from harness.errors import TrialError
from harness.spec import Cell, Choice
from harness.trial.bench import build
from harness.trial.ceiling import Ceiling
from harness.trial.exact.tracker import LiveBytes
from harness.trial.probe import Bench, unwatched
from harness.trial.probes.time import limits, yardstick
from harness.trial.reference import Reference


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Building a bench sets the number of threads of its process; here it is the tests' own."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def built(T: int, dtype: str = "float32") -> Bench:
    model = Choice.make("tiny_resnet", {"width": 0.5})
    return build(Cell(Choice.make("rate_m"), model, "digits", T, 5, dtype))


def test_the_arithmetic_of_a_step_by_phase() -> None:
    products = 2 * 10 * 6 * 3  # 5 samples at T=2, a multiply and an add for each weight
    assert limits.work(bench()) == {
        "forward": Counter(matmul=products),
        "backward": Counter(matmul=products),  # of the weights: the input needs no gradient
        "step": Counter(matmul=2 * products),
    }


def test_convolutions_are_told_from_matrix_products() -> None:
    done = limits.work(built(2))
    head = 2 * 5 * 32 * 10  # one linear layer for the classes
    assert done["forward"]["matmul"] == 2 * head
    assert done["forward"]["convolution"] > 100 * head
    assert done["step"] == done["forward"] + done["backward"]


STEPS = [{"forward": 1.0, "backward": 2.0, "step": 3.5}, {"forward": 0.5, "backward": 4, "step": 5}]
WORK: limits.Work = {
    "forward": Counter(matmul=40),
    "backward": Counter(matmul=60, convolution=200),
    "step": Counter(matmul=100, convolution=200),
}


def test_the_fastest_sample_of_each_phase_is_held_against_the_ceiling() -> None:
    facts = limits.achieved(STEPS, WORK, Ceiling(100.0, 200.0, "made up"))
    assert facts == {
        "achieved_flop_per_s": {"forward": 80.0, "backward": 130.0, "step": 300 / 3.5},
        "ceiling_flop_per_s": {"forward": 100.0, "backward": 162.5, "step": 150.0},
        "share": {"forward": 0.8, "backward": 0.8, "step": 2 / 3.5},
        "ceiling_basis": "made up",
    }


def test_one_phase_above_the_ceiling_is_enough() -> None:
    with pytest.raises(
        TrialError,
        match=r"fastest forward of 2 samples did 40 FLOP in 0.5 s, that is 80 FLOP/s, but this "
        r"device cannot do more than 70 \(made up\): the clock was not synchronised",
    ):
        limits.achieved(STEPS, WORK, Ceiling(70.0, 1e9, "made up"))


def test_without_a_ceiling_nothing_is_refused() -> None:
    facts = limits.achieved(STEPS, WORK, Ceiling(None, None, "who knows"))
    assert facts["ceiling_basis"] == "who knows"
    assert facts.keys() == {"achieved_flop_per_s", "ceiling_basis"}


def test_a_step_without_arithmetic_reaches_no_ceiling() -> None:
    empty: limits.Work = {"step": Counter()}
    assert "share" not in limits.achieved(STEPS, empty, Ceiling(1.0, 1.0, "made up"))


@pytest.mark.parametrize(("dtype", "T"), [("float32", 1), ("float32", 8), ("float64", 7)])
def test_the_need_of_the_reference_is_known_before_it_runs(dtype: str, T: int) -> None:
    made = built(T, dtype)
    predicted = yardstick.needed(made)
    ours = Reference(made.model, made.neurons, T)
    ours.step(made.x, made.y, unwatched)
    tracker = LiveBytes()
    with tracker:
        ours.step(made.x, made.y, unwatched)
    kept = 3 * sum(p.nbytes for p in ours.model.parameters())
    real = kept + sum(b.nbytes for b in ours.model.buffers()) + tracker.peak()
    assert real <= predicted <= (1.001 if T > 1 else 1.1) * real


def test_a_network_that_cannot_take_all_steps_at_once_has_no_reference() -> None:
    made = bench()
    fixed = torch.nn.Sequential(torch.nn.Unflatten(0, (5, 1)), made.model, torch.nn.Flatten(0, 1))
    object.__setattr__(made, "model", fixed)
    found = yardstick.fitting(made)
    assert found.reference is None
    assert found.fact.startswith("left out: RuntimeError: ")


def test_the_control_group_s_limit_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(yardstick, "_CGROUP", tmp_path)
    cpu = torch.device("cpu")
    assert yardstick.available(cpu) > 2**20
    (tmp_path / "memory.current").write_text("100\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert yardstick.available(cpu) > 2**20
    (tmp_path / "memory.max").write_text("1100\n")
    assert yardstick.available(cpu) == 1000


def test_a_card_counts_what_the_allocator_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 20)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 2000))
    assert yardstick.available(torch.device("cuda")) == 1030
