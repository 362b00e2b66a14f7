"""docs/zoo.md has a mark for every network and every method; what they are, its generator says."""

from __future__ import annotations

import re
from pathlib import Path

import ratebp
from ratebp.testing import zoo

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"
REMEDY = "docs/zoo.md is stale: run `python scripts/zoo_table.py`"


def test_the_page_has_every_network_and_every_method() -> None:
    text = PAGE.read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    assert set(rows) == set(zoo.entries()), REMEDY
    builtin = [n for n, entry in ratebp.methods.entries().items() if entry.source == "builtin"]
    for name, entry in zoo.entries().items():
        kind, *marks = rows[name].split(" | ")
        assert kind == entry.kind, REMEDY
        assert len(marks) == len(builtin), REMEDY
    heads = re.findall(r"^\| network \| about \| (.*) \|$", text, re.MULTILINE)
    assert {tuple(head.split(" | ")) for head in heads} == {tuple(builtin)}, REMEDY
