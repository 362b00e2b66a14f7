"""Models of snnTorch become ours: tuples, potentials handed on, loops over time steps."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ratebp
from ratebp.importers.proof import in_float64
from ratebp.importers.snntorch import from_snntorch, proven
from tests.ratebp.importers.packages import package

snn = package("snntorch")
surrogate = package("snntorch.surrogate")

T, B, NUMBER_OF_STEPS = 4, 3, 4


class Base(nn.Module):
    """The layers of the package's first tutorial, small."""

    def __init__(self, **settings):
        super().__init__()
        settings = {"beta": 0.8} | settings
        self.fc1, self.lif1 = nn.Linear(6, 12), snn.Leaky(**settings)
        self.fc2, self.lif2 = nn.Linear(12, 5), snn.Leaky(**settings)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(2.5)

    def step(self, x, mem1, mem2):
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
        return spk2, mem1, mem2


class Tutorial(Base):
    """Loops over a constant number of steps on one image; returns spikes and potentials."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, potentials = [], []
        for _ in range(NUMBER_OF_STEPS):
            spk2, mem1, mem2 = self.step(x, mem1, mem2)
            spikes.append(spk2)
            potentials.append(mem2)
        return torch.stack(spikes, dim=0), torch.stack(potentials, dim=0)


class OfItsInput(Base):
    """Loops over as many steps as its input has."""

    def forward(self, x):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes = []
        for t in range(x.size(0)):
            spk2, mem1, mem2 = self.step(x[t].view(x.size(1), -1), mem1, mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


class Iterating(Base):
    def forward(self, x):
        mem1 = mem2 = torch.zeros(1)
        spikes = []
        for now in x:
            spk2, mem1, mem2 = self.step(now, mem1, mem2)
            spikes += [spk2]
        return spikes


class Summing(Base):
    def forward(self, x):
        mem1, mem2, total = self.lif1.reset_mem(), self.lif2.reset_mem(), 0
        for _ in range(T):
            spk2, mem1, mem2 = self.step(x.flatten(1), mem1, mem2)
            total = total + spk2
        return total


class Averaging(Base):
    def forward(self, x):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes = []
        for _ in range(T):
            spk2, mem1, mem2 = self.step(x, mem1, mem2)
            spikes.append(spk2)
        return torch.stack(spikes).mean(dim=0)


class Handing(Base):
    """One time step; the caller hands the potentials on."""

    def forward(self, x, mem1=None, mem2=None):
        return self.step(x, mem1, mem2)


def hidden(**settings):
    """One time step; neurons keep their potentials, the last gives it as well."""
    settings = {"beta": 0.8, "init_hidden": True} | settings
    made = nn.Sequential(
        nn.Linear(6, 12),
        snn.Leaky(**settings),
        nn.Linear(12, 5),
        snn.Leaky(**settings, output=True),
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2.5)
    return made


TIMED = {"loop over the input": OfItsInput, "iteration": Iterating}
IMAGE = {"tutorial": Tutorial, "sum": Summing, "mean": Averaging}
SINGLE = {"handed on": Handing, "hidden": hidden}
SETTINGS = {
    "default": {},
    "no leak": {"beta": 1.0},
    "all leaks": {"beta": 0.0},
    "zero": {"reset_mechanism": "zero"},
    "zero at once": {"reset_mechanism": "zero", "reset_delay": False},
    "threshold": {"threshold": 0.6, "spike_grad": surrogate.fast_sigmoid(slope=5)},
    "sigmoid": {"spike_grad": surrogate.sigmoid(slope=4)},
}


def batch(constant=False):
    x = 2 * torch.rand(T, B, 6, generator=torch.Generator().manual_seed(2))
    return x[:1].expand(T, B, 6) if constant else x


def outputs(source, x, kind):
    """Run the source as it is meant to be run; return the mean of its spikes over time."""
    for module in source.modules():
        if isinstance(module, snn.Leaky):
            module.reset_mem()
    if kind in SINGLE:
        return torch.stack([source(now)[0] for now in x]).mean(0)
    out = source(x) if kind in TIMED else source(x[0])
    out = out[0] if kind == "tutorial" else out
    out = torch.stack(out) if isinstance(out, list) else out
    return out if kind in ("sum", "mean") else out.mean(0)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("kind", [*TIMED, *IMAGE, *SINGLE])
def test_loss_and_gradients_are_the_source_s(kind, settings):
    torch.manual_seed(0)
    source = ({**TIMED, **IMAGE, **SINGLE})[kind](**settings)
    ours = copy.deepcopy(from_snntorch(source, batch(), show=None)).double()
    source = source.double()
    for module in source.modules():
        if isinstance(module, snn.Leaky):  # its spike functions give float32
            module.register_forward_hook(lambda module, given, out: in_float64(out))
    x, y = batch(constant=kind in IMAGE).double(), torch.tensor([0, 1, 2])
    loss = F.cross_entropy(outputs(source, x, kind), y)
    loss.backward()
    result = ratebp.methods.get("bptt_s").bind(ours, T).step(x, y, loss=F.cross_entropy)
    torch.testing.assert_close(result.loss, loss.detach())
    wanted = {p: q for p, q in source.named_parameters() if q.requires_grad}
    assert wanted.keys() == dict(ours.named_parameters()).keys()
    assert all(p.grad.abs().max() > 0 for p in wanted.values())
    for path, parameter in ours.named_parameters():
        # The source computes the surrogate's derivative in float32.
        torch.testing.assert_close(parameter.grad, wanted[path].grad, rtol=1e-5, atol=1e-7)


def test_kinds_of_neurons():
    kinds = {
        name: type(from_snntorch(Tutorial(**settings), batch(), show=None).lif1)
        for name, settings in SETTINGS.items()
    }
    assert kinds["default"] is ratebp.UndecayedLIF
    assert kinds["no leak"] is kinds["zero"] is ratebp.LIF


@pytest.mark.parametrize("kind", ["tutorial", "hidden"])
def test_weights_are_shared_and_the_source_is_as_it_was(kind):
    source = ({**IMAGE, **SINGLE})[kind]()
    source(batch()[0])  # leaves potentials, with a graph
    before = {path: tensor.clone() for path, tensor in source.state_dict().items()}
    ours = from_snntorch(source, batch(), show=None)
    constants = ("beta", "threshold", "graded_spikes_factor", "reset_mechanism_val")
    assert [*ours.state_dict()] == [p for p in before if not p.endswith(constants)]
    for path, parameter in ours.named_parameters():
        assert dict(source.named_parameters())[path] is parameter
    assert all(torch.equal(source.state_dict()[path], tensor) for path, tensor in before.items())


def test_what_is_dropped_is_said():
    notes = proven(Tutorial(), batch())[1].notes
    assert any("not returned: output 1 (potentials)" in note for note in notes)
    assert any("loops over 4 time steps" in note for note in notes)


class Reading(Base):
    def forward(self, x):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        potentials = []
        for _ in range(T):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            _, mem2 = self.lif2(self.fc2(spk1) + mem1[:, :5], mem2)
            potentials.append(self.fc2(mem1))
        return torch.stack(potentials)


class Crossing(Base):
    def forward(self, x):
        mem1, mem2, spikes = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for _ in range(T):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2 * 0.5 if spikes else mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


class Starting(Base):
    def forward(self, x, start=0.3):
        mem1, mem2 = torch.full((B, 12), start), self.lif2.reset_mem()
        return self.step(x, mem1, mem2)


class Unequal(Base):
    def forward(self, x):
        mem1, mem2, spikes = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for t in range(T):
            spk2, mem1, mem2 = self.step(x * (t + 1), mem1, mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


class LastOnly(Base):
    def forward(self, x):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        for _ in range(T):
            spk2, mem1, mem2 = self.step(x, mem1, mem2)
        return spk2


class OnValues(Base):
    def forward(self, x):
        return self.step(x if x.sum() > 0 else -x, None, None)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Reading, "reads the potential of `lif1`"),
        (Crossing, "`lif2` is handed a potential that is not its own"),
        (Starting, "`lif1` is handed a potential.*not zero"),
        (Unequal, "something else at time step 1"),
        (LastOnly, "its output is not the outputs of all steps"),
        (OnValues, "cannot be followed"),
        (lambda: Tutorial(reset_mechanism="none"), "`lif1` has reset_mechanism='none'"),
        (lambda: Tutorial(reset_delay=False), "`lif1` has reset_mechanism='subtract' with"),
        (lambda: Tutorial(learn_beta=True), "`lif1` has learn_beta=True"),
        (lambda: Tutorial(learn_threshold=True), "`lif1` has learn_threshold=True"),
        (lambda: Tutorial(beta=torch.rand(12)), "`lif1` has beta for each neuron"),
        (lambda: Tutorial(graded_spikes_factor=2.0), "`lif1` has graded_spikes_factor"),
        (lambda: Tutorial(spike_grad=surrogate.straight_through_estimator()), "derivative"),
        (lambda: nn.Sequential(nn.Linear(6, 5), snn.Synaptic(0.5, 0.5)), "Synaptic"),
        (lambda: nn.Sequential(nn.Linear(6, 5)), "no neuron of snnTorch"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(make, words):
    with pytest.raises(ratebp.BindError, match=words):
        from_snntorch(make(), batch(), show=None)


def test_ties_are_refused_and_named():
    source = nn.Sequential(nn.Linear(1, 1, bias=False), snn.Leaky(0.5, init_hidden=True))
    nn.init.ones_(source[0].weight)
    x = torch.ones(T, B, 1)  # the threshold itself
    with pytest.raises(ratebp.BindError, match="the source fires above it, ratebp at it"):
        from_snntorch(source, x, show=None)
