"""Norms that models are built with: their formulas, in both layouts, value and every gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp import norms
from ratebp.errors import BindError, OptionError, UnboundError
from ratebp.norms import BNTT, TEBN, Scale, ScaledWSConv2d, ScaledWSLinear
from ratebp.rules.norms.temporal import norm_rule

T, B, C = 4, 3, 2


def tebn() -> TEBN:
    return disturbed(TEBN(C, T))


def bntt() -> BNTT:
    return disturbed(BNTT(C, T))


def disturbed(norm: Any) -> Any:
    torch.manual_seed(2)
    norm = norm.double()
    for p in norm.parameters():
        nn.init.uniform_(p, 0.5, 2)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


def sequence(requires_grad: bool = True) -> Tensor:
    torch.manual_seed(3)
    x = torch.randn(T, B, C, 1, 5, dtype=torch.float64) * torch.arange(1, T + 1).view(T, 1, 1, 1, 1)
    return x.requires_grad_(requires_grad)


def run(norm: nn.Module, layout: str, x: Tensor) -> Tensor:
    leaf = norm_rule(layout, T)(norm, "here")
    if layout == "multi":
        return leaf(x.flatten(0, 1)).unflatten(0, (T, B))
    return torch.stack([leaf(now) for now in x.unbind(0)])


def all_gradients(out: Tensor, x: Tensor, norm: nn.Module) -> list[Tensor]:
    torch.manual_seed(4)
    upstream = torch.randn_like(out)
    return list(torch.autograd.grad((out * upstream).sum(), [x, *norm.parameters()]))


def same(got: list[Tensor], want: list[Tensor]) -> None:
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("layout", ["multi", "single"])
def test_tebn_is_batch_norm_times_a_factor_of_the_step(layout: str) -> None:
    norm, twin, x = tebn(), tebn(), sequence()
    dims = (0, 1, 3, 4) if layout == "multi" else (1, 3, 4)
    var, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
    xhat = (x - mean) / (var + twin.eps).sqrt()
    w, b = (p.view(1, 1, C, 1, 1) for p in (twin.weight, twin.bias))
    want = twin.step_scale.view(T, 1, 1, 1, 1) * (w * xhat + b)
    got = run(norm, layout, x)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    same(all_gradients(got, x, norm), all_gradients(want, x, twin))
    assert int(norm.num_batches_tracked) == (1 if layout == "multi" else T)


@pytest.mark.parametrize("layout", ["multi", "single"])
def test_bntt_is_one_batch_norm_for_each_step(layout: str) -> None:
    norm, x = bntt(), sequence()
    singles = []
    for t in range(T):
        one = nn.BatchNorm2d(C).double()
        one.weight.data.copy_(norm.weight[t])
        one.running_mean.copy_(norm.running_mean[t])  # type: ignore[union-attr]
        one.running_var.copy_(norm.running_var[t])  # type: ignore[union-attr]
        singles.append(one)
    want = torch.stack([one(now) for one, now in zip(singles, x.unbind(0), strict=True)])
    got = run(norm, layout, x)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    dx, dw = all_gradients(got, x, norm)
    torch.manual_seed(4)
    by_hand = torch.autograd.grad(
        (want * torch.randn_like(want)).sum(), [x, *(one.weight for one in singles)]
    )
    same([dx, *dw.unbind(0)], list(by_hand))
    for buffer in ("running_mean", "running_var"):
        moved = torch.stack([getattr(one, buffer) for one in singles])
        torch.testing.assert_close(getattr(norm, buffer), moved, rtol=1e-12, atol=1e-12)
    assert int(norm.num_batches_tracked) == 1


@pytest.mark.parametrize("make", [tebn, bntt])
def test_frozen_they_are_one_network_in_both_layouts(make: Any) -> None:
    found = []
    for layout in ("multi", "single"):
        norm, x = make().eval(), sequence()
        before = {n: b.clone() for n, b in norm.named_buffers()}
        out = run(norm, layout, x)
        found.append([out, *all_gradients(out, x, norm)])
        assert all(torch.equal(b, before[n]) for n, b in norm.named_buffers())
    same(*found)


def network(norm: Any) -> nn.Module:
    torch.manual_seed(0)
    lifs = [ratebp.LIF(decay=0.5) for _ in range(2)]
    model = nn.Sequential(
        *(nn.Conv2d(2, C, 3, padding=1), norm(), lifs[0], Scale(1.5)),
        *(ScaledWSConv2d(C, 3, 3, 2), nn.Identity(), lifs[1], Scale()),
        *(nn.Flatten(), nn.Linear(12, 5)),
    ).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2)
    return model


def step(name: str, model: nn.Module, **options: Any) -> list[Tensor]:
    torch.manual_seed(1)
    x, y = 2 * torch.randn(T, 3, 2, 3, 4, dtype=torch.float64), torch.tensor([0, 3, 4])
    ratebp.methods.get(name, **options).bind(model, T).step(x, y)
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(grads) == len(list(model.parameters()))
    assert all(float(g.norm()) > 0 for g in grads)
    return grads


@pytest.mark.parametrize("make", [bntt, lambda: tebn().eval(), lambda: bntt().eval()])
def test_methods_of_both_layouts_agree_where_the_scope_does(make: Any) -> None:
    same(step("bptt_m", network(make)), step("bptt_s", network(make)))
    same(step("sltt", network(make)), step("tbptt", network(make), window=1))


def test_tebn_trains_two_networks_as_batch_norm_does() -> None:
    one, other = step("bptt_m", network(tebn)), step("bptt_s", network(tebn))
    assert not torch.allclose(one[0], other[0])


@pytest.mark.parametrize("make", [tebn, bntt])
@pytest.mark.parametrize("name", ["rate_m", "rate_s", "os", "bptt_ckpt", "saf_e"])
def test_methods_with_norm_rules_of_their_own_refuse_them_by_name(make: Any, name: str) -> None:
    with pytest.raises(BindError, match=f"{type(make()).__name__}.* at `1`"):
        step(name, network(make))


@pytest.mark.parametrize("make", [tebn, bntt])
def test_another_number_of_steps_is_refused(make: Any) -> None:
    model = network(make)
    with pytest.raises(BindError, match="at `1` has parameters of 4 time steps, but T=3"):
        ratebp.methods.get("bptt_m").bind(model, 3)
    x = torch.randn(3, 2, 2, 3, 4, dtype=torch.float64)
    with pytest.raises(BindError, match="4 time steps, but T=3"):
        ratebp.infer(model, x)
    with pytest.raises(OptionError, match="timesteps=0"):
        type(make())(C, 0)


@pytest.mark.parametrize("make", [tebn, bntt])
def test_inference_and_plain_know_the_step(make: Any) -> None:
    model = network(make).eval()
    x = torch.randn(T, 2, 2, 3, 4, dtype=torch.float64)
    bound = ratebp.methods.get("bptt_m").bind(model, T)
    torch.testing.assert_close(bound.plain(x), ratebp.infer(model, x), rtol=1e-12, atol=1e-12)
    with pytest.raises(UnboundError, match="must know which"):
        make()(x[0])


@pytest.mark.deep
@pytest.mark.parametrize("make", [tebn, bntt])
@pytest.mark.parametrize("name", ["bptt_m", "sltt"])
def test_one_graph_for_all_steps_under_compile(make: Any, name: str) -> None:
    plain, model = network(make), network(make)
    want = step(name, plain)
    torch.compiler.reset()
    torch.manual_seed(1)
    x, y = 2 * torch.randn(T, 3, 2, 3, 4, dtype=torch.float64), torch.tensor([0, 3, 4])
    bound = ratebp.methods.get(name).bind(
        model, T, wrap=lambda m, _: torch.compile(m, fullgraph=True, backend="aot_eager")
    )
    bound.step(x, y)
    same([p.grad for p in model.parameters() if p.grad is not None], want)
    for a, b in zip(model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_tdbn_starts_at_alpha_times_the_threshold() -> None:
    norm = norms.td_batch_norm(3, threshold=0.5, alpha=0.7)
    assert type(norm) is nn.BatchNorm2d
    assert norm.weight.tolist() == pytest.approx([0.35] * 3)
    assert not norm.bias.any()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (ScaledWSConv2d(3, 4, 3), (2, 3, 5, 6)),
        (ScaledWSConv2d(3, 4, 7, 2), (2, 3, 5, 6)),
        (ScaledWSConv2d(2, 3, 1, 2), (1, 2, 4, 3)),
        (ScaledWSLinear(7, 3), (2, 7)),
    ],
)
def test_scaled_weight_standardisation_is_its_formula(layer: Any, shape: tuple[int, ...]) -> None:
    layer = layer.double()
    torch.manual_seed(5)
    nn.init.uniform_(layer.gain, 0.5, 2)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    rows = []
    for weight, gain in zip(layer.weight, layer.gain, strict=True):
        n = weight.numel()
        mean = weight.sum() / n
        var = ((weight - mean) ** 2).sum() / (n - 1)
        rows.append(gain.squeeze() * (weight - mean) / (var * n + 1e-4) ** 0.5)
    what = torch.stack(rows)
    if isinstance(layer, nn.Linear):
        want = x @ what.T + layer.bias
    else:
        want = F.conv2d(x, what, layer.bias, layer.stride, layer.padding)
    got = layer(x)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    same(all_gradients(got, x, layer), all_gradients(want, x, layer))


def test_standardised_weights_give_unit_variance_and_spikes_are_brought_back_to_it() -> None:
    torch.manual_seed(0)
    layer = ScaledWSLinear(400, 300)
    nn.init.zeros_(layer.bias)
    out = layer(torch.randn(2000, 400)).detach()
    assert float(out.var()) == pytest.approx(1, rel=0.03)
    spikes = Scale()((out >= 1).float())
    assert float(spikes.var()) == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("name", ["ottt_a", "rate_m", "sltt", "ndot_a"])
def test_methods_train_norm_free_networks(name: str) -> None:
    grads = step(name, network(nn.Identity))
    assert all(torch.isfinite(g).all() for g in grads)


def test_standardised_synapses_take_the_trace_in_weight_gain_and_bias() -> None:
    """T = 1: every method is BPTT, also through the general path of synapses."""
    torch.manual_seed(1)
    x, y = 2 * torch.randn(1, 3, 2, 3, 4, dtype=torch.float64), torch.tensor([0, 3, 4])
    found = []
    for name in ("bptt_s", "ottt_a", "rate_s", "os"):
        model = network(nn.Identity)
        ratebp.methods.get(name).bind(model, 1).step(x, y)
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    for each in found[1:]:
        same(each, found[0])
