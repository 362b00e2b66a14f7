"""A batch norm takes what torch's own takes, and says where it got anything else."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import ratebp

from .by_hand import EVERY, STEPS, data, refused, step


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("timesteps", [1, STEPS])
def test_one_value_a_channel_is_refused_by_place(name: str, timesteps: int) -> None:
    layers = (nn.Linear(5, 6), ratebp.LIF(0.9, 0.3), nn.Linear(6, 6), nn.BatchNorm1d(6))
    model = nn.Sequential(*layers, ratebp.LIF(0.9, 0.3), nn.Linear(6, 4)).double()
    x, y = data(timesteps, 1, 5)
    if not ratebp.methods.get(name).info.norms:
        assert "BatchNorm1d at `3`" in refused(lambda: step(name, model, x, y))
    elif timesteps > 1 and name in ("bptt_m", "dsr", "rga"):
        step(name, model, x, y)  # statistics over T*B, as torch's norm takes them
    else:
        words = refused(lambda: step(name, model, x, y))
        assert re.search(r"`3` \(BatchNorm1d\) gets a single value.*two samples", words), words
    model.eval()
    if ratebp.methods.get(name).info.norms:
        step(name, model, x, y)


@pytest.mark.parametrize("name", [n for n in EVERY if ratebp.methods.get(n).info.norms])
def test_a_norm_of_other_dimensions_is_refused_as_torch_does(name: str) -> None:
    x, y = data(STEPS, 3, 2, 5, 5)
    layers = (nn.Conv2d(2, 6, 3), nn.BatchNorm1d(6), ratebp.LIF(0.9, 0.3), nn.Flatten())
    for mode in (True, False):
        model = nn.Sequential(*layers, nn.Linear(54, 4)).double().train(mode)
        words = refused(lambda model=model: step(name, model, x, y))  # type: ignore[misc]
        assert re.search(r"`1` \(BatchNorm1d\) gets .* or 3 dimensions", words), words


@pytest.mark.parametrize("name", ["t1", "ann", "sfa"])
def test_running_statistics_of_a_control_are_those_of_its_one_step(name: str) -> None:
    image, y = data(1, 3, 5)
    norm = nn.BatchNorm1d(6)
    model = nn.Sequential(nn.Linear(5, 6), norm, ratebp.LIF(), nn.Linear(6, 4)).double()
    own = nn.BatchNorm1d(6).double()
    own(model[0](image[0]))
    step(name, model, ratebp.direct(image[0], STEPS), y)
    torch.testing.assert_close(norm.running_var, own.running_var, rtol=1e-12, atol=0)
    torch.testing.assert_close(norm.running_mean, own.running_mean, rtol=1e-12, atol=1e-14)
