"""What `ratebp-bench list` shows: the library's catalogue and the data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from harness.data.facts import SYNTHETIC, describe, names
from harness.sweep.catalogue import Catalogue, OptionInfo


def methods(offered: Catalogue) -> Table:
    """Methods with their options; a plug-in that could not be loaded is a row with its error."""
    heads = ("name", "family", "memory", "paper", "options (default first)", "summary")
    table = _table("methods", *heads)
    for method in offered.methods.values():
        options = "\n".join(f"{name}: {_option(info)}" for name, info in method.options.items())
        paper = method.papers[0].split(",")[0] if method.papers else "none"
        _add(table, method.name, method.family, method.memory, paper, options, method.summary)
    for source, error in _broken(offered, "methods"):
        _add(table, source, "broken", "", "", "", error, style="red")
    return table


def models(offered: Catalogue) -> Table:
    """Models with the names of their options."""
    table = _table("models", "name", "from", "options", "summary")
    for model in offered.models.values():
        _add(table, model.name, model.source, ", ".join(model.options), model.summary)
    for source, error in _broken(offered, "models"):
        _add(table, source, "broken", "", error, style="red")
    return table


def data(offered: Catalogue) -> Table:
    """Data sets with their sizes; those of the user's are not loaded to be listed."""
    table = _table("data", "name", "C x H x W", "classes", "train", "test", "from", "summary")
    for name in names():
        facts = describe(name)
        shape = " x ".join(map(str, facts.shape))
        sizes = (str(facts.num_classes), str(facts.train), str(facts.test))
        _add(table, facts.name, shape, *sizes, facts.source, facts.summary)
    _add(table, SYNTHETIC, "C x H x W", "K", "", "", "random", "any sizes, for costs alone")
    for own in offered.data.values():
        options = f" (options: {', '.join(own.options)})" if own.options else ""
        _add(table, own.name, "", "", "", "", own.source, own.summary + options)
    for source, error in _broken(offered, "data"):
        _add(table, source, "", "", "", "", "broken", error, style="red")
    return table


def surrogates(offered: Catalogue) -> Table:
    """Surrogate gradients, for `model = {name = ..., neuron = {surrogate = ...}}`."""
    table = _table("surrogates", "name")
    for name in offered.surrogates:
        _add(table, name)
    return table


KINDS: Final[dict[str, Callable[[Catalogue], Table]]] = {
    "methods": methods,
    "models": models,
    "data": data,
    "surrogates": surrogates,
}


def _broken(offered: Catalogue, kind: str) -> Iterator[tuple[str, str]]:
    return ((each.source, each.error) for each in offered.broken if each.kind == kind)


def _option(info: OptionInfo) -> str:
    others: Iterable[object] = (value for value in info.choices or () if value != info.default)
    return ", ".join(map(str, (info.default, *others))) + (
        "" if info.choices else f" ({info.type})"
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _add(table: Table, *cells: str, style: str | None = None) -> None:
    """Add a row of plain text: names may hold brackets, which are no markup here."""
    table.add_row(*map(Text, cells), style=style)
