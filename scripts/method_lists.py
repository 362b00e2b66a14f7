"""Write the tables of methods in README.md and docs/architecture.md, read off the classes.

python scripts/method_lists.py
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import torch
from method_costs import BATCH, CHANNELS, FITTED, PIXELS, network
from torch import nn

import ratebp
from ratebp.errors import BindError
from ratebp.leaves import Leaf
from ratebp.method import Bound, Method

ROOT = Path(__file__).parents[1]
BEGIN = "<!-- methods: python scripts/method_lists.py -->\n"
END = "<!-- end of methods -->\n"
KEPT = {"linear": "more with T", "constant": "constant"}


def own() -> dict[str, Method]:
    """Return the methods of this package, with their default options."""
    return {n: e.cls() for n, e in ratebp.methods.entries().items() if e.source == "builtin"}


def what_it_does(name: str, method: Method) -> str:
    """Return a row: the name, the docstring's first sentence, what is kept for the backward."""
    said = (inspect.getdoc(type(method)) or "").partition("\n\n")[0].replace("\n", " ")
    return f"| `{name}` | {said.rstrip('.')} | {KEPT[method.info.memory]} |\n"


def bound(method: Method) -> Bound:
    """Bind `method` to a small network of convolutions, with a batch norm if it takes one."""
    try:
        return method.bind(network(before=[nn.BatchNorm2d(CHANNELS[1])]), FITTED[0])
    except BindError:
        return method.bind(network(), FITTED[0])


def made_of(name: str, method: Method) -> str:
    """Return a row: the name, and the leaves of each of its views."""
    views = bound(method).views(torch.zeros(FITTED[0], BATCH, CHANNELS[0], PIXELS, PIXELS))
    parts = []
    for view, made in views.items():
        kinds = (type(m).__name__ for m in made.module.modules() if isinstance(m, Leaf))
        parts.append(f"*{view}*: " + ", ".join(f"`{kind}`" for kind in dict.fromkeys(kinds)))
    steps = "all steps at once" if method.info.layout == "multi" else "step by step"
    return f"| `{name}` | {'; '.join(parts)} | {steps} |\n"


def pages() -> dict[Path, str]:
    """Return each page as it should be."""
    readme = "| method | what it does | keeps |\n|---|---|---|\n"
    inside = "| method | its views and their leaves | order |\n|---|---|---|\n"
    methods = own()
    readme += "".join(what_it_does(*each) for each in methods.items())
    inside += "".join(made_of(*each) for each in methods.items())
    return {
        ROOT / "README.md": _filled(ROOT / "README.md", readme),
        ROOT / "docs" / "architecture.md": _filled(ROOT / "docs" / "architecture.md", inside),
    }


def _filled(page: Path, table: str) -> str:
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for a table: {BEGIN!r} to {END!r}")
    return before + begin + table + end + after


def main() -> None:
    """Write them."""
    for page, text in pages().items():
        page.write_text(text)
        sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
