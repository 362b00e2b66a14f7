"""What changes after bind is followed, or refused by name; nothing is ignored."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import ratebp
from ratebp.checks import Snapshot
from ratebp.errors import StaleViewError
from ratebp.neurons import MaskedPSN
from ratebp.testing import seeded_step

from .by_hand import EVERY, STEPS, assert_close, data, found, loop, small, step


class Model(nn.Module):
    """A network with what a forward may hold: settings, tensors, lists, an object."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.n, self.l = nn.Linear(5, 6), nn.BatchNorm1d(6), ratebp.LIF(0.9, 0.3)
        self.blocks = nn.Sequential(nn.Linear(6, 6), ratebp.LIF(0.9, 0.3))
        self.drop, self.h = nn.Dropout(0.5), nn.Linear(6, 4)
        self.scale, self.scales = 1.0, [1.0, 1.0]
        self.mask = torch.ones(6)
        self.settings: dict[str, Any] = {"scale": 1.0}
        self.held = type("Held", (), {})()
        self.held.scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.blocks(self.l(self.n(self.a(x))) * self.mask))
        scale = self.scale * self.scales[0] * self.settings["scale"] * self.held.scale
        out: Tensor = self.h(x) * scale
        return out


def hook(*_: Any) -> None:
    """Do nothing."""


CHANGES: dict[str, tuple[Callable[[Model], Any], str]] = {
    "a head replaced": (lambda m: setattr(m, "h", nn.Linear(6, 4).double()), "`h` was replaced"),
    "a neuron replaced": (lambda m: setattr(m, "l", ratebp.LIF()), "`l` was replaced"),
    "a container's child": (lambda m: m.blocks.__setitem__(0, nn.Linear(6, 6)), r"`blocks\.0`"),
    "a child appended": (lambda m: m.blocks.append(nn.Linear(6, 6)), r"`blocks\.2` was added"),
    "a child deleted": (lambda m: m.blocks.__delitem__(1), r"`blocks\.1` was removed"),
    "a module added": (lambda m: m.add_module("new", nn.ReLU()), "`new` was added"),
    "dropout": (lambda m: setattr(m.drop, "p", 0.0), r"`drop\.p` was changed from 0.5 to 0.0"),
    "momentum": (lambda m: setattr(m.n, "momentum", 0.5), r"`n\.momentum`"),
    "eps": (lambda m: setattr(m.n, "eps", 1e-2), r"`n\.eps`"),
    "dynamics": (lambda m: setattr(m.l, "dynamics", ratebp.LIF(0.5).dynamics), r"`l\.dynamics`"),
    "an attribute": (lambda m: setattr(m, "scale", 2.0), r"`scale` was changed from 1.0 to 2.0"),
    "an attribute made": (lambda m: setattr(m, "fresh", 2.0), "`fresh` was added"),
    "an attribute removed": (lambda m: delattr(m, "scale"), "`scale` was removed"),
    "a list in place": (lambda m: m.scales.__setitem__(0, 2.0), "`scales` was changed in place"),
    "a dict in place": (lambda m: m.settings.update(scale=2.0), "`settings` was changed"),
    "an object in place": (lambda m: setattr(m.held, "scale", 2.0), "`held` was changed"),
    "a tensor replaced": (lambda m: setattr(m, "mask", torch.zeros(6)), "`mask` was changed"),
    "forward replaced": (lambda m: setattr(m.h, "forward", torch.relu), r"`h\.forward` was added"),
    "a parameter replaced": (
        lambda m: setattr(m.h, "bias", nn.Parameter(torch.zeros(4))),
        r"`h\.bias` was replaced",
    ),
    "a parameter removed": (lambda m: setattr(m.h, "bias", None), r"`h\.bias` was replaced"),
    "a parameter made": (
        lambda m: m.register_parameter("p", nn.Parameter(torch.zeros(1))),
        "`p` was added",
    ),
    "a buffer made": (lambda m: m.register_buffer("q", torch.zeros(1)), "`q` was added"),
    "parametrized": (lambda m: parametrizations.weight_norm(m.h), "`h` became a Parametrized"),
    "a hook": (lambda m: m.blocks.register_forward_hook(hook), "hooks were registered at `blocks`"),
    "a pre-hook": (lambda m: m.l.register_forward_pre_hook(hook), "hooks were registered at `l`"),
    "a backward hook": (lambda m: m.h.register_full_backward_hook(hook), "registered at `h`"),
    "another type": (
        lambda m: m.n.to(torch.float32),
        r"`n\.running_mean` was replaced.*bind again",
    ),
}


