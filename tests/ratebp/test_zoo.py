"""The networks of the zoo: many, each of its own kind, and all of them alive."""

from __future__ import annotations

import pytest
import torch

from ratebp import methods
from ratebp.inputs import gathered
from ratebp.neurons import Delay
from ratebp.roles import Role, role_of
from ratebp.testing import zoo
from ratebp.verification.sides import Sides


def test_there_are_many_and_each_says_what_it_is_about() -> None:
    kinds = [entry.kind for entry in zoo.entries().values()]
    assert len(kinds) > 150
    assert all(kinds)
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("name", sorted(zoo.entries()))
def test_every_network_runs_plainly_and_its_neurons_spike(name: str) -> None:
    """A network whose neurons never spike, or always, would agree with anything."""
    case = zoo.entries()[name].case(3)
    sides = Sides(case.model, methods.get("bptt_s"), case.y, case.loss)
    for layout in ("multi", "single"):
        torch.manual_seed(0)
        run = sides.plainly(gathered(case.x), torch.get_rng_state(), layout, "mean")
        for path, outputs in run.outputs.items():
            leaf = case.model.get_submodule(path)
            if role_of(leaf) is Role.NEURON and not isinstance(leaf, Delay):
                assert 0.03 < float(torch.stack(outputs).mean()) < 0.97, path


def test_a_case_is_the_same_every_time_and_keeps_the_random_state() -> None:
    state = torch.get_rng_state()
    first, second = (zoo.entries()["conv_chain"].case(3) for _ in range(2))
    assert torch.equal(first.x, second.x)
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), state)
