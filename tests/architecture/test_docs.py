"""docs/methods.md is what its generator writes now, and its arithmetic is what torch counts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import ratebp
from ratebp.testing import seeded_step

ROOT = Path(__file__).parents[2]
REMEDY = "docs/methods.md is stale: run `python scripts/method_table.py`"


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("method_table")


@pytest.fixture
def costs(generator: ModuleType) -> ModuleType:
    return importlib.import_module("method_costs")


def test_the_page_of_methods_is_what_the_classes_say(generator: ModuleType) -> None:
    assert generator.PAGE.read_text() == generator.page(), REMEDY


def test_the_tables_of_methods_are_what_the_classes_say(generator: ModuleType) -> None:
    lists = importlib.import_module("method_lists")
    for page, text in lists.pages().items():
        assert page.read_text() == text, "stale: run `python scripts/method_lists.py`"


def test_no_line_of_the_readme_is_longer_than_a_screen_is_wide() -> None:
    long = [line for line in (ROOT / "README.md").read_text().splitlines() if len(line) > 120]
    assert long == []


def test_every_option_is_said_in_its_methods_docstring(generator: ModuleType) -> None:
    silent = {
        f"{name}.{option.name}"
        for name, entry in ratebp.methods.entries().items()
        for option in fields(entry.cls)  # type: ignore[arg-type]
        if option.name not in generator.described(entry.cls)
    }
    assert silent == set()


def flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_arithmetic_is_the_flops_of_the_whole_network(costs: ModuleType) -> None:
    """At a T that no line was fitted to, on every method with one kind of backward."""
    timesteps, compared = 3, 0
    model = costs.network()
    x = torch.randn(timesteps, costs.BATCH, costs.CHANNELS[0], costs.PIXELS, costs.PIXELS)
    forward = flops(lambda: ratebp.infer(model, x[:1]))
    backward = 2 * forward - flops(lambda: model[0](x[0]))  # no gradient by the images
    for name, entry in ratebp.methods.entries().items():
        work = costs.lines(name, entry.cls())
        if work["by_weight"] != work["by_input"]:
            continue
        bound = entry.cls().bind(model, timesteps)
        there, back = (work[n].slope * timesteps + work[n].offset for n in ("forward", "by_weight"))
        got = flops(lambda bound=bound: seeded_step(bound, x, torch.arange(costs.BATCH)))
        assert got == there * forward + back * backward, name
        compared += 1
    assert compared >= 20


@pytest.mark.parametrize(
    ("slope", "offset", "words"),
    [(0, 3, "3"), (1, 0, "T"), (2, -1, "2T - 1"), (1, 2, "T + 2"), (Fraction(1, 2), 0, "T/2")],
)
def test_lines_in_words(costs: ModuleType, slope: Fraction, offset: int, words: str) -> None:
    values = {t: Fraction(slope) * t + offset for t in (2, 4, 8)}
    assert str(costs.Line.of("some work", values)) == words


def test_what_is_no_line_is_refused(costs: ModuleType) -> None:
    with pytest.raises(ValueError, match="sltt: passes is not a linear function of T"):
        costs.Line.of("sltt: passes", {t: Fraction(t * t) for t in (2, 4, 8)})


def test_a_paper_without_a_year_is_refused(generator: ModuleType) -> None:
    with pytest.raises(ValueError, match="no year"):
        generator.years(("Nobody, arXiv 2410.11488",))
    assert generator.years(("A 2021, ICML", "B et al. 2023, NMI, arXiv 2112.11231")) == "2021, 2023"
