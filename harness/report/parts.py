"""What a panel is made of: controls, and for each of their values a figure, table and sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from harness.report.axes import Patch
from harness.report.marks import Figure

IN_PAGE: Final = ("scale", "curve")
"""Controls that only change axes, or choose between lines and fitted laws."""


@dataclass(frozen=True)
class PanelControl:
    """A native control of a panel: a select, or a group of buttons; the first option is the start.

    `options` are pairs of value and text.
    """

    key: str
    label: str
    options: Sequence[tuple[str, str]]
    as_buttons: bool = False


@dataclass(frozen=True)
class Variant:
    """What a panel shows for one combination of its controls.

    `table` is a key of the panel's tables; `scales` says what a scale changes in the axes.
    """

    figure: Figure
    table: str
    sentence: str
    scales: Mapping[str, Patch] = field(default_factory=dict)


@dataclass
class Panel:
    """A titled figure with controls, tables and sentences; variants by control values in order.

    The controls of `IN_PAGE` are not among those values: the page itself does what they say.
    """

    key: str
    title: str
    note: str
    controls: list[PanelControl] = field(default_factory=list)
    variants: dict[tuple[str, ...], Variant] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
