"""What every HTML page is made in: nothing may be asked for, both themes, the same styles.

The report fills it by itself; those of the gate and the trend have no scripts and are `plain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Final

from harness.report import style
from harness.report.markup import escape
from harness.report.style import DARK, LIGHT

STYLES: Final = ("page.css", "controls.css", "tables.css", "small.css")

# Nothing may be asked for from anywhere, not even by accident: the browser refuses it.
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:"
WITH_SCRIPTS: Final = f"{POLICY}; script-src 'unsafe-inline'"


def head(title: str, *, policy: str = POLICY, styles: Sequence[str] = STYLES) -> str:
    """Everything up to the end of the head."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)} · training cost of spiking networks</title>\n"
        f"<style>\n:root {{ --font: {style.FONT}; {style.variables(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {style.variables(DARK)} }} }}\n"
        f"{''.join(map(asset, styles))}</style>\n</head>\n"
    )


def page(
    title: str, body: str, *, policy: str = POLICY, styles: Sequence[str] = STYLES, kind: str = ""
) -> str:
    """The whole document around a body; `kind` is for the styles."""
    mark = f' class="{kind}"' if kind else ""
    start = head(title, policy=policy, styles=styles)
    return f"{start}<body{mark}>\n{body}\n</body>\n</html>\n"


def plain(title: str, top: str, cards: str) -> str:
    """A document without scripts: its header, and its cards one below the other."""
    body = f"{top}<main>{cards}</main>"
    return page(title, body, styles=(*STYLES, "gate.css"), kind="gate")


def header(title: str, summary: str, marks: str = "", rest: str = "") -> str:
    """What the page is about, in a line each; `marks` stand below that, `rest` beside it."""
    return (
        f'<header><div class="title"><h1>{escape(title)}</h1><p>{escape(summary)}</p>{marks}</div>'
        f"{rest}</header>"
    )


def chips(label: str, found: Iterable[tuple[str, object, str]]) -> str:
    """A row of short facts: class, what is bold, and the rest."""
    items = "".join(
        f'<li class="chip {escape(kind)}"><b>{escape(bold)}</b> {escape(rest)}</li>'
        for kind, bold, rest in found
    )
    return f'<ul class="chips" aria-label="{escape(label)}">{items}</ul>'


def card(heading: str, body: str) -> str:
    """A card, or nothing without a body."""
    title = f"<h2>{escape(heading)}</h2>"
    return f'<section class="card">{title}{body}</section>' if body else ""


def asset(name: str) -> str:
    """The text of a file in `assets`."""
    return (resources.files("harness.report") / "assets" / name).read_text(encoding="utf-8")
