"""Every gradient, the logits and the running statistics against the papers' own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ratebp

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


class GoldenNet(nn.Module):
    """The residual network of tests/data/golden/README.md."""

    def __init__(self, **neuron: Any) -> None:
        super().__init__()
        self.conv0, self.bn0 = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.conv1, self.bn1 = nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.convs, self.bns = nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16)
        self.lif0, self.lif1, self.lif2 = (ratebp.LIF(**neuron) for _ in range(3))
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        a = self.lif0(self.bn0(self.conv0(x)))
        p = self.bn2(self.conv2(self.lif1(self.bn1(self.conv1(a)))))
        out: Tensor = self.fc(self.pool(self.lif2(p + self.bns(self.convs(a)))).flatten(1))
        return out


def run(file: str, method: str, **options: Any) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the relative error of every recorded tensor by name."""
    data = np.load(GOLDEN / file)
    meta = json.loads(str(data["meta"]))
    neuron = {
        k: meta[k] for k in ("decay", "threshold", "reset", "detach_reset", "surrogate", "alpha")
    }
    model = GoldenNet(**neuron).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(data[f"param/{name}"]))
    bound = ratebp.methods.get(method, **options).bind(model, meta["T"])
    x = ratebp.direct(torch.from_numpy(data["x"]), meta["T"])
    result = bound.step(x, torch.from_numpy(data["y"]))
    got = {"logits": result.logits, "loss": result.loss}
    got |= {f"grad/{n}": p.grad for n, p in model.named_parameters()}
    got |= {f"buffer/{n}": b for n, b in model.named_buffers() if "running" in n}
    wanted = {k for k in data.files if k.startswith(("grad/", "buffer/"))} | {"logits", "loss"}
    assert set(got) == wanted
    errors = {}
    for name, value in got.items():
        want = torch.from_numpy(data[name])
        errors[name] = float((value - want).norm() / want.norm())
    return errors, meta


CASES = [
    ("bptt_m", {}),
    ("bptt_s", {}),
    ("rate_m", {}),
    ("sltt", {}),
    ("ottt_a", {"placement": "published"}),
]


@pytest.mark.parametrize("timesteps", [1, 4])
@pytest.mark.parametrize(("method", "options"), CASES, ids=[c[0] for c in CASES])
def test_equals_the_papers_code(method: str, options: dict[str, str], timesteps: int) -> None:
    errors, _ = run(f"{method}-T{timesteps}-static.npz", method, **options)
    assert {k: v for k, v in errors.items() if not v < 1e-6} == {}


def test_rate_s_with_the_last_steps_statistics_equals_the_published_code() -> None:
    errors, _ = run("rate_s-T4-static.npz", "rate_s", statistics="last_step")
    assert {k: v for k, v in errors.items() if not v < 1e-6} == {}


def test_rate_s_at_one_step_differs_from_the_published_code_by_its_second_eps_alone() -> None:
    errors, _ = run("rate_s-T1-static.npz", "rate_s")
    assert {k: v for k, v in errors.items() if not v < 1e-3} == {}
    exact, _ = run("rate_s-T1-static.npz", "rate_s", statistics="last_step")
    assert {k: v for k, v in exact.items() if not v < 1e-6} == {}
