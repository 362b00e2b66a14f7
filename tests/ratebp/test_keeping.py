"""What exact training keeps, leaf by leaf, and what is said of leaves that keep too much."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp.errors import BindError
from ratebp.keeping import BETWEEN, LeafKeeping, keeping


class Net(nn.Module):
    """One leaf of each kind that does not share, and a chain that does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.lif = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), ratebp.LIF()
        self.second, self.group, self.scaled = nn.Conv2d(8, 8, 1), nn.GroupNorm(2, 8), ratebp.LIF()
        self.third, self.bare = nn.Conv2d(8, 8, 1), ratebp.LIF()
        self.plif, self.head = ratebp.PLIF(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lif(self.norm(self.conv(x)))
        x = self.scaled(self.group(self.second(x)) * 2)
        x = self.bare(self.third(torch.sigmoid(x)))
        return self.head(self.plif(x).mean((2, 3)))


def kept(model: nn.Module) -> dict[str, LeafKeeping]:
    torch.manual_seed(0)
    found = keeping(model, torch.randn(4, 2, 3, 8, 8), torch.zeros(2, dtype=torch.int64))
    assert found.per_neuron > 0
    return {leaf.path: leaf for leaf in found.leaves}


def test_leaves_that_share_keep_little_and_the_others_are_explained() -> None:
    leaves = kept(Net())
    assert leaves["conv"].nbytes == leaves["lif"].nbytes == 0  # the input is there anyway
    assert leaves["second"].per_value == 1 / 8
    assert 4 <= leaves["norm"].per_value < 4.2
    needless = {path: leaf.why for path, leaf in leaves.items() if leaf.needless}
    assert needless.keys() == {"scaled", "bare", "plif", "head", BETWEEN}
    assert "comes from mul (test_keeping.py:" in needless["scaled"]
    assert "that of `third` (Conv2d)" in needless["bare"]
    assert "PLIF keeps its own" in needless["plif"]
    assert "comes from mean" in needless["head"]
    assert "sigmoid" in needless[BETWEEN]


def test_a_chain_that_shares_has_nothing_to_explain() -> None:
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), ratebp.LIF(), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(8 * 36, 5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not any(leaf.needless for leaf in kept(model).values())
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_network_that_bptt_refuses_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(8, 8), ratebp.LIF()

        def forward(self, x: Tensor) -> Tensor:
            return self.lif(self.fc(self.lif(self.fc(x)))).mean((1, 2))

    with pytest.raises(BindError, match="lif"):
        keeping(Twice(), torch.randn(2, 2, 3, 8, 8), torch.zeros(2, dtype=torch.int64))
