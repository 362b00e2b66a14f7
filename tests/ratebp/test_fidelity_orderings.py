"""How close gradients come to BPTT's: the orderings of the survey, computed and as recorded.

The survey states them for a random MLP without norms. The recorded run is of a small ResNet with
batch norm, before and after an epoch, where they hold in part: what holds is what is asserted.
"""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from torch import nn

import ratebp
from ratebp.testing.gradients import gradients_of

RECORDED = sorted((Path(__file__).parents[2] / "results" / "published").glob("fidelity-*"))
SIZES = (7, 11, 9, 8, 5)


def cosine(method: str, reference: str, timesteps: int, decay: float, **options: Any) -> float:
    """Of all gradients together, on the survey's MLP 7-11-9-8-5 with a static input."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(SIZES[:-1]):
        layers += [nn.Linear(inputs, outputs), ratebp.LIF(decay)]
    model = nn.Sequential(*layers, nn.Linear(*SIZES[-2:])).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)  # so that every layer spikes
    x, y = ratebp.direct(2 * torch.randn(6, 7).double(), timesteps), torch.arange(6) % 5
    per_step = {"loss_mode": "per_step"} if reference == "bptt_s" else {}
    found = gradients_of(method, model, x, y, **options)
    exact = gradients_of(reference, model, x, y, **per_step)
    a, b = (torch.cat([g.flatten() for g in each]) for each in (found, exact))
    return float(a @ b / (a.norm() * b.norm()))


def test_rate_comes_closer_to_bptt_as_t_grows() -> None:
    two, four, eight = (cosine("rate_m", "bptt_m", t, 0.2) for t in (2, 4, 8))
    assert 0.9 < two < four < eight < 1


def test_traces_bring_online_learning_closer_to_bptt() -> None:
    """Without one on the readout, which has no leak and of which BPTT knows no past."""
    sltt = cosine("sltt", "bptt_s", 4, 0.5)
    ottt = cosine("ottt_a", "bptt_s", 4, 0.5, placement="spiking")
    assert 0.8 < sltt < ottt < 1 - 1e-6


def test_longer_windows_bring_truncated_bptt_closer_to_bptt() -> None:
    one, two, three = (cosine("tbptt", "bptt_s", 6, 0.5, window=w) for w in (1, 2, 3))
    assert 0.8 < one < two < three < 1 - 1e-6
    assert cosine("tbptt", "bptt_s", 6, 0.5, window=6) == pytest.approx(1, abs=1e-12)


Recorded = dict[tuple[str, str, str], dict[int, float]]


NORMED = "tiny_resnet(width=0.5)"
"""The network that most methods train."""


def recorded(folder: Path, *, normed: bool) -> Recorded:
    """Return the cosine over all parameters by (stage, reference, method) and T, over batches.

    Of the network `NORMED`, or of those without norms.
    """
    with (folder / "trials.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "ok"]
    trials = {row["trial"]: row for row in rows if (row["model"] == NORMED) == normed}
    batches: dict[tuple[str, str, str, int], list[float]] = defaultdict(list)
    with (folder / "measurements.csv").open() as file:
        for row in csv.DictReader(file):
            kind, *names = row["metric"].split(".")
            trial = trials.get(row["trial"])
            whole = kind == "fidelity" and names[-1] == "cosine" and row["phase"] == "all"
            if whole and trial is not None:
                where = (names[0], names[1], trial["method_name"], int(trial["T"]))
                batches[where].append(float(row["value"]))
    found: Recorded = defaultdict(dict)
    for (stage, reference, method, timesteps), values in sorted(batches.items()):
        found[stage, reference, method][timesteps] = mean(values)
    return found


@pytest.fixture(params=RECORDED, ids=lambda folder: folder.name)
def cosines(request: pytest.FixtureRequest) -> Recorded:
    """Every published run."""
    return recorded(request.param, normed=True)


STAGES = ("initial", "trained")


def test_a_run_is_published() -> None:
    assert RECORDED


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_every_method_is_there_at_every_t(folder: Path) -> None:
    methods = set()
    for cosines in (recorded(folder, normed=True), recorded(folder, normed=False)):
        there = {method for _, _, method in cosines}
        for stage, reference, method in itertools.product(STAGES, ("bptt_m", "bptt_s"), there):
            assert list(cosines[stage, reference, method]) == [1, 2, 4, 8, 16]
        methods |= there
    assert methods == set(ratebp.methods.names())


def test_recorded_at_one_step_approximations_are_exact(cosines: Recorded) -> None:
    names = ("fptt", "ndot_a", "ottt_a", "rate_m", "rate_s", "sltt", "sltt_k", "t1", "tbptt")
    for stage, name in itertools.product(STAGES, names):
        assert cosines[stage, "bptt_s", name][1] == pytest.approx(1, abs=1e-5), name


def test_recorded_rate_comes_closer_to_bptt_as_t_grows_once_trained(cosines: Recorded) -> None:
    for name, reference in (("rate_m", "bptt_m"), ("rate_s", "bptt_s")):
        after = [cosines["trained", reference, name][t] for t in (2, 4, 8, 16)]
        assert 0.9 < after[0] < after[1] < after[2] < after[3] < 1
        before = [cosines["initial", reference, name][t] for t in (2, 4, 8, 16)]
        assert all(a > b for a, b in zip(after, before, strict=True))
        assert before[1] < before[2] < before[3]  # with batch norm not yet from 2 to 4


def test_recorded_online_methods_are_ordered(cosines: Recorded) -> None:
    """Truncated BPTT, then traces, then none; once trained, traces and none are about equal."""
    for timesteps in (2, 4, 8, 16):
        tbptt, ottt, sltt, one = (
            cosines["initial", "bptt_s", name][timesteps]
            for name in ("tbptt", "ottt_a", "sltt", "sltt_k")
        )
        assert one < sltt < ottt < tbptt
        after = {n: cosines["trained", "bptt_s", n][timesteps] for n in ("ottt_a", "sltt", "tbptt")}
        assert abs(after["ottt_a"] - after["sltt"]) < 0.01
        assert after["tbptt"] > max(after["ottt_a"], after["sltt"])
