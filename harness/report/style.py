"""How things look: one colour, marker and dash per method, and the two themes.

A method is recognised by three signs at once, so that no reading depends on colour. Methods of the
papers have fixed signs; any other name gets its own from its family and a hash, the same in every
report, with no edit here. Colours are those of Okabe and Ito, moved towards black or white until
they stand out from the background of the theme (WCAG 2.2, 1.4.11: a contrast of at least 3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import pandas as pd

FONT: Final = '-apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif'
MIN_CONTRAST: Final = 3.0

LIGHT: Final = {
    "page": "#f5f6f8",
    "card": "#ffffff",
    "ink": "#1a1f26",
    "muted": "#56606c",
    "grid": "#e3e6ea",
    "axis": "#8b949e",
    "strip": "#f1f3f5",
    "accent": "#0060a8",
    "bar": "#d9e8f5",
    "alarm": "#a8321a",
}
DARK: Final = {
    "page": "#0e1116",
    "card": "#171b22",
    "ink": "#e7eaee",
    "muted": "#a4adb9",
    "grid": "#2b313b",
    "axis": "#717b88",
    "strip": "#20252e",
    "accent": "#6cb6f5",
    "bar": "#203a54",
    "alarm": "#ff9b85",
}

BLUE, SKY, VERMILLION, ORANGE = "#0072b2", "#56b4e9", "#d55e00", "#e69f00"
GREEN, PURPLE, YELLOW, GREY = "#009e73", "#cc79a7", "#f0e442", "#77818c"
FAMILIES: Final = {"exact": (BLUE, SKY), "rate": (VERMILLION, ORANGE), "online": (GREEN, PURPLE)}
PALETTE: Final = (BLUE, SKY, VERMILLION, ORANGE, GREEN, PURPLE, YELLOW)
Signs = tuple[str, str, str]
"""Colour, symbol, dash."""
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash")

SYMBOLS: Final = {
    "circle": "M8 3.2a4.8 4.8 0 1 0 .01 0z",
    "square": "M3.7 3.7h8.6v8.6H3.7z",
    "diamond": "M8 2l6 6-6 6-6-6z",
    "triangle-up": "M8 2.4l5.8 10.2H2.2z",
    "triangle-down": "M8 13.6L2.2 3.4h11.6z",
    "cross": "M6 2.5h4V6h3.5v4H10v3.5H6V10H2.5V6H6z",
    "x": "M3 5l2-2 3 3 3-3 2 2-3 3 3 3-2 2-3-3-3 3-2-2 3-3z",
    "triangle-left": "M2.4 8l10.2-5.8v11.6z",
    "triangle-right": "M13.6 8L3.4 2.2v11.6z",
    "pentagon": "M8 2.2l5.8 4.2-2.2 6.8H4.4L2.2 6.4z",
    "hourglass": "M3 2.5h10L3 13.5h10z",
    "bowtie": "M2.5 3v10l11-10v10z",
    "hexagon": "M8 1.8l5.4 3.1v6.2L8 14.2l-5.4-3.1V4.9z",
    "diamond-tall": "M8 1l4.2 7L8 15 3.8 8z",
    "diamond-wide": "M1 8l7-4.2L15 8l-7 4.2z",
    "hexagram": "M8 1.2l2 3.4h4L12 8l2 3.4h-4L8 14.8l-2-3.4H2L4 8 2 4.6h4z",
    "star-square": "M3 3l5 2.4L13 3l-2.4 5 2.4 5-5-2.4L3 13l2.4-5z",
    "star-diamond": "M8 1.4l1.9 4.7L14.6 8l-4.7 1.9L8 14.6 6.1 9.9 1.4 8l4.7-1.9z",
    "star-triangle-up": "M8 1.6l1.9 6.2 4.6 5-6.5-1.4-6.5 1.4 4.6-5z",
    "star-triangle-down": "M8 14.4L6.1 8.2 1.5 3.2 8 4.6l6.5-1.4-4.6 5z",
    "circle-cross": "M8 2.6a5.4 5.4 0 1 0 .01 0zM7.3 4h1.4v3.3H12v1.4H8.7V12H7.3V8.7H4V7.3h3.3z",
    "square-cross": "M3 3h10v10H3zM7.3 4.2h1.4v3.1h3.1v1.4H8.7v3.1H7.3V8.7H4.2V7.3h3.1z",
    "octagon": "M5.6 2.2h4.8l3.4 3.4v4.8l-3.4 3.4H5.6l-3.4-3.4V5.6z",
    "triangle-ne": "M2.5 2.5h11v11z",
    "triangle-se": "M13.5 2.5v11h-11z",
    "triangle-sw": "M13.5 13.5h-11v-11z",
    "triangle-nw": "M2.5 13.5v-11h11z",
    "diamond-x": "M8 1.8L9.6 3.4 8 5 6.4 3.4zM14.2 8l-1.6 1.6L11 8l1.6-1.6zM8 14.2l-1.6-1.6L8 11l"
    "1.6 1.6zM1.8 8l1.6-1.6L5 8 3.4 9.6zM8 6l2 2-2 2-2-2z",
    "circle-x": "M8 2.6a5.4 5.4 0 1 0 .01 0zM5.2 6.2l1-1L8 7l1.8-1.8 1 1L9 8l1.8 1.8-1 1L8 9l-1.8 "
    "1.8-1-1L7 8z",
    "square-x": "M3 3h10v10H3zM5.2 6.2l1-1L8 7l1.8-1.8 1 1L9 8l1.8 1.8-1 1L8 9l-1.8 1.8-1-1L7 8z",
    "star": "M8 1.6l1.7 4.2 4.5.3-3.5 2.9 1.1 4.4L8 11l-3.8 2.4 1.1-4.4L1.8 6.1l4.5-.3z",
}
"""Plotly's marker names with the same shapes as SVG paths in a 16 x 16 box."""


