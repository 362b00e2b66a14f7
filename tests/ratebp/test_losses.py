"""Losses: values and gradients written out by hand, and which method takes which."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp import losses
from ratebp.errors import OptionError
from ratebp.testing import fitting, problem, seeded_step


def outputs(batch: int = 3, classes: int = 5) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    logits = 2 * torch.randn(batch, classes, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(0, classes, (batch,))


def by_hand(logits: Tensor, y: Tensor, weight: float, target: str | float) -> tuple[Tensor, Tensor]:
    """The mixed loss and its gradient by the logits, without autograd."""
    o = logits.detach()
    batch, classes = o.shape
    share = o.exp() / o.exp().sum(1, keepdim=True)
    hot = torch.zeros_like(o)
    hot[torch.arange(batch), y] = 1
    aim = hot if target == "one_hot" else torch.full_like(o, float(target))
    entropy = -share[torch.arange(batch), y].log().sum() / batch
    distance = ((o - aim) ** 2).sum() / (batch * classes)
    value = (1 - weight) * entropy + weight * distance
    by_entropy = (share - hot) / batch
    by_distance = 2 * (o - aim) / (batch * classes)
    return value, (1 - weight) * by_entropy + weight * by_distance


@pytest.mark.parametrize("shape", [(3, 5), (1, 2), (7, 1)])
@pytest.mark.parametrize(
    ("weight", "target"), [(0.0, "one_hot"), (0.05, "one_hot"), (0.3, 1.0), (1.0, -2), (0.5, 0)]
)
def test_a_mix_is_its_formula(shape: tuple[int, int], weight: float, target: str | float) -> None:
    logits, y = outputs(*shape)
    value = losses.Mix(weight, target)(logits, y)
    (got,) = torch.autograd.grad(value, logits)
    want, gradient = by_hand(logits, y, weight, target)
    torch.testing.assert_close(value.detach(), want, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(got, gradient, rtol=1e-12, atol=1e-14)


def test_targets_may_be_shares_of_the_classes() -> None:
    logits, y = outputs()
    hot = F.one_hot(y, 5).double()
    for loss in (losses.Mix(0.3), losses.Mix(0.3, 1.0), losses.get("cross_entropy")):
        torch.testing.assert_close(loss(logits, hot), loss(logits, y), rtol=1e-12, atol=1e-14)


def grads(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def step(name: str, loss: Any, **options: Any) -> tuple[ratebp.Result, list[Tensor]]:
    method = ratebp.methods.get(name, **options)
    case = fitting(method, norm="batch")
    result = method.bind(case.model, case.timesteps).step(case.x, case.y, loss=loss)
    return result, grads(case.model)


@pytest.mark.parametrize("name", ["bptt_m", "bptt_s"])
def test_tet_over_a_sequence_is_the_mean_of_the_steps_losses(name: str) -> None:
    """The library's forward, the loss and its gradient by the outputs written out by hand."""
    case = problem(timesteps=4)
    method = ratebp.methods.get(name)
    bound = method.bind(case.model, 4)
    views: Any = bound.views(case.x)["net"]
    if name == "bptt_m":
        outs = views(case.x.flatten(0, 1)).unflatten(0, (4, -1)).unbind(0)
    else:
        with views.sequence():
            outs = [views(now) for now in case.x.unbind(0)]
    found = [by_hand(o, case.y, 0.2, 1.0) for o in outs]
    torch.autograd.backward(outs, [g / 4 for _, g in found])
    want = grads(case.model)
    case.model.zero_grad()
    result = bound.step(case.x, case.y, loss=losses.get("tet", weight=0.2))
    torch.testing.assert_close(result.loss, sum(v for v, _ in found) / 4, rtol=1e-12, atol=0)
    for a, b in zip(grads(case.model), want, strict=True):
        assert float(b.norm()) > 0
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["bptt_m", "bptt_s", "bptt_ckpt"])
@pytest.mark.parametrize("mode", ["mean", "per_step"])
def test_a_scoped_loss_decides_over_the_methods_option(name: str, mode: str) -> None:
    scoped = losses.get("mean_output" if mode == "mean" else "per_step")
    plain = step(name, F.cross_entropy, loss_mode=mode)
    for own in ("mean", "per_step"):
        result, found = step(name, scoped, loss_mode=own)
        assert torch.equal(result.loss, plain[0].loss)
        assert all(torch.equal(a, b) for a, b in zip(found, plain[1], strict=True))


@pytest.mark.parametrize("name", ratebp.methods.names())
def test_every_method_takes_what_it_can_and_refuses_the_rest_by_name(name: str) -> None:
    method = ratebp.methods.get(name)
    case = fitting(method, norm="none")
    bound = method.bind(case.model, case.timesteps)
    both = "loss_mode" in type(method).__dataclass_fields__
    for scope in losses.SCOPES:
        loss = losses.Scoped(scope)
        if both or method.info.loss == scope:
            assert method.under(loss).info is method.info
            continue
        message = f"but {method.info.label} minimises that of"
        with pytest.raises(OptionError, match=re.escape(message)):
            bound.step(case.x, case.y, loss=loss)
        assert not grads(case.model)


@pytest.mark.parametrize("name", ["sltt", "ottt_a", "os"])
def test_online_methods_train_with_tet_and_with_the_mixes(name: str) -> None:
    tet, found = step(name, losses.get("tet", weight=0.2))
    mixed, same = step(name, losses.get("mix", weight=0.2, target=1.0))
    assert torch.equal(tet.loss, mixed.loss)
    assert all(torch.equal(a, b) for a, b in zip(found, same, strict=True))
    other = step(name, losses.get("mix", weight=0.2))[0]
    assert not torch.allclose(other.loss, mixed.loss)


def test_the_loss_of_the_mean_output_is_never_above_the_mean_of_the_losses() -> None:
    mean = step("bptt_s", losses.get("mean_output"))[0].loss
    assert float(mean) < float(step("bptt_s", losses.get("per_step"))[0].loss)


def test_the_default_is_cross_entropy_of_what_the_method_hands_over() -> None:
    case, twin = problem(), problem()
    method = ratebp.methods.get("sltt")
    default = seeded_step(method.bind(case.model, 3), case.x, case.y)
    named = method.bind(twin.model, 3).step(twin.x, twin.y, loss=losses.get("cross_entropy"))
    assert torch.equal(default.loss, named.loss)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ted", {}, "Did you mean 'tet'"),
        ("tet", {"wieght": 1}, "option of loss 'tet' 'wieght'.*Did you mean 'weight'"),
        ("tet", {"weight": -0.1}, r"weight=-0\.1 .* number in \[0, 1\]"),
        ("mix", {"weight": True}, "weight=True"),
        ("mix", {"weight": float("nan")}, "weight=nan"),
        ("mix", {"target": "onehot"}, "target='onehot' .* 'one_hot' or a finite number"),
        ("mix", {"target": float("inf")}, "target=inf"),
    ],
)
def test_wrong_losses_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        losses.get(name, **options)


def test_a_scope_is_mean_or_per_step() -> None:
    with pytest.raises(OptionError, match="Legal: mean, per_step"):
        losses.Scoped("weighted_mean")
