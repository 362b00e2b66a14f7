"""What the library offers, read as JSON from a child process.

The parent never imports the library: a typo in a sweep fails here, before any trial starts, and
a broken plug-in cannot take the parent down.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import CatalogueError
from harness.machine import start
from harness.machine.child import Child, last_words

COMMAND: Final = start.command("ratebp.catalogue")
_TIMEOUT_S: Final = 480.0  # the first process of a machine may build the C++ kernels


@dataclass(frozen=True)
class OptionInfo:
    """One option of a method: its default, the legal values if they are a list, its type name."""

    default: Any
    choices: tuple[Any, ...] | None
    type: str


@dataclass(frozen=True)
class MethodInfo:
    """What the catalogue says about one method."""

    name: str
    label: str
    family: str
    memory: str
    layout: str
    loss: str
    papers: tuple[str, ...]
    summary: str
    options: Mapping[str, OptionInfo]
    identities: tuple[str, ...]
    source: str
    file: str
    digest: str


@dataclass(frozen=True)
class ModelInfo:
    """One model and the names of its options (`neuron` takes a table)."""

    name: str
    summary: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class BrokenPlugin:
    """A plug-in that could not be loaded: where it came from and why."""

    source: str
    error: str


@dataclass(frozen=True)
class Catalogue:
    """Everything the library offers.

    Attributes:
        digest: of the library's source without the methods.
        operators: by type of device, and "eager" or "compiled": which operators run where nobody
            says which.
        path: folders in which a process that has loaded the library looks for modules.
    """

    version: str
    digest: str
    methods: Mapping[str, MethodInfo]
    models: Mapping[str, ModelInfo]
    surrogates: tuple[str, ...]
    broken: tuple[BrokenPlugin, ...]
    operators: Mapping[str, Mapping[str, str]]
    path: tuple[str, ...]

    def auto_operators(self, device: str, execution: str) -> str:
        """What `operators = "auto"` stands for on this machine."""
        return self.operators[device]["compiled" if execution == "compile" else "eager"]


def load(command: Sequence[str] = COMMAND) -> Catalogue:
    """Ask the library, in a child process.

    Raises:
        CatalogueError: if the child fails, takes too long or prints something else.
    """
    try:
        return parse(json.loads(_printed(command)))
    except ValueError as error:
        raise CatalogueError(
            f"the catalogue of methods is not JSON ({error}); does a plug-in print when imported?"
        ) from error


def _printed(command: Sequence[str]) -> bytes:
    lines: list[bytes] = []
    with tempfile.TemporaryDirectory(prefix="ratebp-catalogue-") as folder:
        log = Path(folder) / "stderr"
        try:
            with Child(command, log) as child:
                code = child.run(child.deadline(_TIMEOUT_S), lines.append)
        except OSError as error:
            raise CatalogueError(f"cannot read the catalogue of methods: {error}") from error
        said = last_words(log)
    if child.late:
        raise CatalogueError(f"cannot read the catalogue of methods: no answer in {_TIMEOUT_S:g} s")
    if code != 0:
        raise CatalogueError(
            f"cannot read the catalogue of methods: `{' '.join(command[1:])}` ended with code "
            f"{code}; run it by hand to see all of its output. It ends:\n{said}"
        )
    return b"".join(lines)


def parse(plain: Mapping[str, Any]) -> Catalogue:
    """Make a `Catalogue` of the decoded JSON document; unknown newer keys are ignored.

    Raises:
        CatalogueError: if a key is missing.
    """
    try:
        methods = [_method(entry) for entry in plain["methods"]]
        models = [
            ModelInfo(entry["name"], entry["summary"], tuple(entry["options"]))
            for entry in plain["models"]
        ]
        return Catalogue(
            version=plain["version"],
            digest=plain["digest"],
            methods={method.name: method for method in methods},
            models={model.name: model for model in models},
            surrogates=tuple(plain["surrogates"]),
            broken=tuple(
                BrokenPlugin(entry["source"], entry["error"]) for entry in plain["broken"]
            ),
            operators=plain["operators"],
            path=tuple(plain["path"]),
        )
    except (KeyError, TypeError) as error:
        raise CatalogueError(
            f"the catalogue of methods lacks {error}; the installed library and harness differ: "
            "reinstall both from one checkout"
        ) from error


def _method(plain: Mapping[str, Any]) -> MethodInfo:
    return MethodInfo(
        name=plain["name"],
        label=plain["label"],
        family=plain["family"],
        memory=plain["memory"],
        layout=plain["layout"],
        loss=plain["loss"],
        papers=tuple(plain["papers"]),
        summary=plain["summary"],
        options={name: _option(info) for name, info in plain["options"].items()},
        identities=tuple(plain["identities"]),
        source=plain["source"],
        file=plain["file"],
        digest=plain["digest"],
    )


def _option(plain: Mapping[str, Any]) -> OptionInfo:
    choices = plain.get("choices")
    return OptionInfo(
        default=plain["default"],
        choices=None if choices is None else tuple(choices),
        type=plain.get("type", ""),
    )