@dataclass(frozen=True)
class Look:
    """The three signs of a method; `colour` for the light theme, `dark` for the dark one."""

    colour: str
    dark: str
    symbol: str
    dash: str


@dataclass(frozen=True)
class Phase:
    """One phase of a step in the stacked bars: words, colours, and a pattern beside the colour."""

    key: str
    label: str
    colour: str
    dark: str
    pattern: str


PHASES: Final = (
    Phase("plain_forward", "forward", "#7e8b9a", "#7e8c9b", ""),
    Phase("trace", "forward trace", "#c06800", "#f0a132", "/"),
    Phase("backward", "backward", "#3b4858", "#cdd6e1", ""),
    Phase("update", "update", "#8669ac", "#b89fdc", "."),
)

HELD: Final = (
    Phase("persistent", "persistent", "#7e8b9a", "#7e8c9b", ""),
    Phase("stored", "stored for the backward", "#c06800", "#f0a132", "/"),
    Phase("peak", "more at the peak", "#8669ac", "#b89fdc", "."),
)

# A marker occurs once in a colour, and neighbours in a paper's figures differ in both. Controls are
# grey: they are no method.
_KNOWN: Final = {
    "bptt_m": (BLUE, "circle", "solid"),
    "bptt_s": (SKY, "square", "dash"),
    "bptt_ckpt": (BLUE, "hourglass", "dashdot"),
    "tbptt": (SKY, "bowtie", "dot"),
    "rate_m": (VERMILLION, "diamond", "solid"),
    "rate_s": (ORANGE, "triangle-up", "dash"),
    "dsr": (VERMILLION, "pentagon", "dot"),
    "tandem": (ORANGE, "star", "dashdot"),
    "rga": (VERMILLION, "triangle-left", "longdash"),
    "saf_e": (ORANGE, "hexagon", "dot"),
    "saf_f": (VERMILLION, "hexagram", "dashdot"),
    "sltt": (GREEN, "triangle-down", "solid"),
    "sltt_k": (GREEN, "diamond-tall", "dash"),
    "ottt_a": (PURPLE, "cross", "dash"),
    "ottt_o": (PURPLE, "x", "dot"),
    "os": (GREEN, "star-square", "dot"),
    "ndot_a": (PURPLE, "triangle-right", "dashdot"),
    "ndot_o": (PURPLE, "diamond-wide", "longdash"),
    "fptt": (YELLOW, "star-diamond", "dash"),
    "eprop": (YELLOW, "star-triangle-up", "solid"),
    "stllr": (YELLOW, "star-triangle-down", "dot"),
    "ostl": (GREEN, "pentagon", "longdash"),
    "sfa": (YELLOW, "square", "dashdot"),
    "ann": (GREY, "circle-cross", "dash"),
    "t1": (GREY, "square-cross", "dot"),
}


