"""NIR graphs become ours, and ours become NIR graphs."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ratebp
from ratebp import LIF
from tests.ratebp.importers.packages import package

nir = package("nir")

DT = 1e-4


def lif(tau=2 * DT, r=2.0, leak=0.0, threshold=0.7, reset=0.0, n=5):
    constants = (tau, r, leak, threshold, reset)
    return nir.LIF(*(np.full(n, each, dtype=float) for each in constants))


def graph(*between, n=4):
    """A chain of nodes behind 4 inputs."""
    nodes = {"input": nir.Input({"input": np.array([n])})}
    nodes |= {f"node.{k}": node for k, node in enumerate(between)}
    nodes["output"] = nir.Output({"output": np.array([5])})
    names = [*nodes]
    return nir.NIRGraph(nodes, [*itertools.pairwise(names)], type_check=False)


def affine():
    rng = np.random.default_rng(0)
    return nir.Affine(rng.normal(size=(5, 4)), rng.normal(size=5))


def quiet(*args, **kwargs):
    return ratebp.from_nir(*args, show=None, **kwargs)


def by_equation(nodes, x, decay, gain, reset):
    """Simulate an affine layer and one neuron layer by hand; return the mean of its spikes."""
    weight, node = nodes
    v, spikes = np.zeros((x.shape[1], 5)), []
    for now in x.numpy():
        v = decay * v + gain * (now @ weight.weight.T + weight.bias)
        s = (v > node.v_threshold).astype(float)
        v = v * (1 - s) if reset == "hard" else v - node.v_threshold * s
        spikes.append(s)
    return torch.tensor(np.mean(spikes, 0))


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize(("integrator", "decay"), [("euler", 0.5), ("exact", np.exp(-0.5))])
def test_spikes_are_those_of_the_equations(reset, integrator, decay):
    nodes = affine(), lif()
    ours = quiet(graph(*nodes), DT, reset, integrator).double()
    x = 2 * torch.rand(6, 3, 4, dtype=torch.float64)
    nodes[0].weight = nodes[0].weight.astype(np.float32).astype(float)
    nodes[0].bias = nodes[0].bias.astype(np.float32).astype(float)
    wanted = by_equation(nodes, x, decay, 2.0 * (1 - decay), reset)
    assert 0 < wanted.mean() < 1
    assert torch.equal(ratebp.infer(ours, x), wanted)


def test_an_undecayed_reset_can_be_said():
    ours = quiet(graph(affine(), lif()), DT, "soft_undecayed", "euler")
    assert any(isinstance(m, ratebp.UndecayedLIF) for m in ours.modules())


def test_rest_and_reset_at_another_potential():
    ours = quiet(graph(affine(), lif(leak=-0.2, reset=-0.2)), DT, "hard", "euler")
    (neuron,) = (m for m in ours.modules() if isinstance(m, LIF))
    assert neuron.dynamics.threshold == pytest.approx(0.9)


def model(reset="hard", decay=0.5):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, stride=2),
        LIF(decay, 0.3, reset),
        nn.AvgPool2d(2),
        nn.Conv2d(3, 4, 1, bias=False),
        LIF(1.0, 0.2, reset),
        nn.Flatten(),
        nn.Linear(16, 6, bias=False),
        LIF(0.25, 0.1, reset),
        nn.Linear(6, 3),
    )


@pytest.mark.parametrize("integrator", ["euler", "exact"])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_there_and_back_through_a_file(tmp_path, integrator, reset):
    net = model(reset)
    written = ratebp.to_nir(net, (2, 8, 8), dt=1e-3, integrator=integrator)
    nir.write(tmp_path / "net.nir", written)
    back = quiet(tmp_path / "net.nir", 1e-3, reset, integrator)
    x = 2 * torch.rand(4, 3, 2, 8, 8)
    wanted = ratebp.infer(net, x)
    assert wanted.std() > 0
    torch.testing.assert_close(ratebp.infer(back, x), wanted, rtol=1e-6, atol=1e-6)
    thresholds = [m.dynamics.threshold for m in back.modules() if isinstance(m, LIF)]
    assert thresholds == pytest.approx([0.3, 0.2, 0.1])


def test_an_imported_graph_trains_by_every_layout():
    net = quiet(ratebp.to_nir(model("soft"), (2, 8, 8)), DT, "soft", "euler")
    x, y = torch.rand(4, 3, 2, 8, 8), torch.tensor([0, 1, 2])
    for method in ("bptt_m", "bptt_s", "rate_m", "sltt"):
        ratebp.methods.get(method).bind(net, 4).step(x, y, loss=F.cross_entropy)
    assert all(p.grad is not None for p in net.parameters())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.s, self.b, self.t = nn.Linear(4, 4), LIF(0.5, 0.2), nn.Linear(4, 4), LIF()

    def forward(self, x):
        s = self.s(self.a(x))
        return self.t(self.b(s) + s)


def test_sums_are_edges():
    torch.manual_seed(0)
    net = Residual()
    written = ratebp.to_nir(net, (4,))
    assert ("b", "t") in written.edges
    assert ("s", "t") in written.edges
    back = quiet(written, DT, "soft", "euler")
    x = 3 * torch.rand(5, 3, 4)
    torch.testing.assert_close(ratebp.infer(back, x), ratebp.infer(net, x))


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([affine(), nir.CubaLIF(*(np.ones(5) for _ in range(5)))], "CubaLIF"),
        ([affine(), nir.LI(np.ones(5), np.ones(5), np.zeros(5))], "is a LI of NIR"),
        ([affine(), lif(leak=0.1)], "v_leak=0.1.*v_reset=0"),
        ([affine(), lif(tau=DT / 100)], "decay=-99.*in the file's unit"),
        ([affine(), lif(threshold=np.arange(1, 6))], "5 values of v_threshold"),
        ([affine()], "no neuron"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(nodes, words):
    with pytest.raises(ratebp.BindError, match=words):
        quiet(graph(*nodes), DT, "hard", "euler")


def test_a_cycle_is_refused():
    made = graph(affine(), lif(n=5), nir.Linear(np.ones((5, 5))))
    made.edges.append(("node.2", "node.1"))
    with pytest.raises(ratebp.BindError, match=r"cycle.*Recurrent"):
        quiet(made, DT, "hard", "euler")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0, "hard", "euler"), "dt=0"),
        ((DT, "firm", "euler"), "unknown reset of a NIR graph 'firm'"),
        ((DT, "hard", "rk4"), "unknown integrator of a NIR graph 'rk4'"),
    ],
)
def test_what_the_file_does_not_say_is_checked(given, words):
    with pytest.raises(ratebp.OptionError, match=words):
        quiet(graph(affine(), lif()), *given)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm1d(4), ratebp.PLIF(), ratebp.UndecayedLIF(), nn.Softmax(1)]
)
def test_what_nir_has_no_node_for_is_refused(layer):
    with pytest.raises(ratebp.BindError, match=f"{type(layer).__name__} `1`.*no node in NIR"):
        ratebp.to_nir(nn.Sequential(nn.Linear(4, 4), layer, LIF()), (4,))
