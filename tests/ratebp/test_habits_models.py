"""Models that no view can stand for are told why, and layers whose weight is computed are exact."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.utils.prune as prune
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import ratebp
from ratebp.errors import BindError
from ratebp.testing import seeded_step

from .by_hand import (
    EVERY,
    EXACT,
    STEPS,
    TOLERANCE,
    assert_close,
    assert_exact,
    data,
    found,
    refused,
    small,
    step,
)


class Net(nn.Module):
    """Layers for a forward that a test writes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.l, self.h = nn.Linear(5, 6), ratebp.LIF(0.9, 0.3), nn.Linear(6, 4)

    def logits(self, x: Tensor) -> Tensor:
        out: Tensor = self.h(self.l(self.a(x)))
        return out


def net(forward: Callable[..., Any]) -> nn.Module:
    made: nn.Module = type("Net", (Net,), {"forward": forward})()
    return made.double()


def twice() -> nn.Module:
    made = net(lambda self, x: self.h(self.k(self.b(self.b(self.l(self.a(x)))))))
    made.b, made.k = nn.Linear(6, 6).double(), ratebp.LIF(0.9, 0.3)
    return made


def with_first(first: nn.Module) -> nn.Sequential:
    return nn.Sequential(first, ratebp.LIF(0.9, 0.3), nn.Linear(6, 4)).double()


def hooked(register: str) -> nn.Module:
    model = small()
    getattr(model[2], register)(lambda *_: None)
    return model


def hooked_spectral() -> nn.Module:
    return with_first(torch.nn.utils.spectral_norm(nn.Linear(5, 6)))


def hooked_weight_norm() -> nn.Module:
    return with_first(torch.nn.utils.weight_norm(nn.Linear(5, 6)))


