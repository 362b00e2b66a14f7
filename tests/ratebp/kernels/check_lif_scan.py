"""The LIF scan in Triton against the readable version: value and every gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import (
    Normalised,
    Spikes,
    affine,
    lif_scan,
    lif_scan_of,
    naive_lif_scan,
    pack,
    using,
)
from ratebp.surrogates import Surrogate, names
from tests.ratebp.kernels.common import (
    BACKEND,
    DEVICE,
    HALVES,
    RESETS,
    TOLERANCE,
    assert_rounded,
    assert_same,
    currents,
    dynamics_of,
    poisoned_memory,
    result,
)

__all__ = ["poisoned_memory"]  # applied to every check here

# T = 1, one neuron, a block and a bit.
SHAPES = [(1, 1), (3, 257), (5, 2, 3, 7, 1), (17, 1, 1)]
LARGE = (2, 131073)  # a block and a bit of the larger size


def check(current: Tensor, reset: str, detach: bool, surrogate: str = "sigmoid") -> None:
    dynamics = dynamics_of(reset, detach, surrogate)
    got = result(BACKEND, lambda c: lif_scan(c, dynamics), current)
    want = result("torch", lambda c: naive_lif_scan(c, dynamics), current)
    assert torch.equal(got[0], want[0])
    assert_same(got, want, TOLERANCE[current.dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_lif_scan(shape: tuple[int, ...], reset: str, detach: bool, dtype: torch.dtype) -> None:
    check(currents(*shape, dtype=dtype), reset, detach)


def test_a_large_layer() -> None:
    check(currents(*LARGE, dtype=torch.float32), "hard", False)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # numpy's, interpreted
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", names())
def test_slopes_far_from_the_threshold(name: str, dtype: torch.dtype) -> None:
    """Down to where an exponential has no value left, and NaN where the current is NaN."""
    far = torch.tensor([0.0, 1, 10, 60, 66, 68, 100, 540, 546, 1e6], dtype=torch.float64)
    current = torch.cat((far, -far, torch.tensor([torch.nan]))).to(DEVICE, dtype).unsqueeze(0)
    dynamics = dynamics_of("soft", True, name)
    slopes = []
    for each in (BACKEND, "torch"):
        with using(each):
            leaf = current.clone().requires_grad_()
            (slope,) = torch.autograd.grad(lif_scan(leaf, dynamics).sum(), leaf)
        slopes.append(slope)
    close = TOLERANCE[dtype]
    torch.testing.assert_close(*slopes, rtol=4 * close, atol=close / 10, equal_nan=True)
    if name == "sigmoid":  # nothing is left of it: a silent layer has no gradient
        assert (slopes[0].abs()[current.abs() == 1e6] == 0).all()


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_every_surrogate(name: str, reset: str, detach: bool) -> None:
    check(currents(4, 3, 31), reset, detach, name)
    check(currents(4, 3, 31, dtype=torch.float32), reset, detach, name)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_narrow_currents_integrate_in_float32(reset: str, detach: bool, dtype: torch.dtype) -> None:
    dynamics = dynamics_of(reset, detach)
    narrow = currents(4, 3, 31, dtype=dtype).requires_grad_()
    wide = narrow.detach().float().requires_grad_()
    with using(BACKEND):
        spikes = lif_scan(narrow, dynamics)
    with using("torch"):
        exact = naive_lif_scan(wide, dynamics)
    assert spikes.dtype == dtype
    assert torch.equal(spikes.float(), exact)
    upstream = torch.randn(exact.shape).to(DEVICE, dtype)
    (got,) = torch.autograd.grad(spikes, narrow, upstream)
    (want,) = torch.autograd.grad(exact, wide, upstream.float())
    assert got.dtype == dtype
    assert_rounded(got, want)


def layouts() -> dict[str, Tensor]:
    folded = currents(6, 4, 5, 3)
    return {
        "channels last": folded.contiguous(memory_format=torch.channels_last).unflatten(0, (3, 2)),
        "one current for all steps": currents(1, 2, 7).expand(4, 2, 7),
        "every other element": currents(3, 2, 14)[..., ::2],
        "steps apart": currents(3, 2, 2, 7)[:, 0],
        "transposed": currents(3, 7, 4).transpose(1, 2),
    }


@pytest.mark.parametrize("name", layouts())
def test_layouts(name: str) -> None:
    current = layouts()[name]
    dynamics = dynamics_of("soft", False)
    strides = current.stride()
    leaf = current.as_strided(current.shape, strides).requires_grad_()
    with using(BACKEND):
        spikes = lif_scan(leaf, dynamics)
        still = lif_scan(current.detach(), dynamics)
    with using("torch"):
        want = naive_lif_scan(current.detach().clone().requires_grad_(), dynamics)
    assert torch.equal(spikes, want)
    assert torch.equal(still, want)
    # Gradients whose memory is that of one step, and of one number.
    for reduced in (lambda s: s.mean(0), torch.sum):
        got = result(BACKEND, lambda c: reduced(lif_scan(c, dynamics)), current)  # noqa: B023
        assert_same(
            got, result("torch", lambda c: reduced(naive_lif_scan(c, dynamics)), current), 1e-12  # noqa: B023
        )  # fmt: skip


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 2, 3), (3, 2, 5, 4, 13)], ids=str)
@pytest.mark.parametrize(("reset", "detach"), [("soft", True), ("hard", False)])
@pytest.mark.parametrize(
    "terms",
    ["norm", "norm spikes", "spikes norm", "norm norm", "spikes", "one", "one spikes", "norm one"],
)
def test_lif_scan_of(
    shape: tuple[int, ...], terms: str, reset: str, detach: bool, channels_last: bool
) -> None:
    """Time and batch are folded in the terms, as a norm sees them; "one" stands for all steps."""
    if channels_last and len(shape) < 5:
        return
    kept: list[Normalised | Spikes] = []
    total: Tensor | None = None
    for index, kind in enumerate(terms.split()):
        folded = currents(1 if kind == "one" else shape[0], *shape[1:]).flatten(0, 1)
        if channels_last:
            folded = folded.contiguous(memory_format=torch.channels_last)
        weight = torch.randn(shape[2], dtype=folded.dtype, device=DEVICE) if index == 0 else None
        bias = torch.randn(shape[2], dtype=folded.dtype, device=DEVICE)
        if kind == "spikes":
            value = (folded > 0).to(folded.dtype)
            kept.append(Spikes(pack(value)))
        else:
            value = affine(folded, weight, bias)
            value = torch.cat([value] * shape[0]) if kind == "one" else value
            kept.append(Normalised(folded, weight, bias))
        total = value if total is None else total + value
    assert total is not None
    current = total.unflatten(0, shape[:2])
    dynamics = dynamics_of(reset, detach)
    got = result(BACKEND, lambda c: lif_scan_of(c, dynamics, tuple(kept)), current)
    assert_same(got, result("torch", lambda c: naive_lif_scan(c, dynamics), current), 1e-12)


def test_potentials_at_the_threshold_are_the_same_in_both_directions() -> None:
    """However the sum was rounded that the neuron is given, it fires where its backward says so."""
    xhat = torch.full((2, 1, 64), 0.7, device=DEVICE)
    weight, bias = torch.ones(1, device=DEVICE), torch.full((1,), 0.1, device=DEVICE)
    potential = float(affine(xhat, weight, bias)[0, 0, 0])
    dynamics = Dynamics(1.0, potential, "hard", True, Surrogate("rectangle", 1.0))
    for error in (-1e-7, 0.0, 1e-7):
        current = (xhat * weight + bias + error).unflatten(0, (2, 1))
        with using(BACKEND):
            leaf = current.requires_grad_()
            spikes = lif_scan_of(leaf, dynamics, (Normalised(xhat, weight, bias),))
            (grad,) = torch.autograd.grad(spikes[1].sum(), leaf)
        # Behind a spike, a hard reset that is detached hands nothing back.
        assert torch.equal(grad[0] == 0, spikes[0] == 1)
