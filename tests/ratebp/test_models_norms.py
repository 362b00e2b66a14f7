"""The norms that the networks are built with, and the networks that have none."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

import ratebp
from ratebp import models
from ratebp.activity import firing_rates
from ratebp.errors import BindError
from ratebp.models.nf_resnet import NFBlock
from ratebp.neurons import LIF
from ratebp.norms import BNTT, TEBN, Scale, ScaledWSConv2d, ScaledWSLinear
from ratebp.testing.gradients import differences

FREE = [name for name in models.names() if "norm" in models.get(name).options]
CLASSES = {
    "batch": nn.BatchNorm2d,
    "tdbn": nn.BatchNorm2d,
    "tebn": TEBN,
    "bntt": BNTT,
    "ws": nn.Identity,
    "none": nn.Identity,
}
NORM_FREE = ["nf_resnet34", "ottt_vgg11"]


def build(name: str, norm: str, **options: object) -> nn.Module:
    timesteps = {"timesteps": 3} if norm in ("tebn", "bntt") else {}
    return models.build(name, norm=norm, **timesteps, **options)


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("norm", CLASSES)
def test_every_norm_stands_where_the_batch_norms_do(name: str, norm: str) -> None:
    with torch.device("meta"):
        model, usual = build(name, norm), build(name, "batch")
    places = {p for p, m in usual.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert {type(model.get_submodule(place)) for place in places} == {CLASSES[norm]}
    others = [m for p, m in model.named_modules() if p not in places]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in others)


@pytest.mark.parametrize("name", FREE)
def test_standardised_networks_scale_every_neuron_and_leave_the_readout_plain(name: str) -> None:
    with torch.device("meta"):
        model = build(name, "ws")
    assert all(type(m) is ScaledWSConv2d for m in model.modules() if isinstance(m, nn.Conv2d))
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert type(linears[-1]) is nn.Linear
    assert all(type(m) is ScaledWSLinear for m in linears[:-1])
    neurons = [p for p, m in model.named_modules() if isinstance(m, LIF)]
    scales = [p for p, m in model.named_modules() if isinstance(m, Scale)]
    assert [p.removesuffix(".lif") for p in neurons] == [p.removesuffix(".scale") for p in scales]


def test_tdbn_starts_at_the_neurons_threshold() -> None:
    model = models.build("tiny_resnet", norm="tdbn", neuron={"threshold": 0.5})
    weights = [m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(bool((w == 0.5).all()) for w in weights)


@pytest.mark.parametrize(
    ("name", "norm"),
    [("tiny_resnet", "none"), ("tiny_resnet", "ws"), ("resnet18", "none"), ("resnet18", "ws")],
)
def test_without_norms_every_layer_spikes_at_the_start(name: str, norm: str) -> None:
    torch.manual_seed(0)
    model = models.build(name, norm=norm, width=0.25)
    found = firing_rates(model, torch.randn(3, 2, 3, 16, 16), layout="single")
    assert len(found) == sum(isinstance(m, LIF) for m in model.modules())
    assert all(0.01 < float(rate.mean()) < 0.7 for rate in found.values()), found


@pytest.mark.parametrize("norm", CLASSES)
def test_bptt_trains_every_norm(norm: str) -> None:
    torch.manual_seed(0)
    model = build("tiny_resnet", norm, in_channels=1, width=0.5)
    result = ratebp.methods.get("bptt_m").bind(model, 3)
    result.step(torch.randn(3, 4, 1, 9, 11), torch.arange(4))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.norm()) > 0, name


def gradients(method: str, model: nn.Module, **options: object) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    x, y = torch.randn(3, 4, 1, 9, 11, dtype=torch.float64), torch.arange(4)
    model.zero_grad()
    ratebp.methods.get(method, **options).bind(model, 3).step(x, y)
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_a_norm_free_network_has_one_gradient_in_both_layouts_and_trains_by_saf() -> None:
    torch.manual_seed(0)
    settings = {"in_channels": 1, "width": 0.5, "neuron": {"decay": 0.5}}
    model = models.build("tiny_resnet", norm="none", **settings).double()
    pairs = [("bptt_m", "bptt_s"), ("saf_e", "ottt_a"), ("rate_m", "rate_s")]
    for one, other in pairs:
        assert differences(gradients(one, model), gradients(other, model), 1e-9) == {}
    with pytest.raises(BindError, match="saf_e"):
        gradients("saf_e", models.build("tiny_resnet", **settings).double())


@pytest.mark.parametrize("name", NORM_FREE)
@pytest.mark.parametrize("method", ["bptt_s", "sltt", "ottt_a", "rate_m", "ndot_a"])
def test_the_norm_free_networks_train(name: str, method: str) -> None:
    torch.manual_seed(0)
    # A low threshold: pools take the variance out of white noise, and deep layers would be silent.
    options = {"num_classes": 5, "in_channels": 1, "neuron": {"threshold": 0.1}}
    model = models.build(name, width=0.1, **options)
    nn.init.normal_(model.get_submodule("head").weight)
    for block in (m for m in model.modules() if isinstance(m, NFBlock)):
        nn.init.constant_(block.gain.factor, 0.5)  # 0 at the start, where no branch learns
    bound = ratebp.methods.get(method).bind(model, 2)
    bound.step(torch.randn(2, 2, 1, 32, 32), torch.tensor([0, 3]))
    weights = {n: p.grad for n, p in model.named_parameters() if n.endswith("weight")}
    assert all(g is not None and float(g.norm()) > 0 for g in weights.values())


def test_the_variance_that_an_nf_block_divides_by() -> None:
    """1 in front; alpha^2 more after every block, from 1 again after a convolved shortcut."""
    with torch.device("meta"):
        blocks = [m for m in models.build("nf_resnet34").modules() if isinstance(m, NFBlock)]
    squares = [1, 1.04, 1.08]
    squares += [1.12, 1.04, 1.08, 1.12]
    squares += [1.16, 1.04, 1.08, 1.12, 1.16, 1.2]
    squares += [1.24, 1.04, 1.08]
    assert [b.beta for b in blocks] == pytest.approx([math.sqrt(v) for v in squares])
    assert [n for n, b in enumerate(blocks) if b.shortcut is not None] == [3, 7, 13]


def test_an_nf_block_is_its_formula() -> None:
    torch.manual_seed(0)
    model = models.build("nf_resnet34", width=0.1)
    blocks = [m for m in model.modules() if isinstance(m, NFBlock)]
    for block in (blocks[1], blocks[3]):
        block.first[0] = block.second[0] = nn.Tanh()
        nn.init.constant_(block.gain.factor, 0.7)
        x = torch.randn(2, block.conv1.in_channels, 8, 8)
        z = 2.74 * torch.tanh(x / block.beta)
        branch = block.conv2(2.74 * torch.tanh(block.conv1(z)))
        kept = x if block.shortcut is None else block.shortcut(z)
        torch.testing.assert_close(block(x), 0.2 * 0.7 * branch + kept)


def test_how_the_norm_free_networks_start() -> None:
    torch.manual_seed(0)
    nets = {name: models.build(name, width=0.5, num_classes=1000) for name in NORM_FREE}
    assert not nets["nf_resnet34"].get_submodule("head").weight.any()
    blocks = [m for m in nets["nf_resnet34"].modules() if isinstance(m, NFBlock)]
    assert not any(block.gain.factor.any() for block in blocks)
    head = nets["ottt_vgg11"].get_submodule("head")
    assert float(head.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    for net in nets.values():
        convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
        assert all(type(c) is ScaledWSConv2d and not c.bias.any() for c in convs)


def test_the_shortcuts_of_sltts_resnet_carry_spikes() -> None:
    """Block output minus its branch is the shortcut of z, not of x."""
    torch.manual_seed(0)
    model = models.build("sltt_resnet18", width=0.1).eval()
    stages = model.get_submodule("stages")
    for stage, position in itertools.product((0, 1), (0, 1)):
        block = stages[stage][position]
        for path in ("lif", "first.lif"):
            block.set_submodule(path, nn.Tanh())
        x = torch.randn(2, block.norm.num_features, 6, 6)
        z = torch.tanh(block.norm(x))
        torch.testing.assert_close(block(x), block.second(block.first(z)) + block.shortcut(z))