@pytest.mark.deep_but("bptt_m", "rate_m")
@pytest.mark.parametrize("name", EVERY)
def test_a_change_that_no_view_follows_is_refused_and_named(name: str) -> None:
    x, y = data(STEPS, 3, 5)
    for change, says in CHANGES.values():
        model = network(name)
        bound = ratebp.methods.get(name).bind(model, STEPS)
        seeded_step(bound, x, y)
        if change_fits(model, change):
            with pytest.raises(StaleViewError, match=says):
                seeded_step(bound, x, y)
            with pytest.raises(StaleViewError, match=says):
                bound.plain(x)


SIMPLE = ("bptt_ckpt", "eprop", "ndot_a", "ndot_o")
"""What refuses the dropout or the plain tensor of `Model`."""


def network(name: str) -> Any:
    model = Model().double()
    if not ratebp.methods.get(name).info.norms or name in SIMPLE:
        model = nn.Sequential()  # what these take: no norm, no dropout, no product
        model.a, model.l = nn.Linear(5, 6), ratebp.LIF(0.9, 0.3)
        model.h, model.scale, model.scales = nn.Linear(6, 4), 1.0, [1.0]
        model.settings, model.mask = {}, torch.ones(6)
        model = model.double()
    return model


def change_fits(model: Any, change: Callable[[Any], Any]) -> bool:
    try:
        change(model)
    except (AttributeError, IndexError, TypeError):
        return False
    return True


def test_in_plain_the_first_view_is_of_the_model_that_was_bound() -> None:
    model = small()
    bound = ratebp.methods.get("bptt_s").bind(model, STEPS)
    model[4] = nn.Linear(6, 4).double()
    with pytest.raises(StaleViewError, match="`4` was replaced"):
        bound.plain(data(STEPS, 3, 5)[0])


@pytest.mark.parametrize("name", ["ann", "os", "sfa"])
def test_a_prediction_of_another_network_than_was_trained_is_refused(name: str) -> None:
    model = small()
    bound = ratebp.methods.get(name).bind(model, STEPS)
    model[1].dynamics = ratebp.LIF(threshold=2.0).dynamics
    with pytest.raises(StaleViewError, match=r"`1\.dynamics`"):
        bound.infer(data(STEPS, 3, 5)[0])


@pytest.mark.parametrize("name", EVERY)
def test_values_modes_and_gradient_flags_are_followed(name: str) -> None:
    x, y = data(STEPS, 3, 5)
    model = small()
    bound = ratebp.methods.get(name).bind(model, STEPS)
    seeded_step(bound, x, y)
    other = small()
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.5)
    model.load_state_dict(other.state_dict())
    model[0].weight.data = model[0].weight.data.flip(0).contiguous()  # as an averaging swap does
    for p in (model[0].bias, model[2].weight):
        p.requires_grad_(False)
    model.scale = [1]  # an attribute, put back as an equal one
    del model.scale
    model.eval()
    model.zero_grad()
    seeded_step(bound, x, y)
    got = found(model)
    assert got.keys() == {n for n, p in model.named_parameters() if p.requires_grad}
    step(name, model, x, y)
    assert_close(got, found(model))


def test_what_was_put_back_is_no_change() -> None:
    x, y = data(STEPS, 3, 5)
    model = Model().double()
    bound = ratebp.methods.get("bptt_s").bind(model, STEPS)
    head = model.h
    model.h = nn.Linear(6, 4).double()
    model.h = head
    model.scale, model.scales = 2.0 / 2, [1.0, 1.0]
    handle = model.l.register_forward_hook(hook)
    handle.remove()
    seeded_step(bound, x, y)


def test_a_plain_tensor_is_shared_as_parameters_are() -> None:
    x, y = data(STEPS, 3, 5)
    model = Model().double().eval()
    bound = ratebp.methods.get("bptt_s").bind(model, STEPS)
    model.mask.mul_(torch.tensor([1.0, 0, 1, 0, 1, 0]))
    seeded_step(bound, x, y)
    got = found(model)
    assert_close(got, loop(model, x, y)[1])
    assert float(model.blocks[0].weight.grad[:, 1].abs().max()) == 0


def test_masking_follows() -> None:
    x, y = data(STEPS, 3, 5)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), MaskedPSN(STEPS, 2), nn.Linear(6, 4)).double()
    bound = ratebp.methods.get("bptt_m").bind(model, STEPS)
    model[1].mask(0.25)
    seeded_step(bound, x, y)
    got = found(model)
    step("bptt_m", model, x, y)
    assert_close(got, found(model))


def test_a_snapshot_looks_at_each_module_and_says_one_thing() -> None:
    model = ratebp.models.build("resnet18", num_classes=10, in_channels=3, width=0.125)
    snapshot = Snapshot(model)
    snapshot.refuse_changes()
    for path, module in list(model.named_modules()):
        module.extra = 1
        place = re.escape(f"{path}.extra" if path else "extra")
        with pytest.raises(StaleViewError, match=f"^`{place}` was added after bind"):
            snapshot.refuse_changes()
        del module.extra
    snapshot.refuse_changes()
