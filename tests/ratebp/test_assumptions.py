"""The assumptions of rate-based backpropagation: by hand, where they hold exactly, and at large."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import ratebp
from ratebp.assumptions import assumptions, sensitivity
from ratebp.dynamics import Dynamics
from ratebp.ops import lif_scan
from ratebp.surrogates import Surrogate
from ratebp.testing import problem

RESETS = [("soft", True), ("soft", False), ("hard", True), ("hard", False)]


def mlp(**neuron: Any) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((7, 11), (11, 9)):
        layers += [nn.Linear(inputs, outputs), ratebp.LIF(**neuron)]
    model = nn.Sequential(*layers, nn.Linear(9, 5)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)
    return model


def data(timesteps: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 2 * torch.randn(timesteps, 6, 7, dtype=torch.float64), torch.arange(6) % 5


@pytest.mark.parametrize(("reset", "detach_reset"), RESETS)
def test_the_mean_current_gradient_is_the_mean_of_ds_kappa(reset: str, detach_reset: bool) -> None:
    """E[dL/dc] = E[ds kappa] holds always: it is what makes kappa the right quantity."""
    dynamics = Dynamics(0.6, 0.9, reset, detach_reset, Surrogate("sigmoid", 4.0))
    torch.manual_seed(0)
    current = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    ds = torch.randn(5, 3, 4, dtype=torch.float64)
    (dc,) = torch.autograd.grad(lif_scan(current, dynamics), current, ds)
    kappa = sensitivity(current.detach(), dynamics)
    torch.testing.assert_close((ds * kappa).mean(0), dc.mean(0), rtol=1e-12, atol=1e-14)


class Gain(nn.Module):
    """Behind the neurons: multiplies the first of two steps by 3, so that the gradient changes.

    It tells samples apart by their number, so `rate_m` refuses it and A3 has no figure here.
    """

    def forward(self, folded: Tensor) -> Tensor:
        return folded * (3 - 2 * torch.arange(len(folded)))[:, None]


def test_two_steps_by_hand() -> None:
    """Two neurons, each with its own input; h' = 1 - |u - 1| and the decay is 0.5.

    c = 0.8, 1.4: u = 0.8, 1.8, h = 0.8, 0.2, rho = 1, 1.5, kappa = 0.8, 0.3
    c = 1.2, 0.7: u = 1.2 (a spike), 0.8, h = 0.8, 0.8, kappa = 0.8, 1.2
    """
    lif = ratebp.LIF(decay=0.5, threshold=1.0, surrogate="triangle", alpha=1.0)
    model = nn.Sequential(nn.Linear(2, 2), lif, Gain(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))  # type: ignore[operator]
        model[3].weight.copy_(torch.tensor([[2.0, -2.0]]))  # type: ignore[operator]
        for layer in (model[0], model[3]):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    x = torch.tensor([[[0.8, 1.2]], [[1.4, 0.7]]], dtype=torch.float64)
    found = assumptions(model, x, torch.zeros(1), loss=lambda logits, _: logits.sum())

    assert "numbers the samples" in str(found["0"]["a3_cosine"])
    # ds = 3, 1 and -3, -1.  E[ds kappa] = 1.35, -1.8;  E[ds] E[kappa] = 2 * 0.55, -2 * 1
    cosine = (1.35 * 1.1 + 1.8 * 2) / math.sqrt((1.35**2 + 1.8**2) * (1.1**2 + 2**2))
    assert found["1"]["a1_cosine"] == pytest.approx(cosine, rel=1e-12)
    # deviations from the mean: ds +-1, kappa +-0.25 and the same with -+0.2
    correlation = (0.25 + 0.2) / math.sqrt((1 + 1) * (0.25**2 + 0.2**2))
    assert found["1"]["a1_correlation"] == pytest.approx(correlation, rel=1e-12)

    # dc[2] = ds h, dc[1] = ds h + 0.5 dc[2]
    dc = torch.tensor([[3 * 0.8 + 0.1, -3 * 0.8 - 0.4], [0.2, -0.8]], dtype=torch.float64)
    left = (dc[:, :, None] * x[:, 0, None, :]).mean(0)
    right = dc.mean(0)[:, None] * x[:, 0].mean(0)
    cosine = float((left * right).sum() / (left.norm() * right.norm()))
    assert found["0"]["a2_cosine"] == pytest.approx(cosine, rel=1e-12)
    assert cosine < 1 - 1e-3
    # deviations: dc +-1.15 and -+1; x -+0.3 and +-0.25; four pairs
    spread = math.sqrt(2 * (1.15**2 + 1**2) * 2 * (0.3**2 + 0.25**2))
    correlation = (1.15 - 1) * (-0.3 + 0.25) / spread
    assert found["0"]["a2_correlation"] == pytest.approx(correlation, rel=1e-12)


def test_with_one_step_all_three_hold_exactly() -> None:
    model = mlp()
    x, y = data(1)
    found = assumptions(model, x, y)
    assert set(found) == {str(index) for index in range(5)}
    for figures in found.values():
        for name, value in figures.items():
            if name == "a3_cosine":
                assert value == pytest.approx(1.0, abs=1e-12)
            else:
                assert value == (1.0 if name.endswith("cosine") else 0.0), name


def test_spikes_that_are_constant_in_time_leave_nothing_to_correlate() -> None:
    """Without memory a constant input gives the same spikes and gradients at every step."""
    model = mlp(decay=0.0)
    x, y = data(1)
    for figures in assumptions(model, x.expand(3, -1, -1), y).values():
        for name, value in figures.items():
            if name == "a3_cosine":
                assert value == pytest.approx(1.0, abs=1e-12)
            else:
                assert value == (1.0 if name.endswith("cosine") else 0.0), name


def test_the_left_side_of_a2_is_the_gradient_and_its_right_side_that_of_the_means() -> None:
    """A convolution with stride, padding and groups, against autograd at another door."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), ratebp.LIF(0.5), nn.Flatten()
    ).double()
    x = 2 * torch.randn(3, 2, 2, 5, 5, dtype=torch.float64)
    y = torch.tensor([3, 20])
    conv = model[0]
    assert isinstance(conv, nn.Conv2d)
    outs = [conv(now) for now in x]
    spikes = lif_scan(torch.stack(outs), Dynamics(0.5))
    loss = cross_entropy(spikes.mean(0).flatten(1), y)
    grads = torch.autograd.grad(loss, [conv.weight, *outs])
    left = grads[0] / 3
    mean_grad = torch.stack(grads[1:]).mean(0)
    (right,) = torch.autograd.grad(conv(x.mean(0)), conv.weight, mean_grad)
    cosine = float((left * right).sum() / (left.norm() * right.norm()))
    assert cosine < 1 - 1e-3
    assert assumptions(model, x, y)["0"]["a2_cosine"] == pytest.approx(cosine, rel=1e-10)


