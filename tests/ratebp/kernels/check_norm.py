"""Batch norm and its affine map in C++ against the version in torch's operators."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ratebp.ops import affine, affine_, batch_norm, naive_batch_norm, using
from ratebp.ops.batch_norm import cpp
from ratebp.ops.batch_norm.fused import batch_norm_backward
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
    for a, b in zip(want, naive_batch_norm(c, weight, bias, 1e-5), strict=True):
        torch.testing.assert_close(a, b, rtol=4 * TOLERANCE[dtype], atol=4 * TOLERANCE[dtype])
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
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("given", FACTORS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_backward(
    shape: tuple[int, ...], given: tuple[bool, bool], frozen: bool, dtype: torch.dtype
) -> None:
    """Given or not: a weight and an offset; the mean and the spread of the input."""
    x, grad = currents(*shape, dtype=dtype) + 3, currents(*shape, dtype=dtype)
    weight, offset = factors(shape, given, dtype)
    mean, spread = factors(shape, (given[0] != given[1],) * 2, dtype)
    spread = None if spread is None else spread.abs() + 0.1
    found = []
    for each in ("torch", "cpp"):
        with using(each):
            operands = grad, x, weight, mean, spread, offset
            found.append(batch_norm_backward(*operands, frozen=frozen))
    # Sums of many terms whose parts cancel.
    scale = {torch.float64: 1e-10, torch.float32: 2e-4}[dtype]
    for want, got in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=scale, atol=scale)


@pytest.mark.parametrize("given", FACTORS, ids=str)
@pytest.mark.parametrize("shape", [(5, 7, 3, 3), (3, 2, 9, 8), (33, 40, 31)])
def test_the_backward_is_autograds(shape: tuple[int, ...], given: tuple[bool, bool]) -> None:
    """Of the formula itself, in both forms: from the input, and from what it was normalised to."""
    c = (currents(*shape) + 3).requires_grad_()
    weight, bias = (
        None if each is None else each.clone().requires_grad_()
        for each in factors(shape, given, torch.float64)
    )
    others = [d for d in range(c.dim()) if d != 1]
    variance, mean = torch.var_mean(c, others, correction=0, keepdim=True)
    xhat = (c - mean) * torch.rsqrt(variance + 1e-5)
    along = [-1 if d == 1 else 1 for d in range(c.dim())]
    out = xhat if weight is None else xhat * weight.view(along)
    out = out if bias is None else out + bias.view(along)
    grad = currents(*shape)
    wanted = [each for each in (c, weight, bias) if each is not None]
    want = torch.autograd.grad(out, wanted, grad)
    inv_std = torch.rsqrt(variance + 1e-5).flatten()
    scale = inv_std if weight is None else inv_std * weight
    with torch.no_grad(), using("cpp"):
        by_input = batch_norm_backward(grad, c, weight, mean.flatten(), inv_std)
        by_xhat = batch_norm_backward(grad, xhat, scale, None, None)
    for got in (by_input, by_xhat):
        asked = [x for x, each in zip(got, (c, weight, bias), strict=True) if each is not None]
        for a, b in zip(asked, want, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


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

    monkeypatch.setattr(cpp, "call", refuse)
    weight = torch.rand(3).to(x.dtype)
    with using("torch"):
        want = affine(x, weight, None)
    with using("cpp"):
        assert torch.equal(affine(x, weight, None), want)
