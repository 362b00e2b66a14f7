"""The identities between methods, E1 to E22, each by a test that is named after its number.

Those with an oracle of their own stand beside the code they check (`test_e8_...` in test_saf.py);
the last test here says that none is missing. Norm-wise relative errors, float64.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.roles import Role
from ratebp.rules import DetachedLIF, RecordNormScan, RecordNormStep, Trace, TracedSynapse
from ratebp.rules.handover import Handover
from ratebp.rules.rate.norms import RecordNormLastStep, ReplayNorm
from ratebp.schedules import online
from ratebp.testing import Problem, problem
from ratebp.testing.gradients import differences, gradients
from ratebp.views import view

TESTS = Path(__file__).parents[1]
ROUNDING = 2e-14  # the table's 1e-16 to 9e-16, with room for another order of sums
TO_THE_BIT = 0.0
SIZES = (7, 11, 9, 8, 5)
BOTH = pytest.mark.parametrize("detach_reset", [True, False])


def mlp(timesteps: int, **neuron: Any) -> Problem:
    """The setting of the table: 7-11-9-8-5, six samples, the same input at every step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(SIZES[:-1]):
            layers += [nn.Linear(n_in, n_out), ratebp.LIF(**{"decay": 0.5, **neuron})]
        model = nn.Sequential(*layers, nn.Linear(*SIZES[-2:])).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3.5)  # so that every layer spikes
        x = 2 * torch.randn(6, 7, dtype=torch.float64)
    return Problem(model, ratebp.direct(x, timesteps), torch.arange(6) % 5)


def of(name: str, case: Problem, **options: Any) -> dict[str, Tensor]:
    return gradients(ratebp.methods.get(name, **options), case)


def exact(case: Callable[[], Problem], name: str = "bptt_s") -> dict[str, Tensor]:
    """BPTT of the loss that online methods have."""
    return of(name, case(), loss_mode="per_step")


def cosine(got: Tensor, want: Tensor) -> float:
    return float(F.cosine_similarity(got.flatten(), want.flatten(), dim=0))


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(("name", "bptt"), [("rate_m", "bptt_m"), ("rate_s", "bptt_s")])
def test_e1_rate_bp_is_bptt_at_one_step(name: str, bptt: str, norm: str) -> None:
    for make in (lambda: problem(norm=norm, timesteps=1), lambda: mlp(1)):
        assert differences(of(name, make()), of(bptt, make()), ROUNDING) == {}


@pytest.mark.parametrize("name", ["rate_m", "rate_s"])
@pytest.mark.parametrize("timesteps", [3, 4])
def test_e2_the_published_scale_is_a_t_th(name: str, timesteps: int) -> None:
    got = of(name, mlp(timesteps), grad_scale="inverse_t")
    want = {n: g / timesteps for n, g in of(name, mlp(timesteps)).items()}
    assert differences(got, want, ROUNDING) == {}


@BOTH
def test_e3_sltt_is_tbptt_with_a_window_of_one(detach_reset: bool) -> None:
    """And both are BPTT with states cut: `test_e3_bptt_and_sltt_equal_an_unrolled_loop`."""
    for make in (mlp, problem):
        mine, theirs = (make(timesteps=4, detach_reset=detach_reset) for _ in range(2))
        assert differences(of("sltt", mine), of("tbptt", theirs, window=1), TO_THE_BIT) == {}


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_e4_ottt_with_a_trace_that_forgets_at_once_is_sltt(norm: str) -> None:
    """The trace's decay is 0, the neurons' is not."""
    case, want = problem(norm=norm), of("sltt", problem(norm=norm))
    net = view(
        case.model,
        {
            Role.NEURON: lambda lif, _: DetachedLIF(lif),
            Role.SYNAPSE: lambda layer, _: TracedSynapse(layer, Trace(0.0)),
        },
    )
    online(net, case.x, case.y, F.cross_entropy, ratebp.StepContext())
    got = {n: p.grad for n, p in case.model.named_parameters() if p.grad is not None}
    assert differences(got, want, ROUNDING) == {}


