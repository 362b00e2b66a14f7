"""When a forward is read, what is known then, and what is refused."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

import ratebp
from ratebp.errors import BindError
from ratebp.graph import UnreadableError, read, record
from ratebp.inputs import gathered, tensors_of
from ratebp.testing import zoo
from ratebp.wiring import wiring_of

from .net import B, Net, T, inputs


def _step(model: nn.Module, x: Tensor, method: str = "bptt_m") -> Tensor:
    bound = ratebp.methods.get(method).bind(model, T)
    return bound.step(x, torch.zeros(B, dtype=torch.long)).logits


def _by_shape(net: Any, x: Tensor) -> Tensor:
    return net.layers(x if x.shape[-1] == 5 else x[:, :5])


def _by_rank(net: Any, x: Tensor) -> Tensor:
    return net.layers(x.flatten(1) if x.dim() > 2 else x)


def _by_assert(net: Any, x: Tensor) -> Tensor:
    assert x.shape[1] == 5
    return net.layers(x)


def _with_zeros(net: Any, x: Tensor) -> Tensor:
    more = torch.zeros(x.shape[0], 2, dtype=x.dtype)
    return net.layers(torch.cat([x[:, :3], more], 1))


def _rearranged(net: Any, x: Tensor) -> Tensor:
    """What einops makes of "b (h w) -> b (w h)"."""
    sizes = dict(zip("bc", x.shape, strict=True))
    h, w = next((k, sizes["c"] // k) for k in (5, 1) if sizes["c"] % k == 0)
    return net.layers(x.reshape(sizes["b"], h, w).permute(0, 2, 1).reshape(sizes["b"], h * w))


def _unpacked(net: Any, x: Tensor) -> Tensor:
    left, right = net.f1(net.l0(net.f0(x))).chunk(2, -1)
    first, *_ = left[None]
    return net.f2(net.l1(torch.cat([right, first], -1)))


def _asked(net: Any, x: Tensor) -> Tensor:
    return net.layers(x) if net.wide and isinstance(net.l0, ratebp.LIF) else x


def _around(net: Any, x: Tensor) -> Tensor:
    if len([*net.children()]) != 5:
        raise ValueError("not five layers")
    return net.layers(x)


READABLE = {
    run.__name__: run
    for run in (
        _by_shape,
        _by_rank,
        _by_assert,
        _with_zeros,
        _rearranged,
        _unpacked,
        _asked,
        _around,
    )
}


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("method", ["bptt_m", "bptt_s", "rate_m", "ottt_a"])
def test_control_flow_on_what_is_known_with_inputs_is_followed(name: str, method: str) -> None:
    model = Net(READABLE[name])
    logits = _step(model, inputs(), method)
    torch.testing.assert_close(logits, ratebp.infer(model, inputs()))


@pytest.mark.parametrize("name", READABLE)
def test_a_model_is_as_it_was_after_reading(name: str) -> None:
    model = Net(READABLE[name])
    before = {path: dict(module.__dict__) for path, module in model.named_modules()}
    classes = [type(module) for module in model.modules()]
    weights = copy.deepcopy(model.state_dict())
    with suppress(UnreadableError):
        read(model)
    record(model, (inputs()[0],))
    assert {path: module.__dict__ for path, module in model.named_modules()} == before
    assert [type(module) for module in model.modules()] == classes
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_control_flow_on_values_is_refused_when_it_is_bound() -> None:
    model = Net(lambda net, x: net.layers(x) if x.sum() > 0 else net.layers(-x))
    with pytest.raises(BindError, match="values of tensors"):
        ratebp.methods.get("bptt_s").bind(model, T)


@pytest.mark.parametrize("change", ["behind", "calls"])
def test_a_wiring_by_hand_that_contradicts_what_runs_is_refused(change: str) -> None:
    model = Net(lambda net, x: net.layers(x))
    right = wiring_of(read(model))
    wrong = {"behind": {**right.behind, "f0": frozenset({"l1"})}, "calls": {**right.calls, "f1": 2}}
    bound = ratebp.methods.get("bptt_s").bind(model, T, wiring=right)
    bound.views(inputs())
    given = replace(right, **{change: wrong[change]})
    with pytest.raises(BindError, match="says otherwise than what runs"):
        ratebp.methods.get("bptt_s").bind(model, T, wiring=given).views(inputs())


def test_another_shape_may_take_the_same_way_and_no_other() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        spikes = net.l0(net.f0(x))
        return net.f2(net.l1(net.f1(spikes) if x.dim() == 2 else spikes.mean(1)))

    bound = ratebp.methods.get("bptt_s").bind(Net(run), T)
    bound.views(inputs())
    bound.views(inputs(5)[:, :2])
    with pytest.raises(BindError, match="another way"):
        bound.views(inputs(2, 5))


def test_a_sum_that_broadcasts_is_known_with_the_first_inputs() -> None:
    entry = zoo.entries()["broadcast_norm_big_first"]
    case = entry.case(T)
    bound = ratebp.methods.get("bptt_m").bind(case.model, T)
    assert "l1" in bound._binding.wiring.sources
    bound.views(case.x)
    assert "l1" not in bound._binding.wiring.sources


def test_both_ways_of_training_are_read() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        return net.layers(x) if net.training else net.layers(x).flip(0)

    model = Net(run)
    bound = ratebp.methods.get("bptt_m").bind(model, T)
    bound.views(inputs())
    model.eval()
    bound = ratebp.methods.get("bptt_m").bind(model, T)
    with pytest.raises(BindError, match="flip"):
        bound.views(inputs())


@pytest.mark.parametrize("reentrant", [True, False])
def test_leaves_within_a_checkpoint_are_refused(reentrant: bool) -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        inside = checkpoint(lambda x: net.l0(net.f0(x)), x, use_reentrant=reentrant)
        return net.f2(net.l1(net.f1(inside)))

    with pytest.raises(BindError, match=r"checkpoint"):
        ratebp.methods.get("bptt_s").bind(Net(run), T).views(inputs())


class Doubled(torch.autograd.Function):
    """Twice its input, in a way that no reading sees from outside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * 2


