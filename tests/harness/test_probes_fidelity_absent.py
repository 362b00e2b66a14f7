"""What the fidelity probe says of a network that a reference cannot train."""

from __future__ import annotations

import pytest

from harness.errors import AbsentError
from harness.spec import Cell, Choice, Training
from harness.trial import probes
from harness.trial.bench import build

# With feedback a network runs step by step alone: bptt_m and rate-BP's assumptions refuse it.
FED_BACK = Choice.make("ottt_vgg11", {"feedback": True, "width": 1 / 32})
BUDGET = Training(epochs=1, lr=0.1, schedule="constant")
CELL = Cell(Choice("ottt_a"), FED_BACK, "digits", 2, 256, training=BUDGET)


def test_a_reference_that_cannot_train_the_network_is_absent_by_name() -> None:
    reading = probes.get("fidelity").measure(build(CELL))
    assert {row.metric for row in reading.rows} == {
        f"fidelity.{stage}.bptt_s.{figure}"
        for stage in ("initial", "trained")
        for figure in ("cosine", "norm_ratio")
    }
    absent = reading.facts["absent"]
    for stage in ("initial", "trained"):
        for metric in (f"fidelity.{stage}.bptt_m.cosine", f"assumption.{stage}.a1_cosine"):
            assert "the neuron Delay" in absent[metric]["all"]


def test_a_network_that_neither_reference_trains_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.trial.probes.fidelity.REFERENCES", ("bptt_m", "rate_m"))
    with pytest.raises(AbsentError, match=r"BPTT \(multi-step\) cannot train.*Rate-BP"):
        probes.get("fidelity").measure(build(CELL))
