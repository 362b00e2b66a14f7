"""A hunt for samples taken to be where they are not: random chains of operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ratebp.graph import At, Samples, record

BATCH = 13
STEPS = 5  # 65 has no divisor in common with the sizes that are taken apart
Step = tuple[str, int, int]
"""A name and two numbers, which stand for dimensions, sizes and choices."""
SAMPLES = [BATCH]
"""How many there are in the running forward, as its first line would read off its input."""


def _dim(x: Tensor, number: int) -> int:
    return number % (2 * x.dim()) - x.dim()


def _order(x: Tensor, a: int, b: int) -> list[int]:
    order = [*range(x.dim())]
    order.insert(b % x.dim(), order.pop(a % x.dim()))
    return order


def _factor(x: Tensor, a: int, b: int) -> list[int]:
    """Return a shape of as many entries: two dimensions joined, or one taken apart."""
    shape, at = [*x.shape], a % x.dim()
    if b % 3 == 0 and at + 1 < x.dim():
        return [*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]]
    parts = [p for p in (2, 3, SAMPLES[0]) if shape[at] % p == 0]
    if not parts:
        return shape
    part = parts[b % len(parts)]
    pair = [part, shape[at] // part] if b % 2 else [shape[at] // part, part]
    return [*shape[:at], *pair, *shape[at + 1 :]]


def _written(x: Tensor, a: int, b: int) -> Tensor:
    x = x.clone()
    index: list[Any] = [slice(None)] * x.dim()
    index[a % x.dim()] = [0, slice(1, None), slice(None), torch.tensor([0])][b % 4]
    x[tuple(index)] = 0.5
    return x


def _through_a_view(x: Tensor, a: int, b: int) -> Tensor:
    x = x.clone()
    x.select(_dim(x, a), 0).mul_(2.0) if b % 2 else x.transpose(0, -1).cumsum_(_dim(x, a))
    return x


def _constant(x: Tensor, a: int, b: int) -> Tensor:
    size = x.shape[_dim(x, a)]
    made = [
        torch.ones(size),
        torch.arange(size),
        torch.rand(1).expand(size) * 0,
        torch.eye(size)[0],
    ]
    shape = [1] * x.dim()
    shape[_dim(x, a)] = size
    return x * made[b % 4].to(x).view(shape)


OPERATIONS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "transpose": lambda x, a, b: x.transpose(_dim(x, a), _dim(x, b)),
    "permute": lambda x, a, b: x.permute(_order(x, a, b)),
    "movedim": lambda x, a, b: x.movedim(_dim(x, a), _dim(x, b)),
    "reshape": lambda x, a, b: x.reshape(_factor(x, a, b)),
    "reshape to the batch": lambda x, a, b: (
        x.reshape(-1, SAMPLES[0]) if a % 2 else x.reshape(SAMPLES[0], -1)
    ),
    "flatten": lambda x, a, b: x.flatten(
        min(a % x.dim(), b % x.dim()), max(a % x.dim(), b % x.dim())
    ),
    "unsqueeze": lambda x, a, b: x.unsqueeze(a % (x.dim() + 1)),
    "squeeze": lambda x, a, b: x.squeeze() if b % 2 else x.squeeze(_dim(x, a)),
    "expand": lambda x, a, b: (
        x.unsqueeze(a % (x.dim() + 1)).expand(*([2] if a % (x.dim() + 1) == 0 else []), *x.shape)
        if a % (x.dim() + 1) == 0
        else x
    ),
    "repeat": lambda x, a, b: x.repeat(*[2 if d == a % x.dim() else 1 for d in range(x.dim())]),
    "repeat_interleave": lambda x, a, b: x.repeat_interleave(2, _dim(x, a)),
    "T": lambda x, a, b: x.T if x.dim() == 2 else x.mT,
    "sum": lambda x, a, b: x.sum(_dim(x, a), keepdim=b % 2 == 0),
    "mean": lambda x, a, b: x.mean((_dim(x, a),), b % 2 == 0),
    "max": lambda x, a, b: x.max(_dim(x, a), keepdim=b % 2 == 0)[0],
    "norm": lambda x, a, b: x.norm(2, _dim(x, a)),
    "cumsum": lambda x, a, b: x.cumsum(_dim(x, a)),
    "softmax": lambda x, a, b: x.softmax(_dim(x, a)),
    "sort": lambda x, a, b: x.sort(_dim(x, a))[0],
    "flip": lambda x, a, b: (
        x.flip(_dim(x, a)) if b % 2 else x.flip(a % x.dim(), *({b % x.dim()} - {a % x.dim()}))
    ),
    "roll": lambda x, a, b: x.roll(1, _dim(x, a)),
    "chunk": lambda x, a, b: x.chunk(2, _dim(x, a))[0],
    "unbind": lambda x, a, b: x.unbind(_dim(x, a))[-1],
    "select": lambda x, a, b: x.select(_dim(x, a), 0),
    "narrow": lambda x, a, b: x.narrow(_dim(x, a), 0, max(1, x.shape[_dim(x, a)] - b % 2)),
    "index": lambda x, a, b: x[
        (slice(None),) * (a % x.dim()) + ([0, slice(None, None, 2), None, [0]][b % 4],)
    ],
    "index behind": lambda x, a, b: x[(..., [0, slice(1, None), None][b % 3])],
    "index by a signal": lambda x, a, b: x.index_select(
        _dim(x, a), x.flatten()[: 1 + b % 3].long() * 0
    ),
    "gather": lambda x, a, b: x.gather(_dim(x, a), x.argsort(_dim(x, b))),
    "cat": lambda x, a, b: torch.cat([x, 2 * x], _dim(x, a)),
    "stack": lambda x, a, b: torch.stack([x, x + 1], a % (x.dim() + 1)),
    "stack and sum": lambda x, a, b: torch.stack([x, x.roll(1, _dim(x, b))], a % (x.dim() + 1)).sum(
        0
    ),
    "pad": lambda x, a, b: F.pad(x, (0, 0) * (a % x.dim()) + (1, -1)),
    "diff": lambda x, a, b: x.diff(1, _dim(x, a)) if b % 2 else x.diff(dim=_dim(x, a)),
    "tril": lambda x, a, b: x.tril(a % 3 - 1),
    "unfold": lambda x, a, b: x.unfold(_dim(x, a), 1 + b % 2, 1),
    "gram": lambda x, a, b: x @ x.transpose(-1, -2),
    "square": lambda x, a, b: (
        x @ torch.linspace(-1, 1, x.shape[-1] ** 2).view(2 * x.shape[-1:]).to(x)
    ),
    "from the left": lambda x, a, b: torch.linspace(-1, 1, 2 * x.shape[-2]).view(2, -1).to(x) @ x,
    "to a vector": lambda x, a, b: x @ torch.linspace(-1, 1, x.shape[-1]).to(x),
    "linear": lambda x, a, b: F.linear(x, torch.linspace(-1, 1, 2 * x.shape[-1]).view(2, -1).to(x)),
    "einsum": lambda x, a, b: torch.einsum(
        "...ab,...cb->...ca" if b % 2 else "...ab,...ad->...bd", x, x
    ),
    "einsum implied": lambda x, a, b: torch.einsum("b...,b...", x, x),
    "tensordot": lambda x, a, b: torch.tensordot(
        x, torch.ones(x.shape[_dim(x, a)], 2).to(x), ([_dim(x, a)], [0])
    ),
    "broadcast": lambda x, a, b: x * x.mean(_dim(x, a), keepdim=True),
    "broadcast by the end": lambda x, a, b: x + x.select(_dim(x, a), 0),
    "where": lambda x, a, b: torch.where(x > 0, x, x.transpose(_dim(x, a), _dim(x, b))),
    "normalize": lambda x, a, b: F.normalize(x, dim=_dim(x, a)),
    "layer_norm": lambda x, a, b: F.layer_norm(x, x.shape[-1 - a % x.dim() :]),
    "pool": lambda x, a, b: F.max_pool1d(x, 2) if b % 2 else F.adaptive_avg_pool1d(x, 1),
    "glu": lambda x, a, b: F.glu(x, _dim(x, a)),
    "attention": lambda x, a, b: F.scaled_dot_product_attention(x, x, x),
    "written": _written,
    "through a view": _through_a_view,
    "constant": _constant,
    "cosine": lambda x, a, b: F.cosine_similarity(x, x.roll(1, _dim(x, b)), dim=_dim(x, a)),
    "distance": lambda x, a, b: F.pairwise_distance(x, x.flip(_dim(x, a)), keepdim=b % 2 == 0),
    "in place": lambda x, a, b: F.relu(x.clone(), inplace=True).add_(x.select(_dim(x, a), 0)),
    "joined constants": lambda x, a, b: torch.cat([x, x.new_zeros(x.shape)], _dim(x, a)),
    "hsplit": lambda x, a, b: x.hsplit(1 + b % 2)[0],
    "vstack": lambda x, a, b: torch.vstack((x, x)),
    "hstack": lambda x, a, b: torch.hstack((x, x)),
    "counted": lambda x, a, b: x / torch.ones(x.shape).sum(_dim(x, a), keepdim=True).to(x),
    "unflatten": lambda x, a, b: x.unflatten(_dim(x, a), (-1, [1, SAMPLES[0], 2][b % 3])),
    "view as": lambda x, a, b: x.reshape(_factor(x, a, b)).reshape_as(x),
}


class Chain(nn.Module):
    """Operations one after the other; those that cannot be are left out."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        SAMPLES[0] = x.shape[0]
        for name, a, b in self.steps:
            x = OPERATIONS[name](x, a, b)
        return x


