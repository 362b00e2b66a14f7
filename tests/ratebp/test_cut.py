"""Cutting a network into layers: parameters that belong to no torch layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp.errors import BindError
from ratebp.norms import LearnedScale
from ratebp.testing import Problem, problem
from ratebp.testing.gradients import differences, gradients


def scaled() -> Problem:
    """The test network with a learned factor behind its first neuron."""
    case: Any = problem(norm="none")
    factor = nn.Parameter(torch.tensor(1.3, dtype=torch.float64))
    case.model.lif0 = nn.Sequential(case.model.lif0, LearnedScale(factor))
    return case  # type: ignore[no-any-return]


@pytest.mark.parametrize("over", ["layers", "both"])
def test_a_factor_that_is_a_module_of_its_own_belongs_to_its_layer(over: str) -> None:
    got = gradients(ratebp.methods.get("bptt_ckpt", over=over), scaled())
    want = gradients(ratebp.methods.get("bptt_s"), scaled())
    assert "lif0.1.factor" in got
    assert differences(got, want, 1e-12) == {}


class Loose(nn.Module):
    """A learned factor beside the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.neuron, self.last = nn.Linear(3, 4), ratebp.LIF(), nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.neuron(self.first(x)) * self.scale)
        return out


def test_a_parameter_beside_the_modules_is_refused_by_name_with_a_way_out() -> None:
    with pytest.raises(BindError, match=r"`scale` beside.*LearnedScale.*over='time'"):
        ratebp.methods.get("bptt_ckpt").bind(Loose(), 2)
    ratebp.methods.get("bptt_ckpt", over="time").bind(Loose(), 2)
