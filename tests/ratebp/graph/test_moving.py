"""A neuron behind moves runs in the shape of the norm before them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp import LIF
from ratebp.graph import Recording
from ratebp.rules.sharing.leaves import SharingLIF
from ratebp.testing.kept import kept_bytes
from ratebp.testing.problems import Problem
from ratebp.wiring import wiring_of

Moved = Callable[[Tensor], Tensor]
MOVES: dict[str, Moved] = {
    "transpose": lambda x: x.transpose(1, 2),
    "transpose by name": lambda x: torch.transpose(x, dim0=-1, dim1=-2),
    "mT": lambda x: x.mT,
    "permute": lambda x: x.permute(0, 2, 1),
    "permute by a tuple": lambda x: torch.permute(x, (0, 2, 1)),
    "movedim": lambda x: x.movedim(1, -1),
    "contiguous": lambda x: x.transpose(1, 2).contiguous(),
    "heads": lambda x: x.unflatten(1, (2, 3)).transpose(2, 3),
    "heads by sizes": lambda x: x.reshape(x.shape[0], 2, 3, -1).permute(0, 1, 3, 2),
    "there and back": lambda x: x.flatten(1).unflatten(1, (6, 5)).transpose(1, 2),
    "samples elsewhere": lambda x: x.permute(2, 0, 1),
    "one more": lambda x: x.unsqueeze(1).transpose(2, 3),
}
NOT_MOVES: dict[str, Moved] = {
    "nothing": lambda x: x,
    "scaled": lambda x: x.transpose(1, 2) * 2,
    "flipped": lambda x: x.transpose(1, 2).flip(1),
    "a part": lambda x: x.transpose(1, 2)[:, :3],
    "copied": lambda x: x.unsqueeze(1).expand(-1, 2, -1, -1),
    "read twice": lambda x: x.transpose(1, 2) + x.transpose(1, 2),
}


class Net(nn.Module):
    """A norm, moves, a neuron, and the way back to a readout."""

    def __init__(self, moved: Moved) -> None:
        super().__init__()
        self.moved = moved
        self.enter, self.first = nn.Conv1d(2, 6, 1), LIF(0.5, 0.3)
        self.conv, self.norm, self.lif = nn.Conv1d(6, 6, 1), nn.BatchNorm1d(6), LIF(0.5, 0.3)
        self.out = nn.Linear(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif(self.moved(self.norm(self.conv(self.first(self.enter(x))))))
        if self.moved is MOVES["samples elsewhere"]:
            spikes = spikes.transpose(0, 1)
        return self.out(spikes.flatten(1).cumsum(1)[:, -1:])


def case(moved: Moved, batch: int = 3) -> tuple[Net, Tensor, Tensor]:
    torch.manual_seed(0)
    net = Net(moved).double()
    return net, torch.randn(3, batch, 2, 5).double(), torch.arange(batch) % 4


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("method", ["bptt_m", "bptt_s", "bptt_ckpt"])
def test_gradients_are_those_of_the_loop(name: str, method: str) -> None:
    net, x, y = case(MOVES[name])
    found = ratebp.verify(net, method, x, y)
    refuses = name == "samples elsewhere" and method == "bptt_m"
    assert found.outcome == ("refused" if refuses else "exact"), str(found)


@pytest.mark.parametrize("name", MOVES)
def test_the_way_back_undoes_the_moves(name: str) -> None:
    net, x, _ = case(MOVES[name])
    wiring = wiring_of(
        Recording(net).of((torch.empty(13, 2, 5, dtype=x.dtype, device="meta"),)), 13
    )
    moves = wiring.moves["lif"]
    assert moves.source == "norm"
    for samples in (1, 4):
        c = torch.randn(samples, 6, 5)
        assert torch.equal(moves.there(c), MOVES[name](c))
        assert torch.equal(moves.back(moves.there(c)), c)


@pytest.mark.parametrize("name", NOT_MOVES)
def test_anything_else_is_no_move(name: str) -> None:
    net, x, y = case(NOT_MOVES[name])
    graph = Recording(net).of((torch.empty(13, 2, 5, dtype=x.dtype, device="meta"),))
    assert "lif" not in wiring_of(graph, 13).moves
    assert ratebp.verify(net, "bptt_m", x, y).outcome == "exact"


def test_a_neuron_behind_moves_keeps_no_potential() -> None:
    """Behind a transposition it keeps what it keeps without one: nothing of its own."""
    found = {}
    for name, moved in (("moved", MOVES["contiguous"]), ("plain", NOT_MOVES["nothing"])):
        net, x, y = case(moved)
        leaf = ratebp.methods.get("bptt_m").bind(net, 3).views(x)["net"].module.get_submodule("lif")
        assert isinstance(leaf, SharingLIF)
        found[name] = kept_bytes(ratebp.methods.get("bptt_m"), Problem(net, x, y))
    assert found["moved"] == found["plain"]


def test_other_sizes_have_other_moves() -> None:
    """Sequences of several lengths, one after the other and again."""
    net, _, y = case(MOVES["there and back"])
    net.moved = lambda x: x.flatten(1).unflatten(1, (6, -1)).transpose(1, 2)
    bound = ratebp.methods.get("bptt_m").bind(net, 3)
    for length in (5, 7, 5, 7, 7, 5):
        x = torch.randn(3, 3, 2, length).double()
        net.zero_grad()
        bound.step(x, y)
        got = [p.grad.clone() for p in net.parameters() if p.grad is not None]
        net.zero_grad()
        ratebp.methods.get("bptt_m").bind(net, 3).step(x, y)
        want = [p.grad for p in net.parameters() if p.grad is not None]
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
