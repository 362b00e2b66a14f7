"""From a sweep to its questions: the product of the axes, checked against the catalogue."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from harness.data.facts import Facts, describe
from harness.data.files import locate
from harness.errors import DataError, SweepError, unknown
from harness.spec import AUTO, AXES, TRAINED, Cell, Choice, Training
from harness.sweep.catalogue import Catalogue, MethodInfo, Offer, OptionInfo
from harness.sweep.choices import legal, products
from harness.sweep.file import Grid, Sweep, message
from harness.sweep.places import is_place, split, with_places

ALL: Final = "all"
"""`method = "all"`: every method of the catalogue."""

MODEL_OFFERED: Final = ("num_classes", "in_channels")
"""Options of a model that a trial takes from its data."""

_ANY: Final = OptionInfo(None, None, "")


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
    folder: Path = Path(),
    stands_for: Callable[[Choice, Facts | None], Choice] | None = None,
) -> list[Question]:
    """Take the product of every grid's axes; a question that two grids share is asked once.

    Args:
        auto_device: what `device = "auto"` stands for on this machine.
        device: overrides the devices of every grid.
        operators: what `operators = "auto"` stands for; what this machine runs if None.
        no_cuda: why "cuda" cannot be had here, or None.
        source: name of the sweep file, for messages.
        folder: where the paths of the sweep begin.
        stands_for: what takes the place of a data set where nothing is loaded; then nobody asks
            whether its files are there and how many samples it has.

    Raises:
        SweepError: if a method, model, option, data set or device does not exist.
    """
    faults: list[str] = []
    found: dict[Question, None] = {}
    for number, grid in enumerate(sweep.grid, start=1):
        checker = _Checker(catalogue, f"grid {number}: ", faults)
        methods = [choice for entry in grid.method for choice in checker.methods(entry)]
        models = [choice for entry in grid.model for choice in checker.models(entry)]
        sets = [choice for entry in grid.data for choice in checker.data(entry)]
        if stands_for is None:
            checker.use(grid, sets)
        else:
            sets = list(dict.fromkeys(stands_for(each, checker.facts(each)) for each in sets))
        asked = grid.device if device is None else [device]
        devices = [auto_device if name == AUTO else name for name in asked]
        if no_cuda is not None and "cuda" in devices:
            checker.fault(f"device: 'cuda' cannot be had: {no_cuda}; use 'auto' or 'cpu'")
        auto = catalogue.auto_operators if operators is None else lambda *_: operators
        values: dict[str, list[Any]] = {"method": methods, "model": models, "data": sets}
        values["device"] = devices
        for question in _product(grid, values, auto, str(folder.absolute())):
            found[question] = None
    if faults:
        raise SweepError(message(source, faults))
    return list(found)


def offered_to(sweep: Sweep, folder: Path, known: Catalogue) -> Catalogue:
    """A catalogue with what is at the places that a sweep names, whose paths begin at `folder`."""
    models = [entry for grid in sweep.grid for entry in grid.model]
    data = [entry for grid in sweep.grid for entry in grid.data]
    return with_places(known, models, data, folder)


def one_model(name: str, options: Mapping[str, Any], known: Catalogue, folder: Path) -> Choice:
    """A model and its options, checked against a catalogue and what is at its place.

    Raises:
        SweepError: if it does not exist, cannot be loaded, or has no such option.
    """
    written, _ = split(name)
    offered = with_places(known, [written], [], folder)
    faults: list[str] = []
    choices = _Checker(offered, "", faults).models({"name": written, **options})
    if written in offered.models and (error := offered.models[written].error) is not None:
        faults = [error]
    if faults or len(choices) != 1:
        raise SweepError(message(name, faults or ["an option has several values; give one"]))
    return choices[0]


def _product(
    grid: Grid, resolved: Mapping[str, list[Any]], auto: Callable[[str, str], str], folder: str
) -> Iterator[Question]:
    """Every probe, then the axes in their order; the methods of a cell are neighbours."""
    budget = Training(**grid.training.model_dump()) if grid.training else Training()
    names = [axis.name for axis in AXES if axis.name not in ("method", "training")] + ["method"]
    values = (resolved[name] if name in resolved else getattr(grid, name) for name in names)
    for probe, *point in itertools.product(grid.probes, *values):
        asked = dict(zip(names, point, strict=True))
        if asked["operators"] == AUTO:
            asked["operators"] = auto(asked["device"], asked["execution"])
        training = budget if probe in TRAINED else None
        places = is_place(asked["model"].name) or is_place(asked["data"].name)
        where = folder if places else ""
        yield Question(Cell(**asked, training=training, folder=where), probe)


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
        name, options = split(entry)
        if name not in known:
            fault = unknown("method", name, [*known, ALL])
            fault += "; one of your own is found by RATEBP_PLUGINS=its file"
            if broken := [b for b in self._catalogue.broken if b.kind == "methods"]:
                fault += (
                    f" ({len(broken)} more could not be loaded: see `ratebp-bench list methods`)"
                )
            self.fault(fault)
            return []
        return self._expanded(
            name, options, lambda key, value: self._option(known[name], key, value)
        )

    def models(self, entry: str | dict[str, Any]) -> list[Choice]:
        """Every model that one entry of `model` stands for."""
        known = self._catalogue.models
        name, options = split(entry)
        if name not in known:
            self.fault(unknown("model", name, known) + self._of_own("Net", "models"))
            return []
        return self._offered(known[name], "model", options, MODEL_OFFERED)

    def data(self, entry: str | dict[str, Any]) -> list[Choice]:
        """Every data set that one entry of `data` stands for."""
        name, options = split(entry)
        if name in self._catalogue.data:
            return self._offered(self._catalogue.data[name], "data set", options)
        try:
            describe(name)
        except DataError as error:
            self.fault(f"data: {error}" + self._of_own("load", "data"))
            return []
        if options:
            self.fault(f"data: {name!r} takes no options; drop {', '.join(options)}")
        return [Choice(name)]

    def facts(self, choice: Choice) -> Facts | None:
        """The facts of a data set that exists; None for one of the user's that fails."""
        if choice.name in self._catalogue.data:
            return self._catalogue.facts.get(choice)
        return describe(choice.name)

    def use(self, grid: Grid, sets: list[Choice]) -> None:
        """Check that the data are enough and there, and the use of a budget."""
        for choice in sets:
            facts = self.facts(choice)
            if facts is not None and max(grid.batch) > facts.train:
                text = f"batch {max(grid.batch)} is more than data set {choice.label!r} has for"
                self.fault(f"{text} training; legal: 1 to {facts.train}")
            if facts is not None and facts.source == "files":
                try:
                    locate(choice.name)
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
        checked = {
            (key, place): check(key, value)
            for key, values in options.items()
            for place, value in enumerate(values if isinstance(values, list) else [values])
        }
        places = {key: [p for k, p in checked if k == key] for key in options}
        points = (point.items() for point in products(places))
        return [
            Choice.make(name, {k: v for place in point for k, v in checked[place].items()})
            for point in points
        ]

    def _option(self, method: MethodInfo, key: str, value: Any) -> dict[str, Any]:
        if key not in method.options:
            self.fault(unknown(f"option of method {method.name!r},", key, method.options))
            return {}
        info = method.options[key]
        wrong = legal(info, value)
        if wrong is not None:
            self.fault(f"method {method.name!r}: {key} = {value!r} is not legal; legal: {wrong}")
            return {}
        return {} if value == info.default else {key: value}

    def _offered(
        self, offer: Offer, kind: str, options: dict[str, Any], given: tuple[str, ...] = ()
    ) -> list[Choice]:
        """Every choice of one entry; `given` are options that a trial hands over by itself."""
        needed = (name for name, info in offer.options.items() if info.required)
        if absent := [name for name in needed if name not in (*options, *given)]:
            self.fault(
                f"{kind} {offer.name!r} needs {', '.join(map(repr, absent))}; give it a value here "
                "or a default in its file"
            )
        return self._expanded(offer.name, options, partial(self._leaf, offer, kind))

    def _leaf(self, offer: Offer, kind: str, key: str, value: Any) -> dict[str, Any]:
        if key not in offer.options and not offer.open:
            self.fault(unknown(f"option of {kind} {offer.name!r},", key, offer.options))
            return {}
        wrong = legal(offer.options.get(key, _ANY), value)
        if wrong is not None:
            self.fault(f"{kind} {offer.name!r}: {key} = {value!r} is not legal; legal: {wrong}")
            return {}
        surrogate = value.get("surrogate") if isinstance(value, dict) else None
        if surrogate is not None and surrogate not in self._catalogue.surrogates:
            text = unknown("surrogate", surrogate, self._catalogue.surrogates)
            self.fault(f"{kind} {offer.name!r}: {key}: {text}")
        return {key: value}

    def _of_own(self, name: str, kind: str) -> str:
        """How something of the user's own is named, and what could not be loaded."""
        count = len({b.source for b in self._catalogue.broken if b.kind == kind})
        text = f"; one of your own is {{path = 'file.py:{name}'}}"
        return text + (f" ({count} more could not be loaded: see `list {kind}`)" if count else "")
