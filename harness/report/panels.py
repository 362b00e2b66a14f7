"""The panels of a group of trials: a figure with its controls, its sentence and its table.

A panel holds one figure for every combination of its controls; the page only picks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from harness.report import (
    drift,
    estimates,
    exponents,
    figures,
    firing,
    layers,
    limits,
    predictions,
    sentences,
    stacks,
    tables,
    tradeoffs,
)
from harness.report.estimates import Group
from harness.report.laws import Law, laws
from harness.report.limits import Limit
from harness.report.marks import Looks
from harness.report.parts import Panel, PanelControl, Variant
from harness.results.quantities import BASELINE, ENERGY, HEADLINE, MEMORY, TIME, WORK, Quantity

Laws = Mapping[str, Mapping[str, Law]]


@dataclass(frozen=True)
class Around:
    """What stands around the tables in a run's folder: records by trial, and frontiers."""

    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limits: Sequence[Limit] = ()

    @property
    def facts(self) -> dict[str, Mapping[str, Any]]:
        """Trial -> what it recorded about itself."""
        return {trial: record.get("facts", {}) for trial, record in self.records.items()}


@dataclass(frozen=True)
class Sheet:
    """What the report shows of one group: verdict with its sentence, panels, every trial."""

    group: Group
    verdict: pd.DataFrame
    sentence: str
    panels: list[Panel]
    trials: pd.DataFrame


def sheet(group: Group, looks: Looks, around: Around | None = None) -> Sheet:
    """Compute a group's frames once and build everything that its trials can fill."""
    around = around or Around()
    memory, time, energy, work = (
        estimates.estimate(group, quantities) for quantities in (MEMORY, TIME, ENERGY, WORK)
    )
    costs = pd.concat([frame for frame in (memory, time, energy, work) if len(frame)] or [memory])
    outcomes = estimates.outcomes(group, costs)
    T = estimates.common_steps(costs[costs["quantity"].isin(HEADLINE)])
    grown = {quantity.key: laws(group, quantity) for quantity in (*MEMORY, *TIME)}
    panels = [
        _by_steps("memory", "Memory against T", MEMORY_NOTE, group, memory, MEMORY, looks, grown),
        _by_steps("time", "Time against T", TIME_NOTE, group, time, TIME, looks, grown),
        stacks.panel(group),
        tradeoffs.panel(group, outcomes, looks),
        exponents.panel(group, grown, looks),
        limits.panel(group, around.limits, looks),
        *(layers.panel(group, topic, looks) for topic in layers.TOPICS),
        firing.panel(group, looks),
        _by_steps("energy", "Energy against T", ENERGY_NOTE, group, energy, ENERGY, looks, grown),
        _by_steps("work", "Work against T", WORK_NOTE, group, work, WORK, looks, grown),
        predictions.panel(group, memory, looks),
        drift.panel(group, around.facts, looks),
    ]
    return Sheet(
        group,
        tables.verdict(group, costs, outcomes, T),
        sentences.verdict(costs, T),
        [panel for panel in panels if panel.variants],
        tables.trials(group, around.records),
    )


MEMORY_NOTE = (
    "Live tensors: above parameters, gradients, optimiser state and inputs; exact, so equal in "
    "every run. Peaks of allocators, driver and process vary a little."
)
TIME_NOTE = (
    "One optimiser step on one batch. Bars: 95 % bootstrap over processes; with fewer than six, "
    "their range; with one, the interquartile range of its samples."
)
ENERGY_NOTE = (
    "Counted around windows of back-to-back steps: the whole board of a GPU, or the processor "
    "packages. What the device draws at rest is part of it."
)
WORK_NOTE = (
    "Exact counts: products and convolutions as FLOP, bytes that element-wise operators read and "
    "write, and operators that do something."
)


def _by_steps(
    key: str,
    title: str,
    note: str,
    group: Group,
    costs: pd.DataFrame,
    quantities: Sequence[Quantity],
    looks: Looks,
    grown: Laws,
) -> Panel:
    panel = Panel(key, title, note)
    parts = dict(iter(costs.groupby("quantity")))
    present = [quantity for quantity in quantities if quantity.key in parts]
    views = [("absolute", "absolute")]
    if costs["ratio"].notna().any():
        views.append(("ratio", f"× {BASELINE}"))
    panel.controls = [
        PanelControl("quantity", "Quantity", [(q.key, q.label) for q in present]),
        PanelControl("view", "Value", views, as_buttons=True),
        PanelControl("scale", "Scale", [("log", "log₂"), ("linear", "linear")], as_buttons=True),
    ]
    if any(grown.get(quantity.key) for quantity in present):
        curves = [("points", "points"), ("law", "a + b·Tᵖ")]
        panel.controls.append(PanelControl("curve", "Curve", curves, as_buttons=True))
    for quantity in present:
        mine, fitted = parts[quantity.key], grown.get(quantity.key, {})
        for view, _ in views:
            name = f"{quantity.key}-{view}"
            panel.tables[name] = tables.by_steps(group, mine, quantity, view)
            sentence = sentences.by_steps(mine, quantity, view)
            drawn = figures.by_steps(mine, quantity, view, group.methods, looks, fitted)
            scales = figures.scales(mine, quantity, view)
            panel.variants[quantity.key, view] = Variant(drawn, name, sentence, scales)
    return panel
