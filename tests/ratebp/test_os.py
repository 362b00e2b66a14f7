"""OS: the threshold stabiliser and the method as a whole, against loops written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.errors import BindError, OptionError
from ratebp.methods.os._stabilised import FrozenLIF, StabilisedLIF
from ratebp.ops import spike
from ratebp.testing import problem, seeded_step
from ratebp.testing.gradients import differences, gradients


def currents(shape: tuple[int, ...], timesteps: int = 1) -> list[Tensor]:
    torch.manual_seed(4)
    made = [torch.randn(shape, dtype=torch.float64) * (t + 1) + t for t in range(timesteps)]
    return [c.requires_grad_() for c in made]


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_thresholds_follow_mean_and_spread_of_the_potentials(reset: str) -> None:
    lif = ratebp.LIF(decay=0.6, threshold=0.8, reset=reset)
    leaf = StabilisedLIF(lif, "here", 1)
    u: Any = 0.0
    s: Any = 0.0
    theta: Any = 0.0
    q: Any = None
    thresholds = []
    for t, current in enumerate(currents((4, 3, 5), 5)):
        u = 0.6 * (u - theta * s if reset == "soft" else u * (1 - s)) + current.detach()
        m, d = u.mean(), u.std()
        q = (0.8 - m) / d if t == 0 else q
        theta = m + d * q
        s = (u >= theta).double()
        got = leaf(current)
        torch.testing.assert_close(got, s, rtol=0, atol=0)
        assert 0 < float(s.mean()) < 1
        (slope,) = torch.autograd.grad(got.sum(), current)
        p = torch.sigmoid(4 * (u - theta))
        torch.testing.assert_close(slope, 4 * p * (1 - p), rtol=1e-11, atol=1e-12)
        thresholds.append(float(theta))
    assert thresholds[0] == pytest.approx(0.8, rel=1e-14)
    assert len({round(t, 6) for t in thresholds}) == 5
    want = 0.8 + 0.1 * (sum(thresholds) / 5 - 0.8)
    assert float(leaf.running.value) == pytest.approx(want, rel=1e-12)


def test_potentials_without_spread_leave_the_threshold() -> None:
    for shape in ((2, 3), (1, 1)):
        leaf = StabilisedLIF(ratebp.LIF(decay=0.5, threshold=1.0), "here", 1)
        now = torch.full(shape, 0.7, dtype=torch.float64)
        assert [float(leaf(now).mean()) for _ in range(3)] == [0.0, 1.0, 0.0]  # 0.7, 1.05, 0.725


def mlp(**neuron: Any) -> nn.Sequential:
    torch.manual_seed(0)
    lifs = [ratebp.LIF(**({"decay": 0.6, "threshold": 0.7} | neuron)) for _ in range(2)]
    model = nn.Sequential(nn.Linear(7, 9), lifs[0], nn.Linear(9, 8), lifs[1], nn.Linear(8, 5))
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.mul_(2.5)
    return model


def data(timesteps: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 2 * torch.randn(timesteps, 6, 7, dtype=torch.float64), torch.arange(6) % 5


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_os_equals_an_unrolled_loop(reset: str) -> None:
    """Spatial gradients of each step, thresholds out of every graph."""
    x, y = data(4)
    model, twin = mlp(reset=reset), mlp(reset=reset)
    result = ratebp.methods.get("os").bind(model, 4).step(x, y)
    left: dict[int, Any] = dict.fromkeys((1, 3), 0.0)
    q: dict[int, Tensor] = {}
    total = 0.0
    for now in x.unbind(0):
        h = now
        for index, layer in enumerate(twin):
            if isinstance(layer, nn.Linear):
                h = h @ layer.weight.T + layer.bias
                continue
            u = left[index] + h
            m, d = u.detach().mean(), u.detach().std()
            q.setdefault(index, (0.7 - m) / d)
            theta = m + d * q[index]
            h = spike(u - theta, 0.0, layer.dynamics.surrogate)
            past, s = u.detach(), h.detach()
            left[index] = 0.6 * (past - theta * s if reset == "soft" else past * (1 - s))
        value = F.cross_entropy(h, y) / 4
        value.backward()
        total += float(value.detach())
    assert float(result.loss) == pytest.approx(total, rel=1e-12)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert a.grad is not None
        assert float(a.grad.norm()) > 0
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-11, atol=1e-13)


def test_os_is_sltt_where_renormalisation_changes_nothing() -> None:
    """One step whose statistics, in every layer, are the running ones; T = 1, so is the threshold.

    With a momentum of 1 each pass settles one layer more.
    """
    case, twin = (problem(norm="batch", timesteps=1) for _ in range(2))
    for module in case.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    method = ratebp.methods.get("os", start="published")
    for _ in range(4):
        seeded_step(method.bind(case.model, 1), case.x, case.y)
    settled = gradients(method, case)
    assert differences(settled, gradients(ratebp.methods.get("sltt"), twin), 1e-9) == {}


def test_os_differs_from_sltt_with_batch_norm_and_with_moved_thresholds() -> None:
    for norm, options in (("batch", {"threshold": "fixed"}), ("none", {})):
        method = ratebp.methods.get("os", start="published", **options)
        found = gradients(method, problem(norm=norm))
        plain = gradients(ratebp.methods.get("sltt"), problem(norm=norm))
        assert differences(found, plain, 1e-3)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_inference_with_fixed_thresholds_is_the_plain_one(norm: str) -> None:
    case = problem(norm=norm, timesteps=4)
    bound = ratebp.methods.get("os", threshold="fixed").bind(case.model, 4)
    bound.step(case.x, case.y)
    want = ratebp.infer(case.model, case.x)
    torch.testing.assert_close(bound.infer(case.x), want, rtol=1e-12, atol=1e-12)
    assert case.model.training


def test_frozen_thresholds_make_a_prediction_independent_of_its_neighbours() -> None:
    case = problem(norm="batch", timesteps=4)
    predictions = {}
    for name in ("frozen", "batch"):
        bound = ratebp.methods.get("os", test_threshold=name).bind(case.model, 4)
        bound.step(case.x, case.y)
        predictions[name] = [bound.infer(case.x)[:1], bound.infer(case.x[:, :1])]
        plain = ratebp.infer(case.model, case.x)[:1]
        assert not torch.allclose(predictions[name][0], plain)
    torch.testing.assert_close(*predictions["frozen"], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(*predictions["batch"])


def test_a_frozen_neuron_is_the_lif_with_the_threshold_of_training() -> None:
    lif = ratebp.LIF(decay=0.6, threshold=0.8)
    trained = StabilisedLIF(lif, "here", 1)
    steps = currents((4, 3, 5), 5)
    untouched, plain = FrozenLIF(lif, trained.running), ratebp.rules.StepLIF(lif)
    for current in steps:
        assert torch.equal(untouched(current), plain(current))
    for current in steps:
        trained(current)
    trained.reset()
    moved = float(trained.running.value)
    assert abs(moved - 0.8) > 0.01
    frozen = FrozenLIF(lif, trained.running)
    other = ratebp.rules.StepLIF(ratebp.LIF(decay=0.6, threshold=moved))
    for current in steps:
        assert torch.equal(frozen(current), other(current))


@pytest.mark.parametrize(
    ("norm", "taken"),
    [
        (nn.BatchNorm1d(9, track_running_stats=False), False),
        (nn.SyncBatchNorm(9), False),
        (nn.LayerNorm(9), True),
        (nn.GroupNorm(3, 9), True),
    ],
)
def test_norms_without_running_statistics_of_a_batch(norm: nn.Module, taken: bool) -> None:
    model = nn.Sequential(nn.Linear(7, 9), norm, ratebp.LIF(), nn.Linear(9, 5))
    method = ratebp.methods.get("os")
    if taken:
        method.bind(model, 3).step(torch.randn(3, 6, 7), torch.arange(6) % 5)
        return
    with pytest.raises(BindError, match=rf"{type(norm).__name__} at `1`.*LayerNorm.*sltt"):
        method.bind(model, 3)


def test_options_out_of_range_are_refused() -> None:
    for options in ({"safety": 0}, {"fallback": "none"}, {"threshold": "free"}):
        with pytest.raises(OptionError):
            ratebp.methods.get("os", **options)
