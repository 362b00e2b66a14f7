"""Which neuron stands behind which synapse."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

import ratebp
from ratebp.errors import BindError
from ratebp.rules.synapses import common_decay
from ratebp.testing import problem
from ratebp.wiring import trace


def test_the_residual_problem() -> None:
    wiring = trace(problem(norm="batch").model)
    assert wiring.behind["stem"] == {"lif0"}
    assert wiring.behind["conv2"] == wiring.behind["shortcut"] == {"lif2"}
    assert wiring.behind["head.2"] == frozenset()
    assert wiring.before["stem"] == frozenset()
    assert wiring.before["conv2"] == {"lif1"}
    assert wiring.before["head.2"] == {"lif2"}
    assert wiring.only_norms == {"stem", "conv1", "conv2", "shortcut"}
    assert set(wiring.calls.values()) == {1}


def test_a_residual_stream_without_neurons_reaches_all_later_ones() -> None:
    model = ratebp.models.build("preact_resnet34", num_classes=3, width=0.05)
    wiring = trace(model)
    stem = next(path for path, before in wiring.before.items() if not before)
    neurons = [p for p, m in model.named_modules() if isinstance(m, ratebp.LIF)]
    assert len(wiring.behind[stem]) > 1
    assert wiring.behind[stem] < set(neurons)


class Forked(nn.Module):
    def __init__(self, left: float, right: float) -> None:
        super().__init__()
        self.shared, self.head = nn.Linear(2, 2), nn.Linear(2, 2)
        self.left, self.right = ratebp.LIF(decay=left), ratebp.LIF(decay=right)

    def forward(self, x: Tensor) -> Tensor:
        current = self.shared(x)
        out: Tensor = self.head(self.left(current) + self.right(current))
        return out


def test_one_trace_cannot_have_two_decays() -> None:
    with pytest.raises(BindError, match=r"`shared`.*`left` 0.2, `right` 0.5.*sltt or bptt_s"):
        ratebp.methods.get("ottt_a").bind(Forked(0.2, 0.5), 2)
    ratebp.methods.get("ottt_a").bind(Forked(0.5, 0.5), 2)


def test_common_decay() -> None:
    model = Forked(0.5, 0.5)
    assert common_decay(model, ["left", "right"], "shared") == 0.5
    assert common_decay(model, [], "shared") is None


class Meddling(nn.Module):
    """Sums that may be followed, and outputs that something else takes or changes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(2, 2) for _ in range(3))
        self.one, self.two, self.three = (ratebp.LIF() for _ in range(3))
        self.same = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        a = self.one(self.first(x))
        b = self.two(self.same(self.second(a)) + a)
        c = self.third(b)
        c += b
        return self.three(c) * 2


def test_sums_are_followed_and_changes_in_place_are_not() -> None:
    wiring = trace(Meddling())
    assert wiring.sources == {
        "one": ("first",),
        "second": ("one",),
        "two": ("second", "one"),
        "third": ("two",),
    }, "`+=` is no sum"
    assert wiring.readers == {"first": {"one"}, "one": {"second", "two"}, "second": {"two"}}
