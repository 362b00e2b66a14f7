"""What the time tier claims: one statement a family of methods, and the cells that carry it.

Two hundred cells would be two hundred chances of a false alarm. A family's figure is the mean over
its cells, pair by pair; its cells are described, not judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from harness.errors import unknown
from harness.gate.worktrees import SideError
from harness.spec import Cell
from harness.sweep.catalogue import Catalogue

ENOUGH: Final = 2
"""Cells of a family when only what its methods share has changed; those changed all count."""


@dataclass(frozen=True)
class Claim:
    """One family and the cells that stand for it."""

    family: str
    cells: tuple[Cell, ...]


def choose(
    cells: Iterable[Cell],
    base: Catalogue,
    head: Catalogue,
    *,
    everything: bool = False,
    families: Collection[str] = (),
) -> tuple[list[Claim], list[str]]:
    """The claims to test, and notes on what is left out.

    A method whose own file differs is always measured. Where the rest of the library differs (or
    with `everything`), each family is filled up to `ENOUGH` cells, in the order of `cells`.

    Args:
        cells: the cells that could be measured, the more telling ones first.
        base, head: what each side offers.
        families: those to look at; all if empty.

    Raises:
        SideError: if a family does not exist.
    """
    known = {method.family for method in head.methods.values()}
    for name in families:
        if name not in known:
            raise SideError(unknown("family", name, known))
    own: dict[str, list[Cell]] = {}
    others: dict[str, list[Cell]] = {}
    new: dict[str, None] = {}
    for cell in cells:
        method = head.methods[cell.method.name]
        before = base.methods.get(method.name)
        if before is None:
            new[method.name] = None
        elif not families or method.family in families:
            place = others if before.digest == method.digest else own
            place.setdefault(method.family, []).append(cell)
    if base.digest == head.digest and not everything:
        others = {}
    found = []
    for family in sorted({*own, *others}):
        changed = own.get(family, [])
        rest = others.get(family, [])[: max(0, ENOUGH - len(changed))]
        found.append(Claim(family, (*changed, *rest)))
    return found, [f"{name} is new: there is nothing to compare it with" for name in new]


def without(claims: Iterable[Claim], refused: Collection[Cell]) -> list[Claim]:
    """The claims without these cells; a family that keeps none makes no claim."""
    kept = [
        Claim(claim.family, tuple(cell for cell in claim.cells if cell not in refused))
        for claim in claims
    ]
    return [claim for claim in kept if claim.cells]
