"""Values that travel beside the model in the spike pass give what they give inside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp.rules.handover import Handover
from ratebp.rules.rate.flow import RateFlow
from ratebp.rules.rate.handover_leaf import HandoverLeaf
from ratebp.views import Leaf
from ratebp.wiring import trace

SETTINGS = [{"reset": "soft"}, {"reset": "hard"}, {"reset": "soft", "detach_reset": False}]


class Residual(nn.Module):
    """A shortcut of spikes, a shortcut with a norm, a sum of three, and a dropout of nothing."""

    def __init__(self, neuron: dict[str, object]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), ratebp.LIF(**neuron))
        self.one = nn.Sequential(nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5))
        self.lif1 = ratebp.LIF(**neuron)
        self.two = nn.Sequential(nn.Conv2d(5, 7, 3, stride=2), nn.BatchNorm2d(7))
        self.short = nn.Sequential(nn.Conv2d(5, 7, 3, stride=2), nn.BatchNorm2d(7))
        self.lif2 = ratebp.LIF(**neuron)
        self.nothing = nn.Dropout(0.0)
        self.hidden = nn.Conv2d(7, 7, 1)
        self.lif3 = ratebp.LIF(**neuron)
        self.head = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.lif1(self.one(x) + x)
        x = self.lif2(self.two(x) + self.short(x))
        x = self.lif3(self.hidden(self.nothing(x)) + x)
        return self.head(x.mean((2, 3)))


def outcome(name: str, neuron: dict[str, object], known: bool, **options: str) -> list[Tensor]:
    torch.manual_seed(0)
    model = Residual(neuron).double()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    x, y = torch.randn(3, 4, 2, 9, 9, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    wiring = trace(model) if known else replace(trace(model), sources={}, readers={})
    bound = ratebp.methods.get(name, **options).bind(model, 3, wiring=wiring)
    for _ in range(2):
        result = bound.step(x, y)
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return [result.logits, *grads, *model.buffers()]


@pytest.mark.parametrize("neuron", SETTINGS, ids=str)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rate_m", {}),
        ("rate_m", {"pre_activations": "recomputed"}),
        ("rate_s", {}),
        ("rate_s", {"statistics": "last_step"}),
        ("sltt", {"pre_activations": "recomputed"}),
    ],
    ids=str,
)
def test_known_and_unknown_wiring_train_alike(
    name: str, options: dict[str, str], neuron: dict[str, object]
) -> None:
    got, want = outcome(name, neuron, True, **options), outcome(name, neuron, False)
    if options.get("statistics"):
        want = outcome(name, neuron, False, **options)
    assert sum(float(each.abs().sum()) > 0 for each in got) > 20
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


def test_who_hands_what_to_whom() -> None:
    model = Residual({})
    flow = RateFlow(model, trace(model))
    assert flow.terms("lif1") == ("one.1", "stem.2")
    assert flow.takers("stem.2") == {"one.0", "lif1"}
    assert flow.terms("lif2") == ("two.1", "short.1")
    assert flow.terms("lif3") == ()  # the dropout before hides who reads the spikes of lif2
    assert flow.terms("hidden") == flow.terms("head") == ()
    assert flow.owned("one.1")
    assert not flow.unread("lif2")


class Seen(Leaf):
    """Notes its input and returns what it was told to."""

    def __init__(self, out: Tensor) -> None:
        super().__init__()
        self.out = out
        self.got: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.got = x
        return self.out


@pytest.mark.parametrize("order", [lambda a, b: (a, b), lambda a, b: (b, a)])
def test_a_sum_is_made_in_its_real_valued_term(order: Callable[..., tuple[Tensor, Tensor]]) -> None:
    real, spikes = torch.randn(2, 3), torch.tensor([[0, 1, 1], [1, 0, 0]], dtype=torch.uint8)
    want = real + spikes
    terms, reader = [Handover(), Handover()], Handover()
    for record, term in zip(terms, order(real, spikes), strict=True):
        record.put(term)
    inner = Seen(torch.ones(2, 3))
    token = HandoverLeaf(inner, terms, [reader], seen=False)(torch.full((1, 1), float("nan")))
    assert inner.got is real
    assert torch.equal(real, want)
    assert token.shape == (1, 1)
    assert token.isnan().all()
    assert reader.take()[0] is inner.out
    assert all(record.take() == () for record in terms)


def test_an_unknown_reader_sees_the_value() -> None:
    inner, reader = Seen(torch.ones(2, 3)), Handover()
    assert HandoverLeaf(inner, [], [reader], seen=True)(torch.zeros(2, 3)) is inner.out
    assert reader.take()[0] is inner.out


def test_records_are_empty_after_a_step() -> None:
    torch.manual_seed(0)
    model = Residual({})
    bound = ratebp.methods.get("rate_m").bind(model, 3)
    x = torch.randn(3, 2, 2, 9, 9)
    bound.step(x, torch.tensor([0, 1]))
    leaves = [m for m in bound.views(x)["spikes"].module.modules() if isinstance(m, HandoverLeaf)]
    records = [r for leaf in leaves for r in (*leaf.terms, *leaf.readers, leaf.leaf.record)]
    assert len(leaves) > 8
    assert all(record.take() == () for record in records)
