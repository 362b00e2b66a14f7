"""The registry of probes, and steps that have no figures, on a bench without the library."""

from __future__ import annotations

from dataclasses import replace

import pytest
from probe_bench import bench

from harness.errors import TrialError
from harness.spec import PROBES
from harness.trial import probes
from harness.trial.probe import unwatched

COSTS = ("time", "memory")


def test_every_name_of_the_specification_is_a_probe() -> None:
    assert [type(probes.get(name)).__name__.lower() for name in PROBES] == list(PROBES)


def test_an_unknown_probe_is_named_with_the_legal_ones() -> None:
    with pytest.raises(TrialError, match=r"unknown probe 'tmie' \(did you mean 'time'\?\).*memory"):
        probes.get("tmie")


@pytest.mark.parametrize("probe", COSTS)
def test_a_step_that_leaves_out_phases_has_no_figures(probe: str) -> None:
    whole = bench()
    silent = replace(whole, train_step=lambda x, y, _: whole.train_step(x, y, unwatched))
    with pytest.raises(TrialError, match=r"never entered phase 'forward' and 'backward' and"):
        probes.get(probe).measure(silent)


@pytest.mark.parametrize("probe", COSTS)
@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_step_whose_loss_is_not_finite_has_no_figures(probe: str, loss: float) -> None:
    whole = bench()
    lost = replace(whole, train_step=lambda *given: whole.train_step(*given) * loss)
    with pytest.raises(TrialError, match=r"loss of a training step is (nan|inf)"):
        probes.get(probe).measure(lost)
