"""What travels from the parent to a worker: frozen plain values, JSON both ways.

A *sweep* is a set of *cells*; a cell, one probe and one repeat make a *trial*, which is one fresh
process. This module needs nothing of torch or the library, so that a parent may import it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from harness.rows import MEASUREMENT_VERSION

PROBES: Final = ("time", "memory", "energy", "fidelity", "activity", "accuracy")
TRAINED: Final = ("fidelity", "activity", "accuracy")
"""Probes that train the model for the cell's budget."""

DTYPES: Final = ("float32", "float64", "bfloat16")
AUTO: Final = "auto"
"""Stands in a sweep file for what fits the machine."""

DEVICES: Final = (AUTO, "cpu", "cuda")
OPTIMIZERS: Final = ("sgd", "adam")
SCHEDULES: Final = ("cosine", "constant")
MEMORY_FORMATS: Final = ("contiguous", "channels_last")
EXECUTIONS: Final = ("eager", "compile", "cuda_graph")
OPERATORS: Final = (AUTO, "torch", "cpp", "triton")

OWN: Final = "+"
"""In the digest of a trial's code: what follows is of the user's files of its model and data."""

OptionValue = str | int | float | bool


@dataclass(frozen=True)
class Choice:
    """A name from the catalogue with options, for example `ottt_a(placement=published)`.

    Options are pairs sorted by name; a nested table is flattened to dotted names, so that
    `neuron = {decay = 0.2}` is `("neuron.decay", 0.2)`.
    """

    name: str
    options: tuple[tuple[str, OptionValue], ...] = ()

    @classmethod
    def make(cls, name: str, options: Mapping[str, Any] | None = None) -> Choice:
        """Build from a (possibly nested) mapping of options."""
        return cls(name, tuple(sorted(_flatten(options or {}).items())))

    @property
    def label(self) -> str:
        """The name as people read it: options in parentheses, none if there are none."""
        inside = ", ".join(f"{key}={_shown(value)}" for key, value in self.options)
        return f"{self.name}({inside})" if inside else self.name

    def kwargs(self) -> dict[str, Any]:
        """Options as keyword arguments, dotted names back in nested dictionaries."""
        result: dict[str, Any] = {}
        for key, value in self.options:
            *parents, leaf = key.split(".")
            table = result
            for parent in parents:
                table = table.setdefault(parent, {})
            table[leaf] = value
        return result


@dataclass(frozen=True)
class Training:
    """The fixed budget of a probe that trains."""

    epochs: int = 1
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"

    @property
    def label(self) -> str:
        """One line for the tables, for example `sgd lr=0.1 epochs=2 cosine`."""
        return f"{self.optimizer} lr={self.lr:g} epochs={self.epochs} {self.schedule}"


@dataclass(frozen=True)
class Axis:
    """What everything that reads or groups cells must know of one of their fields.

    Attributes:
        name, default: as the field has them; `MISSING` without a default.
        legal: the words that it may be, in a sweep file a list of them; none for axes of another
            kind.
        later: it came after the first results. At its default, which those had, it is left out of
            ids and of labels.
        splits: trials that differ in it never stand in one figure or estimate.
        pooled: neither splits figures nor names their lines and points: seeds, and budgets of
            training.
        counted: exact figures depend on it.
        number: it is a whole number.
    """

    name: str
    default: Any
    legal: tuple[str, ...] = ()
    later: bool = False
    splits: bool = True
    pooled: bool = False
    counted: bool = True
    number: bool = False

    @property
    def asked(self) -> Any:
        """What a sweep file asks for that does not name the axis: what fits here, if it may."""
        return AUTO if AUTO in self.legal else self.default


_POOLED: Final = {"splits": False, "pooled": True, "counted": False}


