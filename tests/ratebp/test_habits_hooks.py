"""Hooks on parameters act on the gradient as in a plain loop."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

import ratebp
from ratebp.testing import seeded_step

from .by_hand import EVERY, STEPS, assert_close, data, found, refused, small, step

BACKWARDS_A_STEP = ("bptt_m", "bptt_s", "bptt_ckpt", "rate_m", "rate_s", "dsr", "rga", "tandem")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("filled", [False, True])
def test_a_mask_in_a_hook_keeps_weights_out(name: str, filled: bool) -> None:
    """Sparse training: what is masked has no gradient, whatever `.grad` held; the rest has its."""
    x, y = data(STEPS, 3, 5)
    model = small()
    step(name, model, x, y)
    whole = found(model)
    mask = (torch.rand(6, 6, generator=torch.Generator().manual_seed(2)) < 0.5).double()
    model[2].weight.register_hook(lambda grad: grad * mask)
    bound = ratebp.methods.get(name).bind(model, STEPS)
    model.zero_grad(set_to_none=not filled)
    seeded_step(bound, x, y)
    if name != "fptt":  # it learns by the masked slope, too
        whole["2.weight"] = whole["2.weight"] * mask
        assert_close(found(model), whole)
    assert float((model[2].weight.grad * (1 - mask)).abs().max()) == 0


@pytest.mark.parametrize("name", BACKWARDS_A_STEP)
@pytest.mark.parametrize("filled", [False, True])
def test_a_hook_sees_the_whole_gradient_once(name: str, filled: bool) -> None:
    """The sign of a gradient is no sum of signs of parts."""
    x, y = data(STEPS, 3, 5)
    model = small()
    step(name, model, x, y)
    whole = found(model)
    seen: list[Tensor] = []
    model[2].weight.register_hook(lambda grad: (seen.append(grad), grad.sign())[1])  # type: ignore[func-returns-value]
    bound = ratebp.methods.get(name).bind(model, STEPS)
    model.zero_grad(set_to_none=not filled)
    seeded_step(bound, x, y)
    assert len(seen) == 1
    whole["2.weight"] = whole["2.weight"].sign()
    assert_close(found(model), whole)


@pytest.mark.parametrize("name", EVERY)
def test_a_hook_after_the_accumulation_runs_once_a_backward(name: str) -> None:
    x, y = data(STEPS, 3, 5)
    model = small()
    counts: dict[str, int] = {}

    def count(of: str) -> Any:
        def hook(parameter: Tensor) -> None:
            counts[of] = counts.get(of, 0) + 1

        return hook

    bound = ratebp.methods.get(name).bind(model, STEPS)
    backwards = []

    class Counts(ratebp.StepContext):
        def backward(self, loss: Tensor) -> None:
            backwards.append(1)
            super().backward(loss)

        def update(self) -> None:
            pass

    step(name, model, x, y)
    whole = found(model)
    for path, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(count(path))
    model.zero_grad(set_to_none=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound.step(x, y, context=Counts())
    assert set(counts.values()) == {len(backwards)}
    assert_close(found(model), whole)


def test_segments_of_time_refuse_hooks_by_name() -> None:
    x, y = data(STEPS, 3, 5)
    model = small()
    model[2].weight.register_hook(lambda grad: grad)
    for options in ({"over": "layers"}, {"over": "both"}, {"over": "time", "segment": STEPS}):
        step("bptt_ckpt", model, x, y, **options)
    words = refused(lambda: step("bptt_ckpt", model, x, y, over="time"))
    assert re.search(r"hooks on parameters \(`weight` of `2` \(Linear\)\).*over='layers'", words)