@BOTH
@pytest.mark.parametrize("name", ["sltt", "ottt_a"])
def test_e5_without_memory_bptt_is_sltt_is_ottt(name: str, detach_reset: bool) -> None:
    def make() -> Problem:
        return problem(timesteps=4, decay=0.0, detach_reset=detach_reset)

    assert differences(of(name, make()), exact(make), ROUNDING) == {}


@pytest.mark.parametrize("name", ["sltt", "ottt_a", "ndot_a", "saf_e", "rate_m", "rate_s"])
def test_e6_at_one_step_all_are_bptt(name: str) -> None:
    assert differences(of(name, mlp(1)), of("bptt_s", mlp(1)), ROUNDING) == {}


def test_e7_ottt_is_bptt_into_the_last_spiking_layer_alone() -> None:
    got, want = of("ottt_a", mlp(4)), exact(lambda: mlp(4))
    last, others = ("4.weight", "4.bias"), ("0.weight", "2.weight")
    assert differences({n: got[n] for n in last}, {n: want[n] for n in last}, ROUNDING) == {}
    for name in others:
        assert 0.9 < cosine(got[name], want[name]) < 1 - 1e-4, name


@BOTH
@pytest.mark.parametrize("window", [4, 5])
def test_e10_tbptt_with_a_window_of_t_is_bptt(window: int, detach_reset: bool) -> None:
    def make() -> Problem:
        return problem(timesteps=4, detach_reset=detach_reset)

    assert differences(of("tbptt", make(), window=window), exact(make), TO_THE_BIT) == {}


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(
    ("segment", "within"),
    [(1, TO_THE_BIT), (2, ROUNDING), (4, TO_THE_BIT)],  # 2: sums of sums, in another order
)
def test_e11_checkpointed_bptt_is_bptt(segment: int, within: float, norm: str) -> None:
    got = of("bptt_ckpt", problem(norm=norm, timesteps=4), over="time", segment=segment)
    assert differences(got, of("bptt_s", problem(norm=norm, timesteps=4)), within) == {}


@pytest.mark.parametrize("scale", ["published", "unbiased"])
def test_e14_sltt_k_with_every_step_is_sltt(scale: str) -> None:
    """In expectation: `test_e14_sltt_k_is_sltt_in_expectation`."""
    assert differences(of("sltt_k", mlp(4), k=4, scale=scale), of("sltt", mlp(4)), ROUNDING) == {}


@pytest.mark.parametrize("mode", ["mean", "per_step"])
@pytest.mark.parametrize("norm", ["none", "frozen"])
def test_e16_both_layouts_of_bptt_agree_where_norms_do(norm: str, mode: str) -> None:
    got, want = (of(n, problem(norm=norm), loss_mode=mode) for n in ("bptt_m", "bptt_s"))
    assert differences(got, want, 1e-13) == {}
    apart = [of(n, problem(norm="batch"), loss_mode=mode) for n in ("bptt_m", "bptt_s")]
    assert len(differences(*apart, 1e-3)) == len(apart[0])  # else the check above says nothing


def test_e17_the_norm_of_the_mean_is_centred_no_wider_than_the_whole_and_passes_no_sum() -> None:
    torch.manual_seed(0)
    record, norm = Handover(), nn.BatchNorm2d(3).double()
    nn.init.uniform_(norm.weight, 0.5, 2)
    c = torch.randn(4, 5, 3, 2, 3, dtype=torch.float64) + torch.arange(4.0).view(4, 1, 1, 1, 1)
    RecordNormScan(norm, record, 4, "norm")(c.flatten(0, 1))
    xhat, inv_std = record.take()
    assert float(xhat.mean((0, 2, 3)).abs().max()) < 1e-14  # mu_c = mu
    assert (xhat.pow(2).mean((0, 2, 3)) < 1).all()  # sigma_c <= sigma
    record.put(xhat, inv_std)
    rates = c.mean(0).requires_grad_()
    out = ReplayNorm(norm, record, centred=True, unread=False)(rates)
    (dc,) = torch.autograd.grad((out * torch.randn_like(out)).sum(), rates)
    assert float(dc.sum((0, 2, 3)).abs().max()) < 1e-13
    assert float(dc.abs().max()) > 0.1


