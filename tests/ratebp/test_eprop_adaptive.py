"""E-prop of neurons with an adaptive threshold: against forward-mode differentiation, and BPTT."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jacfwd

import ratebp
from ratebp import ALIF, LIF, Recurrent
from ratebp.errors import BindError
from ratebp.methods.eprop._feedback import feedback_matrix
from ratebp.methods.eprop._leaves import EpropLeaves
from ratebp.rules.neurons.exact import step_neuron
from ratebp.testing import seeded_step
from ratebp.testing.gradients import differences

CONSTANTS = {"decay": 0.6, "threshold": 0.9, "adaptation": 0.4, "adaptation_decay": 0.8}


def alif(**settings: Any) -> ALIF:
    return ALIF(**{**CONSTANTS, **settings})


def hidden(units: int, recurrent: bool, bias: bool = True) -> nn.Module:
    return Recurrent(nn.Linear(units, units, bias=bias), alif()) if recurrent else alif()


def network(*layers: nn.Module) -> Any:
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)  # so that every layer spikes
    return model


def data(timesteps: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 2 * torch.randn(timesteps, 6, 7, dtype=torch.float64), torch.arange(6) % 5


def fired(margin: Tensor) -> Tensor:
    smooth = torch.sigmoid(4 * margin)
    return (margin >= 0).double() + (smooth - smooth.detach())


def run_layer(
    theta: dict[str, Tensor], into: nn.Linear, layer: nn.Module, x: Tensor, heard: Tensor | None
) -> Tensor:
    """The spikes ``[T, B, N]`` of one layer; what it hears of itself is `heard`, a constant."""
    c = CONSTANTS
    names = {n for n, _ in into.named_parameters()}
    first = {n: theta[f"into.{n}"] for n in names}
    inner = {n.removeprefix("back."): t for n, t in theta.items() if n.startswith("back.")}
    u = a = s = torch.zeros(x.shape[1], into.out_features, dtype=torch.float64)
    out = []
    for t, now in enumerate(x):
        current = functional_call(into, first, (now,))
        if isinstance(layer, Recurrent):
            last = s.detach() if heard is None else heard[t]
            current = current + functional_call(layer.synapse, inner, (last,))
        u = c["decay"] * (u - c["threshold"] * s.detach()) + current
        a = c["adaptation_decay"] * a + s
        s = fired(u - c["threshold"] - c["adaptation"] * a)
        out.append(s)
    return torch.stack(out)


def parameters_of(into: nn.Linear, layer: nn.Module) -> dict[str, Tensor]:
    found = {f"into.{n}": p.detach() for n, p in into.named_parameters()}
    if isinstance(layer, Recurrent):
        found |= {f"back.{n}": p.detach() for n, p in layer.synapse.named_parameters()}
    return found


# torch itself scripts its forward-mode rules when they are first used.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("feedback", ["symmetric", "random", "adaptive"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_eprop_of_adaptive_layers_is_forward_mode_differentiation(
    recurrent: bool, feedback: str
) -> None:
    """Spikes differentiated forward in time by every weight of their layer, and nothing assumed."""
    torch.manual_seed(0)
    model = network(nn.Linear(7, 9), hidden(9, recurrent), nn.Linear(9, 8), alif(), nn.Linear(8, 5))
    (x, y), start = data(6), model[4].weight.detach().clone()
    bound = ratebp.methods.get("eprop", feedback=feedback, seed=3).bind(model, 6)
    with torch.no_grad():
        model[4].weight.add_(0.3 * torch.randn_like(start))  # what updates would do
    seeded_step(bound, x, y)

    want: dict[str, Tensor] = {}
    weight = model[4].weight.detach()
    fixed = [feedback_matrix(n, 5, 3 + k, x.device).double() for n, k in ((9, 0), (8, 7919))]
    last = {"symmetric": weight.T, "random": fixed[1], "adaptive": fixed[1] + (weight - start).T}
    spikes = [x]
    jacobians = []
    for index in (0, 2):
        into, layer = model[index], model[index + 1]
        theta = parameters_of(into, layer)
        out = run_layer(theta, into, layer, spikes[-1], None)
        heard = torch.cat((torch.zeros_like(out[:1]), out[:-1]))
        jacobians.append(jacfwd(run_layer)(theta, into, layer, spikes[-1], heard))
        spikes.append(out)
    assert all(0.05 < float(s.mean()) < 0.95 for s in spikes[1:])
    d = (model[4](spikes[-1]).softmax(-1) - F.one_hot(y, 5)).detach() / (len(y) * len(x))
    want["4.weight"] = torch.einsum("tbk,tbj->kj", d, spikes[-1])
    want["4.bias"] = d.sum((0, 1))
    for index, matrix, jacobian in ((0, fixed[0], jacobians[0]), (2, last[feedback], jacobians[1])):
        for name, each in jacobian.items():
            where = name.replace("into", f"{index}").replace("back", f"{index + 1}.synapse")
            want[where] = torch.einsum("tbj,tbj...->...", d @ matrix.T, each)
    got = {n: p.grad for n, p in model.named_parameters()}
    assert differences(got, want, 1e-12) == {}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("recurrent", [False, True])
def test_e13_the_leaves_of_an_adaptive_layer_with_the_total_derivative(
    recurrent: bool, bias: bool
) -> None:
    """E13 of an ALIF layer: with the total derivative for a signal, the gradient of bptt_s."""
    torch.manual_seed(0)
    into, layer = nn.Linear(7, 6, bias=bias), hidden(6, recurrent, bias)
    model = network(into, layer, nn.Linear(6, 5))
    x, y = data(7)
    exact: Any = step_neuron(layer)
    spikes = [exact(into(now)) for now in x]
    sum(F.cross_entropy(model[2](s), y) for s in spikes).backward()
    assert 0.05 < float(torch.stack(spikes).detach().mean()) < 0.95
    names = [n for n, _ in model.named_parameters() if n[0] in "01"]
    want = {n: model.get_parameter(n).grad for n in names}
    model.zero_grad()

    binding = ratebp.methods.get("eprop").bind(model, len(x))._binding
    leaves = EpropLeaves(binding, listens=("1",), ends=("2",), drifts=())
    synapse, neuron = leaves.synapse(into, "0"), leaves.neuron(layer, "1")
    for k, (now, s) in enumerate(zip(x, spikes, strict=True)):
        seen = neuron(synapse(now))
        assert torch.equal(seen, s)
        seen.backward(total_derivative(k, model, x, y))
    got = {n: model.get_parameter(n).grad for n in names}
    assert differences(got, want, 1e-12) == {}


def total_derivative(index: int, model: Any, x: Tensor, y: Tensor) -> Tensor:
    """Return the derivative of the loss by the spikes of step `index`, all later steps included.

    But for the neuron's own threshold: that belongs to the eligibility.
    """
    neuron: Any = step_neuron(model[1])
    loss = torch.zeros((), dtype=torch.float64)
    for k, now in enumerate(x):
        s = neuron(model[0](now))
        if k == index:
            s = chosen = s.detach().requires_grad_()
            neuron.spikes = s  # what a recurrent layer hears next
        loss = loss + F.cross_entropy(model[2](s), y)
    (found,) = torch.autograd.grad(loss, chosen)
    return found


def gradients(model: Any, x: Tensor, y: Tensor, **bind: Any) -> dict[str, Tensor]:
    model.zero_grad()
    seeded_step(ratebp.methods.get("eprop").bind(model, len(x), **bind), x, y)
    return {n: p.grad for n, p in model.named_parameters()}


@pytest.mark.parametrize("recurrent", [False, True])
def test_without_adaptation_it_is_the_lif(recurrent: bool) -> None:
    found = []
    for neuron in (alif(adaptation=0.0), LIF(0.6, 0.9)):
        torch.manual_seed(0)
        layer = Recurrent(nn.Linear(9, 9), neuron) if recurrent else neuron
        found.append(gradients(network(nn.Linear(7, 9), layer, nn.Linear(9, 5)), *data(5)))
    assert differences(*found, 1e-12) == {}


def test_it_compiles_as_one_graph_and_keeps_eligibilities_in_float32() -> None:
    torch.manual_seed(0)
    model = network(nn.Linear(7, 9), hidden(9, True), nn.Linear(9, 5))
    eager = gradients(model, *data(3))
    torch.compiler.reset()
    compiled = gradients(
        model, *data(3), wrap=lambda m, _: torch.compile(m, fullgraph=True, backend="aot_eager")
    )
    assert differences(compiled, eager, 1e-11) == {}
    x, y = data(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = gradients(model.float(), x.float(), y)
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in got.values())


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((nn.Linear(7, 6), nn.BatchNorm1d(6), alif()), r"straight before the ALIF at `2`.*bptt_s"),
        ((nn.Linear(7, 6), nn.Linear(6, 6), alif()), r"straight before the ALIF at `2`"),
        ((nn.Conv1d(7, 6, 1), alif(), nn.Flatten()), r"straight before the ALIF at `1`"),
        (
            (nn.Linear(7, 6), Recurrent(nn.Conv1d(6, 6, 1), alif())),
            r"no influence rule for the Conv1d in the Recurrent at `1`.*bptt_s",
        ),
        ((nn.Linear(7, 6), Recurrent(nn.ReLU(), alif())), r"ReLU connects a Recurrent"),
    ],
)
def test_what_an_adaptive_neuron_of_eprop_may_not_follow(layers: Any, words: str) -> None:
    with pytest.raises(BindError, match=words):
        ratebp.methods.get("eprop").bind(nn.Sequential(*layers, nn.Linear(6, 5)), 2)


def test_layers_of_lif_may_have_norms_and_convolutions_beside_an_adaptive_one() -> None:
    torch.manual_seed(0)
    model = network(
        nn.Conv1d(1, 3, 3), nn.BatchNorm1d(3), LIF(0.6), nn.Flatten(), nn.Linear(15, 9), alif(),
        nn.Linear(9, 5),
    )  # fmt: skip
    x, y = data(4)
    got = gradients(model, x.unsqueeze(2), y)
    assert all(float(g.norm()) > 0 for n, g in got.items() if n.endswith("weight"))
