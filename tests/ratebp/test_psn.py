"""Parallel spiking neurons: exact, masked ones are causal, sliding ones run step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp import PSN, MaskedPSN, SlidingPSN
from ratebp.activity import firing_rates
from ratebp.errors import BindError, OptionError
from ratebp.ops.psn import naive_psn, psn
from ratebp.rules.neurons.exact import scan_neuron, step_neuron
from ratebp.surrogates import Surrogate
from ratebp.testing.gradients import differences

from .reference_neurons import (
    SHAPES,
    assert_equal,
    fire,
    gradients_of,
    loop_gradients,
    network_gradients,
    with_neurons,
)


def psn_loop(current: Tensor, neuron: Any) -> Tensor:
    steps = range(len(current))
    return torch.stack(
        [
            fire(sum(neuron.weight[t, j] * current[j] for j in steps) - neuron.threshold[t])
            for t in steps
        ]
    )


def masked_loop(current: Tensor, neuron: Any) -> Tensor:
    share, rows = float(neuron.masking), []
    for t in range(len(current)):
        seen = [1.0 if j <= t <= j + neuron.order - 1 else 1.0 - share for j in range(len(current))]
        h = sum(m * neuron.weight[t, j] * current[j] for j, m in enumerate(seen))
        rows.append(fire(h - neuron.threshold[t]))
    return torch.stack(rows)


def sliding_loop(current: Tensor, neuron: Any) -> Tensor:
    k, rows = neuron.order, []
    for t in range(len(current)):
        window = [(i, t - k + 1 + i) for i in range(k) if t - k + 1 + i >= 0]
        h = sum(neuron.weight[i] * current[j] for i, j in window)
        rows.append(fire(h - neuron.threshold))
    return torch.stack(rows)


def drawn(neuron: nn.Module) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        for parameter in neuron.parameters():
            nn.init.normal_(parameter, 0.3, 0.8)
    return neuron.double()


def kinds(timesteps: int) -> list[tuple[Any, Any]]:
    return [
        (PSN(timesteps), psn_loop),
        (MaskedPSN(timesteps, order=2), masked_loop),
        (MaskedPSN(timesteps, order=3, masking=0.25), masked_loop),
        (SlidingPSN(order=1), sliding_loop),
        (SlidingPSN(order=4), sliding_loop),
    ]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("number", range(5))
def test_the_leaf_equals_the_loop(number: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    made, loop = kinds(shape[0])[number]
    current, neuron = 2 * torch.randn(shape, dtype=torch.float64), drawn(made)
    leaf = scan_neuron(neuron, shape[0])
    want = gradients_of(lambda x: loop(x, neuron), current, neuron)
    assert_equal(gradients_of(lambda x: leaf(x.flatten(0, 1)).view_as(x), current, neuron), want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_product_equals_the_sum_over_steps(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    t = shape[0]
    inputs = [torch.randn(s, dtype=dtype, requires_grad=True) for s in (shape, (t, t), (t,))]
    weights = torch.randn(shape, dtype=dtype)
    tolerance = 1e-11 if dtype == torch.float64 else 2e-5
    found = []
    for run in (psn, naive_psn):
        out = run(*inputs, Surrogate("sigmoid", 2.0))
        found.append([out, *torch.autograd.grad((out * weights).sum(), inputs)])
    for got, want in zip(*found, strict=True):
        assert got.dtype == want.dtype == dtype
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("number", range(5))
def test_a_network_trains_by_exact_gradients(number: int) -> None:
    _, loop = kinds(4)[number]
    case = with_neurons(lambda: drawn(kinds(4)[number][0]), timesteps=4)
    got, want = network_gradients("bptt_m", case), loop_gradients(case, loop)
    assert differences(got, want, 1e-10) == {}
    assert {"lif1.weight", "lif1.threshold"} <= set(got)


@pytest.mark.parametrize("order", [1, 2, 3, 7])
def test_sliding_step_by_step_equals_all_at_once(order: int) -> None:
    case = with_neurons(lambda: drawn(SlidingPSN(order)), timesteps=5)
    together, stepwise = network_gradients("bptt_m", case), network_gradients("bptt_s", case)
    assert differences(stepwise, together, 1e-10) == {}
    torch.manual_seed(0)
    current, neuron = torch.randn(5, 4, 3, dtype=torch.float64), case.model.lif1
    leaf = step_neuron(neuron)  # type: ignore[arg-type]
    spikes = torch.stack([leaf(now) for now in current.unbind(0)])
    assert torch.equal(spikes, scan_neuron(neuron, 5)(current.flatten(0, 1)).view_as(spikes))  # type: ignore[arg-type]


def test_masking_of_zero_is_a_psn_and_a_full_band_sees_the_whole_past() -> None:
    torch.manual_seed(0)
    current = torch.randn(5, 11, dtype=torch.float64)
    whole = drawn(PSN(5))
    for masked, weight in (
        (MaskedPSN(5, order=2, masking=0.0), whole.weight),
        (MaskedPSN(5, order=5, masking=1.0), whole.weight.tril()),
    ):
        masked.double().load_state_dict(whole.state_dict(), strict=False)
        with torch.no_grad():
            plain = naive_psn(current, weight, whole.threshold, whole.surrogate)
            assert torch.equal(scan_neuron(masked, 5)(current), plain)


@pytest.mark.parametrize("masking", [1.0, 0.5])
def test_a_masked_psn_sees_no_future_once_the_mask_is_whole(masking: float) -> None:
    torch.manual_seed(0)
    neuron = drawn(MaskedPSN(6, order=3, masking=masking))
    current = torch.randn(6, 7, dtype=torch.float64, requires_grad=True)
    leaf, seen = scan_neuron(neuron, 6), torch.zeros(6, 6, dtype=torch.bool)
    for t in range(6):
        (gradient,) = torch.autograd.grad(leaf(current)[t].sum(), current)
        seen[t] = gradient.abs().sum(1) > 0
    band = torch.tensor([[j <= t < j + 3 for j in range(6)] for t in range(6)])
    assert torch.equal(seen, band if masking == 1 else torch.ones_like(band))


def test_a_bound_method_follows_the_mask() -> None:
    case = with_neurons(lambda: drawn(MaskedPSN(3, order=1, masking=0.0)), timesteps=3)
    bound = ratebp.methods.get("bptt_m").bind(case.model, 3)
    opened = bound.plain(case.x)
    for place in ("lif0", "lif1", "lif2"):
        case.model.get_submodule(place).mask(1.0)  # type: ignore[operator, union-attr]
    closed = bound.plain(case.x)
    assert not torch.allclose(opened, closed)
    again = ratebp.methods.get("bptt_m").bind(case.model, 3)
    assert torch.equal(again.plain(case.x), closed)
    assert "lif0.masking" in case.model.state_dict()


@pytest.mark.parametrize("number", range(5))
def test_inference_and_rates_run_all_steps_at_once_where_they_must(number: int) -> None:
    case = with_neurons(lambda: drawn(kinds(4)[number][0]), norm="frozen", timesteps=4)
    plain = ratebp.methods.get("bptt_m").bind(case.model, 4).plain(case.x)
    torch.testing.assert_close(ratebp.infer(case.model, case.x), plain, rtol=1e-12, atol=1e-12)
    rates = firing_rates(case.model, case.x)
    assert list(rates) == ["lif0", "lif1", "lif2"]
    assert all(rate.shape == (4,) for rate in rates.values())


@pytest.mark.parametrize("name", sorted(set(ratebp.methods.names()) - {"bptt_m"}))
@pytest.mark.parametrize("make", [lambda: PSN(3), lambda: MaskedPSN(3)], ids=["PSN", "MaskedPSN"])
def test_other_methods_name_the_neuron_and_who_trains_it(name: str, make: Any) -> None:
    case = with_neurons(make)
    with pytest.raises(BindError, match=r"PSN at `lif0`.*train with bptt_m\.$"):
        ratebp.methods.get(name).bind(case.model, 3)


def test_another_t_is_refused() -> None:
    case = with_neurons(lambda: PSN(4), timesteps=3)
    with pytest.raises(BindError, match=r"weights for 4 time steps, but T=3.*SlidingPSN"):
        ratebp.methods.get("bptt_m").bind(case.model, 3)
    with pytest.raises(BindError, match="weights for 4 time steps, but T=3"):
        ratebp.infer(case.model, case.x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PSN(0), "timesteps=0 must be an integer of at least 1"),
        (lambda: PSN(4, threshold=-1.0), "threshold=-1.0 must be a positive number"),
        (lambda: MaskedPSN(4, order=0), "order=0 must be"),
        (lambda: MaskedPSN(4, masking=2.0), r"masking=2.0 must be a number in \[0, 1\]"),
        (lambda: SlidingPSN(order=1.5), "order=1.5 must be"),  # type: ignore[arg-type]
    ],
)
def test_illegal_settings_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()


def test_compiled_networks_equal_eager_ones() -> None:
    torch.compiler.reset()
    found = []
    for wrap in (None, lambda m, _: torch.compile(m, fullgraph=True, backend="aot_eager")):
        case = with_neurons(lambda: drawn(MaskedPSN(3)))
        ratebp.methods.get("bptt_m").bind(case.model, 3, wrap=wrap).step(case.x, case.y)
        found.append({n: p.grad for n, p in case.model.named_parameters()})
    assert differences(*found, rtol=1e-10) == {}  # type: ignore[arg-type]
