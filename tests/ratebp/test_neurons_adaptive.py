"""PLIF and ALIF: value and every gradient against plain autograd loops, and who trains them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp import ALIF, LIF, PLIF, UndecayedLIF
from ratebp.errors import BindError, OptionError
from ratebp.ops import using
from ratebp.rules.neurons.exact import scan_neuron, step_neuron
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

RESETS = list(itertools.product(("soft", "hard"), (True, False)))


def reset(u: Tensor, s: Tensor, kind: str, detach: bool, threshold: float) -> Tensor:
    s = s.detach() if detach else s
    return u - threshold * s if kind == "soft" else u * (1 - s)


def plif_loop(current: Tensor, neuron: Any) -> Tensor:
    d, k = neuron.undecayed, 1 / (1 + torch.exp(-neuron.w))
    rest, spikes = torch.zeros_like(current[0]), []
    for t in range(len(current)):
        u = rest + (current[t] - rest) * k
        s = fire(u - d.threshold)
        rest = reset(u, s, d.reset, d.detach_reset, d.threshold)
        spikes.append(s)
    return torch.stack(spikes)


def alif_loop(current: Tensor, neuron: Any) -> Tensor:
    d = neuron.charging
    rest = a = torch.zeros_like(current[0])
    spikes = []
    for t in range(len(current)):
        u = d.decay * rest + current[t]
        s = fire(u - d.threshold - neuron.adaptation * a)
        rest = reset(u, s, d.reset, d.detach_reset, d.threshold)
        a = neuron.adaptation_decay * a + s
        spikes.append(s)
    return torch.stack(spikes)


def plif(kind: str, detach: bool) -> nn.Module:
    return PLIF(0.5, 0.4, kind, detach).double()


def alif(kind: str, detach: bool) -> nn.Module:
    return ALIF(0.7, 0.8, kind, detach, "atan", 2.0, adaptation=0.3, adaptation_decay=0.6)


def undecayed_loop(current: Tensor, neuron: Any) -> Tensor:
    d = neuron.charging
    u = s = torch.zeros_like(current[0])
    spikes = []
    for t in range(len(current)):
        u = d.decay * u - d.threshold * (s.detach() if d.detach_reset else s) + current[t]
        s = fire(u - d.threshold)
        spikes.append(s)
    return torch.stack(spikes)


def undecayed(kind: str, detach: bool) -> nn.Module:
    return UndecayedLIF(0.7, 0.8, detach)


CASES = [(plif, plif_loop), (alif, alif_loop), (undecayed, undecayed_loop)]
NAMES = ["plif", "alif", "undecayed"]


@pytest.mark.parametrize(("make", "loop"), CASES, ids=NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("kind", "detach"), RESETS)
def test_both_leaves_equal_the_loop(
    make: Any, loop: Any, shape: tuple[int, ...], kind: str, detach: bool
) -> None:
    torch.manual_seed(0)
    current, neuron = 2 * torch.randn(shape, dtype=torch.float64), make(kind, detach)
    want = gradients_of(lambda x: loop(x, neuron), current, neuron)
    scan, step = scan_neuron(neuron, shape[0]), step_neuron(neuron)

    def stepwise(x: Tensor) -> Tensor:
        step.reset()
        return torch.stack([step(now) for now in x.unbind(0)])

    assert_equal(gradients_of(lambda x: scan(x.flatten(0, 1)).view_as(x), current, neuron), want)
    assert_equal(gradients_of(stepwise, current, neuron), want)
    with torch.no_grad():
        assert torch.equal(scan(current.flatten(0, 1)).view(shape), want[0])


@pytest.mark.parametrize(("make", "loop"), CASES, ids=NAMES)
@pytest.mark.parametrize("method", ["bptt_m", "bptt_s"])
def test_a_network_trains_by_exact_gradients(make: Any, loop: Any, method: str) -> None:
    case = with_neurons(lambda: make("soft", False), timesteps=4)
    got, want = network_gradients(method, case), loop_gradients(case, loop)
    assert differences(got, want, 1e-10) == {}
    assert ("lif1.w" in got) == (make is plif)


def test_a_plif_that_does_not_learn_is_a_lif_fed_a_share_of_the_current() -> None:
    torch.manual_seed(0)
    current, share = 3 * torch.randn(6, 5, dtype=torch.float64), 0.3
    neuron = PLIF(1 - share, reset="soft", surrogate="sigmoid", alpha=4.0).double()
    lif = scan_neuron(LIF(1 - share), 6)
    scaled = gradients_of(lambda x: lif(share * x.flatten(0, 1)).view_as(x), current, neuron)
    leaf = scan_neuron(neuron, 6)
    own = gradients_of(lambda x: leaf(x.flatten(0, 1)).view_as(x), current, neuron)
    assert torch.equal(own[0], scaled[0])
    torch.testing.assert_close(own[1]["current"], scaled[1]["current"], rtol=1e-6, atol=1e-8)


def test_an_alif_that_does_not_adapt_is_a_lif_to_the_bit() -> None:
    case = with_neurons(lambda: ALIF(0.5, adaptation=0.0, reset="hard"), timesteps=4)
    same = with_neurons(lambda: LIF(0.5, reset="hard"), timesteps=4)
    for method in ("bptt_m", "bptt_s"):
        with using("torch"):  # an ALIF has no kernels of its own
            got, want = network_gradients(method, case), network_gradients(method, same)
        assert all(torch.equal(got[name], want[name]) for name in want)


def test_alif_by_hand() -> None:
    """A constant current of 1: it fires, then waits until charge overtakes the raised threshold."""
    neuron = ALIF(decay=1.0, adaptation=1.0, adaptation_decay=0.5)
    # u 1, 1, 2, 2, 2; a 0, 1, 0.5, 1.25, 1.625 (falling from 0.625 + 1): levels 1, 2, 1.5, 2.25
    spikes = scan_neuron(neuron, 4)(torch.ones(4, 1))
    assert spikes.flatten().tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    "over", [{"over": "time"}, {"over": "layers"}, {"over": "both", "segment": 2}], ids=str
)
def test_checkpointing_recomputes_a_plif(over: dict[str, Any]) -> None:
    case = with_neurons(lambda: plif("soft", False), timesteps=5)
    want = network_gradients("bptt_s", case)
    assert differences(network_gradients("bptt_ckpt", case, **over), want, 1e-12) == {}


@pytest.mark.parametrize("make", [plif, alif, undecayed], ids=NAMES)
def test_inference_is_the_plain_forward_with_frozen_norms(make: Any) -> None:
    case = with_neurons(lambda: make("soft", True), norm="frozen", timesteps=4)
    bound = ratebp.methods.get("bptt_m").bind(case.model, 4)
    torch.testing.assert_close(
        ratebp.infer(case.model, case.x), bound.plain(case.x), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("make", [plif, alif, undecayed], ids=NAMES)
def test_the_reset_that_runs_under_autocast_integrates_in_float32(make: Any) -> None:
    case = with_neurons(lambda: make("soft", True), dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [network_gradients(name, case) for name in ("bptt_m", "bptt_s")]
    for got in found:
        assert all(g.dtype == torch.float32 and g.isfinite().all() for g in got.values())


@pytest.mark.parametrize("name", sorted(ratebp.methods.names()))
@pytest.mark.parametrize("make", [plif, alif, undecayed], ids=NAMES)
def test_every_method_trains_it_or_names_who_does(name: str, make: Any) -> None:
    case = with_neurons(lambda: make("soft", True))
    method = ratebp.methods.get(name)
    convolutions = name == "eprop"  # behind which it takes no ALIF
    if isinstance(case.model.lif0, method.neurons) and not convolutions:
        assert set(network_gradients(name, case)) == {n for n, _ in case.model.named_parameters()}
    else:
        place = f"{type(case.model.lif0).__name__} at `lif0`.*bptt_m or bptt_s"
        with pytest.raises(BindError, match=place):
            method.bind(case.model, case.timesteps)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PLIF(decay=1.0), r"decay=1.0 must be a number in \(0, 1\)"),
        (lambda: PLIF(reset="firm"), "unknown reset 'firm'"),
        (lambda: ALIF(adaptation=-1.0), "adaptation=-1.0 must be"),
        (lambda: ALIF(adaptation_decay=1.5), "adaptation_decay=1.5 must be"),
        (lambda: ratebp.neurons.make({"type": "pliff"}), "unknown type of neuron.*'plif'"),
        (lambda: ratebp.neurons.make({"type": "plif", "tau": 2}), "unknown setting.*'tau'"),
        (lambda: ratebp.neurons.make({"type": "psn"}), "a psn needs timesteps"),
        (lambda: ratebp.neurons.check(["plif"]), "Legal: a mapping"),
    ],
)
def test_illegal_constants_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()


def test_settings_make_neurons_and_checking_them_draws_nothing() -> None:
    before = torch.get_rng_state()
    for kind, cls in ratebp.neurons.KINDS.items():
        settings: dict[str, Any] = {"type": kind, "threshold": 0.5}
        settings |= {"timesteps": 3} if issubclass(cls, ratebp.PSN) else {}
        ratebp.neurons.check(settings)
        assert torch.equal(torch.get_rng_state(), before)
        assert ratebp.neurons.threshold(settings) == 0.5
        with torch.random.fork_rng(devices=[]):
            assert type(ratebp.neurons.make(settings)) is cls
    assert type(ratebp.neurons.make({"decay": 0.5})) is LIF
    assert ratebp.neurons.threshold({}) == 1.0


@pytest.mark.parametrize("detach", [True, False])
def test_without_a_leak_an_undecayed_reset_is_a_soft_one(detach: bool) -> None:
    case = with_neurons(lambda: UndecayedLIF(1.0, 0.8, detach), timesteps=4)
    same = with_neurons(lambda: LIF(1.0, 0.8, "soft", detach, "atan", 2.0), timesteps=4)
    for method in ("bptt_m", "bptt_s"):
        with using("torch"):  # it has no kernels of its own
            got, want = network_gradients(method, case), network_gradients(method, same)
        assert differences(got, want, 1e-12) == {}
        assert any(g.abs().max() > 0 for g in got.values())


def test_an_undecayed_reset_by_hand() -> None:
    """Decay 1/2, currents 1.5, 1, 0.5: u 1.5, .75 - 1 + 1, .375 + .5; a soft LIF has .25 + 1."""
    current = torch.tensor([[1.5], [1.0], [0.5]])
    assert scan_neuron(UndecayedLIF(0.5), 3)(current).flatten().tolist() == [1, 0, 0]
    assert scan_neuron(LIF(0.5), 3)(current).flatten().tolist() == [1, 1, 0]
