"""A step that broke off half way leaves nothing behind: the next one is right."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp.testing import seeded_step

from .by_hand import EVERY, STEPS, assert_close, data, found, small, step


def network(norm: bool) -> nn.Sequential:
    torch.manual_seed(0)
    extra = [nn.BatchNorm1d(6)] if norm else []
    layers = (
        *(nn.Linear(5, 6), *extra, ratebp.LIF(0.9, 0.3)),
        *(nn.Linear(6, 6), ratebp.LIF(0.9, 0.3), nn.Linear(6, 4)),
    )
    return nn.Sequential(*layers).double()


def broken_loss(at: int) -> Any:
    calls = [0]

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        calls[0] += 1
        if calls[0] == at:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(logits, y)

    return loss


class BreaksBackward(ratebp.StepContext):
    """Raises in place of a backward, with the forward done."""

    def backward(self, loss: Tensor) -> None:
        raise KeyboardInterrupt

    def update(self) -> None:
        pass


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("where", ["loss", "second loss", "backward"])
def test_the_next_step_is_right(name: str, where: str) -> None:
    x, y = data(STEPS, 3, 5)
    model = network(norm=False)
    bound = ratebp.methods.get(name).bind(model, STEPS)
    context = BreaksBackward() if where == "backward" else None
    loss = broken_loss({"loss": 1, "second loss": 2}.get(where, 99))
    try:
        with torch.random.fork_rng(devices=[]):
            bound.step(x.flip(0), y, loss=loss, context=context)
    except (KeyboardInterrupt, ratebp.OptionError):
        pass  # OptionError: an update without an optimiser, one more way to break off
    model.zero_grad()
    seeded_step(bound, x, y)
    got = found(model)
    step(name, model, x, y)
    assert_close(got, found(model))


@pytest.mark.parametrize("name", EVERY)
def test_an_error_in_the_forward_is_forgotten(name: str) -> None:
    """The shape fails at a later layer, when earlier leaves have handed on what they keep."""
    x, y = data(STEPS, 3, 5)
    model = network(norm=ratebp.methods.get(name).info.norms)
    bound = ratebp.methods.get(name).bind(model, STEPS)
    seeded_step(bound, x, y)
    tail = model[-1].weight.data
    model[-1].weight.data = tail[:, :5].contiguous()  # a fault in the middle of the network
    with pytest.raises(RuntimeError):
        seeded_step(bound, x.flip(0), y)
    model[-1].weight.data = tail
    model.eval()
    model.zero_grad()
    seeded_step(bound, x, y)
    got = found(model)
    step(name, model, x, y)
    assert_close(got, found(model))


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("name", EVERY)
def test_nothing_of_a_step_that_broke_off_stays_allocated(name: str) -> None:
    x, y = data(STEPS, 3, 5)
    model = small()
    bound = ratebp.methods.get(name).bind(model, STEPS)
    own = {id(t) for t in [*model.parameters(), *model.buffers()]}
    with pytest.raises(KeyboardInterrupt):
        bound.step(x, y, context=BreaksBackward())
    for view in bound.views(x).values():
        for leaf in view.module.modules():
            for held in vars(leaf).values():
                for each in held if isinstance(held, list | tuple) else (held,):
                    assert not isinstance(each, Tensor) or id(each) in own or is_constant(leaf)
                    if isinstance(each, ratebp.views.Record):
                        assert each.take() == ()  # type: ignore[attr-defined]
    del leaf, held, each, view
    gone = weakref.ref(x)
    del x
    gc.collect()
    assert gone() is None


def is_constant(leaf: nn.Module) -> bool:
    """E-prop's feedback matrices are the method's for good."""
    return hasattr(leaf, "matrices")
