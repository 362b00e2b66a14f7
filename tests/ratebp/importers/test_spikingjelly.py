"""Models of SpikingJelly become ours: spikes, gradients, running statistics, keys."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ratebp
from ratebp.importers.spikingjelly import from_spikingjelly, proven
from tests.ratebp.importers.jelly import B, T, batch, body, functional, layer, lif, neuron
from tests.ratebp.importers.packages import package

surrogate = package("spikingjelly.activation_based.surrogate")
RESETS = {"zero": 0.0, "below": -0.25, "soft": None}


SETTINGS = [
    {"tau": tau, "decay_input": decayed, "v_reset": reset, "detach_reset": detached}
    for tau, decayed, reset, detached in itertools.product(
        (2.0, 1.3, 4.0), (True, False), RESETS.values(), (True, False)
    )
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_lif_with_every_setting_has_the_source_s_gradients(settings):
    torch.manual_seed(0)
    source = body(lambda: lif(v_threshold=0.7, surrogate_function=surrogate.ATan(), **settings))
    equal_training(source, imported(source))


@pytest.mark.parametrize("reset", RESETS.values(), ids=RESETS)
@pytest.mark.parametrize("detached", [True, False])
def test_if_and_plif(reset, detached):
    torch.manual_seed(0)
    settings = {"v_reset": reset, "detach_reset": detached}
    for node in (neuron.IFNode, neuron.ParametricLIFNode):
        source = body(lambda node=node: node(surrogate_function=surrogate.ATan(), **settings))
        equal_training(source, imported(source))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("Sigmoid", "sigmoid"),
        ("ATan", "atan"),
        ("PiecewiseQuadratic", "triangle"),
        ("Rect", "rectangle"),
        ("SoftSign", "fast_sigmoid"),
        ("SuperSpike", "fast_sigmoid"),
    ],
)
def test_surrogates_by_their_values(function, name):
    if not hasattr(surrogate, function):
        pytest.skip(f"this SpikingJelly has no surrogate {function}")
    torch.manual_seed(0)
    made = getattr(surrogate, function)()
    source = body(lambda: lif(surrogate_function=made))
    ours = imported(source)
    shapes = {m.dynamics.surrogate.name for m in ours.modules() if isinstance(m, ratebp.LIF)}
    assert shapes == {name}
    equal_training(source, ours)


def imported(source):
    return from_spikingjelly(source, batch(), show=None)


def equal_training(source, ours):
    """Compare loss, gradients and running statistics of one training step in float64."""
    source = copy.deepcopy(source).double().train()
    ours = copy.deepcopy(ours).double().train()
    for each in (*source.modules(), *ours.modules()):
        if "Dropout" in type(each).__name__:
            each.p = 0.0
    x, y = batch().double(), torch.tensor([0, 1, 2])
    functional.reset_net(source)
    theirs = F.cross_entropy(source(x).mean(0), y)
    theirs.backward()
    result = ratebp.methods.get("bptt_m").bind(ours, T).step(x, y, loss=F.cross_entropy)
    torch.testing.assert_close(result.loss, theirs.detach())
    wanted = dict(source.named_parameters())
    assert wanted.keys() == dict(ours.named_parameters()).keys()
    assert any(p.grad.abs().max() > 1e-6 for p in wanted.values())
    for path, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[path].grad, rtol=1e-7, atol=1e-10)
    for path, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, dict(source.named_buffers())[path])


def test_weights_are_shared_and_the_source_is_as_it_was():
    source = body(lif)
    source(batch())  # leaves potentials, with a graph
    before = {path: tensor.clone() for path, tensor in source.state_dict().items()}
    potential = source[2].v
    ours = imported(source)
    assert list(ours.state_dict()) == list(before)
    for path, parameter in source.named_parameters():
        assert dict(ours.named_parameters())[path] is parameter
    for path, buffer in source.named_buffers():
        assert dict(ours.named_buffers())[path] is buffer
    assert all(torch.equal(source.state_dict()[path], tensor) for path, tensor in before.items())
    assert source[2].v is potential
    assert source.training
    assert source[2].step_mode == "m"


def test_single_step_models_train_as_bptt_s():
    torch.manual_seed(0)
    source = body(lif, "s")
    ours = copy.deepcopy(imported(source)).double().eval()
    source = copy.deepcopy(source).double().eval()
    functional.reset_net(source)
    theirs = torch.stack([source(now) for now in batch().double()]).mean(0)
    torch.testing.assert_close(ratebp.infer(ours, batch().double()), theirs.detach())


class Weaker(neuron.IFNode):
    """A user's neuron, which is not what its settings say."""

    def single_step_forward(self, x):
        return super().single_step_forward(0.9 * x)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: neuron.KLIFNode(), ["2", "KLIFNode", "no counterpart"]),
        (lambda: neuron.ParametricLIFNode(decay_input=False), ["`2`", "decay_input=False"]),
        (lambda: lif(v_reset=2.0), ["`2`", "v_reset=2.0"]),
        (lambda: lif(surrogate_function=surrogate.Erf()), ["`2`", "derivative"]),
        (lambda: lif(surrogate_function=surrogate.ATan(spiking=False)), ["`2`", "no spikes"]),
        (Weaker, ["`2`", "by itself is not LIF", "subclass"]),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(make, names):
    with pytest.raises(ratebp.BindError) as refusal:
        imported(body(make))
    assert all(name in str(refusal.value) for name in names)


def test_mixed_modes_are_refused():
    source = body(lif)
    source[2].step_mode = "s"
    with pytest.raises(ratebp.BindError, match="set_step_mode"):
        imported(source)


def test_an_operation_on_the_time_axis_names_the_first_layer_that_differs():
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Sequential(layer.Linear(8, 8), lif())
            self.then = nn.Sequential(layer.Linear(8, 8), lif())
            functional.set_step_mode(self, "m")

        def forward(self, x):
            return self.then(self.first(x).cumsum(0))

    with pytest.raises(ratebp.BindError, match=r"`then\.1`.*first layer whose spikes differ"):
        from_spikingjelly(Mixing(), torch.rand(T, B, 8) * 5, show=None)


def test_the_table_has_a_row_for_each_neuron(capsys):
    from_spikingjelly(body(lif), batch())
    table = capsys.readouterr().out
    assert all(f"\n{path}" in table for path in ("2", "5", "10"))
    assert "tau=2, decay_input=True" in table


def test_a_shape_is_found_where_none_is_given():
    source = nn.Sequential(layer.Flatten(), layer.Linear(12, 3), lif())
    functional.set_step_mode(source, "m")
    assert proven(source)[1].probe == (4, 2, 12)


def test_a_probe_that_the_source_does_not_take_is_refused():
    with pytest.raises(ratebp.InputError, match="does not run on the probe batch"):
        from_spikingjelly(body(lif), torch.rand(T, B, 2, 8, 8), show=None)
    with pytest.raises(ratebp.InputError, match=r"must be \[T, B, ...\]"):
        from_spikingjelly(body(lif), torch.rand(B, 8), show=None)
