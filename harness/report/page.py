"""One HTML file from the panels: header, verdict, figures with their tables, every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from harness.report import context, shell, style
from harness.report.markup import buttons, escape, facts, glyph, script, select, table
from harness.report.panels import Sheet
from harness.report.parts import Panel, PanelControl
from harness.report.payload import dump, pack
from harness.report.style import Look
from harness.results.quantities import BASELINE

SCRIPTS: Final = ("data.js", "view.js", "plots.js", "tables.js", "page.js")

SECTIONS: Final = {
    "Change": ("change",),
    "Cost": ("memory", "time", "phases", "growth", "frontier", "energy", "work"),
    "What it gives up": ("accuracy", "fidelity", "assumptions", "firing"),
    "Trust": ("predictions", "drift"),
}
"""Headings, and the panels under them; a panel that is named nowhere stands at the end."""

HOW_TO_READ = f"""
<p>Every method trains the same network on the same batch. <b>Memory</b> is the peak of live tensor
bytes in a step, above parameters, gradients, optimiser state and inputs; it is counted, not
sampled, so it repeats to the byte. <b>Time</b> is one optimiser step; each value is the median
over fresh processes of the median over steps. <b>Time × reference</b> compares it to a frozen
step of plain backpropagation through time that ran in turns with it in the same process, so that a
machine that drifts drifts in both. <b>Forward trace</b> is what a method's forward costs above a
forward without graph or trace.</p>
<p><b>× {BASELINE}</b> is the ratio to backpropagation through time at the same T: below 1 is less.
An <b>open marker</b> above a plot is a cell without a value: it ran out of memory or time, or
failed. Intervals over fewer than about six processes are too narrow; take them as a hint.</p>
<p>The address of this page holds your choices: copy it to show somebody what you see.</p>
"""


@dataclass(frozen=True)
class About:
    """What the page says around its figures: title, machines, settings by probe, cautions."""

    title: str
    machines: Sequence[tuple[str, Mapping[str, Any]]] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notices: Sequence[str] = ()


def render(
    trials: pd.DataFrame, sheets: Sequence[Sheet], looks: Mapping[str, Look], about: About
) -> str:
    """The whole document. It asks for nothing from anywhere: scripts and styles are inside.

    Args:
        trials: every trial that the report covers.
        sheets: what is shown of each group of comparable trials.
        looks: signs of each method label.
        about: what stands around the figures.
    """
    bodies = [group_html(sheet, looks) for sheet in sheets]
    body = [
        _header(trials, about),
        '<main id="main">',
        _toolbar(sheets, looks),
        '<p class="notices" id="old" hidden>This browser cannot unpack the figures; use one of '
        "2023 or later.</p><noscript><p>The figures need JavaScript.</p></noscript>",
        f'<div id="group" data-group="0">{bodies[0]}</div>',
        _provenance(about),
        "</main>",
        script("index", dump(_index(sheets, looks))),
        *(
            pack(f"g{number}", _panels_json(sheet, looks, html))
            for number, (sheet, html) in enumerate(zip(sheets, bodies, strict=True))
        ),
        f"<!-- plotly.js v{get_plotlyjs_version()}, MIT licence, copyright Plotly, Inc. -->",
        pack("plotly", get_plotlyjs()),
        f"<script>{''.join(map(shell.asset, SCRIPTS))}</script>",
    ]
    return shell.page(about.title, "\n".join(body), policy=shell.WITH_SCRIPTS)


def group_html(sheet: Sheet, looks: Mapping[str, Look]) -> str:
    """Everything about one group: its tables and figures are filled in by the page."""
    ratios = [h for h in sheet.verdict.columns if h.startswith(("memory ×", "time ×"))]
    verdict = ""
    if len(sheet.verdict.columns) > 1:  # more than the names
        verdict = table(sheet.verdict, "verdict", "Verdict per method", looks, bars=ratios)
    sections = []
    left = {panel.key: panel for panel in sheet.panels}
    for title, keys in SECTIONS.items():
        mine = [left.pop(key) for key in keys if key in left]
        sections += [_section(title, mine)] if mine else []
    sections += [_section("More", list(left.values()))] if left else []
    return (
        f'<p class="setting">{escape(sheet.group.label)}</p>'
        '<section class="card" id="verdict" aria-labelledby="verdict-title">'
        f'<h2 id="verdict-title">Verdict</h2><p class="sentence">{escape(sheet.sentence)}</p>'
        f"{verdict}</section>{''.join(sections)}"
        '<details class="card data" id="trials" data-table="all">'
        f"<summary>All {len(sheet.trials)} trials</summary>"
        '<p class="note">In running order. The command runs one trial again, at its commit.</p>'
        '<div class="sheet"></div></details>'
    )


def _header(trials: pd.DataFrame, about: About) -> str:
    cautions = "".join(f"<li>{escape(notice)}</li>" for notice in about.notices)
    found = ((status, number, words) for status, words, number in context.counts(trials))
    marks = shell.chips("Trials by status", found)
    rest = (
        f"{facts(context.summary(trials, about.machines, about.settings))}"
        + (f'<ul class="notices" aria-label="Cautions">{cautions}</ul>' if cautions else "")
        + '<details class="how"><summary>How to read this</summary>'
        f"{HOW_TO_READ}</details>"
    )
    return shell.header(about.title, "Training cost of spiking neural networks", marks, rest)


def _toolbar(sheets: Sequence[Sheet], looks: Mapping[str, Look]) -> str:
    """The controls that act on every figure: where it was measured, which methods."""
    places = "".join(
        f'<span class="pick"><label for="place-{escape(name)}">{escape(name.capitalize())}</label>'
        f'<select id="place-{escape(name)}" data-field="{escape(name)}" autocomplete="off">'
        + "".join(f'<option value="{escape(v)}">{escape(v)}</option>' for v in values)
        + "</select></span>"
        for name, values in _fields(sheets).items()
    )
    boxes = "".join(
        f'<label data-method="{escape(method)}">'
        f'<input type="checkbox" value="{escape(method)}" checked autocomplete="off">'
        f"{glyph(looks[method])}{escape(method)}</label>"
        for method in _methods(sheets)
    )
    return (
        f'<div class="toolbar"><div id="place">{places}</div>'
        f'<fieldset id="methods"><legend>Methods</legend>{boxes}'
        '<span class="every"><button type="button" data-methods="all">All</button>'
        '<button type="button" data-methods="none">None</button></span></fieldset></div>'
    )


def _fields(sheets: Sequence[Sheet]) -> dict[str, list[str]]:
    """What the groups differ in, and the values that there are; always the five main ones."""
    found: dict[str, list[str]] = {}
    for sheet in sheets:
        for name, value in sheet.group.place.items():
            found.setdefault(name, []).append(value)
    return {name: sorted(set(values), key=_natural) for name, values in found.items()}


def _natural(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdigit() else (0, text)


def _methods(sheets: Sequence[Sheet]) -> list[str]:
    return list(dict.fromkeys(method for sheet in sheets for method in sheet.group.methods))


def _section(title: str, panels: Sequence[Panel]) -> str:
    name = title.lower().replace(" ", "-")
    return (
        f'<section aria-labelledby="{name}"><h2 class="section" id="{name}">{title}</h2>'
        f'<div class="grid">{"".join(map(_panel, panels))}</div></section>'
    )


def _panel(panel: Panel) -> str:
    first = next(iter(panel.variants.values()))
    controls = "".join(_control(panel.key, control) for control in panel.controls)
    return (
        f'<article class="card panel" id="{escape(panel.key)}"><h3>{escape(panel.title)}</h3>'
        f'<p class="note">{escape(panel.note)}</p><div class="controls">{controls}</div>'
        f'<div class="plot" role="img" aria-label="{escape(first.sentence)}"></div>'
        '<ul class="legend" aria-hidden="true"></ul>'
        f'<p class="sentence" aria-live="polite">{escape(first.sentence)}</p>'
        f'<details class="data"><summary>Table</summary><div class="sheet"></div></details>'
        "</article>"
    )


def _control(panel: str, control: PanelControl) -> str:
    if control.as_buttons:
        return buttons(control.key, control.label, control.options)
    return f'<span class="pick">{select(panel, control.key, control.label, control.options)}</span>'


def _index(sheets: Sequence[Sheet], looks: Mapping[str, Look]) -> dict[str, Any]:
    """What the page must know before it unpacks anything."""
    return {
        "groups": [{"place": dict(sheet.group.place)} for sheet in sheets],
        "methods": _methods(sheets),
        "dark": style.dark_of(looks.values()),
    }


def _panels_json(sheet: Sheet, looks: Mapping[str, Look], html: str) -> str:
    """Panel -> control values (a JSON list) -> figure, table, sentence; and the tables as HTML."""
    every = table(sheet.trials, "trials", "Every trial in running order", looks)
    panels: dict[str, Any] = {"trials": {"tables": {"all": every}}}
    for panel in sheet.panels:
        tables = {
            name: table(frame, f"{panel.key}-{name}", f"{panel.title}: {name}", looks)
            for name, frame in panel.tables.items()
        }
        variants = {
            dump(values): {
                "figure": variant.figure,
                "table": variant.table,
                "sentence": variant.sentence,
                "scales": variant.scales,
            }
            for values, variant in panel.variants.items()
        }
        panels[panel.key] = {"variants": variants, "tables": tables}
    return dump({"html": html, "panels": panels})


def _provenance(about: About) -> str:
    parts = [
        f"<h3>Environment {escape(name)}</h3>{facts(list(context.flat(machine)))}"
        for name, machine in about.machines
    ]
    parts += [
        f"<h3>Settings of probe {escape(probe)}</h3>{facts(list(context.flat(found)))}"
        for probe, found in about.settings.items()
    ]
    if not parts:
        return ""
    return (
        '<details class="card"><summary>Environment and settings</summary>'
        f"{''.join(parts)}</details>"
    )
