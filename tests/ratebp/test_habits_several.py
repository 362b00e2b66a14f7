"""Several inputs and outputs: right beside a hand-written loop, or refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as tree

import ratebp
from ratebp import LIF
from ratebp.phases import StepContext
from ratebp.verification import verify

from .by_hand import EVERY, refused, runnable

STEPS, BATCH = 4, 3
TOLERANCE = 1e-10
ONE = ("eprop", "saf_e", "saf_f")
EXACT: list[tuple[str, dict[str, Any]]] = [
    ("bptt_m", {}),
    ("bptt_m", {"loss_mode": "per_step"}),
    ("bptt_s", {}),
    ("bptt_ckpt", {}),
    ("bptt_ckpt", {"over": "time"}),
    ("bptt_ckpt", {"over": "time", "segment": 3}),
    ("bptt_ckpt", {"over": "both", "segment": 3}),
    ("tbptt", {"window": STEPS}),
    ("sltt", {}),
]
Y = {"cls": torch.tensor([0, 1, 2]), "box": torch.linspace(-1, 1, 6).view(3, 2).double()}


class Two(nn.Module):
    """An image and events, each with a layer of its own, and two heads."""

    def __init__(self, heads: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.heads = heads
        self.a, self.la = nn.Linear(5, 6), LIF(0.6, 0.4)
        self.b, self.lb = nn.Linear(4, 6), LIF(0.7, 0.3)
        self.m, self.lm = nn.Linear(12, 7), LIF(0.5, 0.3)
        self.cls, self.box = nn.Linear(7, 3), nn.Linear(7, 2)

    def forward(self, image: Tensor, events: Tensor) -> Any:
        both = torch.cat([self.la(self.a(image)), self.lb(self.b(events))], -1)
        return self.heads(self, self.lm(self.m(both)))


class Optional(Two):
    """The second input may be left out."""

    def forward(self, image: Tensor, events: Tensor | None = None) -> Any:
        more = torch.zeros_like(image)[:, :4] if events is None else events
        return super().forward(image, more)


class Single(Two):
    def forward(self, image: Tensor) -> Any:  # type: ignore[override]
        return super().forward(image, image[:, :4])


HEADS: dict[str, Callable[[Any, Tensor], Any]] = {
    "one": lambda s, f: s.cls(f),
    "a tuple": lambda s, f: (s.cls(f), s.box(f)),
    "a dict": lambda s, f: {"cls": s.cls(f), "box": s.box(f)},
    "nested": lambda s, f: (s.cls(f), [s.box(f), {"features": f}]),
}


def loss(out: Any, y: dict[str, Tensor]) -> Tensor:
    """Of whatever is there."""
    if isinstance(out, Tensor):
        return F.cross_entropy(out, y["cls"])
    cls, box, *more = tree.tree_leaves(out) if not isinstance(out, dict) else out.values()
    value = F.cross_entropy(cls, y["cls"]) + F.mse_loss(box, y["box"])
    return value + sum(each.pow(2).mean() for each in more)


def data() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    image = 2 * torch.randn(STEPS, BATCH, 5, dtype=torch.float64, generator=draw)
    return image, 2 * torch.randn(STEPS, BATCH, 4, dtype=torch.float64, generator=draw)


def called(model: nn.Module, now: Any) -> Any:
    if isinstance(now, dict):
        return model(**now)
    return model(*now) if isinstance(now, tuple | list) else model(now)


def loop(
    model: nn.Module, x: Any, *, per_step: bool, cut: bool
) -> tuple[Any, dict[str, Tensor | None], list[Tensor | None]]:
    twin = runnable(model, cut=cut)
    asked = tree.tree_map(lambda t: t.detach().clone().requires_grad_(), x)
    outs = [called(twin, tree.tree_map(lambda t, k=k: t[k], asked)) for k in range(STEPS)]
    mean = tree.tree_map(lambda *each: torch.stack(each).mean(0), *outs)
    value = torch.stack([loss(o, Y) for o in outs]).mean() if per_step else loss(mean, Y)
    value.backward()
    return (
        mean,
        {n: p.grad for n, p in twin.named_parameters()},
        [t.grad for t in tree.tree_leaves(asked)],
    )


def close(got: Any, want: Any) -> None:
    assert (got is None) == (want is None)
    if want is not None:
        torch.testing.assert_close(got, want, rtol=TOLERANCE, atol=1e-13)


class Withheld(StepContext):
    def update(self) -> None:
        pass


def given(how: str) -> Any:
    image, events = data()
    forms = {
        "tuple": (image, events),
        "list": [image, events],
        "dict": {"events": events, "image": image},
        "single": image,
    }
    return forms[how]


CASES = [("tuple", "one"), ("dict", "a dict"), ("list", "nested"), ("single", "a tuple")]


@pytest.mark.parametrize(("how", "heads"), CASES)
@pytest.mark.parametrize(("name", "options"), EXACT, ids=str)
def test_exact_methods_are_exact(name: str, options: dict[str, Any], how: str, heads: str) -> None:
    model = (Single if how == "single" else Two)(HEADS[heads]).double()
    method = ratebp.methods.get(name, **options)
    mode = getattr(method, "loss_mode", method.info.loss)
    mean, want, by_inputs = loop(model, given(how), per_step=mode != "mean", cut=name == "sltt")
    x = tree.tree_map(lambda t: t.clone().requires_grad_(), given(how))
    bound = method.bind(model, STEPS)
    result = bound.step(x, Y, loss=loss)
    close(result.logits, mean)
    for each, parameter in model.named_parameters():
        close(parameter.grad, want[each])
    for tensor, right in zip(tree.tree_leaves(x), by_inputs, strict=True):
        close(tensor.grad, right)
    close(bound.plain(given(how)), mean)
    close(bound.infer(given(how)), mean)
    close(ratebp.infer(model, given(how)), mean)


@pytest.mark.parametrize("heads", ["one", "a dict"])
@pytest.mark.parametrize("name", EVERY)
def test_every_method_is_right_or_refuses(name: str, heads: str) -> None:
    found = verify(Two(HEADS[heads]), name, data(), Y, loss=loss)
    assert found.ok, str(found)
    assert (found.outcome == "refused") == (name in ONE), str(found)
    if name in ONE:
        assert re.search(r"takes 2 \(image, events\).*torch\.cat", found.reason)


@pytest.mark.parametrize("name", ["bptt_m", "bptt_s", "bptt_ckpt", "rate_m", "ndot_a"])
def test_an_input_with_a_default_may_be_given_or_not(name: str) -> None:
    image, events = data()
    options = {"over": "time"} if name == "bptt_ckpt" else {}
    method = ratebp.methods.get(name, **options)
    model = Optional(HEADS["one"]).double()
    if name == "ndot_a":  # it copies code, which took the default
        bound = method.bind(model, STEPS)
        assert "`events` has a default" in refused(
            lambda: bound.step((image, events), Y, loss=loss, context=Withheld())
        )
        return
    for x in (image, (image, events), {"image": image, "events": events}):
        found = verify(model, method, x, Y, loss=loss)
        assert found.ok, str(found)
        assert found.outcome == ("equal at T=1" if name == "rate_m" else "exact")
    both = method.bind(model, STEPS)
    for x in ((image, events), (image, events)):
        model.zero_grad()
        both.step(x, Y, loss=loss)
    assert "Bind once more" in refused(lambda: both.step(image, Y, loss=loss))


WRONG: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "one alone": (lambda a, b: a, r"x is one tensor.*takes \(image, events\)"),
    "three": (lambda a, b: (a, b, b), r"x is a tuple of 3.*\(image, events\)"),
    "another name": (lambda a, b: {"image": a, "sound": b}, r"dict of image, sound.*\(image, ev"),
    "no tensor": (lambda a, b: (a, 3.0), r"x\[1\] is a float"),
    "nested": (lambda a, b: (a, (b, b)), r"x\[1\] is a tuple"),
    "another batch": (lambda a, b: (a, b[:, :2]), r"x\[1\] has shape \(4, 2, 4\).*x\[0\]"),
    "another T": (lambda a, b: (a, b[:2]), r"x\[1\] has shape \(2, 3, 4\).*timesteps=4"),
    "no time": (lambda a, b: {"image": a, "events": b[0, :, 0]}, r"x\['events'\] has shape"),
    "features": (lambda a, b: (b, a), r"x\[0\] has shape .*`a` \(Linear\) reads it"),
    "integers": (lambda a, b: (a, b.long()), r"x\[1\] has type torch\.int64"),
    "precision": (lambda a, b: (a, b.float()), r"x\[1\] has type torch\.float32"),
}


@pytest.mark.parametrize("name", ["bptt_m", "bptt_s", "sltt", "rate_m"])
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_inputs_are_told(name: str, wrong: str) -> None:
    make, says = WRONG[wrong]
    bound = ratebp.methods.get(name).bind(Two(HEADS["one"]).double(), STEPS)
    for call in (lambda x: bound.step(x, Y, loss=loss), bound.plain):
        said = refused(lambda call=call: call(make(*data())))  # type: ignore[misc]
        assert re.search(says, said), said


def test_a_loss_that_cannot_take_the_structure_is_told() -> None:
    bound = ratebp.methods.get("bptt_m").bind(Two(HEADS["a tuple"]).double(), STEPS)
    said = refused(lambda: bound.step(data(), Y["cls"]))
    assert re.search(r"cross_entropy cannot take.*tuple of \[0\], \[1\].*lambda out, y", said)


@pytest.mark.parametrize("name", ["bptt_m", "bptt_s", "bptt_ckpt", "rate_m", "rate_s", "sltt"])
def test_constant_inputs_are_those_of_copies(name: str) -> None:
    image, events = (each[0] for each in data())
    found = []
    for copied in (False, True):
        model = Two(HEADS["a dict"]).double()
        x = tuple(ratebp.direct(each, STEPS) for each in (image, events))
        x = tuple(each.contiguous() for each in x) if copied else x
        ratebp.methods.get(name).bind(model, STEPS).step(x, Y, loss=loss)
        found.append([p.grad for p in model.parameters()])
    for one, other in zip(*found, strict=True):
        close(one, other)


@pytest.mark.parametrize("name", ["bptt_m", "bptt_s", "sltt", "rate_m", "ottt_a"])
def test_batches_of_any_size_follow_each_other(name: str) -> None:
    bound = ratebp.methods.get(name).bind(Two(HEADS["a dict"]).double(), STEPS)
    for size in (3, 1, 2):
        x = tuple(each[:, :size] for each in data())
        y = {key: each[:size] for key, each in Y.items()}
        result = bound.step(x, y, loss=loss)
        assert result.logits["box"].shape == (size, 2)


def test_the_example_of_the_page_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "habits.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    assert made["result"].logits["place"].shape == (made["B"], 2)
    assert made["result"].logits["kind"].shape == (made["B"], 3)