UNFIT: dict[str, tuple[Callable[[], Any], str]] = {
    "DataParallel": (lambda: nn.DataParallel(small()), r"DataParallel.*inner model.*wrap="),
    "compiled": (lambda: torch.compile(small(), backend="eager"), r"torch\.compile.*wrap="),
    "compiled inside": (
        lambda: nn.Sequential(torch.compile(small(), backend="eager")),
        r"`0` is wrapped by torch\.compile",
    ),
    "scripted": (lambda: torch.jit.script(nn.Linear(2, 2)), "ScriptModule.*scripted"),
    "a class": (lambda: nn.Linear, "is a type.*an instance"),
    "a state dict": (lambda: small().state_dict(), "must be an nn.Module"),
    "pruned": (
        lambda: with_first(prune.l1_unstructured(nn.Linear(5, 6), "weight", 0.5)),
        r"`0` is pruned.*prune\.remove.*parametriz",
    ),
    "weight norm in a hook": (
        hooked_weight_norm,
        r"`0`.*remove_weight_norm.*parametrizations\.weight_norm",
    ),
    "spectral norm in a hook": (hooked_spectral, r"`0`.*remove_spectral_norm"),
    "spectral norm": (
        lambda: with_first(parametrizations.spectral_norm(nn.Linear(5, 6))),
        r"`0` has spectral_norm.*remove_parametrizations",
    ),
    "lazy": (lambda: with_first(nn.LazyLinear(6)), r"`0` is a LazyLinear.*once on a sample"),
    "a hook": (lambda: hooked("register_forward_hook"), r"`2` carries hooks.*Remove them"),
    "a pre-hook": (lambda: hooked("register_forward_pre_hook"), "`2` carries hooks"),
    "a backward hook": (lambda: hooked("register_full_backward_hook"), "`2` carries hooks"),
    "no input": (lambda: net(lambda self: self.logits(torch.zeros(3, 5))), "takes no input"),
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("unfit", UNFIT)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_what_no_view_can_stand_for_is_told_why(name: str, unfit: str) -> None:
    make, says = UNFIT[unfit]
    model = make()
    words = refused(lambda: ratebp.methods.get(name).bind(model, STEPS))
    assert re.search(says, words), words
    assert re.search(says, refused(lambda: ratebp.infer(model, data(STEPS, 3, 5)[0])))


def test_the_remedies_work() -> None:
    x, y = data(STEPS, 3, 5)
    pruned = prune.l1_unstructured(nn.Linear(5, 6), "weight", 0.5)
    prune.remove(pruned, "weight")
    lazy = nn.LazyLinear(6)
    lazy(torch.zeros(1, 5))
    for first in (pruned, lazy):
        assert_exact("bptt_s", with_first(first), x, y)


def with_mean(logits: Tensor) -> tuple[Tensor, Tensor]:
    return logits, logits.mean()


OUTPUTS: dict[str, tuple[Callable[..., Any], str]] = {
    "a pair with None": (lambda self, x: (self.logits(x), None), r"with a NoneType at \[1\]"),
    "a dict with a number": (
        lambda self, x: {"out": self.logits(x), "aux": 3},
        r"with a int at \['aux'\]",
    ),
    "nothing": (lambda self, x: None, "a NoneType"),
    "an empty tuple": (lambda self, x: (), "an empty tuple"),
    "a maximum": (lambda self, x: self.logits(x).max(1), r"torch\.int64 tensor at"),
    "a pair with a number": (
        lambda self, x: with_mean(self.logits(x)),
        r"output\[1\] has shape \(\) for|one tensor that returns one",
    ),
    "a number": (lambda self, x: self.logits(x).mean(), r"shape \(\) for"),
    "classes first": (lambda self, x: self.logits(x).t(), "first dimension is not that"),
    "samples added up": (lambda self, x: self.logits(x).sum(0), "first dimension is not that"),
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("output", OUTPUTS)
def test_an_output_that_is_not_one_tensor_of_samples_is_refused(name: str, output: str) -> None:
    x, y = data(STEPS, 3, 5)
    forward, says = OUTPUTS[output]
    model = net(forward)
    with pytest.raises(BindError) as error:
        step(name, model, x, y)
    # The operation may be refused before its output.
    before = "mixes the samples|in the first dimension|cannot cross|behind the last layer"
    before += "|one tensor that returns one|is not linear"
    assert re.search(f"{says}|{before}", str(error.value)), str(error.value)
    with pytest.raises(BindError, match=says):
        ratebp.infer(model, x)


@pytest.mark.parametrize("name", ["rate_m", "rate_s", "tandem", "ottt_a", "ndot_a"])
def test_a_layer_used_twice_is_told_of_layers_and_not_of_neurons(name: str) -> None:
    with pytest.raises(BindError) as error:
        ratebp.methods.get(name).bind(twice(), STEPS)
    assert "LIF" not in str(error.value)
    assert re.search(r"`b` is called 2 times.*own layer.*bptt_s", str(error.value))


@pytest.mark.parametrize("name", ["bptt_m", "bptt_s", "tbptt"])
def test_a_layer_used_twice_is_exact(name: str) -> None:
    x, y = data(STEPS, 3, 5)
    model = twice()
    if name == "tbptt":
        step("bptt_s", model, x, y, loss_mode="per_step")
        want = found(model)
        step(name, model, x, y, window=STEPS)
        assert_close(found(model), want)
    else:
        assert_exact(name, model, x, y)


def test_a_norm_used_twice_is_told_of_norms() -> None:
    class Twice(Net):
        def __init__(self) -> None:
            super().__init__()
            self.n, self.b, self.k = nn.BatchNorm1d(6), nn.Linear(6, 6), ratebp.LIF(0.9, 0.3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.h(self.k(self.n(self.b(self.l(self.n(self.a(x)))))))
            return out

    for name in ("bptt_m", "bptt_s", "rate_m", "sltt"):
        with pytest.raises(BindError) as error:
            ratebp.methods.get(name).bind(Twice(), STEPS)
        assert re.search(r"`n` is called 2 times.*two nn\.BatchNorm", str(error.value))
        assert "LIF" not in str(error.value)


class Masked(nn.Module):
    """Pruning as a parametrization: the weight times a mask."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.get_buffer("mask")


def masked(layer: nn.Module) -> nn.Module:
    mask = (torch.arange(layer.weight.numel()) % 3 > 0).double().view_as(layer.weight)  # type: ignore[operator, union-attr, arg-type]
    parametrize.register_parametrization(layer, "weight", Masked(mask))
    return layer


COMPUTED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight norm": parametrizations.weight_norm,
    "orthogonal": parametrizations.orthogonal,
    "a mask": masked,
}


def twins(how: str) -> tuple[Any, Any]:
    """A network whose weights are computed, and one of the same weights as they are."""
    computed, plain = small(), small()
    for place in (0, 2, 4):
        COMPUTED[how](computed[place])
    with torch.no_grad():
        for place in (0, 2, 4):
            plain[place].weight.copy_(computed[place].weight)
    return computed, plain


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("how", COMPUTED)
def test_a_computed_weight_has_the_gradient_of_the_weight_pulled_back(name: str, how: str) -> None:
    x, y = data(STEPS, 3, 5)
    computed, plain = twins(how)
    wanted = step(name, plain, x, y).logits
    got = step(name, computed, x, y).logits
    torch.testing.assert_close(got, wanted, rtol=TOLERANCE, atol=1e-13)
    torch.testing.assert_close(ratebp.infer(computed, x), ratebp.infer(plain, x))
    for place in (0, 2, 4):
        layer, weight = computed[place], plain[place].weight.grad
        inputs = (
            [layer.parametrizations.weight.original]
            if how != "weight norm"
            else [
                layer.parametrizations.weight.original0,
                layer.parametrizations.weight.original1,
            ]
        )
        pulled = torch.autograd.grad(layer.weight, inputs, weight)
        for parameter, want in zip(inputs, pulled, strict=True):
            torch.testing.assert_close(parameter.grad, want, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(layer.bias.grad, plain[place].bias.grad)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("how", COMPUTED)
def test_a_computed_weight_is_exact(name: str, how: str) -> None:
    x, y = data(STEPS, 3, 5)
    assert_exact(name, twins(how)[0], x, y)


def test_adaptive_feedback_of_a_computed_readout_is_its_weights_way() -> None:
    """After updates of the readout, e-prop sends back what its weight, not its parts, has moved."""
    x, y = data(STEPS, 3, 5)
    computed, plain = twins("weight norm")
    method = ratebp.methods.get("eprop", feedback="adaptive")
    bounds = [method.bind(each, STEPS) for each in (computed, plain)]
    with torch.no_grad():
        for part in computed[4].parametrizations.weight.parameters():
            part.mul_(1.3).add_(0.1)
        plain[4].weight.copy_(computed[4].weight)
    for bound, each in zip(bounds, (computed, plain), strict=True):
        each.zero_grad()
        seeded_step(bound, x, y)
    layer, weight = computed[2], plain[2].weight.grad
    pulled = torch.autograd.grad(
        layer.weight, [*layer.parametrizations.weight.parameters()], weight
    )
    for parameter, want in zip(layer.parametrizations.weight.parameters(), pulled, strict=True):
        torch.testing.assert_close(parameter.grad, want, rtol=1e-9, atol=1e-12)
