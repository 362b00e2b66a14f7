"""Published networks with sizes: counts, equality at one step, what every method says to them."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp import models
from ratebp.errors import OptionError
from ratebp.neurons import Neuron
from ratebp.phases import StepContext

# Network and size: parameters of the published code, how many of them it never uses, neuron layers.
COUNTS: dict[tuple[str, str], tuple[int, int, int]] = {
    ("spikformer", "4-384"): (9_330_874, 6_144, 33),
    ("spikformer", "4-256"): (4_159_274, 4_096, 33),
    ("spikformer", "2-384"): (5_768_122, 3_072, 19),
    ("spikformer", "2-512"): (10_240_586, 4_096, 19),
    ("spikformer", "dvs-2-256"): (2_585_610, 18_944, 19),
    ("spikformer", "8-384"): (16_828_312, 12_288, 61),
    ("spikformer", "6-512"): (23_385_640, 12_288, 47),
    ("spikformer", "8-512"): (29_705_768, 16_384, 61),
    ("spikformer", "10-512"): (36_025_896, 20_480, 75),
    ("spikformer", "8-768"): (66_363_208, 24_576, 61),
    ("sdt", "2-512"): (10_233_546, 128, 19),
    ("sdt", "cifar10dvs-2-256"): (2_566_794, 128, 19),
    ("sdt", "gesture-2-256"): (2_567_051, 128, 19),
    ("sdt", "8-384"): (16_816_536, 512, 61),
    ("sdt", "6-512"): (23_373_736, 384, 47),
    ("sdt", "8-512"): (29_689_896, 512, 61),
    ("sdt", "10-512"): (36_006_056, 640, 75),
    ("sdt", "8-768"): (66_339_144, 512, 61),
    ("qkformer", "4-384"): (6_706_234, 0, 35),
    ("qkformer", "cifar10dvs-2-256"): (1_504_138, 0, 21),
    ("qkformer", "gesture-2-256"): (1_999_371, 0, 21),
    ("qkformer", "10-384"): (16_473_688, 0, 77),
    ("qkformer", "10-512"): (29_079_336, 0, 77),
    ("qkformer", "10-768"): (64_962_760, 0, 77),
    ("sdt_v2", "15m"): (15_112_208, 0, 77),
    ("sdt_v2", "31m"): (31_333_864, 0, 77),
    ("sdt_v2", "55m"): (55_350_248, 0, 77),
    ("e_spikeformer", "2.7m"): (2_702_048, 0, 105),
    ("e_spikeformer", "5.1m"): (5_105_608, 0, 105),
    ("e_spikeformer", "10m"): (10_023_112, 0, 105),
    ("e_spikeformer", "19m"): (18_987_504, 0, 105),
    ("spikingresformer", "ti"): (11_180_992, 0, 38),
    ("spikingresformer", "s"): (17_813_824, 0, 38),
    ("spikingresformer", "m"): (35_601_472, 0, 38),
    ("spikingresformer", "l"): (60_375_680, 0, 38),
    ("spikingresformer", "cifar-ti"): (10_793_152, 0, 38),
    ("spikingresformer", "gesture-ti"): (2_709_830, 0, 38),
    # Small ones, which nobody published: all of their parameters are used.
    ("spikformer", "tiny"): (24_750, 0, 12),
    ("sdt", "tiny"): (24_654, 0, 12),
    ("qkformer", "tiny"): (30_398, 0, 28),
    ("sdt_v2", "tiny"): (87_018, 0, 31),
    ("e_spikeformer", "tiny"): (86_122, 0, 40),
    ("spikingresformer", "tiny"): (93_960, 0, 38),
}
SIZED = [
    name
    for name in models.names()
    if "size" in models.get(name).options and name != "shd_net"  # which has a file of its own
]
LOW = {"decay": 0.5, "threshold": 0.5}
# Options of a small network, and the side of its images.
SMALL: dict[str, tuple[dict[str, Any], int]] = {
    "spikformer": ({"size": "tiny", "attention_threshold": 0.1}, 16),
    "sdt": ({"size": "tiny"}, 16),
    "qkformer": ({"size": "tiny", "attention_threshold": 0.1}, 16),
    "sdt_v2": ({"size": "tiny", "attention_threshold": 0.1}, 32),
    "e_spikeformer": ({"size": "tiny", "neuron": LOW}, 32),
    "spikingresformer": ({"size": "tiny"}, 16),
    "ms_resnet18": ({"width": 1 / 16, "num_classes": 10}, 32),
    "dvs_gesture_net": (
        {"width": 4 / 128, "hidden": 48, "image_size": 32, "neuron": {"threshold": 0.2}},
        32,
    ),
}


class Updating(StepContext):
    """Updates that leave everything as it is."""

    def __init__(self, model: nn.Module) -> None:
        pass

    def update(self) -> None:
        pass


def meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return models.build(name, **options)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_list_of_counts_covers_every_size_that_the_error_names() -> None:
    for name in SIZED:
        with pytest.raises(OptionError) as caught:
            models.build(name, size="none")
        legal = str(caught.value).rpartition("Legal: ")[2].rstrip(".").split(", ")
        assert set(legal) == {size for each, size in COUNTS if each == name}


@pytest.mark.parametrize(("name", "size"), COUNTS)
def test_parameters_are_those_that_the_published_code_uses(name: str, size: str) -> None:
    published, unused, layers = COUNTS[name, size]
    model = meta(name, size=size)
    assert parameters(model) == published - unused
    assert sum(isinstance(module, Neuron) for module in model.modules()) == layers


@pytest.mark.parametrize(
    ("name", "size", "published", "unused"),
    [
        ("spikformer", "4-384", 9_365_524, 6_144),
        ("sdt", "2-512", 10_279_716, 128),
        ("qkformer", "4-384", 6_740_884, 0),
        ("spikingresformer", "cifar-ti", 10_827_712, 0),
    ],
)
def test_parameters_for_a_hundred_classes(
    name: str, size: str, published: int, unused: int
) -> None:
    assert parameters(meta(name, size=size, num_classes=100)) == published - unused


def small(name: str, timesteps: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A small network that spikes everywhere, and a batch of three."""
    options, side = SMALL[name]
    torch.manual_seed(0)
    model = models.build(name, **options).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 1.5, 3)  # potentials of a step reach the threshold
            nn.init.normal_(module.bias, std=0.5)
    channels = next(model.parameters()).shape[1]
    x = torch.randn(timesteps, 3, channels, side, side, dtype=torch.float64) * 2
    return model, x, torch.arange(3)


