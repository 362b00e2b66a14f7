"""Dropout: one mask a sequence, the same in every layout, pass and recomputation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp.errors import BindError
from ratebp.testing import Problem, problem
from ratebp.testing.gradients import differences, gradients

P = 0.4


class Masked(nn.Module):
    """What dropout is with one mask: a product."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


def dropped(timesteps: int = 3, **settings: Any) -> Problem:
    """The test network with dropout of spikes, of channels of currents, and before the readout."""
    case: Any = problem(timesteps=timesteps, **settings)
    case.model.lif0 = nn.Sequential(case.model.lif0, nn.Dropout(P))
    case.model.norm1 = nn.Sequential(case.model.norm1, nn.Dropout2d(P))
    case.model.head.insert(2, nn.Dropout(P))
    return case  # type: ignore[no-any-return]


def masked(timesteps: int = 3, **settings: Any) -> Problem:
    """The same network with the masks that the contract's seed draws for one sample, in order."""
    case: Any = dropped(timesteps, **settings)
    m = case.model
    sizes = {"lif0": (1, 4, 7, 7), "norm1": (1, 6, 4, 4), "head": (1, 24)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        masks = {
            name: layer(torch.ones(size, dtype=case.x.dtype))
            for (name, size), layer in zip(
                sizes.items(), (m.lif0[1], m.norm1[1], m.head[2]), strict=True
            )
        }
    m.lif0[1], m.norm1[1], m.head[2] = (Masked(each) for each in masks.values())
    return case  # type: ignore[no-any-return]


@pytest.mark.parametrize("norm", ["none", "frozen"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bptt_m", {}),
        ("bptt_ckpt", {"over": "time", "segment": 2}),
        ("bptt_ckpt", {"over": "layers"}),
        ("bptt_ckpt", {"over": "both"}),
    ],
)
def test_every_order_of_exact_training_draws_the_same_masks(
    name: str, options: dict[str, Any], norm: str
) -> None:
    """E11 and E16 with dropout, under one seed."""
    got = gradients(ratebp.methods.get(name, **options), dropped(4, norm=norm))
    want = gradients(ratebp.methods.get("bptt_s"), dropped(4, norm=norm))
    assert differences(got, want, 1e-10) == {}
    without = gradients(ratebp.methods.get("bptt_s"), problem(timesteps=4, norm=norm))
    assert len(differences(dict(zip(want, without.values(), strict=True)), want, 1e-2)) > 3


TAKING = (
    *("bptt_m", "bptt_s", "dsr", "eprop", "fptt", "os", "ottt_a", "ottt_o", "rate_m", "rate_s"),
    *("rga", "sltt", "t1", "tandem"),
)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in TAKING),
        ("ann", {"frames_seen": "each"}),
        ("tbptt", {"window": 2}),
        ("ostl", {}),
    ],
)
def test_a_mask_is_one_constant_factor_for_the_whole_sequence(
    name: str, options: dict[str, Any]
) -> None:
    """Traces, recomputations and updates included: a network of fixed factors is the oracle."""
    method = ratebp.methods.get(name, **options)
    got = gradients(method, dropped(batch=1))
    want = gradients(method, masked(batch=1))
    assert differences(got, dict(zip(got, want.values(), strict=True)), 1e-10) == {}


def test_masks_change_from_batch_to_batch_and_none_is_kept() -> None:
    case = dropped()
    bound = ratebp.methods.get("bptt_s").bind(case.model, 3)
    torch.manual_seed(0)
    losses = [float(bound.step(case.x, case.y).loss) for _ in range(4)]
    assert len(set(losses)) == 4
    assert bound._binding.masks._masks == {}
    case.model.eval()
    losses = [float(bound.step(case.x, case.y).loss) for _ in range(2)]
    assert losses[0] == losses[1]


def test_the_forward_alone_draws_one_mask_too() -> None:
    case, fixed = dropped(batch=1), masked(batch=1)
    torch.manual_seed(0)
    got = ratebp.methods.get("bptt_m").bind(case.model, 3).plain(case.x)
    want = ratebp.methods.get("bptt_m").bind(fixed.model, 3).plain(case.x)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def chain(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), ratebp.LIF(), *middle, nn.Linear(8, 5))


@pytest.mark.parametrize("name", ["bptt_m", "sltt"])
def test_it_compiles_as_one_graph(name: str) -> None:
    """With aot_eager the draws are those of the eager run."""
    torch.manual_seed(0)
    model, x = chain(nn.Dropout(P)).double(), torch.randn(3, 4, 6).double()
    case = Problem(model, x, torch.arange(4))
    eager = gradients(ratebp.methods.get(name), case)
    torch.compiler.reset()
    compiled = gradients(
        ratebp.methods.get(name),
        case,
        wrap=lambda m, _: torch.compile(m, fullgraph=True, backend="aot_eager"),
    )
    assert differences(compiled, eager, 1e-10) == {}


def test_dropout_that_is_no_product_is_refused_by_place() -> None:
    with pytest.raises(BindError, match=r"AlphaDropout at `2`.*nn\.Dropout"):
        ratebp.methods.get("sltt").bind(chain(nn.AlphaDropout(0.1)), 2)
    ratebp.methods.get("sltt").bind(chain(nn.AlphaDropout(0.0)), 2)


def test_one_dropout_at_two_places_is_refused_by_place() -> None:
    same = nn.Dropout(0.1)
    with pytest.raises(BindError, match=r"`2` is called 2 times"):
        ratebp.methods.get("sltt").bind(chain(same, same), 2)
    off = nn.Dropout(0.0)
    ratebp.methods.get("sltt").bind(chain(off, off), 2)


def test_samples_that_are_not_in_the_first_dimension_are_refused_by_place() -> None:
    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.t()

    model = chain(Turned(), nn.Dropout(0.1), Turned())
    bound = ratebp.methods.get("sltt").bind(model, 2)
    with pytest.raises(BindError, match=r"one mask a sequence: at `3`.*in dimension 1"):
        bound.step(torch.randn(2, 5, 6), torch.arange(5))
