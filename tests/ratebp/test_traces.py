"""Presynaptic traces: one for each signal and decay, however many synapses take it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp import LIF
from ratebp.rules import Trace, TracedSynapse
from ratebp.testing.gradients import gradients_of


class Block(nn.Module):
    """Two synapses that take the spikes of one neuron, and a third its current."""

    def __init__(self, decay: float = 0.6, *, own: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.first = nn.Linear(7, 6), LIF(0.6, 0.3)
        self.long, self.middle = nn.Linear(6, 5), LIF(0.6, 0.3)
        self.longer, self.short = nn.Linear(5, 4), nn.Linear(6, 4)
        self.last, self.out = LIF(decay, 0.3), nn.Linear(4, 3)
        self.own = own
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(2.5)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        s = self.first(self.enter(x))
        # A product with 1 is not known to be the same signal.
        other = s * 1 if self.own else s
        return self.out(self.last(self.longer(self.middle(self.long(s))) + self.short(other)))


def traces(model: nn.Module) -> dict[str, Trace]:
    bound = ratebp.methods.get("ottt_a").bind(model, 4)
    modules = bound.views(torch.zeros(4, 2, 7).double())["net"].module.named_modules()
    return {path: m.trace for path, m in modules if isinstance(m, TracedSynapse)}


def test_synapses_share_the_trace_of_one_signal_at_one_decay() -> None:
    shared = traces(Block())
    assert shared["long"] is shared["short"]
    assert len({id(trace) for trace in shared.values()}) == len(shared) - 1
    for apart in (traces(Block(decay=0.3)), traces(Block(own=True))):
        assert apart["long"] is not apart["short"]


@pytest.mark.parametrize("timesteps", [1, 2, 5])
def test_sharing_changes_no_gradient(timesteps: int) -> None:
    torch.manual_seed(1)
    x, y = 2 * torch.randn(timesteps, 4, 7).double(), torch.arange(4) % 3
    for method in ("ottt_a", "ottt_o"):
        mine, other = (gradients_of(method, Block(own=own), x, y) for own in (False, True))
        for got, want in zip(mine, other, strict=True):
            assert want.any()
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_a_shared_trace_moves_once_a_step_and_forgets_at_a_reset() -> None:
    trace = Trace(0.5, readers=2)
    one, two = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
    for x, want in ((one, [1.0, 0.0]), (two, [1.5, 1.0]), (one, [1.75, 0.5])):
        first, second = trace.upon(x), trace.upon(x)
        assert first is second
        assert first.tolist() == want
    trace.upon(two)
    trace.reset()
    assert trace.upon(two).tolist() == [1.0, 1.0]
