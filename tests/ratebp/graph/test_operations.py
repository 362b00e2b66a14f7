"""The table of operations, each entry against what torch computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ratebp.graph import At, Graph, Kind, Node, Samples, UnreadableError, read, record
from ratebp.graph.names import FACTORIES, RANDOM_FACTORIES
from ratebp.graph.operations import KNOWN
from ratebp.graph.torch_modules import MODULES

from .examples import EXAMPLES, Example

BATCH = 13
_each = pytest.mark.parametrize("example", EXAMPLES, ids=str)
_OUTSIDE = {"cuda", "upsample"}  # needs a device of its own; deprecated, so that it warns
_WITHOUT_VALUES = {"nonzero", "unique", "masked_select"}  # their shapes are values


def _recorded(example: Example, batch: int = BATCH) -> Graph:
    return record(example.model(), example.inputs(batch, 0))


def _values(out: Any) -> list[Tensor]:
    return [out] if isinstance(out, Tensor) else [each for each in out if each is not None]


def _run(example: Example, inputs: tuple[Tensor, ...], seed: int = 0) -> list[Tensor]:
    torch.manual_seed(seed)
    return _values(example.model()(*(x.clone() for x in inputs)))


def _gives(graph: Graph) -> list[Node]:
    """Return the nodes whose values a model gives."""
    return [*next(node for node in graph.nodes if node.name == "output").tensors]


def _name(node: Node) -> str:
    return node.name.removesuffix("_")


def test_every_name_has_an_example() -> None:
    seen: set[str] = set()
    modules: set[type] = set()
    for example in EXAMPLES:
        for reading in (lambda e: read(e.model()), _recorded):
            try:
                graph = reading(example)
            except UnreadableError:
                continue
            for node in graph.nodes:
                seen |= {node.name, _name(node)}
                modules |= {type(node.module)}
    assert sorted(KNOWN - seen - _OUTSIDE - _WITHOUT_VALUES) == []
    assert sorted((FACTORIES | RANDOM_FACTORIES) - seen) == []
    assert MODULES - modules == set()


@_each
def test_the_samples_are_where_it_says(example: Example) -> None:
    """T*B samples at once give what T batches give one after the other."""
    if example.name in _WITHOUT_VALUES:
        with pytest.raises(UnreadableError):
            _recorded(example)
        return
    graph = _recorded(example)
    samples = Samples(graph, BATCH)
    drawn = any(Kind.RANDOM in kinds for kinds in graph.kinds.values())
    batches = [example.inputs(BATCH, seed) for seed in range(3)]
    folded = _run(example, tuple(map(torch.cat, zip(*batches, strict=True))))
    parts = zip(*(_run(example, batch) for batch in batches), strict=True)
    for node, whole, one_by_one in zip(_gives(graph), folded, parts, strict=False):
        place = samples.at(node)
        if not isinstance(place, At):
            continue
        assert one_by_one[0].shape == node.shape
        assert one_by_one[0].shape[place.dim] == BATCH * place.inner
        expected = torch.cat(one_by_one, place.dim)
        if drawn:
            assert whole.shape == expected.shape
        else:
            torch.testing.assert_close(whole, expected, rtol=1e-12, atol=1e-12, equal_nan=True)


def _claims(graph: Graph) -> frozenset[Kind]:
    """Return the kinds that all operations of a graph have: a chain of them has these too."""
    chain = [graph.kinds[node] for node in graph.nodes if node.signal and graph.kinds[node]]
    return frozenset.intersection(*chain) if chain else frozenset()


@_each
def test_its_kinds_are_true(example: Example) -> None:
    if example.name in _WITHOUT_VALUES:
        return
    kinds = _claims(_recorded(example))
    a, b = example.inputs(BATCH, 1), example.inputs(BATCH, 2)
    if Kind.LINEAR in kinds:
        _assert_linear(example, a, b, 2.0, -0.5)
    if Kind.AFFINE in kinds:
        _assert_linear(example, a, b, 0.3, 0.7)
    if Kind.HOMOGENEOUS in kinds:
        _assert_linear(example, a, b, 3.0, 0.0)
    if Kind.PRODUCT in kinds and len(a) > 1:
        for place in range(len(a)):
            held = (*a[:place], b[place], *a[place + 1 :])
            _assert_linear(example, a, held, 0.3, 0.7)


def _assert_linear(
    example: Example, a: tuple[Tensor, ...], b: tuple[Tensor, ...], p: float, q: float
) -> None:
    mixed = _run(example, tuple(p * x + q * y for x, y in zip(a, b, strict=True)))
    for found, left, right in zip(mixed, _run(example, a), _run(example, b), strict=True):
        rounds = found.dtype in (torch.float32, torch.float16, torch.bfloat16)
        tolerance = 2e-2 if rounds else 1e-9
        expected = p * left.double() + q * right.double()
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


@_each
def test_it_draws_if_and_only_if_it_is_said_to(example: Example) -> None:
    if example.name in _WITHOUT_VALUES:
        return
    drawn = any(Kind.RANDOM in kinds for kinds in _recorded(example).kinds.values())
    inputs = example.inputs(BATCH, 1)
    first, second = (_run(example, inputs, seed) for seed in (1, 2))
    equal = all(
        torch.equal(*pair) or pair[0].isnan().any() for pair in zip(first, second, strict=True)
    )
    assert equal is not drawn


@_each
def test_its_input_changes_if_and_only_if_it_is_said_to(example: Example) -> None:
    if example.name in _WITHOUT_VALUES:
        return
    graph = _recorded(example)
    inputs = example.inputs(BATCH, 1)
    before = [x.clone() for x in inputs]
    example.model()(*inputs)
    changed = not all(torch.equal(*pair) for pair in zip(inputs, before, strict=True))
    said = any(
        each.name == "input"
        for node in graph.operations(Kind.IN_PLACE)
        for each in node.tensors[:1]
    )
    assert said is changed


@_each
def test_both_readings_agree(example: Example) -> None:
    try:
        recorded, followed = _recorded(example), read(example.model())
    except UnreadableError:
        return
    plumbing = {"part", "getitem", "input", "output", "constant", "parameter", "values", "indices"}
    plumbing |= {"unbind", "type_as", "to"}  # torch.fx unpacks by index, and does not know types
    turned = {"rsub": "sub", "rdiv": "div"}
    mine, its = (
        [
            (turned.get(_name(n), _name(n)), graph.kinds[n])
            for n in graph.nodes
            if n.signal and _name(n) not in plumbing
        ]
        for graph in (recorded, followed)
    )
    assert mine == its


EXACT = {Kind.LINEAR, Kind.AFFINE, Kind.HOMOGENEOUS}
HEADLINES = {
    "add of two": (lambda x, y: x + y, EXACT),
    "add of a number": (lambda x: x + 1, {Kind.AFFINE}),
    "mul of two": (lambda x, y: x * y, {Kind.PRODUCT}),
    "mul of a number": (lambda x: x * 2, EXACT),
    "square": (lambda x: x * x, {Kind.PRODUCT}),
    "relu": (lambda x: x.relu(), {Kind.HOMOGENEOUS}),
    "max against a constant": (lambda x: x.maximum(torch.ones(4)), {Kind.NONLINEAR}),
    "sigmoid": (lambda x: x.sigmoid(), {Kind.NONLINEAR}),
    "to integers": (lambda x: x.long(), {Kind.NONLINEAR}),
    "to integers by to": (lambda x: x.to(torch.int32), {Kind.NONLINEAR}),
    "fft": (lambda x: torch.fft.fft(x), {Kind.UNKNOWN}),
    "complex": (lambda x: torch.view_as_complex(x.reshape(-1, 3, 2, 2)), {Kind.UNKNOWN}),
    "out": (lambda x: torch.add(x, x, out=torch.empty_like(x)), {Kind.UNKNOWN, Kind.IN_PLACE}),
    "an index that is a signal": (
        lambda x: x.index_select(1, x.long().flatten()),
        {Kind.NONLINEAR},
    ),
    "places of maxima": (lambda x: x.max(1)[1], {Kind.NONLINEAR}),
    "a window": (lambda x: x.unfold(1, 2, 1), EXACT),
    "one minus": (lambda x: 1 - x, {Kind.AFFINE}),
    "a mask": (lambda x: x * (x > 0), {Kind.PRODUCT}),
}


@pytest.mark.parametrize("name", HEADLINES)
def test_what_matters_most_is_neither_more_nor_less(name: str) -> None:
    run, kinds = HEADLINES[name]
    shapes = ((3, 4),) * run.__code__.co_argcount
    graph = _recorded(Example(name, run, shapes))
    last = [n for n in graph.nodes if n.signal and n.name != "output" and graph.kinds[n]][-1]
    assert graph.kinds[last] == kinds
