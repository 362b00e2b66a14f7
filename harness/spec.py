"""What travels from the parent to a worker: frozen plain values, JSON both ways.

A *sweep* is a set of *cells*; a cell, one probe and one repeat make a *trial*, which is one fresh
process. This module needs nothing but the standard library, so that a worker may import it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

PROBES: Final = ("time", "memory", "energy", "fidelity", "activity", "accuracy")
TRAINED: Final = ("fidelity", "activity", "accuracy")
"""Probes that train the model for the cell's budget."""

DTYPES: Final = ("float32", "float64", "bfloat16")
DEVICES: Final = ("auto", "cpu", "cuda")
OPTIMIZERS: Final = ("sgd", "adam")
SCHEDULES: Final = ("cosine", "constant")
MEMORY_FORMATS: Final = ("contiguous", "channels_last")
EXECUTIONS: Final = ("eager", "compile", "cuda_graph")
OPERATORS: Final = ("auto", "torch", "cpp", "triton")

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
class Cell:
    """One point of a sweep. `device` and `operators` are resolved, never `auto`.

    `training` is set for the probes of `TRAINED` alone: what a step costs does not depend on it.
    `memory_format` is the layout of images and convolutions; `execution` how a step is run;
    `operators` which implementation of the library's operators runs, whatever is measured.
    """

    method: Choice
    model: Choice
    data: str
    T: int
    batch: int
    dtype: str = "float32"
    device: str = "cpu"
    seed: int = 0
    training: Training | None = None
    memory_format: str = "contiguous"
    execution: str = "eager"
    operators: str = "torch"

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary; options as dictionaries of dotted names.

        An axis of `LATER` at its default is left out: cells that were asked before there was such
        an axis keep their ids.
        """
        plain = asdict(self)
        for axis, usual in LATER.items():
            if plain[axis] == usual:
                del plain[axis]
        for key, choice in (("method", self.method), ("model", self.model)):
            plain[key] = {"name": choice.name, "options": dict(choice.options)}
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Cell:
        """Inverse of `to_json`."""
        fields = dict(plain)
        for key in ("method", "model"):
            fields[key] = Choice.make(fields[key]["name"], fields[key]["options"])
        if fields.get("training") is not None:
            fields["training"] = Training(**fields["training"])
        return cls(**fields)


LATER: Final = {"memory_format": "contiguous", "execution": "eager", "operators": "torch"}
"""Axes that came after the first results, with what those were; named only where it is another."""


@dataclass(frozen=True)
class TrialSpec:
    """One cell, one probe, one repeat: what one worker process is asked to measure.

    `trial` is the id (see `trial_id`); `order` the position in the sweep; `timeout_s` in seconds;
    `environment` and `code` the hashes that the id was made with; `measurement` the version of the
    metrics' definitions.
    """

    trial: str
    sweep: str
    cell: Cell
    probe: str
    repeat: int
    order: int
    timeout_s: float
    environment: str
    code: str
    measurement: int

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {**self.__dict__, "cell": self.cell.to_json()}

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