def test_a_function_of_ones_own_is_seen_inside() -> None:
    model = Net(lambda net, x: net.f2(net.l1(net.f1(Doubled.apply(net.l0(net.f0(x)))))))
    graph = record(model, (inputs()[0],))
    assert wiring_of(graph).before["f1"] == {"l0"}


def test_parts_without_a_graph_or_under_autocast_are_not_cut_into_pieces() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            scale = x.abs().mean(1, keepdim=True)
        return net.layers(x / (scale + 1))

    model = Net(run)
    with pytest.raises(BindError, match="no_grad or autocast"):
        ratebp.methods.get("bptt_ckpt").bind(model, T)
    _step(model, inputs(), "bptt_s")


def test_reading_works_on_fake_tensors() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = Net(_unpacked)
        x = torch.empty(T, B, 5)
        bound = ratebp.methods.get("bptt_m").bind(model, T)
        bound.views(x)
    assert bound._binding.wiring == wiring_of(record(Net(_unpacked), (inputs()[0],)))


@pytest.mark.parametrize("name", sorted(zoo.entries()))
def test_both_readings_give_one_wiring(name: str) -> None:
    """Up to sums that broadcast, which only shapes show."""
    case = zoo.entries()[name].case(2)
    inputs = tuple(each[0] for each in tensors_of(gathered(case.x)))
    try:
        followed, recorded = (wiring_of(g) for g in (read(case.model), record(case.model, inputs)))
    except UnreadableError:
        return
    for question in (
        "calls",
        "behind",
        "before",
        "only_norms",
        "constant_input",
        "means",
        "entrances",
        "indices",
    ):
        assert getattr(followed, question) == getattr(recorded, question), question
    for question in ("sources", "readers"):
        more, fewer = getattr(followed, question), getattr(recorded, question)
        # Sums that broadcast show with shapes; what a layer writes into its input, when it runs.
        assert more == fewer or "broadcast" in name or name == "subclass_that_writes"
        assert fewer.items() <= more.items()
