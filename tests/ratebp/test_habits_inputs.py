"""Inputs of a wrong kind are refused in words, and gradients by the input are right or refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.testing import seeded_step

from .by_hand import (
    CUT,
    EVERY,
    EXACT,
    STEPS,
    TOLERANCE,
    assert_close,
    data,
    found,
    loop,
    refused,
    runnable,
    small,
    step,
)

Y = torch.tensor([0, 1, 2])
WRONG: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "integers": (lambda x: x.long(), r"torch\.int64.*x\.float\(\)"),
    "bytes": (lambda x: x.byte(), r"torch\.uint8.*x\.float\(\)"),
    "bools": (lambda x: x > 0, r"torch\.bool.*x\.float\(\)"),
    "complex": (lambda x: x + 0j, r"torch\.complex128.*view_as_real"),
    "single precision": (lambda x: x.float(), r"torch\.float32.*torch\.float64.*x\.to"),
    "half precision": (lambda x: x.half(), r"torch\.float16.*torch\.float64"),
    "another device": (lambda x: x.to("meta"), "on meta.*on cpu"),
    "a list": (list, "x is a list"),
    "a pair": (lambda x: (x, x), "x is a tuple"),
    "a dict": (lambda x: {"x": x}, "x is a dict"),
    "an array": (lambda x: x.numpy(), "x is a ndarray"),
    "no time step": (lambda x: x[:0], r"\(0, 3, 5\)"),
    "no sample": (lambda x: x[:, :0], "no sample"),
    "images without time": (lambda x: x[0], r"\[T, B, \.\.\.\].*ratebp\.direct"),
    "a vector": (lambda x: x[0, 0], r"\(5,\).*\[T, B, \.\.\.\]"),
    "no features": (lambda x: x[..., 0], r"`0` \(Linear\) reads it.*\[T, B, \.\.\., 5\]"),
    "other features": (lambda x: x[..., :3], r"`0` \(Linear\) reads it.*\[T, B, \.\.\., 5\]"),
}


@pytest.mark.parametrize("name", EVERY)
def test_an_input_of_a_wrong_kind_is_refused_in_words(name: str) -> None:
    x, _ = data(STEPS, 3, 5)
    bound = ratebp.methods.get(name).bind(small(), STEPS)
    for make, says in WRONG.values():
        for call in (bound.step, bound.plain):
            arguments = (make(x), Y) if call == bound.step else (make(x),)
            words = refused(lambda call=call, arguments=arguments: call(*arguments))  # type: ignore[misc]
            assert re.search(says, words), words
    seeded_step(bound, x, Y)


@pytest.mark.parametrize(
    "wrong",
    sorted(WRONG.keys() - {"no features", "other features", "images without time"}),
)
def test_inference_refuses_the_same(wrong: str) -> None:
    make, says = WRONG[wrong]
    x, _ = data(STEPS, 3, 5)
    said = refused(lambda: ratebp.infer(small(), make(x)))
    assert re.search(says if wrong != "no time step" else "no time step", said), said


@pytest.mark.parametrize(
    ("shape", "says"),
    [((STEPS, 2, 7, 7), r"\[T, B, 2, H, W\]"), ((STEPS, 3, 1, 7, 7), r"\[T, B, 2, H, W\]")],
)
def test_the_shape_that_a_convolution_reads_is_named(shape: tuple[int, ...], says: str) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), ratebp.LIF(), nn.Flatten(), nn.Linear(75, 4)).double()
    x, y = data(*shape)
    for name in EVERY:
        bound = ratebp.methods.get(name).bind(model, STEPS)
        assert re.search(says, refused(lambda bound=bound: bound.step(x, y)))  # type: ignore[misc]


@pytest.mark.parametrize("name", EVERY)
def test_a_step_that_may_build_no_graph_is_refused(name: str) -> None:
    x, _ = data(STEPS, 3, 5)
    bound = ratebp.methods.get(name).bind(small(), STEPS)
    for around, says in ((torch.no_grad, "no_grad"), (torch.inference_mode, "inference_mode")):
        with around():
            assert says in refused(lambda: bound.step(x, Y))
    with torch.inference_mode():
        made = x.clone()
    assert "made under torch.inference_mode()" in refused(lambda: bound.step(made, Y))


def test_autocast_takes_what_it_converts() -> None:
    model = small().float()
    x, _ = data(STEPS, 3, 5)
    bound = ratebp.methods.get("bptt_m").bind(model, STEPS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seeded_step(bound, x.bfloat16(), Y)
        assert "torch.float64" in refused(lambda: bound.step(x, Y))
    assert "torch.bfloat16" in refused(lambda: bound.step(x.bfloat16(), Y))


def tokens_net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Embedding(9, 5), nn.Linear(5, 6), ratebp.LIF(0.9, 0.3), nn.Linear(6, 4))
    return nn.Sequential(*layers).double()


TOKENS = torch.arange(STEPS * 3).view(STEPS, 3) * 5 % 9
TRAINS_INDICES = (
    "bptt_m",
    "bptt_s",
    "bptt_ckpt",
    "tbptt",
    "sltt",
    "sltt_k",
    "os",
    "fptt",
    "dsr",
    "rga",
    "rate_m",
    "rate_s",
    "tandem",
)


@pytest.mark.parametrize("name", EVERY)
def test_indices_are_trained_where_an_embedding_reads_them_or_refused(name: str) -> None:
    model = tokens_net()
    if name not in TRAINS_INDICES:
        said = refused(lambda: step(name, model, TOKENS, Y))
        assert re.search("Embedding|indices.*that change over time", said)
        return
    for x in (TOKENS, TOKENS[:1].expand(STEPS, 3)):
        step(name, model, x, Y)
        got = found(model)
        assert float(got["0.weight"].norm()) > 0
        if name in EXACT:
            assert_close(got, loop(model, x, Y)[1])
    assert "x.long()" in refused(lambda: step(name, model, TOKENS.double(), Y))
    assert "x.long()" in refused(lambda: step(name, model, TOKENS.byte(), Y))


@pytest.mark.parametrize("name", ["t1", "ann"])
def test_a_control_takes_indices_that_stay(name: str) -> None:
    model, x = tokens_net(), TOKENS[:1].expand(STEPS, 3)
    step(name, model, x, Y)
    assert float(found(model)["0.weight"].norm()) > 0
    if name == "t1":
        assert_close(found(model), loop(model, x[:1], Y)[1])


@pytest.mark.parametrize(
    "name", [n for n in TRAINS_INDICES if n not in ("tbptt", "dsr", "rga", "tandem")]
)
def test_indices_at_one_step_are_exact(name: str) -> None:
    model, x = tokens_net(), TOKENS[:1]
    logits, want = loop(model, x, Y)
    torch.testing.assert_close(step(name, model, x, Y).logits, logits)
    assert_close(found(model), want)


def input_gradient(name: str, x: Tensor, **options: Any) -> Tensor:
    asked = x.clone().requires_grad_()
    step(name, small(), asked, Y, **options)
    assert asked.grad is not None
    return asked.grad


def by_hand(x: Tensor, *, per_step: bool = False, cut: bool = False) -> Tensor:
    twin, asked = runnable(small(), cut=cut), x.clone().requires_grad_()
    outs = [twin(now) for now in asked.unbind(0)]
    one = F.cross_entropy(torch.stack(outs).mean(0), Y)
    value = torch.stack([F.cross_entropy(o, Y) for o in outs]).mean() if per_step else one
    (grad,) = torch.autograd.grad(value, asked)
    return grad


def check(got: Tensor, want: Tensor) -> None:
    assert float(want.norm()) > 0
    torch.testing.assert_close(got, want, rtol=TOLERANCE, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("bptt_m", {}), ("bptt_s", {}), ("bptt_ckpt", {}), ("bptt_ckpt", {"over": "time"})),
        ("bptt_ckpt", {"over": "time", "segment": 3}),
        ("bptt_ckpt", {"over": "both", "segment": 3}),
    ],
)
def test_exact_methods_give_the_exact_gradient_by_the_input(
    name: str, options: dict[str, Any]
) -> None:
    x, _ = data(STEPS, 3, 5)
    check(input_gradient(name, x, **options), by_hand(x))
    check(input_gradient(name, x, loss_mode="per_step", **options), by_hand(x, per_step=True))


def test_windows_give_the_gradient_within_them() -> None:
    x, _ = data(STEPS, 3, 5)
    check(input_gradient("tbptt", x, window=STEPS), by_hand(x, per_step=True))
    check(input_gradient("tbptt", x, window=1), by_hand(x, per_step=True, cut=True))


@pytest.mark.parametrize("name", CUT)
def test_online_methods_give_that_of_the_loop_without_edges_through_time(name: str) -> None:
    x, _ = data(STEPS, 3, 5)
    check(input_gradient(name, x), by_hand(x, per_step=True, cut=True))


@pytest.mark.parametrize("name", EVERY)
def test_at_one_step_it_is_exact_or_refused(name: str) -> None:
    x, _ = data(1, 3, 5)
    method = ratebp.methods.get(name)
    if not method.info.inputs:
        said = refused(lambda: input_gradient(name, x))
        assert re.search(r"x requires a gradient.*x\.detach\(\)", said)
        return
    got = input_gradient(name, x)
    exact = [i for i in method.identities if i.other in ("bptt_s", "bptt_m") and not i.options]
    if any(i.when.get("timesteps", 1) == 1 and "decay" not in i.when for i in exact):
        check(got, by_hand(x))


@pytest.mark.parametrize("name", [n for n in EVERY if ratebp.methods.get(n).info.inputs])
def test_a_constant_input_that_asks_has_the_gradient_of_the_copied_one(name: str) -> None:
    image = data(1, 3, 5)[0][0]
    found_ = []
    for copied in (False, True):
        asked = image.clone().requires_grad_()
        x = ratebp.direct(asked, STEPS)
        step(name, small(), x.contiguous() if copied else x, Y)
        assert asked.grad is not None
        found_.append(asked.grad)
    check(found_[0], found_[1])
    if name in ("bptt_m", "bptt_s", "bptt_ckpt"):
        check(found_[0], by_hand(ratebp.direct(image, STEPS)).sum(0))
    leaf = ratebp.direct(image, STEPS).detach().requires_grad_()  # of stride 0 itself
    step(name, small(), leaf, Y)
    spread = image.repeat(STEPS, 1, 1).requires_grad_()
    step(name, small(), spread, Y)
    assert leaf.grad is not None
    assert spread.grad is not None
    torch.testing.assert_close(leaf.grad, spread.grad, rtol=TOLERANCE, atol=1e-14)


def test_rates_share_their_gradient_evenly() -> None:
    """The mean input is what a rate pass sees: each step has a T-th of its gradient."""
    x, _ = data(STEPS, 3, 5)
    for name in ("rate_m", "rate_s", "tandem", "t1", "ann", "sfa"):
        grad = input_gradient(name, x)
        torch.testing.assert_close(grad, grad[:1].expand_as(grad))
    torch.testing.assert_close(input_gradient("rate_m", x), input_gradient("rate_s", x))


class Words(nn.Module):
    """Token ids into an embedding, or their one-hot code into the same linear map."""

    def __init__(self, *, one_hot: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        rows = torch.randn(9, 5)
        self.e: nn.Module = nn.Embedding(9, 5)
        if one_hot:
            self.e = nn.Linear(9, 5, bias=False)
        self.e.weight.data.copy_(rows.t() if one_hot else rows)  # type: ignore[union-attr]
        torch.manual_seed(1)
        self.f0, self.l0 = nn.Linear(5, 6), ratebp.LIF(0.9, 0.3)
        self.f1 = nn.Linear(6, 4)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.f1(self.l0(self.f0(self.e(ids))).mean(1))
        return out


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("name", ["rate_m", "rate_s", "tandem", "bptt_m", "bptt_s", "sltt", "rga"])
def test_an_embedding_is_a_linear_map_of_one_hot_codes(name: str, constant: bool) -> None:
    ids = torch.arange(STEPS * 3 * 2).view(STEPS, 3, 2) * 5 % 9
    ids = ids[:1].expand(STEPS, 3, 2) if constant else ids
    first, second = Words(one_hot=False).double(), Words(one_hot=True).double()
    one = step(name, first, ids, Y)
    other = step(name, second, F.one_hot(ids, 9).double(), Y)
    torch.testing.assert_close(one.logits, other.logits, rtol=TOLERANCE, atol=1e-14)
    got, want = found(first), found(second)
    want["e.weight"] = want["e.weight"].t()
    assert_close(got, want)
    assert float(got["e.weight"].norm()) > 0