def step(method: str, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    model = copy.deepcopy(model)  # some forwards read running statistics, which a step moves
    result = ratebp.methods.get(method).bind(model, len(x)).step(x, y)
    got = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {"logits": result.logits, **got}


def errors(got: dict[str, Tensor], want: dict[str, Tensor]) -> dict[str, float]:
    """Relative errors; what a batch norm behind it hides has no gradient but rounding and eps."""
    assert got.keys() == want.keys()
    largest = max(float(each.norm()) for each in want.values())
    size = {n: float(each.norm()) for n, each in want.items()}
    scale = {n: norm if norm > 1e-6 * largest else largest for n, norm in size.items()}
    return {n: float((got[n] - want[n]).norm()) / scale[n] for n in want}


REFUSED = {("spikingresformer", "rate_m"): "RateScale", ("spikingresformer", "rate_s"): "RateScale"}


@pytest.mark.parametrize("name", SMALL)
def test_at_one_step_they_equal_bptt(name: str) -> None:
    case = small(name, 1)
    want = step("bptt_m", *case)
    hidden = (".inner.weight", ".bias")  # by the batch norm behind
    seen = {n: float(g.norm()) for n, g in want.items() if not n.endswith(hidden)}
    silent = [n for n, norm in seen.items() if norm < 1e-6]
    assert silent == []
    for method in ("bptt_s", "rate_m", "rate_s", "sltt"):
        if (name, method) in REFUSED:
            with pytest.raises(ratebp.BindError, match=REFUSED[name, method]):
                step(method, *case)
            continue
        found = errors(step(method, *case), want)
        assert {n: e for n, e in found.items() if not e < 1e-12} == {}, method


UNTRAINED = {
    "spikformer": "dsr ndot_a ndot_o ostl rga saf_e saf_f sfa stllr tandem",
    "sdt": "dsr ndot_a ndot_o ostl rga saf_e saf_f sfa stllr tandem",
    "qkformer": "dsr ndot_a ndot_o ostl rga saf_e saf_f sfa stllr tandem",
    "sdt_v2": "bptt_ckpt dsr eprop ostl rga saf_e saf_f sfa stllr tandem",
    "e_spikeformer": "dsr rga saf_e saf_f sfa stllr",
    "spikingresformer": "bptt_ckpt dsr fptt os ostl rate_m rate_s rga saf_e saf_f sfa stllr tandem",
    "ms_resnet18": "dsr eprop ostl saf_e saf_f sfa stllr tandem",
    "dvs_gesture_net": "eprop ndot_a ndot_o saf_e saf_f stllr",
}
"""The methods that refuse a network, by name; all others train it."""


def every_method_on_every_network() -> list[Any]:
    """One method on every network and every method on one run by default, the others as matrix."""
    found = []
    for name, method in product(SMALL, ratebp.methods.names()):
        marks = () if name == "sdt" or method == "rate_m" else pytest.mark.matrix
        found.append(pytest.param(name, method, marks=marks))
    return found


@pytest.mark.parametrize(("name", "method"), every_method_on_every_network())
def test_every_method_trains_them_but_those_that_refuse(name: str, method: str) -> None:
    model, x, y = small(name, 2)
    if method in UNTRAINED[name].split():
        with pytest.raises(ratebp.BindError):
            ratebp.methods.get(method).bind(model, len(x)).views(x)
        return
    bound = ratebp.methods.get(method).bind(model, len(x))
    result = bound.step(x, y, context=Updating(model))
    assert torch.isfinite(result.loss)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
