"""Each fast operator against its readable version: value and every gradient."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torch.utils.deterministic
from torch import Tensor, nn

from ratebp.dynamics import Dynamics
from ratebp.ops import (
    Geometry,
    fixed_norm,
    geometry_of,
    lif_scan,
    naive_fixed_norm,
    naive_lif_scan,
    naive_norm_replay,
    naive_synapse,
    norm_replay,
    rate_step,
    synapse,
)
from ratebp.surrogates import Surrogate, names

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
RESETS = list(itertools.product(("soft", "hard"), (True, False)))


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fill every uninitialised tensor with NaN, so that an unwritten output cannot pass."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def value_and_gradients(f: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    out = f(*leaves)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


def assert_same(got: list[Tensor], want: list[Tensor], tolerance: float) -> None:
    wrong = {}
    for index, (a, b) in enumerate(zip(got, want, strict=True)):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        error = float((a - b).norm() / b.norm().clamp(min=1e-30))
        if not error <= tolerance:
            wrong["value" if index == 0 else f"gradient {index - 1}"] = error
    assert wrong == {}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 3, 5), (3, 63), (5, 2, 3, 7, 1), (17, 1, 1)], ids=str
)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_lif_scan(shape: tuple[int, ...], reset: str, detach: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    current = 2 * torch.randn(shape, dtype=dtype)
    dynamics = Dynamics(0.7, 0.8, reset, detach, Surrogate("sigmoid", 2.0))
    fast = value_and_gradients(lambda c: lif_scan(c, dynamics), current)
    readable = value_and_gradients(lambda c: naive_lif_scan(c, dynamics), current)
    assert_same(fast, readable, TOLERANCE[dtype])
    assert torch.equal(lif_scan(current, dynamics), readable[0])


@pytest.mark.parametrize("name", names())
def test_lif_scan_with_every_surrogate(name: str) -> None:
    torch.manual_seed(0)
    current = 2 * torch.randn(4, 31, dtype=torch.float64)
    dynamics = Dynamics(0.5, surrogate=Surrogate(name, 1.3), detach_reset=False)
    fast = value_and_gradients(lambda c: lif_scan(c, dynamics), current)
    assert_same(fast, value_and_gradients(lambda c: naive_lif_scan(c, dynamics), current), 1e-12)


def test_lif_scan_takes_expanded_and_transposed_currents() -> None:
    torch.manual_seed(0)
    dynamics = Dynamics(0.5)
    image = torch.randn(3, 4, dtype=torch.float64)
    for view in (lambda c: c.expand(5, 3, 4), lambda c: c.expand(2, 3, 4).transpose(1, 2)):
        fast = value_and_gradients(lambda c, v=view: lif_scan(v(c), dynamics), image)
        readable = value_and_gradients(lambda c, v=view: naive_lif_scan(v(c), dynamics), image)
        assert_same(fast, readable, 1e-12)


@pytest.mark.parametrize(("reset", "detach"), RESETS)
@pytest.mark.parametrize("threshold", [1.0, 0.6])
def test_e12_eligibility_is_the_derivative_of_the_mean_rate(
    reset: str, detach: bool, threshold: float
) -> None:
    """E12: g = d(mean_t s[t]) / dc under a constant current c, for all four resets."""
    timesteps = 6
    current = torch.linspace(-1, 3, 41, dtype=torch.float64, requires_grad=True)
    dynamics = Dynamics(0.6, threshold, reset, detach)
    rate = naive_lif_scan(current.expand(timesteps, -1), dynamics).mean(0)
    (want,) = torch.autograd.grad(rate.sum(), current)
    state = None
    for _ in range(timesteps):
        _, state = rate_step(current.detach(), state, dynamics)
    assert state is not None
    torch.testing.assert_close(state.eligibility / timesteps, want, rtol=1e-12, atol=1e-14)
    assert torch.equal(state.spikes / timesteps, rate.detach())


def layers() -> list[Any]:
    torch.manual_seed(0)
    return [
        (nn.Linear(7, 3), (5, 7)),
        (nn.Linear(7, 3, bias=False), (2, 4, 7)),
        (nn.Conv1d(4, 6, 3, stride=2, groups=2), (3, 4, 9)),
        (nn.Conv2d(3, 5, 3, stride=2, padding=1), (2, 3, 7, 5)),
        (
            nn.Conv2d(4, 4, (3, 1), padding=(1, 0), dilation=(2, 1), groups=4, bias=False),
            (1, 4, 6, 3),
        ),
        (nn.Conv3d(2, 3, 2), (2, 2, 3, 4, 3)),
    ]


@pytest.mark.parametrize("substitute", ["nothing", "source", "value", "bias_scale", "all"])
@pytest.mark.parametrize("index", range(6))
def test_synapse(index: int, substitute: str) -> None:
    layer, shape = layers()[index]
    layer = layer.double()
    geometry = geometry_of(layer)
    assert geometry is not None
    x = torch.randn(shape, dtype=torch.float64)
    chosen = {
        "source": torch.randn_like(x),
        "value": torch.randn_like(layer(x)).detach(),
        "bias_scale": torch.tensor(1.75, dtype=torch.float64),
    }
    used = {k: v for k, v in chosen.items() if substitute in (k, "all")}
    parameters = list(layer.parameters())

    def fast(x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        return synapse(x, weight, bias[0] if bias else None, geometry, **used)

    def readable(x: Tensor, *new: Tensor) -> Tensor:
        for (name, _), value in zip(list(layer.named_parameters()), new, strict=True):
            delattr(layer, name)
            setattr(layer, name, nn.Parameter(value.detach()))
        return naive_synapse(layer, x, **used)

    got = value_and_gradients(fast, x, *parameters)
    leaf = x.clone().requires_grad_()
    out = readable(leaf, *parameters)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    want = torch.autograd.grad((out * weights).sum(), [leaf, *layer.parameters()])
    assert_same(got, [out.detach(), *want], 1e-12)


def test_a_synapse_with_nothing_replaced_is_the_layer() -> None:
    for layer, shape in layers():
        x = torch.randn(shape)
        torch.testing.assert_close(naive_synapse(layer, x), layer(x))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(2, 2, 3, padding="same"),
        nn.ConvTranspose2d(2, 2, 3),
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
        type("Scaled", (nn.Linear,), {})(2, 2),
    ],
    ids=lambda m: type(m).__name__,
)
def test_layers_with_arithmetic_of_their_own_take_the_general_path(layer: nn.Module) -> None:
    assert geometry_of(layer) is None


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 1, 1), (4, 1, 3, 5), (3, 2, 7)], ids=str)
def test_norm_replay(shape: tuple[int, ...], centred: bool, affine: bool) -> None:
    torch.manual_seed(0)
    c = torch.randn(shape, dtype=torch.float64) + 0.5
    others = [d for d in range(c.dim()) if d != 1]
    channel = [-1 if d == 1 else 1 for d in range(c.dim())]
    mean = c.mean(others) if centred else torch.randn(shape[1], dtype=torch.float64)
    variance = torch.rand(shape[1], dtype=torch.float64) + 0.5
    inv_std = torch.rsqrt(variance + 1e-3)
    xhat = (c - mean.view(channel)) * inv_std.view(channel)
    affine_parameters = [torch.randn(shape[1], dtype=torch.float64) for _ in range(2)]

    def fast(c: Tensor, *wb: Tensor) -> Tensor:
        w, b = wb or (None, None)
        return norm_replay(c, w, b, xhat, inv_std, offset=None if centred else xhat.mean(others))

    def readable(c: Tensor, *wb: Tensor) -> Tensor:
        w, b = wb or (None, None)
        return naive_norm_replay(c, w, b, mean, variance, 1e-3)

    inputs = [c, *affine_parameters] if affine else [c]
    assert_same(value_and_gradients(fast, *inputs), value_and_gradients(readable, *inputs), 1e-11)


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 7), (4, 2, 5, 3), (2, 3, 2, 3, 5)], ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_fixed_norm(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    c = torch.randn(shape, dtype=dtype)
    mean, weight, bias = (torch.randn(shape[1], dtype=dtype) for _ in range(3))
    variance = torch.rand(shape[1], dtype=dtype) + 0.1
    for w in (weight, None):
        got = value_and_gradients(
            lambda c, b, w=w: fixed_norm(c, w, b, mean, variance, 1e-5), c, bias
        )
        want = value_and_gradients(
            lambda c, b, w=w: naive_fixed_norm(c, w, b, mean, variance, 1e-5), c, bias
        )
        assert_same(got, want, TOLERANCE[dtype])
        torchs = value_and_gradients(
            lambda c, b, w=w: F.batch_norm(c, mean, variance, w, b, False, 0.0, 1e-5), c, bias
        )
        assert all(map(torch.equal, got, torchs))
    without = fixed_norm(c.requires_grad_(), None, None, mean, variance, 1e-5).sum()
    (by_input,) = torch.autograd.grad(without, c)
    assert torch.isfinite(by_input).all()


@pytest.mark.parametrize("places", [(), (0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("kind", ["conv", "linear", "transposed"])
def test_a_synapse_gives_the_gradients_that_are_asked_for(
    kind: str, places: tuple[int, ...]
) -> None:
    """Of input and weight; the bias always asks."""
    made: dict[str, tuple[Geometry, tuple[int, ...], tuple[int, ...]]] = {
        "conv": (Geometry((2, 1), (1, 0), (1, 1), 2), (3, 4, 5, 6), (6, 2, 3, 2)),
        "linear": (Geometry(), (3, 2, 5), (4, 5)),
        "transposed": (Geometry((2, 2), (1, 1), (1, 1), 1, (1, 0)), (3, 4, 5, 6), (4, 6, 3, 3)),
    }
    geometry, of_input, of_weight = made[kind]
    x = torch.randn(of_input, dtype=torch.float64)
    weight = torch.randn(of_weight, dtype=torch.float64)
    bias = torch.randn(6 if kind != "linear" else 4, dtype=torch.float64, requires_grad=True)
    for place in places:
        (x, weight)[place].requires_grad_()
    leaves = [each for each in (x, weight, bias) if each.requires_grad]
    found = []
    for run in (synapse, lambda x, w, b, geometry: geometry.apply(x, w, b)):
        out = run(x, weight, bias, geometry)
        upstream = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
        found.append([out, *torch.autograd.grad(out, leaves, upstream)])
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
