"""An axis is declared once, as a field of a cell; everything that groups or names cells sees it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

from harness.spec import AXES, NUMBERS, Cell


def test_one_more_axis_is_seen_everywhere() -> None:
    command = [sys.executable, str(Path(__file__).with_name("wider_cell.py"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_field_is_an_axis_and_a_later_one_has_a_default() -> None:
    assert [axis.name for axis in AXES] == [each.name for each in fields(Cell) if each.compare]
    assert NUMBERS == ("T", "batch", "seed")
    assert all(axis.default is not MISSING for axis in AXES if axis.later)
