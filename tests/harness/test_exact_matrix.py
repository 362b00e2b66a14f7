"""The exact tier is the same whole numbers on real, fake and meta tensors, whatever is measured.

One method on every network and every method on one network run by default; all methods on all
networks without a `size` at every T are marked `matrix`. `tests/ratebp/test_networks.py` states
which methods train the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from typing import Any

import pytest
import torch
from probe_bench import small_heap

import ratebp
from harness.rows import Row
from harness.spec import Cell, Choice
from harness.trial.bench import build, virtual
from harness.trial.exact import tier
from harness.trial.probe import Bench

STEPS = (1, 2, 4, 8)
IMAGES = [name for name in ratebp.models.names() if name != "shd_net"]
SMALL, USUAL = "tiny_resnet", "rate_m"
# ndot: max pools behind spikes; rate_m: a norm by running rates.
UNPASSED = {"eprop": "eprop sends no gradient past the synapse"}  # most of these have two in a row
REFUSED = {("ndot_a", "sew_resnet34"), ("ndot_o", "sew_resnet34"), (USUAL, "spikingresformer")}
VOTING = ("dvs_gesture_net", "cifar10dvs_net")
DATA = dict.fromkeys(("sltt_vgg11", *VOTING), "synthetic-3x32x32-4")  # maps are halved five times


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> Iterator[None]:
    with small_heap():
        yield


@pytest.fixture(autouse=True)
def _no_autocast_for_meta_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch has none, and raises when it is asked instead of saying so."""
    enabled, dtype, autocast = torch.is_autocast_enabled, torch.get_autocast_dtype, torch.autocast

    def context(device_type: str, *args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
        return nullcontext() if device_type == "meta" else autocast(device_type, *args, **kwargs)

    monkeypatch.setattr(torch, "autocast", context)
    monkeypatch.setattr(
        torch, "is_autocast_enabled", lambda *kind: kind != ("meta",) and enabled(*kind)
    )
    monkeypatch.setattr(
        torch, "get_autocast_dtype", lambda kind: dtype("cpu" if kind == "meta" else kind)
    )


def cases() -> list[Any]:
    found = []
    for method, model, T in product(ratebp.methods.names(), IMAGES, STEPS):
        if method != USUAL and (model in VOTING or "size" in ratebp.models.get(model).options):
            continue
        usual = T == 2 and (model == SMALL or method == USUAL)
        marks = () if usual else pytest.mark.matrix
        found.append(pytest.param(method, model, T, marks=marks, id=f"{method}-{model}-{T}"))
    return found


def on(kind: str, cell: Cell) -> AbstractContextManager[Bench]:
    return virtual(cell) if kind == "fake" else nullcontext(build(cell))


def figures(kind: str, method: str, model: str, T: int) -> tuple[Row, ...] | str:
    """Exact rows, or why the method refuses the network."""
    device = "meta" if kind == "meta" else "cpu"
    sized = "size" in ratebp.models.get(model).options
    options = {"size": "tiny"} if sized else {"width": 1 / 64}
    small = Choice.make(model, options | ({"image_size": 32} if model in VOTING else {}))
    cell = Cell(Choice(method), small, DATA.get(model, "synthetic-3x16x16-4"), T, 2, device=device)
    try:
        with on(kind, cell) as bench:
            found = tier.measure(bench)
    except ratebp.BindError as error:
        return str(error)
    assert found.facts == {"dispatch_device": device, "operators": "torch"}
    return found.rows


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.deep_but("tiny_resnet")
@pytest.mark.parametrize(("method", "model", "T"), cases())
def test_real_fake_and_meta_tensors_agree(method: str, model: str, T: int) -> None:
    real = figures("real", method, model, T)
    assert figures("fake", method, model, T) == real
    assert figures("meta", method, model, T) == real
    if isinstance(real, str):  # saf_* and their like name the norm that they cannot train
        unpassed = method in UNPASSED and UNPASSED[method] in real
        expected = (method, model) in REFUSED or unpassed
        assert expected or not ratebp.methods.get(method).info.norms, real
    else:
        assert {row.metric for row in real} >= {"mem.live_peak", "ops.flops", "mem.saved"}