@dataclass(frozen=True)
class Cell:
    """One point of a sweep. `device` and `operators` are resolved, never `auto`.

    This is the one declaration of the axes: ids, tables, groups and sweep files follow from it.
    What is not compared is none: `folder` is where the paths of model and data begin. It decides no
    figure, as what lies there is hashed, so it is in no id, and a sweep may be moved.

    `training` is set for the probes of `TRAINED` alone: what a step costs does not depend on it.
    `memory_format` is torch's, of images and convolutions; `execution` how a step is run;
    `operators` which implementation of the library's operators runs, whatever is measured.
    """

    method: Choice = field(metadata={"splits": False})
    model: Choice
    data: Choice
    T: int = field(metadata={"splits": False})
    batch: int
    dtype: str = field(default="float32", metadata={"legal": DTYPES})
    device: str = field(default="cpu", metadata={"legal": DEVICES, "counted": False})
    seed: int = field(default=0, metadata=_POOLED)
    training: Training | None = field(default=None, metadata=_POOLED)
    memory_format: str = field(
        default="contiguous", metadata={"legal": MEMORY_FORMATS, "later": True}
    )
    execution: str = field(default="eager", metadata={"legal": EXECUTIONS, "later": True})
    operators: str = field(default="torch", metadata={"legal": OPERATORS, "later": True})
    folder: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Take a data set without options by its name."""
        if isinstance(self.data, str):
            object.__setattr__(self, "data", Choice(self.data))

    def said(self) -> dict[str, Any]:
        """Every axis as tables say it: choices and budgets by their labels."""
        values = {each.name: getattr(self, each.name) for each in axes(type(self))}
        labelled = (Choice, Training)
        return {k: v.label if isinstance(v, labelled) else v for k, v in values.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary of the axes; options as dictionaries of dotted names.

        Data without options are their name, as they were before they had any. A later axis at its
        default is left out: cells that were asked before there was such an axis keep their ids.
        """
        plain = asdict(self)
        del plain["folder"]
        for each in axes(type(self)):
            if each.later and plain[each.name] == each.default:
                del plain[each.name]
        for key, choice in (("method", self.method), ("model", self.model), ("data", self.data)):
            plain[key] = {"name": choice.name, "options": dict(choice.options)}
        if not self.data.options:
            plain["data"] = self.data.name
        return plain

    def request(self) -> dict[str, Any]:
        """What a process is asked: the cell, and where its paths begin."""
        return self.to_json() | ({"folder": self.folder} if self.folder else {})

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Cell:
        """Inverse of `to_json` and of `request`."""
        fields = dict(plain)
        for key in ("method", "model", "data"):
            if key == "data" and isinstance(fields[key], str):
                continue
            fields[key] = Choice.make(fields[key]["name"], fields[key]["options"])
        if fields.get("training") is not None:
            fields["training"] = Training(**fields["training"])
        return cls(**fields)


def axes(cell: type[Cell] = Cell) -> tuple[Axis, ...]:
    """The axes of a class of cells, in the order of its fields."""
    return tuple(
        Axis(each.name, each.default, number=each.type in (int, "int"), **each.metadata)
        for each in fields(cell)
        if each.compare
    )


AXES: Final = axes()
"""Every axis of a cell."""

LATER: Final = {each.name: each.default for each in AXES if each.later}
"""Axes that came after the first results, with what those were; named only where it is another."""

SPLITS: Final = tuple(each.name for each in AXES if each.splits)
"""Names of the axes that split figures."""

NUMBERS: Final = tuple(each.name for each in AXES if each.number)
"""Names of the axes that are whole numbers."""


@dataclass(frozen=True)
class TrialSpec:
    """One cell, one probe, one repeat: what one worker process is asked to measure.

    `trial` is the id (see `trial_id`); `order` the position in the sweep; `timeout_s` in seconds;
    `environment` and `code` the hashes that the id was made with, empty where the id is none;
    `measurement` the version of the metrics' definitions.
    """

    trial: str
    sweep: str
    cell: Cell
    probe: str
    repeat: int
    order: int
    timeout_s: float
    environment: str = ""
    code: str = ""
    measurement: int = MEASUREMENT_VERSION

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {**self.__dict__, "cell": self.cell.request()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> TrialSpec:
        """Inverse of `to_json`."""
        return cls(**{**plain, "cell": Cell.from_json(plain["cell"])})


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of a plain value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def trial_id(
    cell: Cell, probe: str, repeat: int, *, code: str, environment: str, measurement: int
) -> str:
    """Sixteen hex digits that name what is measured, with which code, where, and how.

    Equal ids mean equal questions, so a finished record with this id need not be measured again.
    """
    question = [cell.to_json(), probe, repeat, code, environment, measurement]
    return digest(question)[:16]


def _flatten(options: Mapping[str, Any], prefix: str = "") -> dict[str, OptionValue]:
    flat: dict[str, OptionValue] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _shown(value: OptionValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
