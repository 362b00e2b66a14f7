"""Whole training steps by the kernels against the same steps on torch's operators."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor

import ratebp
from harness.trial.exact.counters import Operations
from harness.trial.exact.tracker import LiveBytes
from ratebp.ops import using
from ratebp.testing import Problem, fitting, seeded_step
from tests.ratebp.kernels.common import BACKEND, DEVICE, INTERPRETED

# One of each way to use the operators; tests/gpu has every method on the device.
METHODS = ("bptt_m", "bptt_s", "bptt_ckpt", "rate_m", "rate_s", "ottt_a", "stllr")


def step(name: str, case: Problem) -> list[Tensor | None]:
    case.model.to(DEVICE)
    bound = ratebp.methods.get(name).bind(case.model, case.timesteps)
    result = seeded_step(bound, case.x.to(DEVICE), case.y.to(DEVICE))
    return [result.logits, *(p.grad for p in case.model.parameters())]


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("name", METHODS)
def test_gradients(name: str, norm: str) -> None:
    found = []
    for each in (BACKEND, "torch"):
        with using(each):
            found.append(step(name, fitting(ratebp.methods.get(name), norm=norm)))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


# On a CPU ottt_a's neurons run on torch's operators, see ratebp.ops.lif.
@pytest.mark.parametrize(
    "name", ["bptt_m", "rate_m", "rate_s", "bptt_s" if BACKEND == "cpp" else "ottt_a"]
)
def test_exact_counters_see_the_whole_step(name: str) -> None:
    """The arithmetic is the same, in fewer operators, and no more is held; nothing is hidden."""
    totals, peaks = [], []
    for each in (BACKEND, "torch"):
        case = fitting(ratebp.methods.get(name), norm="batch")
        operations = Operations()
        with using(each):
            step(name, case)  # the first makes the gradients
            gc.collect()  # the interpreter leaves reference cycles behind
            declared = [*case.model.parameters(), *case.model.buffers()]
            with LiveBytes(declared, observer=operations.observe) as tracker:
                step(name, case)
        totals.append(operations.total())
        peaks.append(tracker.peak())
    by_kernels, on_torch = totals
    assert by_kernels.flops == on_torch.flops > 0
    assert 0 < by_kernels.count < on_torch.count
    assert 0 < by_kernels.elem_bytes < on_torch.elem_bytes
    if not INTERPRETED:
        assert 0 < peaks[0] <= peaks[1]


def test_a_norm_in_eval_mode_beside_one_in_training_mode() -> None:
    """It shares nothing, so the neuron reads the sum, which every norm before it then makes."""
    torch.manual_seed(0)
    model = ratebp.models.build("tiny_resnet", num_classes=3, in_channels=1, width=0.25)
    model = model.double().to(DEVICE)
    x, y = torch.rand(3, 4, 1, 8, 8, device=DEVICE).double(), torch.arange(4, device=DEVICE) % 3
    norms = [each for each in model.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    for frozen in norms:
        model.train()
        frozen.eval()
        found = []
        for each in (BACKEND, "torch"):
            model.zero_grad()
            with using(each):
                ratebp.methods.get("bptt_m").bind(model, 3).step(x, y)
            found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        for got, want in zip(*found, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)
