"""What a forward changes beside what it gives, and what it makes of the number of samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ratebp
from ratebp.errors import BindError
from ratebp.graph import read, record
from ratebp.wiring import wiring_of

from .net import Net, T, inputs


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
        ratebp.methods.get("bptt_s").bind(model, T).views(inputs())
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
    x = inputs()
    with pytest.raises(BindError, match=r"input in place|nothing is known"):
        ratebp.methods.get("bptt_m").bind(Net(run), T).views(x)
    assert torch.equal(x, inputs())


def test_what_is_written_through_a_view_is_seen_by_both_readings() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        current = net.f1(net.l0(net.f0(x)))
        current[:, :3].add_(net.l1(current[:, 3:]))
        return net.f2(current)

    model = Net(run)
    for graph in (read(model), record(model, (inputs()[0],))):
        assert wiring_of(graph).before["f2"] == {"l0", "l1"}


def test_a_statistic_that_a_function_moves_is_a_change_of_a_buffer() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        return net.layers(F.batch_norm(x, net.mean, net.square, training=True))

    model = Net(run)
    model.register_buffer("mean", torch.zeros(5))
    model.register_buffer("square", torch.ones(5))
    with pytest.raises(BindError, match="buffer `mean`"):
        ratebp.methods.get("fptt").bind(model, T).views(inputs())


@pytest.mark.parametrize(
    "value", [lambda n: torch.tensor(1.0 / n), lambda n: torch.ones(n).mean() * n]
)
def test_the_number_of_samples_as_a_value_is_refused(value: Any) -> None:
    model = Net(lambda net, x: net.layers(x) * value(x.shape[0]))
    with pytest.raises(BindError, match=r"number of samples|mixes the samples"):
        ratebp.methods.get("bptt_m").bind(model, T).views(inputs())
    ratebp.methods.get("bptt_s").bind(model, T).views(inputs())


def test_a_sum_over_as_many_copies_as_samples_is_refused() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        n = x.shape[0]
        return net.layers(x.unsqueeze(1).expand(-1, n, -1).sum(1))

    with pytest.raises(BindError, match="number of samples"):
        ratebp.methods.get("bptt_m").bind(Net(run), T).views(inputs())
