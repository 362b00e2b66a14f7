"""Layouts, the compiler and captured graphs on a real device."""

from __future__ import annotations

import pytest
import torch

from harness.spec import Cell, Choice, TrialSpec
from harness.trial import trial
from harness.trial.bench import build, usual

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

MODEL = Choice.make("tiny_resnet", {"width": 0.25})
WAYS = [("contiguous", "compile"), ("contiguous", "cuda_graph"), ("channels_last", "cuda_graph")]


def cell(method: str, memory_format: str, execution: str) -> Cell:
    return Cell(
        *(Choice(method), MODEL, "synthetic-3x32x32-10", 2, 8, "float32", "cuda"),
        memory_format=memory_format,
        execution=execution,
        operators=usual("cuda"),
    )


def weights(asked: Cell, steps: int) -> list[torch.Tensor]:
    bench = build(asked)
    for _ in range(steps):
        bench.step()
    torch.cuda.synchronize()
    return [p.detach().cpu() for p in bench.model.parameters()]


@pytest.mark.parametrize("method", ["bptt_m", "rate_m", "sltt"])
def test_a_replayed_graph_trains_as_the_written_step_does(method: str) -> None:
    # The first call is three steps of warm-up and one replay; what is captured is not run.
    replayed = weights(cell(method, "contiguous", "cuda_graph"), 2)
    written = weights(cell(method, "contiguous", "eager"), 5)
    for a, b in zip(replayed, written, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("memory_format", "execution"), WAYS)
@pytest.mark.parametrize("probe", ["time", "memory"])
def test_a_trial_of_each_way(memory_format: str, execution: str, probe: str) -> None:
    asked = cell("rate_m", memory_format, execution)
    answer = trial.run(TrialSpec("0" * 16, "gpu", asked, probe, 0, 0, 600.0, "e", "c", 2))
    assert answer.status == "ok", answer.error
    metrics = {row.metric for row in answer.rows}
    assert answer.facts["execution"]["graphs"] > 0
    if probe == "time":
        assert {"compile": "time.compile", "cuda_graph": "time.capture"}[execution] in metrics
        assert ("time.backward" in metrics) == (execution == "compile")
    else:
        assert not any(metric.startswith(("mem.", "ops.")) for metric in metrics)
        assert "cuda.reserved_peak" in metrics
        assert ("cuda.allocated_peak" in metrics) == (execution == "compile")
