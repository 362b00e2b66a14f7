"""Operators that keep less for the backward against the readable versions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ratebp.dynamics import Dynamics
from ratebp.ops import (
    Bits,
    Counts,
    Normalised,
    Origin,
    Spikes,
    advance,
    affine,
    at_rest,
    batch_norm,
    geometry_of,
    lif_scan_of,
    naive_lif_scan,
    naive_norm_replay,
    naive_pack,
    naive_synapse,
    naive_unpack,
    norm_recomputed,
    pack,
    pieces,
    rate_scan,
    rate_step,
    synapse,
    unpack,
)
from ratebp.ops.spike import slope
from ratebp.rules.norms.batch_norm import normalised
from ratebp.surrogates import Surrogate, names
from tests.ratebp.test_ops import (
    RESETS,
    assert_same,
    layers,
    poisoned_memory,
    value_and_gradients,
)

__all__ = ["poisoned_memory"]  # applied to every test here

WIDE = (3, 4, 280000)  # a step of it is large enough to run in pieces


@pytest.mark.parametrize("shape", [(1,), (8,), (9,), (3, 5, 7), (64, 3)], ids=str)
def test_bits(shape: tuple[int, ...]) -> None:
    spikes = (torch.rand(shape, dtype=torch.float64) < 0.4).double()
    bits = pack(spikes)
    assert torch.equal(bits, naive_pack(spikes))
    assert bits.numel() == -(-spikes.numel() // 8)
    for restore in (unpack, naive_unpack):
        assert torch.equal(restore(bits, spikes.shape, torch.float64), spikes)
    turned = spikes.movedim(0, -1)
    assert torch.equal(unpack(pack(turned), turned.shape, torch.float64), turned)


def test_pieces_cover_large_tensors_alone() -> None:
    large, number = torch.zeros(WIDE), torch.zeros(())
    parts = list(pieces(1, large, number))
    assert len(parts) > 1
    assert torch.equal(torch.cat([part for part, _ in parts], 1), large)
    assert len(list(pieces(0, torch.zeros(7, 9)))) == 1


@pytest.mark.parametrize("shape", [(5, 1), (4, 3, 7), WIDE], ids=str)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_rate_statistics_in_place(shape: tuple[int, ...], reset: str, detach: bool) -> None:
    torch.manual_seed(0)
    current = 2 * torch.randn(shape, dtype=torch.float64)
    before = current.clone()
    dynamics = Dynamics(0.7, 0.8, reset, detach, Surrogate("sigmoid", 2.0))
    state, expected = None, []
    in_place = at_rest(current[0], dynamics, len(current))
    for now in current:
        spikes, state = rate_step(now, state, dynamics)
        expected.append(spikes)
        assert torch.equal(advance(now, in_place, dynamics).double(), spikes)
    assert state is not None
    spikes, count, eligibility = rate_scan(current, dynamics, torch.uint8)
    assert torch.equal(spikes.double(), torch.stack(expected))
    for got in (count, in_place.spikes):
        assert got.dtype == torch.uint8
        assert torch.equal(got.double(), state.spikes)
    for each in (eligibility, in_place.eligibility):
        torch.testing.assert_close(each, state.eligibility, rtol=1e-12, atol=1e-14)
    assert torch.equal(current, before)


def test_counts_beyond_a_byte() -> None:
    current = torch.full((300, 2), 5.0)
    _, count, _ = rate_scan(current, Dynamics(), torch.float32)
    assert count.tolist() == [300.0, 300.0]


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("form", ["counts", "bits"])
def test_synapse_with_a_stored_source(index: int, form: str) -> None:
    layer, shape = layers()[index]
    layer = layer.double()
    geometry = geometry_of(layer)
    assert geometry is not None
    x = torch.randn(shape, dtype=torch.float64)
    if form == "bits":
        source = (torch.rand(shape) < 0.5).double()
        kept = {"source": pack(source), "stored": Bits()}
    else:
        count = torch.randint(0, 8, shape, dtype=torch.uint8)
        source = count.double() / 7
        kept = {"source": count, "stored": Counts(7)}
    parameters = list(layer.parameters())

    def fast(x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        return synapse(x, weight, bias[0] if bias else None, geometry, **kept)

    got = value_and_gradients(fast, x, *parameters)
    leaf = x.clone().requires_grad_()
    out = naive_synapse(layer, leaf, source)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    want = torch.autograd.grad((out * weights).sum(), [leaf, *parameters])
    assert_same(got, [out.detach(), *want], 1e-12)


@pytest.mark.parametrize("affine_too", [True, False])
@pytest.mark.parametrize("index", [0, 2, 3, 4, 5])
def test_norm_recomputed(index: int, affine_too: bool) -> None:
    layer, shape = layers()[index]
    layer = layer.double()
    geometry = geometry_of(layer)
    assert geometry is not None
    count = torch.randint(0, 5, shape, dtype=torch.uint8)
    c = layer(count.double() / 4).detach()
    others = [d for d in range(c.dim()) if d != 1]
    mean, variance = c.mean(others), torch.rand(c.shape[1], dtype=torch.float64) + 0.5
    parameters = [torch.randn(c.shape[1], dtype=torch.float64) for _ in range(2 * affine_too)]
    origin = Origin(count, Counts(4), count.shape, layer.weight.detach(), layer.bias, geometry)

    def fast(c: Tensor, *wb: Tensor) -> Tensor:
        w, b = wb or (None, None)
        return norm_recomputed(c, w, b, mean, torch.rsqrt(variance + 1e-3), origin)

    def readable(c: Tensor, *wb: Tensor) -> Tensor:
        w, b = wb or (None, None)
        return naive_norm_replay(c, w, b, mean, variance, 1e-3)

    def valued(c: Tensor, *wb: Tensor) -> Tensor:
        w, b = wb or (None, None)
        value = readable(c, *wb).detach()
        inv_std = torch.rsqrt(variance + 1e-3)
        return norm_recomputed(c, w, b, mean, inv_std, origin, value=value)

    got, want = (value_and_gradients(f, c, *parameters) for f in (fast, readable))
    assert got[0].isnan().all()
    assert_same(got[1:], want[1:], 1e-11)
    assert_same(value_and_gradients(valued, c, *parameters), want, 1e-11)


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (5, 2, 3), (4, 3, 2, 3, 1), (2, 2, 2, 70000)], ids=str
)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
@pytest.mark.parametrize("residual", ["none", "spikes", "norm"])
@pytest.mark.parametrize("one", [False, True])
def test_lif_scan_of(
    shape: tuple[int, ...], residual: str, reset: str, detach: bool, one: bool
) -> None:
    """Time and batch are folded in the terms, as a norm sees them; or one step stands for all."""
    torch.manual_seed(0)
    xhat, other = (torch.randn(shape, dtype=torch.float64).flatten(0, 1) for _ in range(2))
    xhat = xhat[: shape[1]] if one else xhat
    weight, bias = (torch.randn(shape[2], dtype=torch.float64) for _ in range(2))
    terms: list[Normalised | Spikes] = [Normalised(xhat, weight, bias)]
    current = affine(xhat, weight, bias)
    current = torch.cat([current] * shape[0]) if one else current
    if residual == "spikes":
        terms.append(Spikes(pack((other > 0).double())))
        current = current + (other > 0).double()
    if residual == "norm":
        terms.append(Normalised(other, None, None))
        current = current + other
    current = current.unflatten(0, shape[:2])
    dynamics = Dynamics(0.7, 0.8, reset, detach, Surrogate("sigmoid", 2.0))
    fast = value_and_gradients(lambda c: lif_scan_of(c, dynamics, tuple(terms)), current)
    assert_same(fast, value_and_gradients(lambda c: naive_lif_scan(c, dynamics), current), 1e-12)


@pytest.mark.parametrize("name", names())
def test_slope(name: str) -> None:
    u = 2 * torch.randn(7, 11, dtype=torch.float64)
    dynamics = Dynamics(0.7, 0.8, surrogate=Surrogate(name, 3.0))
    before = u.clone()
    want = dynamics.surrogate.derivative(u - 0.8)
    torch.testing.assert_close(slope(u, dynamics), want, rtol=1e-13, atol=1e-15)
    assert torch.equal(u, before)


NORMS = [
    (nn.BatchNorm1d, (7, 5)),
    (nn.BatchNorm1d, (4, 5, 9)),
    (nn.BatchNorm2d, (3, 5, 7, 6)),
    (nn.BatchNorm2d, (6, 5, 1, 1)),
    (nn.BatchNorm3d, (2, 5, 3, 2, 4)),
]


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine_too", [True, False])
@pytest.mark.parametrize(("kind", "shape"), NORMS, ids=str)
def test_batch_norm_is_torchs(
    kind: type[nn.BatchNorm2d],
    shape: tuple[int, ...],
    affine_too: bool,
    momentum: float | None,
    in_place: bool,
) -> None:
    """Values and running statistics over several batches, also of a channels-last layout."""
    ours, theirs = (
        kind(5, momentum=momentum, affine=affine_too, dtype=torch.float64) for _ in range(2)
    )
    for each in theirs.parameters():
        nn.init.normal_(each)
    ours.load_state_dict(theirs.state_dict())
    for turned in (False, True, False):
        c = 3 * torch.randn(shape, dtype=torch.float64) + 50
        c = c.movedim(1, -1).contiguous().movedim(-1, 1) if turned else c
        before = c.clone()
        with torch.no_grad():
            want = theirs(c)
            out, mean, inv_std = normalised(ours, c, ours.weight, ours.bias, in_place=in_place)
        torch.testing.assert_close(out, want, rtol=1e-11, atol=1e-12)
        assert (out is c) is in_place
        assert in_place or torch.equal(c, before)
        others = [d for d in range(c.dim()) if d != 1]
        variance = before.var(others, correction=0)
        torch.testing.assert_close(mean, before.mean(others), rtol=1e-13, atol=0)
        torch.testing.assert_close(inv_std, torch.rsqrt(variance + 1e-5), rtol=1e-11, atol=0)
        for name, buffer in ours.named_buffers():
            torch.testing.assert_close(buffer, theirs.get_buffer(name), rtol=1e-12, atol=1e-13)


def test_batch_norm_of_a_large_mean_in_float32() -> None:
    """The variance is that of the centred values: a mean of 1000 deviations costs it little."""
    c = torch.randn(8, 3, 16, 16) + 1000
    wide = c.double()
    _, _, variance, _ = batch_norm(c, None, None, 1e-5, in_place=False)
    expected = wide.var((0, 2, 3), correction=0)
    torch.testing.assert_close(variance.double(), expected, rtol=1e-5, atol=0)
