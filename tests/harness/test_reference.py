"""The frozen reference: its gradients, its version, and what it leaves alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from harness.spec import Cell, Choice
from harness.trial import reference
from harness.trial.bench import build
from harness.trial.exact.tracker import LiveBytes
from harness.trial.probe import Bench, Neuron, unwatched
from harness.trial.reference import REFERENCE_VERSION, Reference

PINNED = {1: "42aa842f245dbe3beb4b2773e983df214f45967586a363685c4bb81b77d7e768"}
"""By version: SHA-256 of the module, less the lines that say where it imports words from.

A new text needs a new version; old lines stay.
"""


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Building a bench sets the number of threads of its process; here it is the tests' own."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def built(model: str = "tiny_resnet", method: str = "rate_m", **neuron: Any) -> Bench:
    data = {"tiny_resnet": "digits", "vgg11": "fashion-mini"}[model]
    options = {"width": 0.13, "neuron": neuron}
    return build(
        Cell(Choice.make(method), Choice.make(model, options), data, 3, 5, dtype="float64")
    )


def yardstick(bench: Bench) -> Reference:
    return Reference(bench.model, bench.neurons, bench.cell.T)


def grads(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_an_edit_of_the_reference_raises_its_version() -> None:
    lines = Path(reference.__file__).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("from harness."))
    assert PINNED[REFERENCE_VERSION] == hashlib.sha256(text.encode()).hexdigest(), (
        "trial/reference.py is frozen: raise REFERENCE_VERSION and add the new hash to PINNED"
    )


@pytest.mark.parametrize("model", ["tiny_resnet", "vgg11"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_its_gradients_are_those_of_multi_step_bptt(model: str, reset: str) -> None:
    bench = built(model, reset=reset, decay=0.6, threshold=0.7)
    ours = yardstick(bench)
    loss = ours.gradient(bench.x, bench.y, unwatched)
    expected = bench.gradient("bptt_m", bench.x, bench.y)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    found, wanted = grads(ours.model), grads(bench.model)
    assert found.keys() == wanted.keys() == dict(bench.model.named_parameters()).keys()
    # Of all: the bias of a convolution in front of a norm has no gradient, only rounding.
    scale = max(float(grad.abs().max()) for grad in wanted.values())
    for name, grad in wanted.items():
        torch.testing.assert_close(found[name], grad, rtol=1e-9, atol=1e-12 * scale)
    for name, buffer in bench.model.named_buffers():  # batch norm saw T*B samples at once
        torch.testing.assert_close(ours.model.get_buffer(name), buffer)


def test_the_surrogate_is_the_sigmoid_whatever_the_network_says() -> None:
    found = []
    for surrogate in ("sigmoid", "triangle"):
        bench = built(surrogate=surrogate, detach_reset=surrogate == "sigmoid")
        ours = yardstick(bench)
        ours.gradient(bench.x, bench.y, unwatched)
        found.append(grads(ours.model))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert any(grad.any() for grad in found[0].values())


def test_a_step_is_momentum_sgd_and_leaves_the_model_alone() -> None:
    bench = built()
    before = {k: v.clone() for k, v in bench.model.state_dict().items()}
    ours = yardstick(bench)
    velocity = {name: torch.zeros_like(p) for name, p in ours.model.named_parameters()}
    for _ in range(2):
        twin = Reference(ours.model, (), bench.cell.T)  # its neurons are replaced already
        twin.gradient(bench.x, bench.y, unwatched)
        wanted = {}
        for name, p in twin.model.named_parameters():
            assert p.grad is not None
            velocity[name] = 0.9 * velocity[name] + p.grad
            wanted[name] = p.detach() - 1e-3 * velocity[name]
        ours.step(bench.x, bench.y, unwatched)
        torch.testing.assert_close(dict(ours.model.named_parameters()), wanted)
    assert not any(grad.any() for grad in grads(ours.model).values())
    assert grads(bench.model) == {}
    torch.testing.assert_close(bench.model.state_dict(), before, rtol=0, atol=0)


def test_nothing_is_alive_between_two_steps() -> None:
    bench = built()
    ours = yardstick(bench)
    ours.step(bench.x, bench.y, unwatched)
    tracker = LiveBytes()
    with tracker:
        loss = ours.step(bench.x, bench.y, tracker.phase)
        assert tracker.live == loss.untyped_storage().nbytes()
    assert tracker.peak("backward") > 0
    assert loss.grad_fn is None


class Names(TorchDispatchMode):
    """Notes which operators run."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(str(func))
        return func(*args, **(kwargs or {}))


def test_the_backward_is_linear_in_time() -> None:
    bench = built()
    ours = yardstick(bench)
    with Names() as names:
        ours.step(bench.x, bench.y, unwatched)
    assert "aten.unbind.int" in names.seen
    assert not {name for name in names.seen if "select_backward" in name}


class Tied(nn.Module):
    """One spiking layer at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.outer = nn.Linear(6, 3)
        self.first = self.second = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.outer(self.second(self.inner(self.first(x))))
        return out


def test_a_layer_that_stands_at_two_places_is_replaced_at_both() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(4, 5, 6), torch.arange(5) % 3
    model = Tied()
    ours = Reference(model, [Neuron("first", 0.5, 0.4, "soft")], 4)
    assert ours.model.first is ours.model.second
    loss = ours.gradient(x, y, unwatched)

    def spikes(current: Tensor) -> Tensor:
        u, out = torch.zeros_like(current[0]), []
        s = torch.zeros_like(u)
        for now in current:
            u = 0.5 * (u - 0.4 * s) + now
            s = (u >= 0.4).to(u.dtype)
            out.append(s)
        return torch.stack(out)

    logits = model.outer(spikes(model.inner(spikes(x))))
    torch.testing.assert_close(loss, cross_entropy(logits.mean(0), y).detach())


def test_under_autocast_synapses_are_bfloat16_and_potentials_are_not() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Identity(), nn.Linear(8, 3))
    ours = Reference(model, [Neuron("1", 0.5, 1.0, "soft")], 2, autocast=True)
    seen: dict[str, set[torch.dtype]] = {"addmm": set(), "ge": set()}

    class Types(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            name = func._overloadpacket.__name__
            if name in seen:
                seen[name] |= {arg.dtype for arg in args if isinstance(arg, Tensor)}
            return func(*args, **(kwargs or {}))

    with Types():
        ours.step(torch.randn(2, 5, 6), torch.arange(5) % 3, unwatched)
    assert seen == {"addmm": {torch.bfloat16}, "ge": {torch.float32}}
