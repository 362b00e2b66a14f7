"""Firing rates by layer and time step, without a trace on the model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp.activity import firing_rates
from ratebp.testing import problem


class Identity(nn.Module):
    def __init__(self, **neuron: float) -> None:
        super().__init__()
        self.first = ratebp.LIF(**neuron)  # type: ignore[arg-type]
        self.second = ratebp.LIF(**neuron)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x))
        return out


@pytest.mark.parametrize("layout", ["multi", "single"])
def test_rates_of_two_layers_by_hand(layout: str) -> None:
    """Currents 0.6, 1 and 0 with decay 1, threshold 1: u = 0.6, 1.2 fires, 0.8 / 1 / 0."""
    x = torch.tensor([[0.6, 1.0, 0.0, 0.0]]).expand(3, 1, 4)
    rates = firing_rates(Identity(decay=1.0, threshold=1.0), x, layout=layout)
    assert list(rates) == ["first", "second"]
    assert rates["first"].tolist() == [0.25, 0.5, 0.25]
    assert rates["second"].tolist() == [0.25, 0.5, 0.25]
    assert rates["first"].dtype == torch.float64


@pytest.mark.parametrize("layout", ["multi", "single"])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_untouched(layout: str, training: bool) -> None:
    case = problem(norm="batch", timesteps=3)
    case.model.train(training)
    state = {key: value.clone() for key, value in case.model.state_dict().items()}
    modules = [(path, type(module)) for path, module in case.model.named_modules()]
    rates = firing_rates(case.model, case.x, layout=layout)
    assert set(rates) == {"lif0", "lif1", "lif2"}
    assert all(rate.shape == (3,) and not rate.requires_grad for rate in rates.values())
    assert all(float(rate.min()) > 0 and float(rate.max()) < 1 for rate in rates.values())
    for key, value in case.model.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert [(path, type(module)) for path, module in case.model.named_modules()] == modules
    assert case.model.training is training
    assert all(p.grad is None for p in case.model.parameters())


class Fails(nn.Module):
    """Fails where there are values, which no reading has."""

    def forward(self, x: Tensor) -> Tensor:
        if x.is_meta:
            return x
        raise RuntimeError("it fails")


def test_buffers_come_back_after_an_error() -> None:
    case = problem(norm="batch", timesteps=2)
    before = [b.clone() for b in case.model.buffers()]
    with pytest.raises(RuntimeError, match="it fails"):
        firing_rates(nn.Sequential(case.model, Fails()), case.x)
    assert all(map(torch.equal, case.model.buffers(), before))


def test_the_layout_decides_the_scope_of_batch_statistics() -> None:
    """A common offset of a step vanishes if that step is normalised alone."""
    norm = nn.BatchNorm1d(1)
    model = nn.Sequential(norm, ratebp.LIF(decay=0.0, threshold=0.5))
    x = torch.tensor([-1.0, 1.0]).view(1, 2, 1) + torch.tensor([0.0, 10.0]).view(2, 1, 1)
    assert firing_rates(model, x, layout="single")["1"].tolist() == [0.5, 0.5]
    assert firing_rates(model, x, layout="multi")["1"].tolist() == [0.0, 1.0]
    frozen = firing_rates(model.eval(), x, layout="single")
    assert frozen["1"].tolist() == firing_rates(model, x)["1"].tolist() == [0.5, 1.0]


def test_rates_agree_with_the_spikes_of_inference() -> None:
    """In eval mode the last layer's rates are the mean logits of a network that ends there."""
    torch.manual_seed(0)
    lifs = [ratebp.LIF(threshold=0.3) for _ in range(2)]
    model = nn.Sequential(nn.Linear(5, 7), lifs[0], nn.Linear(7, 3), lifs[1])
    x = 3 * torch.randn(4, 6, 5)
    rate = firing_rates(model.eval(), x)["3"]
    assert float(rate.mean()) == pytest.approx(float(ratebp.infer(model, x).mean()))
    assert float(rate.mean()) > 0


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(ratebp.OptionError, match=r"layout.*'both'.*multi, single"):
        firing_rates(Identity(), torch.zeros(1, 1, 4), layout="both")


def test_a_neuron_used_twice_is_refused_by_place() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = ratebp.LIF()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.lif(self.lif(x))
            return out

    with pytest.raises(ratebp.BindError, match="`lif` is called 2 times"):
        firing_rates(Twice(), torch.zeros(1, 1, 4))
