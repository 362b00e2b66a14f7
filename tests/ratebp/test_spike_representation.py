"""DSR, RGA and tandem learning against networks of rates written out, and the map they rest on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.dynamics import Dynamics
from ratebp.errors import BindError
from ratebp.methods.dsr._represented import FORMS, RepresentedLIF, recent_weights
from ratebp.methods.rga import fitted
from ratebp.ops import lif_scan
from ratebp.testing import problem, seeded_step
from ratebp.testing.gradients import differences

THRESHOLD = 0.8
SIZES = (7, 11, 9, 5)


def mlp(decay: float) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(SIZES[:-1]):
        layers += [nn.Linear(n_in, n_out), ratebp.LIF(decay=decay, threshold=THRESHOLD)]
    model = nn.Sequential(*layers, nn.Linear(*SIZES[-2:])).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)  # so that every layer spikes
    return model


def data(timesteps: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 2 * torch.randn(timesteps, 6, 7, dtype=torch.float64), torch.arange(6) % 5


def dsr_if(x: Tensor, decay: float) -> Tensor:
    return ((x >= 0) & (x <= THRESHOLD)).double() / THRESHOLD


def dsr_lif(x: Tensor, decay: float) -> Tensor:
    return ((x > 0) & (x < THRESHOLD)).double() / THRESHOLD


def rga(x: Tensor, decay: float) -> Tensor:
    z = x / THRESHOLD
    steep = (1 - 0.2 + 0.2 * decay) / (decay + 1)
    phi = torch.where(z < 1 - decay, 0.2, steep)
    return torch.where((z < 0) | (z > 2), 0.0, phi) / THRESHOLD


def tandem(x: Tensor, decay: float) -> Tensor:
    return (x > 0).double() / THRESHOLD


def network_of_rates(
    model: nn.Sequential, x: Tensor, y: Tensor, slope: Callable[..., Tensor], recent: bool
) -> dict[str, Tensor]:
    """E9's counterpart: r = rate of the spikes, dr/d(W r_in + b) = slope of the mean current."""
    s, r, decay = x, x.mean(0), model[1].dynamics.decay
    for index in (0, 2):
        with torch.no_grad():
            current = model[index](s)
            s = lif_scan(current, model[index + 1].dynamics)
            assert 0.05 < float(s.mean()) < 0.95
            w = torch.tensor(recent_weights(len(x), decay)).double().view(-1, 1, 1)
            x_mean = (w * current).sum(0) if recent else current.mean(0)
        c = model[index](r)
        r = s.mean(0) + slope(x_mean, decay) * (c - c.detach())
    loss = F.cross_entropy(model[4](r), y)
    grads = torch.autograd.grad(loss, list(model.parameters()))
    return dict(zip([n for n, _ in model.named_parameters()], grads, strict=True))


@pytest.mark.parametrize("decay", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(
    ("name", "options", "slope", "recent"),
    [
        ("dsr", {"form": "if"}, dsr_if, False),
        ("dsr", {"form": "lif"}, dsr_lif, True),
        ("rga", {}, rga, False),
        ("tandem", {}, tandem, False),
    ],
)
def test_the_gradient_is_that_of_the_network_of_rates(
    name: str, options: dict[str, Any], slope: Any, recent: bool, decay: float
) -> None:
    model, (x, y) = mlp(decay), data(6)
    result = seeded_step(ratebp.methods.get(name, **options).bind(model, 6), x, y)
    got = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    assert differences(got, network_of_rates(model, x, y, slope, recent), 1e-12) == {}
    logits = ratebp.infer(model, x)
    torch.testing.assert_close(result.logits, logits, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_e19_the_backward_of_dsr_is_constant_in_t(form: str) -> None:
    """E19, with an upstream gradient that is not."""
    torch.manual_seed(0)
    lif = ratebp.LIF(decay=0.7, threshold=THRESHOLD)
    slope, weights = FORMS[form]
    current = torch.randn(5, 4, 3, dtype=torch.float64).add_(0.4).requires_grad_()
    leaf = RepresentedLIF(lif, 5, slope, weights)
    spikes = leaf(current.flatten(0, 1)).unflatten(0, (5, 4))
    assert torch.equal(spikes, lif_scan(current.detach(), lif.dynamics))
    upstream = torch.randn_like(spikes)
    (got,) = torch.autograd.grad(spikes, current, upstream)
    w = torch.tensor(weights(5, 0.7), dtype=torch.float64).view(-1, 1, 1)
    x = (w * current.detach()).sum(0)
    passes = ((x > 0) & (x < THRESHOLD)).double()
    assert 0 < float(passes.mean()) < 1
    want = passes / THRESHOLD * (w * upstream).sum(0)
    torch.testing.assert_close(got, want.expand(5, 4, 3), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 1.0])
def test_weighted_rates_are_clipped_functions_of_weighted_currents(decay: float) -> None:
    """What the spike representation says, up to the potential that is left at the end."""
    timesteps, d = 40, Dynamics(decay=decay, threshold=THRESHOLD)
    level = torch.linspace(-1, THRESHOLD, 23, dtype=torch.float64)
    w = torch.tensor(recent_weights(timesteps, decay), dtype=torch.float64).view(-1, 1)
    assert float(w.sum()) == pytest.approx(1, abs=1e-14)
    rate = (w * lif_scan(level.expand(timesteps, -1), d)).sum(0)
    left = 1 / sum(decay**k for k in range(timesteps))
    error = (level / THRESHOLD).clamp(0, 1) - rate
    assert float(error.min()) > -1e-12
    assert float(error.max()) <= left + 1e-12


def test_rgas_curve() -> None:
    """Slopes of the paper at decay 0.25: 0.2 below 0.75, 0.68 from there to 2; area 1."""
    d = Dynamics(decay=0.25)
    x = torch.tensor([-0.1, 0.0, 0.7, 0.8, 2.0, 2.1], dtype=torch.float64)
    want = torch.tensor([0, 0.2, 0.2, 0.68, 0.68, 0], dtype=torch.float64)
    torch.testing.assert_close(fitted(x, d), want, rtol=0, atol=1e-12)
    fine = torch.linspace(0, 1, 100001, dtype=torch.float64)
    assert float(fitted(fine, d).mean()) == pytest.approx(0.2 * 0.75 + 0.68 * 0.25, abs=1e-4)


def test_no_neuron_saturates_where_tandem_claims_to_be_dsr() -> None:
    case = problem(decay=1.0, threshold=3.0, timesteps=12)
    bound = ratebp.methods.get("dsr").bind(case.model, 12)
    means: list[Tensor] = []
    for leaf in bound.views(case.x)["net"].module.modules():
        if isinstance(leaf, RepresentedLIF):
            leaf.register_forward_pre_hook(
                lambda _, args: means.append(args[0].detach().unflatten(0, (12, -1)).mean(0))
            )
    bound.plain(case.x)
    seeded_step(bound, case.x, case.y)
    assert len(means) == 3
    assert max(float(each.max()) for each in means) < 3.0


@pytest.mark.parametrize("name", ["dsr", "tandem"])
def test_the_hard_reset_is_refused_by_place(name: str) -> None:
    model = nn.Sequential(nn.Linear(3, 3), ratebp.LIF(reset="hard"), nn.Linear(3, 2))
    with pytest.raises(BindError, match=f"{name} cannot train the neuron `1` with reset='hard'"):
        ratebp.methods.get(name).bind(model, 2)
    ratebp.methods.get("rga").bind(model, 2)
