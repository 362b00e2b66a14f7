"""Feedback from a later layer, one time step late: exact by BPTT, by traces online, and VGG-F."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp import LIF, Delay
from ratebp.activity import firing_rates
from ratebp.errors import BindError, OptionError, UnboundError

from .reference_neurons import fire
from .test_neurons_adaptive import reset

RESETS = list(itertools.product(("soft", "hard"), (True, False)))
TRAINING = {"bptt_s", "ottt_a", "ottt_o", "sltt", "sltt_k", "tbptt"}


class Loop(nn.Module):
    """7 -> 6 -> 5 -> 3, the spikes of the second layer fed back to the first."""

    def __init__(self, kind: str = "soft", detach: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.out = nn.Linear(7, 6), nn.Linear(6, 5), nn.Linear(5, 3)
        self.back = nn.Linear(5, 6)
        self.first = LIF(0.7, 0.8, kind, detach, "atan", 2.0)
        self.second = LIF(0.7, 0.8, kind, detach, "atan", 2.0)
        self.delay = Delay()
        with torch.no_grad():
            for layer in (self.one, self.two, self.back):
                layer.weight.mul_(2.5)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        late = self.delay()
        current = self.one(x) if late is None else self.one(x) + self.back(late)
        spikes = self.second(self.two(self.first(current)))
        self.delay.keep(spikes)
        return self.out(spikes)

    def outputs(self, x: Tensor) -> list[Tensor]:
        """The same as plain autograd, written out."""
        d = self.first.dynamics
        rest = [torch.zeros(x.shape[1], n, dtype=x.dtype) for n in (6, 5)]
        outs: list[Tensor] = []
        s2: Tensor | None = None
        for now in x:
            current = self.one(now) if s2 is None else self.one(now) + self.back(s2)
            u1 = d.decay * rest[0] + current
            s1 = fire(u1 - d.threshold)
            u2 = d.decay * rest[1] + self.two(s1)
            s2 = fire(u2 - d.threshold)
            pairs = ((u1, s1), (u2, s2))
            rest = [reset(u, s, d.reset, d.detach_reset, d.threshold) for u, s in pairs]
            outs.append(self.out(s2))
        return outs


def data(timesteps: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 2 * torch.randn(timesteps, 4, 7, dtype=torch.float64), torch.arange(4) % 3


def gradients(method: str, model: nn.Module, x: Tensor, y: Tensor, **options: Any) -> Any:
    model.zero_grad()
    bound = ratebp.methods.get(method, **options).bind(model, len(x))
    loss = bound.step(x, y).loss
    return loss, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("timesteps", [1, 2, 5])
@pytest.mark.parametrize(("kind", "detach"), RESETS)
def test_bptt_is_the_gradient_of_the_written_out_loop(
    timesteps: int, kind: str, detach: bool
) -> None:
    model, (x, y) = Loop(kind, detach), data(timesteps)
    for name, options in (
        ("bptt_s", {"loss_mode": "per_step"}),
        ("tbptt", {"window": timesteps}),
    ):
        loss, found = gradients(name, model, x, y, **options)
        model.zero_grad()
        want = torch.stack([F.cross_entropy(out, y) for out in model.outputs(x)]).mean()
        want.backward()
        torch.testing.assert_close(loss, want.detach(), rtol=1e-12, atol=0)
        for path, parameter in model.named_parameters():
            if parameter.grad is None:
                assert timesteps == 1
                assert path.startswith("back.")  # nothing was fed back yet
                assert path not in found
                continue
            assert parameter.grad.any(), path
            torch.testing.assert_close(found[path], parameter.grad, rtol=1e-11, atol=1e-13)


def online(model: Loop, x: Tensor, y: Tensor, decay: float) -> dict[str, Tensor]:
    """Gradients of the synapses that see the past by traces of `decay`, written out."""
    d, alpha = model.first.dynamics, torch.pi
    rest = [torch.zeros(x.shape[1], n, dtype=x.dtype) for n in (6, 5)]
    traces: dict[str, Tensor | float] = dict.fromkeys(("one", "two", "out", "back"), 0.0)
    found = {name: torch.zeros_like(getattr(model, name).weight) for name in traces}
    late: Tensor | None = None
    with torch.no_grad():
        for now in x:
            current = model.one(now) if late is None else model.one(now) + model.back(late)
            u1 = d.decay * rest[0] + current
            s1 = (u1 >= d.threshold).double()
            u2 = d.decay * rest[1] + model.two(s1)
            s2 = (u2 >= d.threshold).double()
            delta = (torch.softmax(model.out(s2), 1) - F.one_hot(y, 3)) / (len(y) * len(x))
            g2 = delta @ model.out.weight / (1 + (alpha * (u2 - d.threshold)) ** 2)
            g1 = g2 @ model.two.weight / (1 + (alpha * (u1 - d.threshold)) ** 2)
            pairs = [("one", now, g1), ("two", s1, g2), ("out", s2, delta)]
            for name, source, g in pairs + ([] if late is None else [("back", late, g1)]):
                trace = traces[name] = decay * traces[name] + source
                found[name] += g.T @ trace
            rest = [u - d.threshold * s for u, s in ((u1, s1), (u2, s2))]
            late = s2
    return found


@pytest.mark.parametrize(("method", "decay"), [("sltt", 0.0), ("ottt_a", 0.7)])
def test_online_methods_cut_the_feedback_in_time_and_trace_it_like_any_input(
    method: str, decay: float
) -> None:
    model, (x, y) = Loop(), data(5)
    found = gradients(method, model, x, y)[1]
    for name, want in online(model, x, y, decay).items():
        assert want.any(), name
        torch.testing.assert_close(found[f"{name}.weight"], want, rtol=1e-11, atol=1e-13)


def test_k_drawn_steps_and_updates_within_a_batch_take_it_too() -> None:
    model, (x, y) = Loop(), data(4)
    every, drawn = gradients("sltt", model, x, y), gradients("sltt_k", model, x, y, k=4)
    for path, want in every[1].items():
        torch.testing.assert_close(drawn[1][path], want, rtol=1e-12, atol=1e-14)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.back.weight.detach().clone()
    bound = ratebp.methods.get("ottt_o").bind(model, 4)
    bound.step(x, y, context=ratebp.StepContext(optimizer))
    assert not torch.equal(model.back.weight, before)


def test_inference_feeds_back_and_counts_no_firing_of_the_delay() -> None:
    model, (x, _) = Loop(), data(6)
    want = torch.stack(model.outputs(x)).mean(0)
    torch.testing.assert_close(ratebp.infer(model, x), want.detach(), rtol=1e-12, atol=1e-13)
    rates = firing_rates(model, x, layout="single")
    assert rates.keys() == {"first", "second"}
    assert all(0 < rate.mean() < 1 for rate in rates.values())


@pytest.mark.parametrize("method", ratebp.methods.names())
def test_every_other_method_refuses_it_by_name(method: str) -> None:
    chosen = ratebp.methods.get(method)
    if method in TRAINING:
        assert chosen.bind(Loop(), 4).timesteps == 4
        return
    with pytest.raises(BindError, match=r"Delay at `delay`.*Leave.*or train with bptt_s\."):
        chosen.bind(Loop(), 4)


def test_unbound_it_refuses_both_ends() -> None:
    for call in (Delay(), lambda: Delay().keep(torch.zeros(1))):
        with pytest.raises(UnboundError, match="Delay has no dynamics"):
            call()
    with pytest.raises(OptionError, match="neuron of a Recurrent is Delay"):
        ratebp.Recurrent(nn.Linear(2, 2), Delay())


def vgg_f(**options: Any) -> Any:
    torch.manual_seed(3)
    options["neuron"] = {"decay": 0.5, "threshold": 0.25}  # so that all layers spike
    return ratebp.models.build("ottt_vgg11", width=1 / 16, num_classes=4, **options).double()


def test_vgg_f_starts_as_the_network_without_feedback() -> None:
    """Its feedback weights start at 0, and its other weights are drawn as those of the other."""
    x, y = ratebp.direct(2 * torch.randn(3, 3, 16, 24).double(), 3), torch.arange(3)
    with_feedback, without = vgg_f(feedback=True), vgg_f()
    added = {name for name, _ in with_feedback.named_parameters() if name.startswith("back.")}
    assert added == {"back.weight", "back.bias"}
    assert with_feedback.back.weight.shape == (4, 32, 3, 3)
    assert with_feedback.up.scale_factor == 8
    loss, found = gradients("ottt_a", with_feedback, x, y)
    other, want = gradients("ottt_a", without, x, y)
    assert torch.equal(loss, other)
    assert found["back.weight"].any()
    mine = [g for name, g in found.items() if name not in added]
    for got, wanted in zip(mine, want.values(), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-15)


def test_vgg_f_feeds_back_what_its_last_layer_sent_on_a_step_before() -> None:
    model = vgg_f(feedback=True)
    nn.init.normal_(model.back.weight, std=0.5)
    x = torch.randn(2, 3, 16, 16).double()
    heard: list[Tensor] = []
    sent: list[Tensor] = []
    original, head = model.up.forward, model.head[0].forward
    model.up.forward = lambda late: heard.append(late) or original(late)
    model.head[0].forward = lambda signal: sent.append(signal) or head(signal)
    ratebp.infer(model, ratebp.direct(x, 4))
    assert len(heard) == 3
    assert len(sent) == 4
    for late, signal in zip(heard, sent, strict=False):
        assert torch.equal(late, signal)
        assert set(signal.unique().tolist()) <= {0.0, 2.74}
    assert any(signal.any() for signal in sent[:-1])


def test_the_option_is_checked() -> None:
    with pytest.raises(OptionError, match=r"feedback of model 'ottt_vgg11' is 1.*true or false"):
        ratebp.models.build("ottt_vgg11", feedback=1)