def looks(methods: Iterable[tuple[str, str, str]]) -> dict[str, Look]:
    """Give every method its signs.

    Args:
        methods: (label, name, family); the label is the name with its options.

    Returns:
        A look per label. Equal for the same method in every report, unless two hashes of unknown
        methods meet in one report: then the later one in alphabetical order takes the next free
        signs.
    """
    taken: set[Signs] = set()
    found: dict[str, Look] = {}
    for label, name, family in sorted(methods, key=lambda item: (item[0] not in _KNOWN, item)):
        signs = _KNOWN.get(label) or _free(label, name, family, taken)
        taken.add(signs)
        colour, symbol, dash = signs
        found[label] = Look(
            legible(colour, LIGHT["card"]), legible(colour, DARK["card"]), symbol, dash
        )
    return found


def looks_of(trials: pd.DataFrame) -> dict[str, Look]:
    """The looks of every method in a table of trials."""
    named = trials[["method", "method_name", "family"]].drop_duplicates("method").fillna("")
    return looks(named.itertuples(index=False, name=None))


def contrast(first: str, second: str) -> float:
    """WCAG 2.2 contrast ratio of two `#rrggbb` colours, from 1 to 21."""
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def legible(colour: str, background: str) -> str:
    """The colour itself, or the nearest shade or tint of it with `MIN_CONTRAST` on `background`."""
    target = 0 if _luminance(background) > 0.18 else 255
    for step in range(101):
        mixed = [round(c + (target - c) * step / 100) for c in _channels(colour)]
        shade = "#{:02x}{:02x}{:02x}".format(*mixed)
        if contrast(shade, background) >= MIN_CONTRAST:
            break
    return shade


def dark_of(looks: Iterable[Look]) -> dict[str, str]:
    """Light colour -> dark colour for everything that figures are drawn with."""
    pairs = {LIGHT[role]: DARK[role] for role in LIGHT}
    pairs |= {phase.colour: phase.dark for phase in (*PHASES, *HELD)}
    return pairs | {look.colour: look.dark for look in looks}


def variables(theme: dict[str, str]) -> str:
    """The theme as CSS custom properties."""
    return " ".join(f"--{role}: {colour};" for role, colour in theme.items())


def _free(label: str, name: str, family: str, taken: set[Signs]) -> Signs:
    """First free signs from a starting point that only the names decide.

    A marker that nobody has yet comes before one that differs in colour or dash alone.
    """
    colours = FAMILIES.get(family) or (PALETTE[_hash(family) % len(PALETTE)],)
    if name in _KNOWN:
        colours = (_KNOWN[name][0],)
    used = {symbol for _, symbol, _ in _KNOWN.values()}
    symbols = [symbol for symbol in SYMBOLS if symbol not in used]  # eight are left to newcomers
    start = _hash(label)
    signs = []
    for offset in range(len(colours) * len(symbols) * len(DASHES)):
        rest, colour = divmod(start + offset, len(colours))
        rest, symbol = divmod(rest, len(symbols))
        signs.append((colours[colour], symbols[symbol], DASHES[rest % len(DASHES)]))
    markers = {symbol for _, symbol, _ in taken}
    new = (mine for mine in signs if mine[1] not in markers)
    return next(new, None) or next((mine for mine in signs if mine not in taken), signs[0])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    """Relative luminance of sRGB, from 0 to 1."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (channel / 255 for channel in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
