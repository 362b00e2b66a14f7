"""Forwards of SpikingJelly models that hold time: copies, loops, functions on sequences."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ratebp
from ratebp.importers.spikingjelly import from_spikingjelly, proven
from tests.ratebp.importers.jelly import B, T, batch, body, functional, layer, lif


def imported(source):
    return from_spikingjelly(source, batch(), show=None)


class Copies(nn.Module):
    """SpikingJelly's habit: an image is copied over T, and the mean taken behind."""

    def __init__(self, copy_it, mean=lambda x: x.mean(0)):
        super().__init__()
        self.body, self.copy_it, self.mean = body(lif), copy_it, mean

    def forward(self, x):
        return self.mean(self.body(self.copy_it(x)))


COPIES = {
    "repeat": lambda x: x.unsqueeze(0).repeat(T, 1, 1, 1, 1),
    "repeat alone": lambda x: x.repeat(T, 1, 1, 1, 1),
    "expand": lambda x: x.unsqueeze(0).expand(T, -1, -1, -1, -1),
    "stack": lambda x: torch.stack([x] * T),
}
MEANS = {
    "mean": lambda x: x.mean(0),
    "function": lambda x: torch.mean(x, dim=0),
    "quotient": lambda x: x.sum(0) / T,
    "steps": lambda x: x,
    "sum": lambda x: x.sum(0),
}


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("mean", MEANS)
def test_a_forward_that_copies_its_input_is_written_for_one_step(copied, mean):
    torch.manual_seed(0)
    source = Copies(COPIES[copied], MEANS[mean])
    ours, proof = proven(source, batch())
    assert "copies its input 4 times" in proof.notes[0]
    assert list(ours.state_dict()) == list(source.state_dict())
    image = batch()[0].double()
    functional.reset_net(source)
    source, ours = source.double().eval(), ours.double().eval()
    theirs = source(image)
    wanted = theirs.mean(0) if mean == "steps" else theirs
    got = ratebp.infer(ours, ratebp.direct(image, T))
    torch.testing.assert_close(got, wanted.detach())
    for method in ("bptt_m", "rate_m", "bptt_s"):
        bound = ratebp.methods.get(method).bind(ours.train(), T)
        bound.step(ratebp.direct(image, T), torch.tensor([0, 1, 2]), loss=F.cross_entropy)


def test_the_last_step_alone_is_refused():
    source = Copies(COPIES["repeat"], lambda x: x[-1])
    with pytest.raises(ratebp.BindError, match="output"):
        imported(source)


class Loops(nn.Module):
    """A loop over time steps around single-step layers, as SpikingJelly's first examples have."""

    def __init__(self, timed, result):
        super().__init__()
        self.body, self.timed, self.result = body(lif, "s"), timed, result

    def forward(self, x):
        outs = [self.body(x[t] if self.timed else x) for t in range(T)]
        return self.result(outs)


LOOPS = {
    "sum": sum,
    "mean": lambda outs: sum(outs) / T,
    "stack": torch.stack,
    "list": lambda outs: outs,
    "mean of stack": lambda outs: torch.stack(outs).mean(0),
}


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("result", LOOPS)
def test_a_loop_over_time_is_written_for_one_step(timed, result):
    torch.manual_seed(0)
    source = Loops(timed, LOOPS[result])
    ours, proof = proven(source, batch())
    assert "loops over 4 time steps" in proof.notes[0]
    x = (batch() if timed else batch()[:1].expand(T, B, 1, 8, 8)).double()
    functional.reset_net(source)
    source, ours = source.double().eval(), ours.double().eval()
    theirs = source(x if timed else x[0])
    theirs = torch.stack(theirs) if isinstance(theirs, list) else theirs
    wanted = theirs.mean(0) if result in ("stack", "list") else theirs
    torch.testing.assert_close(ratebp.infer(ours, x), wanted.detach())


class OfSequences(nn.Module):
    """Multi-step layers, with functions that count dimensions from the axis of time."""

    def __init__(self, mean):
        super().__init__()
        self.first = nn.Sequential(layer.Conv2d(1, 4, 3, padding=1), lif())
        self.other = nn.Sequential(layer.Conv2d(1, 4, 3, padding=1), lif())
        self.last = nn.Sequential(layer.Linear(8 * 64, 5), lif())
        self.mean = mean
        functional.set_step_mode(self, "m")

    def forward(self, x):
        both = torch.cat([self.first(x), self.other(x)], dim=2)
        out = self.last(both.flatten(2))
        return out.mean(0) if self.mean else out


@pytest.mark.parametrize("mean", [True, False])
def test_functions_on_sequences_are_written_for_one_step(mean):
    torch.manual_seed(0)
    source = OfSequences(mean)
    ours, proof = proven(source, batch())
    assert "time steps in its first axis" in proof.notes[0]
    functional.reset_net(source)
    source, ours = source.double().eval(), ours.double().eval()
    theirs = source(batch().double())
    wanted = theirs if mean else theirs.mean(0)
    torch.testing.assert_close(ratebp.infer(ours, batch().double()), wanted.detach())
