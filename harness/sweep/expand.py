"""From a sweep to its questions: the product of the axes, checked against the catalogue."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from harness.data.facts import describe
from harness.data.files import locate
from harness.errors import DataError, SweepError, unknown
from harness.spec import AUTO, AXES, TRAINED, Cell, Choice, Training
from harness.sweep.catalogue import Catalogue, MethodInfo, ModelInfo, OptionInfo
from harness.sweep.file import Grid, Sweep, message

ALL: Final = "all"
"""`method = "all"`: every method of the catalogue."""

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
}


@dataclass(frozen=True)
class Question:
    """One cell and one probe: everything about a trial but its repeat."""

    cell: Cell
    probe: str


def ask(
    sweep: Sweep,
    catalogue: Catalogue,
    *,
    auto_device: str = "cpu",
    device: str | None = None,
    operators: str | None = None,
    no_cuda: str | None = None,
    source: str = "sweep",
) -> list[Question]:
    """Take the product of every grid's axes; a question that two grids share is asked once.

    Args:
        auto_device: what `device = "auto"` stands for on this machine.
        device: overrides the devices of every grid.
        operators: what `operators = "auto"` stands for; what this machine runs if None.
        no_cuda: why "cuda" cannot be had here, or None.
        source: name of the sweep file, for messages.

    Raises:
        SweepError: if a method, model, option, data set or device does not exist.
    """
    faults: list[str] = []
    found: dict[Question, None] = {}
    for number, grid in enumerate(sweep.grid, start=1):
        checker = _Checker(catalogue, f"grid {number}: ", faults)
        methods = [choice for entry in grid.method for choice in checker.methods(entry)]
        models = [choice for entry in grid.model for choice in checker.models(entry)]
        checker.data(grid)
        asked = grid.device if device is None else [device]
        devices = [auto_device if name == AUTO else name for name in asked]
        if no_cuda is not None and "cuda" in devices:
            checker.fault(f"device: 'cuda' cannot be had: {no_cuda}; use 'auto' or 'cpu'")
        auto = catalogue.auto_operators if operators is None else lambda *_: operators
        values: dict[str, list[Any]] = {"method": methods, "model": models, "device": devices}
        for question in _product(grid, values, auto):
            found[question] = None
    if faults:
        raise SweepError(message(source, faults))
    return list(found)


def _product(
    grid: Grid, resolved: Mapping[str, list[Any]], auto: Callable[[str, str], str]
) -> Iterator[Question]:
    """Every probe, then the axes in their order; the methods of a cell are neighbours."""
    budget = Training(**grid.training.model_dump()) if grid.training else Training()
    names = [axis.name for axis in AXES if axis.name not in ("method", "training")] + ["method"]
    values = (resolved[name] if name in resolved else getattr(grid, name) for name in names)
    for probe, *point in itertools.product(grid.probes, *values):
        asked = dict(zip(names, point, strict=True))
        if asked["operators"] == AUTO:
            asked["operators"] = auto(asked["device"], asked["execution"])
        yield Question(Cell(**asked, training=budget if probe in TRAINED else None), probe)


class _Checker:
    """Turns entries of one grid into choices, and collects what is wrong with them."""

    def __init__(self, catalogue: Catalogue, place: str, faults: list[str]) -> None:
        self._catalogue = catalogue
        self._place = place
        self._faults = faults

    def methods(self, entry: str | dict[str, Any]) -> list[Choice]:
        """Every method that one entry of `method` stands for."""
        known = self._catalogue.methods
        if entry == ALL:
            return [Choice.make(name) for name in known]
        name, options = _split(entry)
        if name not in known:
            fault = unknown("method", name, [*known, ALL])
            fault += "; one of your own is found by RATEBP_PLUGINS=its file"
            if self._catalogue.broken:
                fault += (
                    f" ({len(self._catalogue.broken)} more could not be loaded: "
                    "see `ratebp-bench list methods`)"
                )
            self.fault(fault)
            return []
        return self._expanded(
            name, options, lambda key, value: self._option(known[name], key, value)
        )

    def models(self, entry: str | dict[str, Any]) -> list[Choice]:
        """Every model that one entry of `model` stands for."""
        known = self._catalogue.models
        name, options = _split(entry)
        if name not in known:
            self.fault(unknown("model", name, known))
            return []
        return self._expanded(name, options, partial(self._leaf, known[name]))

    def data(self, grid: Grid) -> None:
        """Check the data sets (and the user's files of them), and the use of a budget."""
        for name in grid.data:
            try:
                facts = describe(name)
                if max(grid.batch) > facts.train:
                    text = (
                        f"batch {max(grid.batch)} is more than data set {name!r} has for training"
                    )
                    self.fault(f"{text}; legal: 1 to {facts.train}")
                if facts.source == "files":
                    locate(name)
            except DataError as error:
                self.fault(f"data: {error}")
        if grid.training is not None and not set(TRAINED) & set(grid.probes):
            trains = " or ".join(map(repr, TRAINED))
            self.fault(f"training: no use without {trains} in probes; add a probe or drop it")

    def fault(self, text: str) -> None:
        """Keep one fault of this grid."""
        self._faults.append(self._place + text)

    def _expanded(
        self, name: str, options: dict[str, Any], check: Callable[[str, Any], dict[str, Any]]
    ) -> list[Choice]:
        """Product over list-valued options; an option at its default is left out of the name."""
        if any(value == [] for value in options.values()):
            self.fault(f"{name}: an empty list of option values asks for nothing")
        axes = [
            [check(key, value) for value in (values if isinstance(values, list) else [values])]
            for key, values in options.items()
        ]
        return [
            Choice.make(name, {key: value for part in parts for key, value in part.items()})
            for parts in itertools.product(*axes)
        ]

    def _option(self, method: MethodInfo, key: str, value: Any) -> dict[str, Any]:
        if key not in method.options:
            self.fault(unknown(f"option of method {method.name!r},", key, method.options))
            return {}
        info = method.options[key]
        legal = _legal(info, value)
        if legal is not None:
            self.fault(f"method {method.name!r}: {key} = {value!r} is not legal; legal: {legal}")
            return {}
        return {} if value == info.default else {key: value}

    def _leaf(self, model: ModelInfo, key: str, value: Any) -> dict[str, Any]:
        if key not in model.options:
            self.fault(unknown(f"option of model {model.name!r},", key, model.options))
            return {}
        leaves = value.values() if isinstance(value, dict) else [value]
        if not all(_scalar(leaf) for leaf in leaves):
            self.fault(f"model {model.name!r}: {key} = {value!r} is neither text nor a number")
            return {}
        surrogate = value.get("surrogate") if isinstance(value, dict) else None
        if surrogate is not None and surrogate not in self._catalogue.surrogates:
            text = unknown("surrogate", surrogate, self._catalogue.surrogates)
            self.fault(f"model {model.name!r}: {key}: {text}")
        return {key: value}


def _split(entry: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    return entry["name"], {key: value for key, value in entry.items() if key != "name"}


def _scalar(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _legal(info: OptionInfo, value: Any) -> str | None:
    """The legal values in words if `value` is not one of them, else None."""
    if info.choices is not None:
        return None if value in info.choices else ", ".join(map(repr, info.choices))
    expected = _TYPES.get(info.type, (str, bool, int, float))
    fits = _scalar(value) and isinstance(value, expected)
    if isinstance(value, bool) and bool not in expected:
        fits = False
    return None if fits else f"a value of type {info.type} (default {info.default!r})"
