"""A view answers as the model does when its forward asks what its layers are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp import ALIF, LIF, PLIF, PSN, TLIF, Recurrent, SlidingPSN
from ratebp.errors import BindError
from ratebp.norms import BNTT, TEBN

from .by_hand import EVERY, EXACT, STEPS, assert_close, assert_exact, data, found, step


class Gain(LIF):
    """A user's neuron with an attribute and a method of its own."""

    def __init__(self) -> None:
        super().__init__(decay=0.9, threshold=0.3)
        self.gain = 0.5
        self.register_buffer("offset", torch.full((), 0.25))

    def scaled(self, x: Tensor) -> Tensor:
        return x * self.gain


class Asks(nn.Module):
    """Halves what each neuron sends, found by asking the layers (`asks`) or by place."""

    def __init__(self, asks: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.ModuleList(
            [nn.Linear(5, 6), Gain(), nn.Linear(6, 6), LIF(decay=0.9), nn.Linear(6, 4)]
        )
        self.asks = asks

    def forward(self, x: Tensor) -> Tensor:
        for place, layer in enumerate(self.layers):
            x = layer(x)
            if not self.asks:
                x = x * (0.5 + 0.0 * 6) if place in (1, 3) else x
            elif isinstance(layer, Gain):
                x = layer.scaled(x)
            elif isinstance(layer, LIF):
                x = x * (1.4 - layer.dynamics.decay)
            elif isinstance(layer, nn.Linear) and layer.out_features == 0:
                x = x * layer.weight.sum()
        return x


class AsksNorms(nn.Module):
    """Reads what its convolutions and norms are; pools by hand."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.c, self.b, self.l = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), LIF(0.9)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.l(self.b(self.c(x)))
        assert self.c.kernel_size == (3, 3)
        assert self.b.num_features == self.c.out_channels == self.fc.in_features == 8
        out: Tensor = self.fc(x.reshape(x.shape[0], self.b.num_features, -1).mean(-1))
        return out


@pytest.mark.parametrize("name", EVERY)
def test_the_network_that_asks_is_the_one_that_knows(name: str) -> None:
    x, y = data(STEPS, 3, 5)
    results = []
    for asks in (True, False):
        model = Asks(asks).double()
        results.append((step(name, model, x, y).logits, found(model), ratebp.infer(model, x)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-12, atol=0)
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-12, atol=0)
    assert_close(results[0][1], results[1][1])


@pytest.mark.parametrize("name", EXACT)
def test_the_network_that_asks_is_exact(name: str) -> None:
    x, y = data(STEPS, 3, 5)
    model = Asks(True).double()
    model.layers[1].__class__ = LIF  # the oracle runs LIF alone; halves by their decay
    assert_exact(name, model, x, y)


@pytest.mark.parametrize("name", [n for n in EVERY if ratebp.methods.get(n).info.norms])
def test_sizes_of_convolutions_and_norms_may_be_read(name: str) -> None:
    x, y = data(STEPS, 3, 2, 5, 5)
    step(name, AsksNorms().double(), x, y)


@pytest.mark.deep
@pytest.mark.parametrize("name", ["bptt_m", "bptt_s", "rate_m", "ottt_a"])
def test_it_answers_in_one_compiled_graph(name: str) -> None:
    x, y = data(STEPS, 3, 5)
    model = Asks(True).double()
    step(name, model, x, y)
    eager = found(model)
    model.zero_grad()
    torch.compiler.reset()
    bound = ratebp.methods.get(name).bind(
        model, STEPS, wrap=lambda m, _: torch.compile(m, fullgraph=True, backend="aot_eager")
    )
    bound.step(x, y)
    assert_close(found(model), eager)


class Tied(nn.Module):
    """The readout's weight is that of the embedding, which forward reads itself."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embed, self.l0, self.mix, self.l1 = (
            *(nn.Linear(4, 6), LIF(0.9, 0.3)),
            *(nn.Linear(6, 6), LIF(0.9, 0.3)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.l1(self.mix(self.l0(self.embed(x)))), self.embed.weight.t())


@pytest.mark.parametrize("name", ["bptt_m", "bptt_s"])
def test_a_weight_that_forward_reads_itself_has_the_exact_gradient(name: str) -> None:
    x, y = data(STEPS, 3, 4)
    assert_exact(name, Tied().double(), x, y)


def test_checkpointing_of_a_tied_weight_is_exact_over_time_and_refused_over_layers() -> None:
    x, y = data(STEPS, 3, 4)
    assert_exact("bptt_ckpt", Tied().double(), x, y, over="time")
    with pytest.raises(BindError, match="over='time'"):
        step("bptt_ckpt", Tied().double(), x, y)


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 6), (6,)),
    "convolution": (lambda: nn.Conv2d(6, 6, 3, padding=1), (6, 4, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 6, 3, padding=1), (6, 4, 4)),
    "norm": (lambda: nn.BatchNorm1d(6), (6,)),
    "norm of maps": (lambda: nn.BatchNorm2d(6), (6, 4, 4)),
    "TEBN": (lambda: TEBN(6, STEPS), (6, 4, 4)),
    "BNTT": (lambda: BNTT(6, STEPS), (6, 4, 4)),
    "layer norm": (lambda: nn.LayerNorm(6), (6,)),
    "instance norm": (lambda: nn.InstanceNorm2d(6), (6, 4, 4)),
    "dropout": (lambda: nn.Dropout(0.5), (6,)),
    **{k.__name__: (k, (6,)) for k in (LIF, PLIF, ALIF, TLIF, SlidingPSN)},
    "PSN": (lambda: PSN(STEPS), (6,)),
    "recurrent": (lambda: Recurrent(nn.Linear(6, 6), LIF()), (6,)),
}


