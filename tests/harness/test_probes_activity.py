"""The activity probe: a row of T rates a layer, before and after training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from probe_bench import bench

from harness.errors import TrialError
from harness.rows import Row
from harness.spec import Cell, Choice, Training
from harness.trial import probes
from harness.trial.bench import build
from harness.trial.probe import Bench


def measure(method: str, T: int) -> tuple[dict[tuple[str, str], Row], Bench]:
    model = Choice.make("tiny_resnet", {"width": 0.25})
    threads = torch.get_num_threads()
    made = build(Cell(Choice(method), model, "digits", T, 128, training=Training(lr=0.3)))
    torch.set_num_threads(threads)  # a trial sets those of its process; here it is the tests' own
    reading = probes.get("activity").measure(made)
    assert reading.facts == {"samples": 128}
    return {(row.metric, row.phase): row for row in reading.rows}, made


@pytest.mark.parametrize("method", ["rate_m", "sltt"])
def test_one_row_a_layer_and_stage_with_t_rates(method: str) -> None:
    rows, made = measure(method, 3)
    stages = ("activity.initial.rate", "activity.trained.rate")
    assert set(rows) == {(stage, neuron.path) for stage in stages for neuron in made.neurons}
    for row in rows.values():
        assert (row.unit, row.kind, len(row.values)) == ("1", "outcome", 3)
        assert all(0 < rate < 1 for rate in row.values)
    for neuron in made.neurons:
        before, after = (rows[stage, neuron.path].values for stage in stages)
        assert before != after


def test_the_rates_are_those_of_the_bench_on_its_first_batch() -> None:
    seen: list[torch.Tensor] = []
    rates = {"a.lif": torch.tensor([0.25, 0.5])}

    def noted(x: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(x)
        return rates

    made = replace(bench(Training()), rates=noted)
    rows = probes.get("activity").measure(made).rows
    assert [(row.metric, row.phase, row.values) for row in rows] == [
        ("activity.initial.rate", "a.lif", (0.25, 0.5)),
        ("activity.trained.rate", "a.lif", (0.25, 0.5)),
    ]
    assert all(x is made.x for x in seen)
    assert len(seen) == 2


def test_a_cell_without_a_budget_is_refused() -> None:
    with pytest.raises(TrialError, match=r"grid\.training"):
        probes.get("activity").measure(bench())
