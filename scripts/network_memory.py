"""Write the table of docs/networks.md of what published networks hold: MiB by network and method.

    ratebp-bench plan networks_published --csv FILE
    python scripts/network_memory.py FILE

The first command counts one training step of each cell on fake tensors, the second replaces what
stands between the page's markers. A plan takes minutes, so no test compares the figures.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "networks.md"
BEGIN, END = "<!-- memory: python scripts/network_memory.py -->\n", "<!-- end of memory -->\n"
KEYS = ("model", "data", "T", "batch")
PARTS = ("mem.persistent", "mem.live_peak")
"""Parameters, gradients and the optimiser's state; the most that a step holds beside them."""
MIB = 2**20

Cells = dict[tuple[str, ...], dict[str, dict[str, float] | str]]


def read(file: Path) -> Cells:
    """Return the bytes of each part, or why there are none, by network and method."""
    cells: Cells = {}
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            of = cells.setdefault(tuple(row[key] for key in KEYS), {})
            if row["status"] != "ok":
                of[row["method"]] = row["error"]
            elif row["metric"] in PARTS and row["phase"] == "step":
                parts = of.setdefault(row["method"], {})
                assert isinstance(parts, dict)
                parts[row["metric"]] = float(row["value"])
    return cells


def rows(cells: Cells) -> Iterator[list[str]]:
    """Yield the head of the table and a line for each network."""
    methods = [*dict.fromkeys(method for of in cells.values() for method in of)]
    yield ["network", "input", "T", "B", *(f"`{method}`" for method in methods)]
    yield ["---"] * (4 + len(methods))
    for (model, data, T, batch), of in cells.items():
        found = [of[method] for method in methods]
        mib = ["refused" if isinstance(f, str) else f"{sum(f.values()) / MIB:,.0f}" for f in found]
        yield [f"`{model}`", data.removeprefix("synthetic-"), T, batch, *mib]


def main(file: str) -> None:
    """Replace the table."""
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in rows(read(Path(file))))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE.name} lacks {BEGIN.strip()} or {END.strip()}")
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
