"""One HTML file from the panels: header, verdict, figures with their tables, every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import pandas as pd
from plotly.offline import get_plotlyjs

from harness.report import context, style, tables
from harness.report.markup import buttons, dump, escape, facts, glyph, script, select, table
from harness.report.panels import Sheet
from harness.report.parts import Control, Panel
from harness.report.quantities import BASELINE
from harness.report.style import DARK, LIGHT, Look

HOW_TO_READ = f"""
<p>Every method trains the same network on the same batch. <b>Memory</b> is the peak of live tensor
bytes in a step, above parameters, gradients, optimiser state and inputs; it is counted, not
sampled, so it repeats to the byte. <b>Time</b> is one optimiser step; each value is the median
over fresh processes of the median over steps. <b>Forward trace</b> is what a method's forward costs
above a forward without graph or trace.</p>
<p><b>× {BASELINE}</b> is the ratio to backpropagation through time at the same T: below 1 is less.
An <b>open marker</b> above a plot is a cell without a value: it ran out of memory or time, or
failed. Intervals over fewer than about six processes are too narrow; take them as a hint.</p>
"""


def render(
    trials: pd.DataFrame,
    sheets: Sequence[Sheet],
    looks: Mapping[str, Look],
    machines: list[tuple[str, dict[str, Any]]],
    settings: Mapping[str, Mapping[str, Any]],
    notices: Sequence[str] = (),
) -> str:
    """The whole document. It asks for nothing from anywhere: scripts and styles are inside.

    Parameters
    ----------
    trials:
        Every trial that the report covers.
    sheets:
        What is shown of each group of comparable trials.
    looks:
        Signs of each method label.
    machines, settings:
        From `context.environments` and `context.settings`.
    notices:
        Cautions for the reader, a sentence each.
    """
    name = ", ".join(sorted(trials["sweep"].unique()))
    body = [
        _header(name, trials, machines, settings, notices),
        '<main id="main">',
        _toolbar(sheets, looks),
        *(_group(number, sheet, looks) for number, sheet in enumerate(sheets)),
        _provenance(machines, settings),
        "</main>",
        f"<script>{get_plotlyjs()}</script>",
        script("variants", _variants(sheets)),
        script("dark-colours", dump(style.dark_of(looks.values()))),
        f"<script>{_asset('page.js')}</script>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(name)} · training cost of spiking networks</title>\n"
        f"<style>\n:root {{ --font: {style.FONT}; {style.variables(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {style.variables(DARK)} }} }}\n"
        f"{_asset('page.css')}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _header(
    name: str,
    trials: pd.DataFrame,
    machines: list[tuple[str, dict[str, Any]]],
    settings: Mapping[str, Mapping[str, Any]],
    notices: Sequence[str],
) -> str:
    cautions = "".join(f"<li>{escape(notice)}</li>" for notice in notices)
    chips = "".join(
        f'<li class="chip {escape(status)}"><b>{number}</b> {escape(words)}</li>'
        for status, words, number in context.counts(trials)
    )
    return (
        f'<header><div class="title"><h1>{escape(name)}</h1>'
        "<p>Training cost of spiking neural networks</p>"
        f'<ul class="chips" aria-label="Trials by status">{chips}</ul></div>'
        f"{facts(context.summary(trials, machines, settings))}"
        + (f'<ul class="notices" aria-label="Cautions">{cautions}</ul>' if cautions else "")
        + '<details class="how"><summary>How to read this</summary>'
        f"{HOW_TO_READ}</details></header>"
    )


def _toolbar(sheets: Sequence[Sheet], looks: Mapping[str, Look]) -> str:
    """The controls that act on every figure: which group, which methods."""
    group = ""
    if len(sheets) > 1:
        options = [(str(number), sheet.group.label) for number, sheet in enumerate(sheets)]
        group = f'<div class="pick">{select("page", "group", "Setting", options)}</div>'
    order = list(dict.fromkeys(method for sheet in sheets for method in sheet.group.methods))
    boxes = "".join(
        f'<label><input type="checkbox" value="{escape(method)}" checked autocomplete="off">'
        f"{glyph(looks[method])}{escape(method)}</label>"
        for method in order
    )
    return (
        f'<div class="toolbar">{group}<fieldset id="methods"><legend>Methods</legend>{boxes}'
        "</fieldset></div>"
    )


def _group(number: int, sheet: Sheet, looks: Mapping[str, Look]) -> str:
    name = f"g{number}"
    every = tables.trials(sheet.group)
    ratios = [head for head in sheet.verdict.columns if "×" in head]
    verdict = table(sheet.verdict, f"{name}-verdict", "Verdict per method", looks, bars=ratios)
    return (
        f'<section class="group" id="{name}" data-group="{number}"{" hidden" if number else ""}>'
        f'<h2 class="setting">{escape(sheet.group.label)}</h2>'
        f'<article class="card wide"><h2>Verdict</h2><p class="sentence">{escape(sheet.sentence)}'
        f"</p>{verdict}</article>"
        f'<div class="grid">{"".join(_panel(name, panel, looks) for panel in sheet.panels)}</div>'
        f'<details class="card wide"><summary><h2>All {len(every)} trials</h2></summary>'
        f"{table(every, f'{name}-trials', 'Every trial in running order', looks)}"
        "</details></section>"
    )


def _panel(group: str, panel: Panel, looks: Mapping[str, Look]) -> str:
    name = f"{group}-{panel.key}"
    first = next(iter(panel.variants.values()))
    sheets = "".join(
        table(frame, f"{name}-{key}", f"{panel.title}: {key}", looks, hidden=key != first.table)
        for key, frame in panel.tables.items()
    )
    controls = "".join(_control(name, control) for control in panel.controls)
    return (
        f'<article class="card panel" id="{escape(name)}"><h2>{escape(panel.title)}</h2>'
        f'<p class="note">{escape(panel.note)}</p><div class="controls">{controls}</div>'
        f'<div class="plot" role="img" aria-label="{escape(first.sentence)}"></div>'
        f'<p class="sentence" aria-live="polite">{escape(first.sentence)}</p>{sheets}</article>'
    )


def _control(panel: str, control: Control) -> str:
    if control.as_buttons:
        return buttons(control.key, control.label, control.options)
    return f'<span class="pick">{select(panel, control.key, control.label, control.options)}</span>'


def _variants(sheets: Sequence[Sheet]) -> str:
    """Panel -> control values joined by "|" -> figure, table id and sentence, as JSON text."""
    texts = []
    for number, sheet in enumerate(sheets):
        for panel in sheet.panels:
            name = f"g{number}-{panel.key}"
            entries = (
                f"{dump('|'.join(values))}:{{"
                f'"figure":{variant.figure.to_json()},"table":{dump(f"{name}-{variant.table}")},'
                f'"sentence":{dump(variant.sentence)},"scales":{dump(variant.scales)}}}'
                for values, variant in panel.variants.items()
            )
            texts.append(f"{dump(name)}:{{{','.join(entries)}}}")
    return f"{{{','.join(texts)}}}"


def _provenance(
    machines: list[tuple[str, dict[str, Any]]], settings: Mapping[str, Mapping[str, Any]]
) -> str:
    parts = [
        f"<h3>Environment {escape(name)}</h3>{facts(list(context.flat(machine)))}"
        for name, machine in machines
    ]
    parts += [
        f"<h3>Settings of probe {escape(probe)}</h3>{facts(list(context.flat(found)))}"
        for probe, found in settings.items()
    ]
    if not parts:
        return ""
    return (
        '<details class="card wide"><summary><h2>Environment and settings</h2></summary>'
        f"{''.join(parts)}</details>"
    )


def _asset(name: str) -> str:
    return (resources.files("harness.report") / "assets" / name).read_text(encoding="utf-8")
