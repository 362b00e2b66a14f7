"""Integer training: exact gradients, and an unfolded network of binary spikes that agrees."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp.errors import BindError
from ratebp.methods.sfa._integer import IntegerNeuron, UnfoldedNeuron
from ratebp.neurons import LIF
from ratebp.testing import Problem, problem
from ratebp.testing.gradients import differences, gradients

SFA = ratebp.methods.get("sfa")


@pytest.mark.parametrize("levels", [1, 2, 4, 9])
@pytest.mark.parametrize("threshold", [1.0, 0.375])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 3, 7, 1)], ids=str)
def test_an_integer_unfolds_to_an_if_neuron_with_soft_reset(
    levels: int, threshold: float, shape: tuple[int, ...]
) -> None:
    """The loop of the IF neuron, written out; the bounds of the levels are among the currents."""
    lif = LIF(threshold=threshold)
    currents = torch.linspace(-1, levels + 2, 8 * (levels + 3) + 1, dtype=torch.float64)
    u = threshold * torch.cat([currents, 3 * torch.randn(shape).flatten().double()])
    v, spikes = u.clone(), []
    for _ in range(levels):
        s = (v >= threshold).double()
        v = v - threshold * s
        spikes.append(s)
    counted = torch.stack(spikes).sum(0)
    off = (u / threshold - (u / threshold).round()).abs() > 1e-9
    assert torch.equal(IntegerNeuron(lif, levels)(u / levels)[off], (counted / levels)[off])
    if levels & (levels - 1) == 0:  # a power of two: every bound of a level is exact, too
        assert torch.equal(IntegerNeuron(lif, levels)(u / levels), counted / levels)
    leaf = UnfoldedNeuron(lif, levels)
    # Steps of different current: the mean alone counts.
    steps = torch.stack([u / levels + d - (levels - 1) / 2 for d in range(levels)])
    out = leaf(steps.flatten(0, 1)).unflatten(0, (levels, -1))
    assert set(out.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(out.sum(0)[off], counted[off])


class Level(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, threshold: float, levels: int) -> Tensor:
        ctx.save_for_backward(u)
        ctx.constants = threshold, levels
        return torch.clamp(torch.floor(levels * u / threshold), 0, levels) / levels

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (u,), (threshold, _) = ctx.saved_tensors, ctx.constants
        return grads[0] * ((u >= 0) & (u <= threshold)) / threshold, None, None


@pytest.mark.parametrize("timesteps", [1, 4])
def test_gradients_are_those_of_the_network_of_levels(timesteps: int) -> None:
    case = problem(timesteps=timesteps, threshold=0.5)
    got, m = gradients(SFA, case), case.model
    case.model.zero_grad()

    def level(u: Tensor) -> Tensor:
        out: Tensor = Level.apply(u, 0.5, timesteps)  # type: ignore[no-untyped-call]
        return out

    net: Any = m
    a = level(net.stem(case.x.mean(0)))
    out = net.head(level(net.conv2(level(net.conv1(a))) + net.shortcut(a)))
    nn.functional.cross_entropy(out, case.y).backward()
    want = {n: p.grad for n, p in m.named_parameters() if p.grad is not None}
    assert differences(got, want, 1e-12) == {}


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("timesteps", [1, 3, 8])
def test_inference_in_binary_spikes_is_the_integer_network(norm: str, timesteps: int) -> None:
    case = problem(norm=norm, timesteps=timesteps, threshold=0.4)
    bound = SFA.bind(case.model, timesteps)
    for _ in range(2):
        bound.step(case.x, case.y)  # moves the running statistics
    case.model.eval()
    integers = bound.plain(case.x)
    assert integers.unique().numel() == integers.numel()
    torch.testing.assert_close(bound.infer(case.x), integers, rtol=1e-12, atol=1e-12)
    still = case.x.mean(0).expand(5, *case.x.shape[1:])
    torch.testing.assert_close(bound.infer(still), integers, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", ["tiny_resnet", "sew_resnet34"])
def test_networks_with_pooling_and_sums_of_spikes_unfold_too(model: str) -> None:
    """Max pooling behind a neuron commutes, since spikes come first and silence last."""
    torch.manual_seed(0)
    net = ratebp.models.build(model, num_classes=5, in_channels=2, width=0.125).double()
    x, y = ratebp.direct(torch.randn(3, 2, 32, 32).double(), 4), torch.tensor([0, 1, 2])
    bound = SFA.bind(net, 4)
    bound.step(x, y)
    net.eval()
    torch.testing.assert_close(bound.infer(x), bound.plain(x), rtol=1e-10, atol=1e-10)


def test_the_unfolded_network_is_another_than_that_of_the_models_neurons() -> None:
    case = problem(norm="frozen", timesteps=4)
    bound = SFA.bind(case.model, 4)
    assert not torch.allclose(bound.infer(case.x), ratebp.infer(case.model, case.x))


def test_hard_reset_is_refused_by_name() -> None:
    case = problem(reset="hard")
    with pytest.raises(BindError, match="sfa cannot train the neuron `lif0` with reset='hard'"):
        SFA.bind(case.model, 3)


@pytest.mark.parametrize(
    "norm", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False)]
)
def test_norms_that_depend_on_their_input_at_inference_are_refused(norm: nn.Module) -> None:
    case: Problem = problem()
    case.model.norm0 = norm
    with pytest.raises(BindError, match=rf"unfold {type(norm).__name__} at `norm0`.*t1"):
        SFA.bind(case.model, 3)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_rounding_to_the_nearest_level_unfolds_from_half_a_threshold(levels: int) -> None:
    lif = LIF(threshold=0.75)
    u = torch.linspace(-1, 2, 301, dtype=torch.float64).unsqueeze(0) * 0.75
    near = IntegerNeuron(lif, levels, 0.5)(u)
    exact = (levels * u / 0.75).clamp(0, levels)
    off = (exact + 0.5 - (exact + 0.5).round()).abs() > 1e-9  # ties aside
    assert torch.equal(near[off], exact.round()[off] / levels)
    leaf = UnfoldedNeuron(lif, levels, 0.5)
    spikes = leaf(u.repeat(levels, 1)).unflatten(0, (levels, -1))
    assert torch.equal(spikes.mean(0)[off], near[off])


def test_e_spikeformer_is_its_published_forward_and_gradient() -> None:
    """``round(clip(u, 0, 4)) / 4`` in every neuron, its gradient 1/4 within the clip."""
    torch.manual_seed(0)
    model = ratebp.models.build("e_spikeformer", size="tiny").double()
    x, y = torch.randn(3, 3, 32, 32, dtype=torch.float64), torch.arange(3)
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.uniform_(1, 3)
    plain = copy.deepcopy(model)
    for path, _ in [(p, m) for p, m in model.named_modules() if isinstance(m, LIF)]:
        plain.set_submodule(path, MultiSpike())
    loss = nn.functional.cross_entropy(plain(x), y)
    loss.backward()
    method = ratebp.methods.get("sfa", rounding="nearest", inference="integers")
    bound = method.bind(model, 4)
    result = bound.step(ratebp.direct(x, 4), y)
    torch.testing.assert_close(result.loss, loss.detach(), rtol=1e-12, atol=0)
    largest = max(float(p.grad.norm()) for p in plain.parameters())
    for (name, got), want in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert float((got.grad - want.grad).norm()) < 1e-12 * largest, name
    with torch.no_grad():
        torch.testing.assert_close(bound.infer(ratebp.direct(x, 4)), plain.eval()(x))
    with pytest.raises(BindError, match="product of signals"):
        SFA.bind(model, 4)


class MultiSpike(nn.Module):
    def forward(self, u: Tensor) -> Tensor:
        clipped = u.clamp(0, 4)
        return (clipped + (clipped.round() - clipped).detach()) / 4
