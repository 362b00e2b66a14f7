"""When a forward is read, what is known then, and what is refused."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

import ratebp
from ratebp.errors import BindError
from ratebp.graph import UnreadableError, read, record
from ratebp.testing import zoo
from ratebp.wiring import wiring_of

T, B = 3, 4


class Net(nn.Module):
    """Two layers of neurons, and a forward that a test writes."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.run = run
        self.f0, self.l0, self.f1 = nn.Linear(5, 6), ratebp.LIF(0.9, 0.3), nn.Linear(6, 6)
        self.l1, self.f2 = ratebp.LIF(0.9, 0.3), nn.Linear(6, 3)
        self.wide = True

    def layers(self, x: Tensor) -> Tensor:
        out: Tensor = self.f2(self.l1(self.f1(self.l0(self.f0(x)))))
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.run(self, x)
        return out


def _inputs(*shape: int) -> Tensor:
    return torch.randn(T, B, *(shape or (5,)), generator=torch.Generator().manual_seed(1))


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
    logits = _step(model, _inputs(), method)
    torch.testing.assert_close(logits, ratebp.infer(model, _inputs()))


@pytest.mark.parametrize("name", READABLE)
def test_a_model_is_as_it_was_after_reading(name: str) -> None:
    model = Net(READABLE[name])
    before = {path: dict(module.__dict__) for path, module in model.named_modules()}
    classes = [type(module) for module in model.modules()]
    weights = copy.deepcopy(model.state_dict())
    with suppress(UnreadableError):
        read(model)
    record(model, (_inputs()[0],))
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
    bound.views(_inputs())
    given = replace(right, **{change: wrong[change]})
    with pytest.raises(BindError, match="says otherwise than what runs"):
        ratebp.methods.get("bptt_s").bind(model, T, wiring=given).views(_inputs())


def test_another_shape_may_take_the_same_way_and_no_other() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        spikes = net.l0(net.f0(x))
        return net.f2(net.l1(net.f1(spikes) if x.dim() == 2 else spikes.mean(1)))

    bound = ratebp.methods.get("bptt_s").bind(Net(run), T)
    bound.views(_inputs())
    bound.views(_inputs(5)[:, :2])
    with pytest.raises(BindError, match="another way"):
        bound.views(_inputs(2, 5))


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
    bound.views(_inputs())
    model.eval()
    bound = ratebp.methods.get("bptt_m").bind(model, T)
    with pytest.raises(BindError, match="flip"):
        bound.views(_inputs())


@pytest.mark.parametrize("reentrant", [True, False])
def test_leaves_within_a_checkpoint_are_refused(reentrant: bool) -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        inside = checkpoint(lambda x: net.l0(net.f0(x)), x, use_reentrant=reentrant)
        return net.f2(net.l1(net.f1(inside)))

    with pytest.raises(BindError, match=r"checkpoint"):
        ratebp.methods.get("bptt_s").bind(Net(run), T).views(_inputs())


def _keeps(net: Any, x: Tensor) -> Tensor:
    net.last = x
    return net.layers(x)


def _appends(net: Any, x: Tensor) -> Tensor:
    net.log.append(1)
    return net.layers(x)


def _counts(net: Any, x: Tensor) -> Tensor:
    net.count += 1
    return net.layers(x)


def _tables(net: Any, x: Tensor) -> Tensor:
    net.table["x"] = x
    return net.layers(x)


@pytest.mark.parametrize("run", [_keeps, _appends, _counts, _tables])
def test_state_on_the_module_is_refused(run: Any) -> None:
    model: Any = Net(run)
    model.log, model.count, model.table = [], 0, {}
    with pytest.raises(BindError, match="writes"):
        ratebp.methods.get("bptt_s").bind(model, T).views(_inputs())
    assert (model.log, model.count, model.table) == ([], 0, {})
    assert not hasattr(model, "last")


def _adds(net: Any, x: Tensor) -> Tensor:
    x += 1
    return net.layers(x)


def _through_a_view(net: Any, x: Tensor) -> Tensor:
    x[:, 1:].mul_(2)
    return net.layers(x)


