"""The sweep file: TOML and its schema. Names are checked later, by `harness.sweep.expand`.

Every fault of a file is reported at once, each with its place, the legal values and the remedy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
)

from harness.errors import SweepError, unknown
from harness.spec import (
    AXES,
    OPTIMIZERS,
    PROBES,
    SCHEDULES,
)
from harness.sweep.places import PLACES

LEGAL: Final = {
    "name": "lower-case letters, digits, '-' and '_' (it names the results folder)",
    "description": "text",
    "repeats": "a whole number from 1",
    "timeout_s": "a number of seconds above 0",
    "seed": "a whole number from 0 (inside a grid also a list of them)",
    "grid": "one or more [[grid]] tables",
    "probes": f"one or more of {', '.join(PROBES)}",
    "method": "a name, a table like {name = 'ottt_a', placement = 'all'}, a list of them, or 'all'",
    "model": "a name, a table like {name = 'tiny_resnet', width = 1.0}, of your own one like "
    "{path = 'nets.py:Net', width = 64} or {spikingjelly = 'package.module:builder'}, or a list "
    "of them",
    "data": "the name of a data set, of your own a table like {path = 'sets.py:load', size = 8}, "
    "or a list of them",
    "T": "a whole number of time steps from 1, or a list of them",
    "batch": "a whole number of samples from 1, or a list of them",
    **{axis.name: f"one or more of {', '.join(axis.legal)}" for axis in AXES if axis.legal},
    "training": "a [grid.training] table",
    "epochs": "a whole number from 1",
    "optimizer": f"one of {', '.join(OPTIMIZERS)}",
    "lr": "a number above 0",
    "momentum": "a number from 0, below 1",
    "weight_decay": "a number from 0",
    "schedule": f"one of {', '.join(SCHEDULES)}",
}
"""What each key may hold, in words."""


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _named(*keys: str) -> BeforeValidator:
    """Takes a name, or a table that has one under exactly one of some keys."""

    def check(value: object) -> object:
        table = value if isinstance(value, dict) else {"name": value}
        names = [table[key] for key in keys if key in table]
        if len(names) != 1 or not isinstance(names[0], str) or not names[0]:
            raise ValueError("needs a name")
        return value

    return BeforeValidator(check)


def _one_of(legal: Collection[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in legal:
            raise ValueError(unknown("value", value, legal))
        return value

    return AfterValidator(check)


_AsList = BeforeValidator(_listed)
_Some = Field(min_length=1)
_Count = Annotated[int, Field(ge=1)]
_Seed = Annotated[int, Field(ge=0)]
_Entry = str | dict[str, Any]
_Methods = Annotated[list[Annotated[_Entry, _named("name")]], _AsList, _Some]
_Models = Annotated[list[Annotated[_Entry, _named("name", *PLACES)]], _AsList, _Some]
_Data = Annotated[list[Annotated[_Entry, _named("name", "path")]], _AsList, _Some]


class _Table(BaseModel):
    """A table of the file; an unknown key is a fault."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class TrainingTable(_Table):
    """`[grid.training]`: the fixed budget of the probes that train."""

    epochs: _Count = 1
    optimizer: Annotated[str, _one_of(OPTIMIZERS)] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Annotated[str, _one_of(SCHEDULES)] = "cosine"


_WORDS: Final[Mapping[str, Any]] = {
    axis.name: (Annotated[list[Annotated[str, _one_of(axis.legal)]], _AsList, _Some], [axis.asked])
    for axis in AXES
    if axis.legal
}
_Words: Any = create_model("_Words", __base__=_Table, **_WORDS)


class Grid(_Words):
    """`[[grid]]`: axes whose product gives cells. A single value stands for a list of one."""

    probes: Annotated[list[Annotated[str, _one_of(PROBES)]], _AsList, _Some]
    method: _Methods
    model: _Models
    data: _Data
    T: Annotated[list[_Count], _AsList, _Some]
    batch: Annotated[list[_Count], _AsList, _Some]
    seed: Annotated[list[_Seed], _AsList, _Some] = Field(default=[0])
    training: TrainingTable | None = None


class Sweep(_Table):
    """A whole sweep file. `timeout_s` (seconds) holds for each trial by itself."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    description: str = ""
    repeats: _Count = 1
    timeout_s: Annotated[float, Field(gt=0)] = 300.0
    seed: _Seed = 0
    grid: Annotated[list[Grid], _Some]


def find(name: str, folder: Path = Path("benchmarks/sweeps")) -> Path:
    """Resolve a path, or the bare name of a file in `folder`.

    Raises:
        SweepError: if there is no such file.
    """
    path = Path(name)
    bare = folder / f"{name}.toml"
    if path.is_file() or not bare.is_file():
        if path.is_file():
            return path
        known = [found.stem for found in folder.glob("*.toml")]
        if not known:
            raise SweepError(
                f"no sweep file {name!r}, and no named sweeps in {folder}: give the path of a TOML "
                "file, or run it where that folder is"
            )
        raise SweepError(
            f"no sweep file {name!r}. {unknown('sweep', name, known)} (in {folder}); "
            "give one of these names, or the path of a TOML file"
        )
    return bare


def read(path: Path) -> Sweep:
    """Read and check a sweep file; one without `name` is called after its file name.

    Raises:
        SweepError: if the file cannot be read, is not TOML, or breaks the schema.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SweepError(f"{path}: cannot read the sweep file: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SweepError(f"{path}: not valid TOML: {error}; correct it there") from error
    try:
        return Sweep.model_validate({"name": path.stem, **plain})
    except ValidationError as error:
        raise SweepError(message(path.name, [_fault(fault) for fault in error.errors()])) from error


def message(source: str, faults: list[str]) -> str:
    """One message for all faults of one file."""
    if len(faults) == 1:
        return f"{source}: {faults[0].removesuffix('.')}. Mend that and run again."
    lines = "".join(f"\n  - {fault}" for fault in faults)
    return f"{source}: {len(faults)} faults; mend them and run again.{lines}"


def _fault(fault: Mapping[str, Any]) -> str:
    """Word one fault of pydantic's: place, value, legal values."""
    place, keys = "", list(fault["loc"])
    tables: list[type[_Table]] = [Sweep, Grid, TrainingTable]
    if keys[0] == "grid" and len(keys) > 1:
        place, keys = f"grid {keys[1] + 1}: ", keys[2:]
        tables.pop(0)
    if keys and keys[0] == "training" and len(keys) > 1:
        place, keys = f"{place}training: ", keys[1:]
        tables = [TrainingTable]
    if not keys:
        return f"{place}{fault['input']!r} is not a table; legal: {LEGAL['grid']}"
    key, kind = str(keys[0]), fault["type"]
    if kind == "extra_forbidden":
        axis = "axis" if tables[0] is Grid else "key"
        return place + unknown(axis, key, tables[0].model_fields)
    if kind == "missing":
        return f"{place}{key} is missing; legal: {LEGAL[key]}"
    if kind == "too_short":
        return f"{place}{key}: an empty list asks for nothing; legal: {LEGAL[key]}"
    if kind == "value_error" and key not in ("method", "model", "data"):
        return f"{place}{key}: {fault['ctx']['error']}"
    return f"{place}{key}: {fault['input']!r} is not legal; legal: {LEGAL[key]}"
