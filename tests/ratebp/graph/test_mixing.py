"""Samples that are mixed, or told apart by their number, are never taken for something else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ratebp.graph import Graph, Lost, Node, Samples, record

from .examples import Example

BATCH = 13


def _recorded(example: Example) -> Graph:
    return record(example.model(), example.inputs(BATCH, 0))


def _gives(graph: Graph) -> list[Node]:
    return [*graph.nodes[-1].tensors]


MIXED = {
    "mean": lambda x: x - x.mean(0),
    "flip": lambda x: x.flip(0),
    "flip of several": lambda x: x.flip(1, 0),
    "roll": lambda x: x.roll(1, 0),
    "roll of all": lambda x: x.roll(1),
    "gram": lambda x: x[:, 0] @ x[:, 0].t(),
    "cumsum": lambda x: x.cumsum(0),
    "softmax": lambda x: x.softmax(0),
    "softmax of no dimension": lambda x: torch.nn.functional.softmax(x),
    "sort": lambda x: x.sort(dim=0)[0],
    "cat": lambda x: torch.cat([x, x]),
    "first": lambda x: x[0],
    "every other": lambda x: x[::2],
    "backwards": lambda x: x[torch.arange(x.shape[0] - 1, -1, -1)],
    "two of them": lambda x: x[torch.tensor([1, 0])],
    "list of them": lambda x: x[[1, 0]],
    "sum": lambda x: x.sum(),
    "maximum": lambda x: x.max(),
    "view of a transpose": lambda x: x.transpose(0, 1).reshape(x.shape[0], -1),
    "columns": lambda x: x.reshape(-1, x.shape[0]),
    "einsum": lambda x: torch.einsum("bij,bik->jk", x, x),
    "einsum of pairs": lambda x: torch.einsum("bij,cij->bc", x, x),
    "einsum of a diagonal": lambda x: torch.einsum("bb->b", x[:, 0] @ x[:, 0].t()),
    "batch norm": lambda x: torch.nn.functional.batch_norm(x, None, None, training=True),
    "numbered": lambda x: x * torch.arange(x.shape[0])[:, None, None],
    "numbered by a sum": lambda x: x * torch.ones(x.shape[0]).cumsum(0)[:, None, None],
    "counted": lambda x: x / torch.ones(x.shape[0]).sum(),
    "triangle": lambda x: x[:, 0].tril(),
    "triangle of ones": lambda x: torch.ones(x.shape[0], x.shape[0]).tril().to(x) @ x[:, 0],
    "eye": lambda x: torch.eye(x.shape[0], dtype=x.dtype).roll(1, 0) @ x[:, 0],
    "normalize": lambda x: torch.nn.functional.normalize(x, dim=0),
    "cdist": lambda x: torch.cdist(x[:, 0], x[:, 0]),
    "pairwise": lambda x: torch.nn.functional.pairwise_distance(x[:, 0], x.flip(0)[:, 0]),
    "tensordot": lambda x: torch.tensordot(x, x, ([0], [0])),
    "inner": lambda x: torch.inner(x[:, 0], x[:, 0]),
    "strides": lambda x: x.as_strided((x.shape[0], 4), (4, 1)),
    "windows": lambda x: x.unfold(0, 2, 1),
    "difference": lambda x: torch.diff(x, 1, 0, torch.zeros(1, 3, 4, dtype=x.dtype)),
    "diagonal": lambda x: x[:, 0, :, None].expand(-1, -1, x.shape[0]).diagonal(dim1=0, dim2=2),
    "by an index of samples": lambda x: x[:, :, :1].expand(-1, -1, 99)[:, 0][
        :, x[:, 0, 0].argsort()
    ],
    "gathered": lambda x: x.gather(0, x.argsort(0)),
    "bmm over samples": lambda x: torch.addbmm(x[0, :, :1], x, x.mT),
    "a permuted batch": lambda x: x[torch.randperm(x.shape[0])],
    "twice the samples": lambda x: torch.stack([x, x]).flatten(0, 1),
    "interleaved constants": lambda x: (
        x[:, 0] * torch.ones(4).repeat_interleave(x.shape[0]).view(-1, 4)
    ),
}


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_samples_is_never_taken_for_something_else(name: str) -> None:
    graph = _recorded(Example(name, MIXED[name], ((3, 4),)))
    for node in _gives(graph):
        assert isinstance(Samples(graph, BATCH).at(node), Lost)


def _set_one(x: Tensor) -> Tensor:
    x = x.clone()
    x[0] = 1.0
    return x


def _set_last(x: Tensor) -> Tensor:
    x = x[:, 0, 0].clone()
    x[..., 0] = 1.0
    return x


def _set_shifted(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 0] = x[:, 0].roll(1, 0)
    return y


def _set_through_a_view(x: Tensor) -> Tensor:
    y = torch.zeros(x.shape, dtype=x.dtype)
    y[0].copy_(x[1])
    return y


def _set_in_half(x: Tensor) -> Tensor:
    y = x.clone()
    y[1:].add_(x[:-1])
    return y


def _set_by_number(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 0, 0] = torch.arange(x.shape[0], dtype=x.dtype)
    return y


def _set_transposed(x: Tensor) -> Tensor:
    y = x[:, 0].clone().expand(x.shape[0], 4).clone()
    square = (y @ y.t()).clone()
    square[:, :] = square.t().clone()
    return square


@pytest.mark.parametrize(
    "run",
    [
        _set_one,
        _set_last,
        _set_shifted,
        _set_through_a_view,
        _set_in_half,
        _set_by_number,
        _set_transposed,
    ],
)
def test_what_is_written_to_single_samples_is_seen(run: Any) -> None:
    graph = _recorded(Example(run.__name__, run, ((3, 4),)))
    (node,) = _gives(graph)
    assert isinstance(Samples(graph, BATCH).at(node), Lost)