def answers(layer: nn.Module) -> set[str]:
    """What a layer of torch or ours has beyond any module's own."""
    held = {*layer.__dict__, *layer._parameters, *layer._buffers, *layer._modules}
    return {n for n in held | set(vars(type(layer))) if not hasattr(nn.Module(), n)} - {"forward"}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_leaf_answers_as_its_layer(name: str, layer: str) -> None:
    make, shape = LAYERS[layer]
    first = nn.Linear(6, 6) if len(shape) == 1 else nn.Conv2d(6, 6, 1)
    model = nn.Sequential(first, make(), LIF(0.5), nn.Flatten(), nn.LazyLinear(4))
    model[4](torch.zeros(1, torch.Size(shape).numel()))
    try:
        bound = ratebp.methods.get(name).bind(model, STEPS)
    except BindError:
        return  # what a method refuses is stated in test_refusals
    for made in bound.views(torch.zeros(STEPS, 2, *shape)).values():
        tree = getattr(made.module, "whole", getattr(made.module, "net", made.module))
        for path in ("0", "1", "2", "4"):
            origin, leaf = model.get_submodule(path), tree.get_submodule(path)
            assert isinstance(leaf, type(origin))
            assert leaf.training == origin.training
            for each in answers(origin):
                want, got = getattr(origin, each), getattr(leaf, each)
                if callable(want) and not isinstance(want, nn.Module | type):
                    want, got = want.__func__, got.__func__
                if isinstance(want, nn.Module):
                    want, got = type(want), type(got)
                assert want is got or bool(torch.as_tensor(want == got).all()), (path, each)


class Occupied(LIF):
    """A user's neuron whose attributes have names that methods use for their own."""

    def __init__(self) -> None:
        super().__init__(decay=0.9, threshold=0.3)
        self.potential, self.timesteps, self.record, self.leaf = 0.5, 2.0, 1.0, 1.0
        self.step, self.readers, self.terms, self.left = 1.0, 1.0, 1.0, 1.0


class Layered(nn.Linear):
    """A user's synapse with a child and a setting under such names."""

    def __init__(self) -> None:
        super().__init__(6, 6)
        self.layer, self.trace = nn.Identity(), 0.5


class Reads(nn.Module):
    """Reads all of them, or knows their product."""

    def __init__(self, reads: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.l, self.b, self.k = nn.Linear(5, 6), Occupied(), Layered(), LIF(0.9, 0.3)
        self.h, self.reads = nn.Linear(6, 4), reads

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.l(self.a(x)))
        if self.reads:
            neuron = self.l
            scale = neuron.potential * neuron.timesteps * neuron.record * neuron.leaf * neuron.left
            x = self.b.layer(x * scale * neuron.step * neuron.readers * neuron.terms)
            x = x * (self.b.trace * 4)
        else:
            x = x * 2.0
        out: Tensor = self.h(self.k(x))
        return out


@pytest.mark.parametrize("name", EVERY)
def test_names_that_a_method_uses_for_its_own_hide_none_of_the_layer_s(name: str) -> None:
    x, y = data(STEPS, 3, 5)
    results = []
    for reads in (True, False):
        model = Reads(reads).double()
        results.append((step(name, model, x, y).logits, found(model)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-12, atol=1e-14)
    assert_close(results[0][1], results[1][1])


def test_a_facade_compiles_in_one_graph() -> None:
    x, y = data(STEPS, 3, 5)
    model = Reads(True).double()
    step("bptt_s", model, x, y)
    eager = found(model)
    model.zero_grad()
    torch.compiler.reset()
    ratebp.methods.get("bptt_s").bind(
        model, STEPS, wrap=lambda m, _: torch.compile(m, fullgraph=True, backend="aot_eager")
    ).step(x, y)
    assert_close(found(model), eager)


def test_training_of_a_leaf_is_the_layer_s() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.l, self.b = nn.Linear(2, 3), LIF(), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.b(self.l(self.a(x)))
            return out * (2.0 if self.l.training and self.b.training else 1.0)

    x, y = data(2, 3, 2, classes=2)
    model = Reads().double()
    bound = ratebp.methods.get("bptt_s").bind(model, 2)
    loud = bound.step(x, y).logits
    model.l.eval()
    torch.testing.assert_close(bound.step(x, y).logits * 2, loud)
