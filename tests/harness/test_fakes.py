"""Fake tensors: as torch's own, also the second time, and with less work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from harness.trial.exact.fakes import Fakes


class Counting(Fakes):
    """Counts what goes to torch."""

    asked = 0

    def _cached_dispatch_impl(self, *args: Any) -> Any:
        self.asked += 1
        return super()._cached_dispatch_impl(*args)


@pytest.fixture
def mode() -> Iterator[Counting]:
    with Counting() as mode:
        yield mode


def ge_out(x: Tensor, out: Tensor) -> Tensor:
    return torch.ge(x, 1.0, out=out)


@pytest.mark.parametrize(
    "write",
    [
        lambda x, y: x.add_(y, alpha=3),
        lambda x, y: x.mul_(0.5),
        lambda x, y: x.copy_(y),
        lambda x, y: x.zero_(),
        lambda x, y: ge_out(y, x),
        lambda x, y: torch.ops.aten.sigmoid_backward.grad_input(y, y, grad_input=x),
    ],
)
def test_a_write_is_worked_out_once(
    write: Callable[[Tensor, Tensor], Tensor], mode: Counting
) -> None:
    x, y = torch.empty(3, 4), torch.empty(3, 4)
    write(x, y)
    before = mode.asked
    for _ in range(3):
        assert write(x, y) is x
    assert mode.asked == before
    write(torch.empty(2, 4), torch.empty(2, 4))
    assert mode.asked > before + 2, "another shape is another question"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: torch.empty(3, 4).add_(torch.empty(2, 4)),
        lambda: torch.empty(3, dtype=torch.int64).add_(torch.empty(3)),
        lambda: torch.empty(1, 4).mul_(torch.empty(3, 4)),
    ],
)
def test_what_torch_refuses_is_refused_each_time(
    wrong: Callable[[], Tensor], mode: Counting
) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError):
            wrong()


def test_a_result_that_is_resized_is_so_each_time(mode: Counting) -> None:
    for _ in range(2):
        out = torch.empty(0)
        ge_out(torch.empty(3, 4), out)
        assert out.shape == (3, 4)


def test_values_that_are_known_are_followed(mode: Counting) -> None:
    for _ in range(2):
        x = torch.tensor(3.0)
        assert x.mul_(2.0).item() == 6.0
        assert x.mul_(2.0).item() == 12.0


def test_views_and_results_are_what_torch_makes_of_them() -> None:
    found = []
    for mode in (FakeTensorMode(), Fakes()):
        with mode:
            x = torch.empty(4, 6, dtype=torch.float64)
            outcomes = []
            for _ in range(2):
                y = x[:, ::2].add_(1).t()
                z = y + torch.empty(3, 1)
                w = torch.empty(3, 4).add_(y)
                outcomes += [(r.shape, r.stride(), r.dtype, r.device) for r in (y, z, w)]
                outcomes.append(y.untyped_storage() is x.untyped_storage())
            found.append(outcomes)
    assert found[0] == found[1]