def _by_a_flag(net: Any, x: Tensor) -> Tensor:
    return net.layers(F.relu(x, inplace=True))


def _by_position(net: Any, x: Tensor) -> Tensor:
    return net.layers(F.relu(x, True))


def _by_out(net: Any, x: Tensor) -> Tensor:
    return net.layers(torch.neg(x, out=x))


@pytest.mark.parametrize("run", [_adds, _through_a_view, _by_a_flag, _by_position, _by_out])
def test_an_input_that_is_changed_is_refused(run: Any) -> None:
    x = _inputs()
    with pytest.raises(BindError, match=r"input in place|nothing is known"):
        ratebp.methods.get("bptt_m").bind(Net(run), T).views(x)
    assert torch.equal(x, _inputs())


def test_what_is_written_through_a_view_is_seen_by_both_readings() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        current = net.f1(net.l0(net.f0(x)))
        current[:, :3].add_(net.l1(current[:, 3:]))
        return net.f2(current)

    model = Net(run)
    for graph in (read(model), record(model, (_inputs()[0],))):
        assert wiring_of(graph).before["f2"] == {"l0", "l1"}


def test_a_statistic_that_a_function_moves_is_a_change_of_a_buffer() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        return net.layers(F.batch_norm(x, net.mean, net.square, training=True))

    model = Net(run)
    model.register_buffer("mean", torch.zeros(5))
    model.register_buffer("square", torch.ones(5))
    with pytest.raises(BindError, match="buffer `mean`"):
        ratebp.methods.get("fptt").bind(model, T).views(_inputs())


@pytest.mark.parametrize(
    "value", [lambda n: torch.tensor(1.0 / n), lambda n: torch.ones(n).mean() * n]
)
def test_the_number_of_samples_as_a_value_is_refused(value: Any) -> None:
    model = Net(lambda net, x: net.layers(x) * value(x.shape[0]))
    with pytest.raises(BindError, match=r"number of samples|mixes the samples"):
        ratebp.methods.get("bptt_m").bind(model, T).views(_inputs())
    ratebp.methods.get("bptt_s").bind(model, T).views(_inputs())


def test_a_sum_over_as_many_copies_as_samples_is_refused() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        n = x.shape[0]
        return net.layers(x.unsqueeze(1).expand(-1, n, -1).sum(1))

    with pytest.raises(BindError, match="number of samples"):
        ratebp.methods.get("bptt_m").bind(Net(run), T).views(_inputs())


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
    graph = record(model, (_inputs()[0],))
    assert wiring_of(graph).before["f1"] == {"l0"}


def test_parts_without_a_graph_or_under_autocast_are_not_cut_into_pieces() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            scale = x.abs().mean(1, keepdim=True)
        return net.layers(x / (scale + 1))

    model = Net(run)
    with pytest.raises(BindError, match="no_grad or autocast"):
        ratebp.methods.get("bptt_ckpt").bind(model, T)
    _step(model, _inputs(), "bptt_s")


def test_reading_works_on_fake_tensors() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = Net(_unpacked)
        x = torch.empty(T, B, 5)
        bound = ratebp.methods.get("bptt_m").bind(model, T)
        bound.views(x)
    assert bound._binding.wiring == wiring_of(record(Net(_unpacked), (_inputs()[0],)))


@pytest.mark.parametrize("name", sorted(zoo.entries()))
def test_both_readings_give_one_wiring(name: str) -> None:
    """Up to sums that broadcast, which only shapes show."""
    case = zoo.entries()[name].case(2)
    try:
        followed, recorded = (
            wiring_of(g) for g in (read(case.model), record(case.model, (case.x[0],)))
        )
    except UnreadableError:
        return
    for question in ("calls", "behind", "before", "only_norms", "once", "means", "entrances"):
        assert getattr(followed, question) == getattr(recorded, question), question
    for question in ("sources", "readers"):
        more, fewer = getattr(followed, question), getattr(recorded, question)
        assert more == fewer or "broadcast" in name
        assert fewer.items() <= more.items()
