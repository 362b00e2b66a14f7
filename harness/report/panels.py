"""The panels of a group of trials: a figure with its controls, its sentence and its table.

A panel holds one figure for every combination of its controls; the page only picks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.report import estimates, exponents, figures, predictions, sentences, tables
from harness.report.estimates import Group
from harness.report.parts import Control, Panel, Variant
from harness.report.quantities import BASELINE, HEADLINE, MEMORY, TIME, Quantity
from harness.report.style import Look


@dataclass(frozen=True)
class Sheet:
    """What the report shows of one group: the verdict as a table with its sentence, the panels."""

    group: Group
    verdict: pd.DataFrame
    sentence: str
    panels: list[Panel]


def sheet(group: Group, looks: Mapping[str, Look]) -> Sheet:
    """Compute a group's frames once and build everything that its trials can fill."""
    memory = estimates.estimate(group, MEMORY)
    time = estimates.estimate(group, TIME)
    outcomes = estimates.outcomes(group, memory)
    costs = pd.concat([memory, time])
    head = costs[costs["quantity"].isin(HEADLINE)]
    T = estimates.common_steps(head)
    panels = [
        _by_steps("memory", "Memory against T", MEMORY_NOTE, group, memory, MEMORY, looks),
        _by_steps("time", "Time against T", TIME_NOTE, group, time, TIME, looks),
        _phases(group, time),
        exponents.panel(group, looks),
        predictions.panel(group, memory, looks),
        _accuracy(group, outcomes, looks),
    ]
    return Sheet(
        group,
        tables.verdict(group, costs, outcomes, T),
        sentences.verdict(head, T),
        [panel for panel in panels if panel.variants],
    )


MEMORY_NOTE = (
    "Live tensors: above parameters, gradients, optimiser state and inputs; exact, so equal in "
    "every run. Peaks of allocators, driver and process vary a little."
)
TIME_NOTE = (
    "One optimiser step on one batch. Bars: 95 % bootstrap over processes; with fewer than six, "
    "their range; with one, the interquartile range of its samples."
)
PHASES_NOTE = (
    "Forward trace: what the method adds to a forward without graph or trace, measured alternately "
    "in the same process."
)
ACCURACY_NOTE = (
    "After the fixed training budget of the sweep. Bars: range over seeds and repeats; with one "
    "run of each method, differences of a few points are chance."
)


def _by_steps(
    key: str,
    title: str,
    note: str,
    group: Group,
    costs: pd.DataFrame,
    quantities: Sequence[Quantity],
    looks: Mapping[str, Look],
) -> Panel:
    panel = Panel(key, title, note)
    present = [quantity for quantity in quantities if quantity.key in set(costs["quantity"])]
    views = [("absolute", present[0].unit if present else "")]
    if costs["ratio"].notna().any():
        views.append(("ratio", f"× {BASELINE}"))
    panel.controls = [
        Control("quantity", "Quantity", [(q.key, q.label) for q in present]),
        Control("view", "Value", views, as_buttons=True),
        Control("scale", "Scale", [("log", "log₂"), ("linear", "linear")], as_buttons=True),
    ]
    for quantity in present:
        for view, _ in views:
            name = f"{quantity.key}-{view}"
            panel.tables[name] = tables.by_steps(group, costs, quantity, view)
            sentence = sentences.by_steps(costs, quantity, view)
            drawn = figures.by_steps(costs, quantity, view, group.methods, looks)
            scales = figures.scales(costs, quantity, view)
            panel.variants[quantity.key, view] = Variant(drawn, name, sentence, scales)
    return panel


def _phases(group: Group, time: pd.DataFrame) -> Panel:
    panel = Panel("phases", "Where the time of a step goes", PHASES_NOTE)
    steps = sorted((int(T) for T in time["T"].unique()), reverse=True)
    panel.controls = [Control("T", "Time steps T", [(str(T), str(T)) for T in steps])]
    for T in steps:
        parts = estimates.phases(time, T)
        panel.tables[str(T)] = tables.phases(group, parts)
        drawn = figures.phases(parts, group.methods)
        panel.variants[(str(T),)] = Variant(drawn, str(T), sentences.phases(parts, T))
    return panel


def _accuracy(group: Group, outcomes: pd.DataFrame, looks: Mapping[str, Look]) -> Panel:
    panel = Panel("accuracy", "Accuracy against memory", ACCURACY_NOTE)
    options = []
    budgets: Any = outcomes.sort_values("T", ascending=False).groupby(["T", "training"], sort=False)
    for number, ((T, training), here) in enumerate(budgets):
        options.append((str(number), f"T = {T} · {training}"))
        panel.tables[str(number)] = tables.accuracy(group, here)
        drawn = figures.accuracy(here, group.methods, looks)
        sentence = sentences.accuracy(here, T)
        panel.variants[(str(number),)] = Variant(drawn, str(number), sentence)
    panel.controls = [Control("training", "Training", options)]
    return panel
