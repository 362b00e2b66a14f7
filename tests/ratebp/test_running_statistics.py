"""Forwards that depend on running statistics: the padded norm, and the scale by firing rates."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp.errors import BindError
from ratebp.neurons import LI, HeterogeneousLIF
from ratebp.norms import PaddedNorm, RateScale

STEPS, BATCH = 3, 4


def lif() -> ratebp.LIF:
    return ratebp.LIF(0.5, 0.6, alpha=2.0)


class Scaled(nn.Module):
    """Scale of two heads on a map ``[B, 4, H, W]``."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = RateScale(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(x.flatten(2).unflatten(1, (2, 2))).flatten(1, 2).reshape(x.shape)


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "own decays":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(72, 6), HeterogeneousLIF(6), nn.Linear(6, 3), LI(3)
        ).double()
    layers = OrderedDict[str, nn.Module](
        first=nn.Conv2d(2, 4, 3, padding=1, bias=False), norm=nn.BatchNorm2d(4), lif=lif()
    )
    if kind == "padded":
        layers["conv"] = nn.Conv2d(4, 4, 1, bias=False)
        layers["border"] = PaddedNorm(4)
        layers["depthwise"] = nn.Conv2d(4, 4, 3, groups=4, bias=False)
    else:
        layers["scaled"] = Scaled()
        layers["conv"] = nn.Conv2d(4, 4, 1, bias=False)
    layers["lif2"] = lif()
    layers["head"] = nn.Sequential(nn.Flatten(), nn.Linear(4 * 36, 3))
    return nn.Sequential(layers).double()


def data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(STEPS, BATCH, 2, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("kind", ["padded", "scaled", "own decays"])
@pytest.mark.parametrize("method", ratebp.methods.names())
def test_every_method_is_right_or_refuses(method: str, kind: str) -> None:
    check = ratebp.verify(network(kind), method, *data())
    assert check.outcome != "wrong", check


def test_the_border_is_what_a_norm_of_a_padded_image_would_give_after_training() -> None:
    model = network("padded").border.eval()
    model.bn.running_mean.uniform_(-1, 1)
    model.bn.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    torch.testing.assert_close(model(x), model.bn(padded))


def test_the_scale_follows_the_running_rate_by_hand() -> None:
    scale, rates = RateScale(2, momentum=0.25).double(), None
    torch.manual_seed(0)
    for _ in range(3):
        x = (torch.rand(3, 2, 4, 5, dtype=torch.float64) < 0.3).double()
        now = x.mean((0, 2, 3))
        rates = now if rates is None else 0.75 * rates + 0.25 * now
        want = x / (rates * 4).sqrt().view(2, 1, 1)
        torch.testing.assert_close(scale(x), want, rtol=1e-14, atol=0)
    kept = scale.eval()(x)
    torch.testing.assert_close(kept, want)
    torch.testing.assert_close(scale.running_rate, rates)


def test_silent_heads_stay_finite() -> None:
    scale = RateScale(2)
    assert torch.equal(scale(torch.zeros(1, 2, 3, 4)), torch.zeros(1, 2, 3, 4))


@pytest.mark.parametrize("over", ["layers", "time", "both"])
@pytest.mark.parametrize("kind", ["padded", "scaled"])
def test_checkpointing_refuses_what_a_rerun_would_see_moved(over: str, kind: str) -> None:
    words = {"padded": "running_|border.bn", "scaled": "RateScale"}[kind]
    method = ratebp.methods.get("bptt_ckpt", over=over)
    with pytest.raises(BindError, match=words):
        method.bind(network(kind), STEPS).step(*data())


def test_a_scale_over_all_steps_is_one_rate_and_step_by_step_many() -> None:
    x, y = data()
    found = {}
    for method in ("bptt_m", "bptt_s"):
        model = copy.deepcopy(network("scaled"))
        ratebp.methods.get(method).bind(model, STEPS).step(x, y)
        found[method] = int(model.scaled.scale.num_batches_tracked)
    assert found == {"bptt_m": 1, "bptt_s": STEPS}
