"""A loss is a scalar with a graph, for every method; what is none is refused in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.testing import problem

from .by_hand import EVERY, EXACT, assert_close, data, found, loop, refused, small, step

WRONG: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "a vector": (nn.CrossEntropyLoss(reduction="none"), r"shape \(3,\).*reduction='mean'"),
    "one number in a vector": (lambda o, y: F.cross_entropy(o, y)[None], r"shape \(1,\)"),
    "a float": (lambda o, y: F.cross_entropy(o, y).item(), "returned a float.*item"),
    "nothing": (lambda o, y: None, "returned a NoneType"),
    "a pair": (lambda o, y: (F.cross_entropy(o, y), o), "returned a tuple"),
    "detached": (lambda o, y: F.cross_entropy(o.detach(), y), "no graph back to the logits"),
    "a count": (lambda o, y: (o.argmax(-1) == y).sum(), "torch.int64 tensor"),
    "an accuracy": (lambda o, y: (o.argmax(-1) == y).double().mean(), "no graph"),
}


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_loss_that_cannot_be_trained_is_refused(name: str, wrong: str) -> None:
    loss, says = WRONG[wrong]
    x, y = data(3, 3, 5)
    bound = ratebp.methods.get(name).bind(small(), 3)
    assert re.search(says, refused(lambda: bound.step(x, y, loss=loss)))


@pytest.mark.parametrize("name", EVERY)
def test_a_loss_by_name_says_where_names_go(name: str) -> None:
    x, y = data(3, 3, 5)
    bound = ratebp.methods.get(name).bind(small(), 3)
    loss: Any = "cross_entropy"
    assert "losses.get" in refused(lambda: bound.step(x, y, loss=loss))


@pytest.mark.parametrize("name", EVERY)
def test_a_model_without_anything_to_train_is_refused(name: str) -> None:
    model = small().requires_grad_(False)
    x, y = data(3, 3, 5)
    bound = ratebp.methods.get(name).bind(model, 3)
    assert "requires_grad_(True)" in refused(lambda: bound.step(x, y))


@pytest.mark.parametrize("name", EXACT)
def test_a_sum_over_samples_is_a_loss(name: str) -> None:
    x, y = data(3, 3, 5)
    model = small()
    summed = nn.CrossEntropyLoss(reduction="sum")
    _, want = loop(model, x, y, loss=summed)
    ratebp.methods.get(name).bind(model, 3).step(x, y, loss=summed)
    assert_close(found(model), want)


class Dense(nn.Module):
    """A map of classes, ``[B, 2, 7, 7] -> [B, 3, 7, 7]``."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.l, self.b = nn.Conv2d(2, 4, 3, padding=1), ratebp.LIF(0.5), nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(self.l(self.a(x)))
        return out


@pytest.mark.parametrize("name", EVERY)
def test_a_dense_output_is_trained_or_refused(name: str) -> None:
    x, _ = data(3, 2, 2, 7, 7)
    y = torch.arange(2 * 49).view(2, 7, 7) % 3
    torch.manual_seed(0)
    model = Dense().double()
    logits, grads = loop(model, x, y)
    got = step(name, model, x, y)
    assert got.logits.shape == (2, 3, 7, 7)
    if name in EXACT:
        torch.testing.assert_close(got.logits, logits)
        assert_close(found(model), grads)
    assert found(model).keys() == grads.keys()


def test_random_feedback_needs_outputs_without_places() -> None:
    x, _ = data(3, 2, 2, 7, 7)
    y = torch.arange(2 * 49).view(2, 7, 7) % 3
    said = refused(lambda: step("eprop", Dense().double(), x, y, feedback="random"))
    assert re.search(r"not \[B, K\]. Pool them", said)


def test_the_loss_sees_a_method_s_own_scope_as_before() -> None:
    case = problem()
    bound = ratebp.methods.get("bptt_m").bind(case.model, case.timesteps)
    per_step = bound.step(case.x, case.y, loss=ratebp.losses.get("per_step")).loss
    mean = bound.step(case.x, case.y, loss=ratebp.losses.get("mean_output")).loss
    assert float(per_step) > float(mean)
