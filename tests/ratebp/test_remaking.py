"""Norms of SLTT that convolve again in the backward: the same training, half of what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

import ratebp
from harness.trial.exact.tracker import LiveBytes
from ratebp.rules.sharing.remaking import RemakingNorm

CHOICES = ("kept", "recomputed")
T = 3


def model(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    made = ratebp.models.build("tiny_resnet", num_classes=10, in_channels=3).to(dtype)
    for norm in made.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
    return made


def images(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return ratebp.direct(torch.randn(4, 3, 16, 16, dtype=dtype), T), torch.arange(4)


def trained(net: nn.Module, choice: str, x: Tensor, y: Tensor) -> list[Tensor]:
    bound = ratebp.methods.get("sltt", pre_activations=choice).bind(net, T)
    logits = bound.step(x, y).logits
    return [logits, *(p.grad for p in net.parameters() if p.grad is not None), *net.buffers()]


def test_every_norm_behind_a_convolution_is_remade() -> None:
    net = model()
    bound = ratebp.methods.get("sltt", pre_activations="recomputed").bind(net, T)
    remade = [
        m for m in bound.views(images()[0])["net"].module.modules() if isinstance(m, RemakingNorm)
    ]
    assert len(remade) == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) > 4


@pytest.mark.parametrize("frozen", [False, True])
def test_norms_that_follow_the_batch_or_do_not(frozen: bool) -> None:
    outcomes = []
    for choice in CHOICES:
        net = model()
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.train(not frozen)
        outcomes.append(trained(net, choice, *images()))
    for a, b in zip(*outcomes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_under_autocast_norms_keep_what_they_kept() -> None:
    outcomes = []
    for choice in CHOICES:
        net = model(torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            outcomes.append(trained(net, choice, *images(torch.float32)))
    for a, b in zip(*outcomes, strict=True):
        assert torch.equal(a, b)


def test_half_is_kept() -> None:
    stored = {}
    for choice in CHOICES:
        net, (x, y) = model(torch.float32), images(torch.float32)
        bound = ratebp.methods.get("sltt", pre_activations=choice).bind(net, T)
        bound.step(x, y)
        grads = [p.grad for p in net.parameters() if p.grad is not None]
        tracker = LiveBytes([*net.parameters(), *net.buffers(), *grads, x, y])

        class Context(ratebp.StepContext):
            @contextmanager
            def phase(self, name: str, tracker: LiveBytes = tracker) -> Iterator[None]:
                with tracker.phase(name):
                    yield

        with tracker:
            bound.step(x, y, context=Context())
        stored[choice] = tracker.at_entry("backward")
    assert stored["recomputed"] < 0.55 * stored["kept"]
