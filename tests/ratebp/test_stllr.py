"""S-TLLR against its sums written out, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.errors import BindError, OptionError
from ratebp.testing import seeded_step
from ratebp.testing.gradients import differences

DECAY, THRESHOLD = 0.6, 0.9
OPTIONS = {"alpha_post": 1.5, "alpha_pre": -0.7, "lambda_x": 0.8, "lambda_y": 0.3}


def lif() -> ratebp.LIF:
    return ratebp.LIF(decay=DECAY, threshold=THRESHOLD, surrogate="fast_sigmoid", alpha=3.0)


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 11), lif(), nn.Linear(11, 9), lif(), nn.Linear(9, 5))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)  # so that every layer spikes
    return model.double()


def data(timesteps: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 2 * torch.randn(timesteps, 6, 7, dtype=torch.float64), torch.arange(6) % 5


def by_the_sums(model: nn.Sequential, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The equation, unit by unit and without autograd; a bias is a weight on the input 1."""
    post, pre, lx, ly = OPTIONS.values()
    grads = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
    u: dict[int, Any] = dict.fromkeys((1, 3), 0.0)
    s: dict[int, Any] = dict.fromkeys((1, 3), 0.0)
    q: dict[int, Any] = {i: torch.zeros(1, dtype=x.dtype) for i in (1, 3)}
    a: dict[int, Any] = dict.fromkeys((0, 2, 4), 0.0)
    ones = 0.0
    for now in x:
        inputs, h, out, ones = {}, {}, now, lx * ones + 1
        for index in range(5):
            layer = model[index]
            if isinstance(layer, nn.Linear):
                inputs[index], a[index] = out, lx * a[index] + out
                out = out @ layer.weight.T + layer.bias
                continue
            u[index] = DECAY * (u[index] - THRESHOLD * s[index]) + out
            s[index] = out = (u[index] >= THRESHOLD).double()
            h[index] = 1 / (3 * (u[index] - THRESHOLD).abs() + 1) ** 2
        d = (out.softmax(-1) - F.one_hot(y, 5)) / (len(y) * len(x))
        grads["4.weight"] += d.T @ a[4]
        grads["4.bias"] += ones * d.sum(0)
        for index in (2, 0):
            d, near = d @ model[index + 2].weight, h[index + 1]
            grads[f"{index}.weight"] += post * (d * near).T @ a[index]
            grads[f"{index}.weight"] += pre * (d * q[index + 1]).T @ inputs[index]
            grads[f"{index}.bias"] += (d * (post * ones * near + pre * q[index + 1])).sum(0)
            q[index + 1] = ly * q[index + 1] + near
            d = d * near
    return {n: g.detach() for n, g in grads.items()}


def test_stllr_equals_its_sums_written_out() -> None:
    model, (x, y) = mlp(), data(5)
    seeded_step(ratebp.methods.get("stllr", **OPTIONS).bind(model, 5), x, y)
    got = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert differences(got, by_the_sums(model, x, y), 1e-12) == {}


def put(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3), *layers, ratebp.LIF(), nn.Flatten(), nn.Linear(4, 2))


class Odd(nn.Module):
    """A network whose forward is given, around a linear layer and a neuron."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.a, self.lif, self.b = nn.Linear(6, 6), ratebp.LIF(), nn.Linear(6, 6)
        self.odd = forward

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.odd(self, x)
        return out


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (put(nn.BatchNorm2d(4)), "cannot cross BatchNorm2d at `1`.*ottt_a"),
        (put(nn.GroupNorm(2, 4).eval()), "cannot cross GroupNorm at `1`"),
        (put(nn.MaxPool2d(2)), "cannot cross MaxPool2d at `1`"),
        (put(nn.Dropout(0.5)), "cannot cross Dropout at `1`"),
        (put(nn.Conv2d(4, 4, 1)), "cannot cross Conv2d at `1`"),
        (put(ratebp.LIF()), "cannot cross LIF at `2`"),
        (Odd(lambda m, x: m.b(m.lif(m.a(x) + x))), "cannot cross `add`"),
        (Odd(lambda m, x: m.b(m.lif(m.a(x) + 1))), "cannot cross `add`"),
    ],
)
def test_what_the_two_halves_cannot_cross_is_refused_by_place(
    model: nn.Module, message: str
) -> None:
    with pytest.raises(BindError, match=message):
        ratebp.methods.get("stllr").bind(model, 2)


def test_spikes_may_cross_anything() -> None:
    """The restriction is on currents: a max-pool of spikes is fine."""
    model = put(ratebp.LIF(), nn.MaxPool2d(1), nn.Dropout(0.0), nn.Conv2d(4, 4, 1)).double()
    bound = ratebp.methods.get("stllr").bind(model, 3)
    x = torch.randn(3, 2, 2, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(seeded_step(bound, x, torch.tensor([0, 1])).logits, bound.plain(x))


@pytest.mark.parametrize(
    "options", [{"lambda_x": 1.5}, {"lambda_y": -0.1}, {"alpha_pre": float("nan")}]
)
def test_illegal_factors_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r"Stllr\..* must be"):
        ratebp.methods.get("stllr", **options)