@pytest.mark.parametrize("decay", [0.2, 0.5])
def test_e20_stllr_without_its_second_term_is_ottt(decay: float) -> None:
    for make in (lambda: mlp(4, decay=decay), lambda: problem(decay=decay)):
        got = of("stllr", make(), alpha_pre=0.0, lambda_x=decay)
        assert differences(got, of("ottt_a", make()), ROUNDING) == {}
        assert differences(of("stllr", make(), lambda_x=decay), got, 1e-3) != {}


def averages_of_norms(seed: int) -> dict[str, tuple[float, float]]:
    """Cosine and norm ratio of rate_S's norm gradients to the time average of the true ones.

    Convolved spikes whose rate rises from 0.05 to 0.25 in four steps; the upstream gradient is the
    same at every step.
    """
    torch.manual_seed(seed)
    conv = nn.Conv2d(8, 16, 3, padding=1, bias=False).double()
    spikes = torch.rand(4, 16, 8, 8, 8) < torch.linspace(0.05, 0.25, 4).view(4, 1, 1, 1, 1)
    steps = [conv(s.double()).detach().requires_grad_() for s in spikes]
    norm = nn.BatchNorm2d(16).double()
    upstream = torch.randn(16, 16, 8, 8, dtype=torch.float64)
    mean = torch.stack([norm(c) for c in steps]).mean(0)
    true = torch.stack(torch.autograd.grad((mean * upstream).sum(), steps)).sum(0)

    def recorded(leaf: type[RecordNormStep]) -> tuple[Tensor, ...]:
        spike_pass = leaf(norm, record := Handover(), len(steps), "norm")
        for c in steps:
            spike_pass(c.detach())
        return record.take()

    def compared(xhat: Tensor, inv_std: Tensor) -> tuple[float, float]:
        record, rates = Handover(), torch.stack(steps).detach().mean(0).requires_grad_()
        record.put(xhat, inv_std)
        out = ReplayNorm(norm, record, centred=False, unread=False)(rates)
        (got,) = torch.autograd.grad((out * upstream).sum(), rates)
        return cosine(got, true), float(got.norm() / true.norm())

    squares = [1 / (c.detach().var((0, 2, 3), correction=0) + norm.eps) for c in steps]
    return {
        "1/sigma": compared(*recorded(RecordNormStep)),
        "1/sigma^2": compared(recorded(RecordNormStep)[0], torch.stack(squares).mean(0).sqrt()),
        "last step": compared(*recorded(RecordNormLastStep)),
    }


def test_e22_the_mean_of_1_over_sigma_is_close_and_the_last_steps_is_not() -> None:
    """The table's layer is not given to the last detail, so its norm ratios hold to 0.04."""
    drawn = [averages_of_norms(seed) for seed in range(5)]
    for got in drawn:
        assert all(direction > 0.999 for direction, _ in got.values())
        assert got["last step"][0] < got["1/sigma"][0]
        assert abs(1 - got["1/sigma"][1]) < abs(1 - got["1/sigma^2"][1])
    ratios = {name: sum(got[name][1] for got in drawn) / len(drawn) for name in drawn[0]}
    assert ratios["1/sigma"] == pytest.approx(1.002, abs=0.01)
    assert ratios["1/sigma^2"] == pytest.approx(1.044, abs=0.01)
    assert ratios["last step"] == pytest.approx(0.76, abs=0.04)


@pytest.mark.parametrize("seed", range(3))
def test_a_longer_window_comes_closer_to_bptt(seed: int) -> None:
    """No identity: the ordering that E3 and E10 are the ends of."""

    def flat(name: str, **options: Any) -> Tensor:
        case = problem(timesteps=6, seed=seed)
        return torch.cat([g.flatten() for g in of(name, case, **options).values()])

    exactly = flat("bptt_s", loss_mode="per_step")
    cosines = [cosine(flat("tbptt", window=window), exactly) for window in (1, 2, 3, 6)]
    assert 0.5 < cosines[0] < cosines[1] < cosines[2] < cosines[3] == pytest.approx(1)


def test_every_identity_of_the_table_has_a_test() -> None:
    named = {
        int(found[1])
        for file in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and (found := re.match(r"test_e(\d+)_", node.name))
    }
    assert named == set(range(1, 23))