def _possible(steps: list[Step], x: Tensor) -> list[Step]:
    kept = []
    SAMPLES[0] = x.shape[0]
    for step in steps:
        try:
            y = OPERATIONS[step[0]](x, *step[1:])
        except (RuntimeError, IndexError, ValueError):
            continue
        if 0 < y.numel() < 40_000 and 0 < y.dim() < 6:
            kept.append(step)
            x = y
    return kept


_numbers = st.integers(0, 23)
_steps = st.lists(
    st.tuples(st.sampled_from(sorted(OPERATIONS)), _numbers, _numbers), min_size=1, max_size=5
)


@pytest.mark.deep
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_steps, st.lists(st.sampled_from((1, 2, 3, 4)), min_size=0, max_size=3))
def test_samples_are_where_a_chain_says_they_are(steps: list[Step], shape: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [
        torch.randn(BATCH, *shape, generator=generator, dtype=torch.float64) for _ in range(STEPS)
    ]
    chain = Chain(_possible(steps, batches[0]))
    graph = record(chain, (batches[0],))
    place = Samples(graph, BATCH).at(graph.nodes[-1])
    if not isinstance(place, At):
        return
    expected = torch.cat([chain(x) for x in batches], place.dim)
    found = chain(torch.cat(batches))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True)
    assert expected.shape[place.dim] == STEPS * BATCH * place.inner


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_each_operation_of_the_hunt_can_be(name: str) -> None:
    """Otherwise it would hide behind the chains that leave it out."""
    possible = [
        _possible([(name, a, b)], torch.randn(BATCH, *shape))
        for shape in ((4,), (2, 4), (2, 2, 4))
        for a in range(4)
        for b in range(3)
    ]
    assert any(possible)
