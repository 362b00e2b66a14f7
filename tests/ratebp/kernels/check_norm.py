"""Batch norm and its affine map in C++ against the version in torch's operators."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ratebp.ops import affine, affine_, batch_norm, using
from ratebp.ops.norm_replay import fused
from tests.ratebp.kernels.common import TOLERANCE, currents, poisoned_memory

__all__ = ["poisoned_memory"]  # applied to every check here

# Rows of one pixel, short and long ones, more images than one run, more pixels than one run.
SHAPES = [(2, 1), (130, 3), (5, 7, 3, 3), (67, 5, 2, 4), (3, 2, 9, 8), (2, 3, 65, 67), (33, 40, 31)]
FACTORS = [(True, True), (True, False), (False, True), (False, False)]


def factors(
    shape: tuple[int, ...], given: tuple[bool, bool], dtype: torch.dtype
) -> list[Tensor | None]:
    # Strided, as a column of a larger parameter is.
    return [currents(shape[1], 2, dtype=dtype)[:, 0] if each else None for each in given]


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> None:
    torch.set_num_threads(request.param)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("given", FACTORS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm(shape: tuple[int, ...], given: tuple[bool, bool], dtype: torch.dtype) -> None:
    c = currents(*shape, dtype=dtype) + 3  # a mean away from zero
    weight, bias = factors(shape, given, dtype)
    with using("torch"):
        want = batch_norm(c, weight, bias, 1e-5, in_place=False)
    with using("cpp"):
        apart = batch_norm(c, weight, bias, 1e-5, in_place=False)
        own = c.clone()
        within = batch_norm(own, weight, bias, 1e-5, in_place=True)
    assert within[0].data_ptr() == own.data_ptr()
    for got in (apart, within):
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b, rtol=4 * TOLERANCE[dtype], atol=4 * TOLERANCE[dtype])


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("given", FACTORS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_affine(shape: tuple[int, ...], given: tuple[bool, bool], dtype: torch.dtype) -> None:
    """To the bit: a neuron's backward computes it anew and must see the same potentials."""
    x = currents(*shape, dtype=dtype)
    weight, bias = factors(shape, given, dtype)
    with using("torch"):
        want = affine(x, weight, bias)
    with using("cpp"):
        assert torch.equal(affine(x, weight, bias), want)
        own = x.clone()
        assert affine_(own, weight, bias) is own
    assert torch.equal(own, want)


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        torch.randn(2, 4, 3).transpose(1, 2),
        torch.randn(2, 3, dtype=torch.bfloat16),
    ],
    ids=["channels_last", "strided", "bfloat16"],
)
def test_what_no_kernel_covers_runs_on_torch(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the kernel was called")

    monkeypatch.setattr(fused, "call", refuse)
    weight = torch.rand(3).to(x.dtype)
    with using("torch"):
        want = affine(x, weight, None)
    with using("cpp"):
        assert torch.equal(affine(x, weight, None), want)