def test_the_correlation_of_a2_is_pearsons_over_all_pairs() -> None:
    """All pairs of a weight's row and column, over samples, gathered one by one."""
    model = mlp(decay=0.5)
    x, y = data(4)
    layer, rest = model[0], model[1:]
    current = layer(x.flatten(0, 1))
    bound = ratebp.methods.get("bptt_m").bind(rest, 4)
    leaf = current.detach().requires_grad_()

    class Gradient(ratebp.StepContext):
        def backward(self, loss: Tensor) -> None:
            (self.grad,) = torch.autograd.grad(loss, leaf)

    context = Gradient()
    bound.step(leaf.unflatten(0, (4, 6)), y, context=context)
    a = context.grad.unflatten(0, (4, 6))[:, :, :, None].expand(-1, -1, -1, 7)
    b = x[:, :, None, :].expand(-1, -1, 11, -1)
    a, b = a - a.mean(0), b - b.mean(0)
    want = (a * b).sum() / (a.pow(2).sum() * b.pow(2).sum()).sqrt()
    found = assumptions(model, x, y)["0"]["a2_correlation"]
    assert found == pytest.approx(float(want), rel=1e-10)


def test_the_assumptions_hold_better_with_more_steps_and_the_model_is_untouched() -> None:
    cosines: dict[int, float] = {}
    for timesteps in (2, 8):
        case = problem(norm="batch", timesteps=timesteps, decay=0.2, batch=8)
        x = case.x[:1].expand(timesteps, -1, -1, -1, -1)
        state = {key: value.clone() for key, value in case.model.state_dict().items()}
        found = assumptions(case.model, x, case.y)
        cosines[timesteps] = float(found["conv1"]["a3_cosine"])
        assert all(p.grad is None for p in case.model.parameters())
        for key, value in case.model.state_dict().items():
            assert torch.equal(value, state[key]), key
        for path in ("lif0", "lif1", "lif2"):
            assert -1 <= float(found[path]["a1_correlation"]) <= 1
            assert 0 < float(found[path]["a1_cosine"]) <= 1
    assert 0 < cosines[2] < cosines[8] < 1


def test_what_is_undefined_is_said_in_words() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.GroupNorm(2, 6), ratebp.LIF(), nn.Linear(6, 3))
    x, y = torch.randn(2, 5, 4), torch.arange(5) % 3
    found = assumptions(model, x, y)
    assert "no rule for GroupNorm" in str(found["0"]["a3_cosine"])
    assert 0 < float(found["0"]["a2_cosine"]) <= 1
    silent = nn.Sequential(nn.Linear(4, 6), ratebp.LIF(threshold=1e6), nn.Linear(6, 3))
    assert "no direction" in str(assumptions(silent, x, y)["0"]["a2_cosine"])
    assert assumptions(silent, x, y)["0"]["a2_correlation"] == 0
    grown = nn.Sequential(nn.ConvTranspose1d(2, 3, 2), ratebp.LIF(), nn.Flatten())
    figures = assumptions(grown, torch.randn(2, 5, 2, 3), y)["0"]
    assert figures["a2_cosine"] == figures["a2_correlation"] == "no rule for ConvTranspose1d"
    assert 0 < float(figures["a3_cosine"]) <= 1


def test_gradients_whose_squares_have_no_product_still_have_a_direction() -> None:
    """Squared norms of 1e-180 are numbers, but their product is 0."""
    model, (x, y) = mlp(), data(4)
    usual = assumptions(model, x, y)
    tiny = assumptions(model, x, y, loss=lambda out, y: 1e-90 * cross_entropy(out, y))
    for path, figures in usual.items():
        for name, value in figures.items():
            if name.endswith("cosine"):
                assert tiny[path][name] == pytest.approx(value, rel=1e-9), (path, name)
