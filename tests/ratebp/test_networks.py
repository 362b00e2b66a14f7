"""Published networks with sizes: counts, equality at one step, what every method says to them."""

from __future__ import annotations

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
    # Small ones, which nobody published: all of their parameters are used.
    ("spikformer", "tiny"): (24_750, 0, 12),
    ("sdt", "tiny"): (24_654, 0, 12),
    ("qkformer", "tiny"): (30_398, 0, 28),
}
SIZED = [name for name in models.names() if "size" in models.get(name).options]
SIDES = {"dvs_gesture_net": 32}


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
    ],
)
def test_parameters_for_a_hundred_classes(
    name: str, size: str, published: int, unused: int
) -> None:
    assert parameters(meta(name, size=size, num_classes=100)) == published - unused


def small(name: str, timesteps: int, **options: object) -> tuple[nn.Module, Tensor, Tensor]:
    """A tiny network that spikes everywhere, and a batch of three."""
    torch.manual_seed(0)
    model = models.build(name, size="tiny", **options).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 1.5, 3)  # potentials of a step reach the threshold
            nn.init.normal_(module.bias, std=0.5)
    side, channels = SIDES.get(name, 16), next(model.parameters()).shape[1]
    x = torch.randn(timesteps, 3, channels, side, side, dtype=torch.float64) * 2
    return model, x, torch.arange(3)


def step(method: str, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    result = ratebp.methods.get(method).bind(model, len(x)).step(x, y)
    got = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return {"logits": result.logits, **got}


def errors(got: dict[str, Tensor], want: dict[str, Tensor]) -> dict[str, float]:
    """Relative errors; a bias in front of a batch norm has no gradient but rounding."""
    assert got.keys() == want.keys()
    largest = max(float(each.norm()) for each in want.values())
    size = {n: float(each.norm()) for n, each in want.items()}
    scale = {n: norm if norm > 1e-12 * largest else largest for n, norm in size.items()}
    return {n: float((got[n] - want[n]).norm()) / scale[n] for n in want}


@pytest.mark.parametrize("name", SIZED)
def test_at_one_step_they_equal_bptt(name: str) -> None:
    case = small(name, 1, attention_threshold=0.1)  # or the tiny ones' masks are silent
    want = step("bptt_m", *case)
    assert all(float(g.norm()) > 1e-6 for n, g in want.items() if n.endswith("weight"))
    for method in ("bptt_s", "rate_m", "rate_s", "sltt"):
        found = errors(step(method, *case), want)
        assert {n: e for n, e in found.items() if not e < 1e-12} == {}, method


def every_method_on_every_network() -> list[Any]:
    """One method on every network and every method on one run by default, the others as matrix."""
    found = []
    for name, method in product(SIZED, ratebp.methods.names()):
        marks = () if name == "sdt" or method == "rate_m" else pytest.mark.matrix
        found.append(pytest.param(name, method, marks=marks))
    return found


@pytest.mark.parametrize(("name", "method"), every_method_on_every_network())
def test_every_method_trains_them_or_says_why_not(name: str, method: str) -> None:
    model, x, y = small(name, 2)
    try:
        bound = ratebp.methods.get(method).bind(model, len(x))
        result = bound.step(x, y, context=Updating(model))
    except ratebp.BindError as refusal:
        pytest.skip(str(refusal))
    assert torch.isfinite(result.loss)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
