"""On a real device: the same gradients, and trials that measure it."""

from __future__ import annotations

import pytest
import torch

import ratebp
from ratebp.testing import fitting, seeded_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("name", ratebp.methods.names())
def test_gradients_equal_the_cpus(name: str, norm: str) -> None:
    found = []
    for device in ("cpu", "cuda"):
        case = fitting(ratebp.methods.get(name), norm=norm)
        model = case.model.to(device)
        bound = ratebp.methods.get(name).bind(model, case.timesteps)
        result = seeded_step(bound, case.x.to(device), case.y.to(device))
        found.append([result.logits.cpu()] + [p.grad.cpu() for p in model.parameters()])
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ratebp.methods.names())
def test_bf16_autocast_on_the_device(name: str) -> None:
    case = fitting(ratebp.methods.get(name), norm="batch", dtype=torch.float32)
    model = case.model.cuda()
    bound = ratebp.methods.get(name).bind(model, case.timesteps)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        seeded_step(bound, case.x.cuda(), case.y.cuda())
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("probe", ["time", "memory"])
def test_a_trial_on_the_device(probe: str) -> None:
    from harness.spec import Cell, Choice, TrialSpec
    from harness.trial import trial
    from harness.trial.bench import usual

    model = Choice("tiny_resnet", (("width", 0.25),))
    cell = Cell(
        Choice("rate_m", ()), model, "synthetic-3x32x32-10", 2, 8, "float32", "cuda", 0, None,
        operators=usual("cuda"),
    )  # fmt: skip
    spec = TrialSpec("0" * 16, "gpu", cell, probe, 0, 0, 60.0, "e", "c", 1)
    called = []
    answer = trial.run(spec, lambda: called.append(True))
    assert answer.status == "ok", answer.error
    metrics = {row.metric for row in answer.rows}
    if probe == "time":
        assert answer.facts["clock"] == "CUDA events"
        assert "time.trace" in metrics
    else:
        assert {"cuda.requested_peak", "cuda.allocated_peak", "cuda.reserved_peak"} <= metrics
        assert called == [True]
