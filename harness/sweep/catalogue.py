"""What the library offers, read as JSON from a child process.

The parent never imports the library: a typo in a sweep fails here, before any trial starts, and
a broken plug-in cannot take the parent down.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.data.facts import Facts
from harness.errors import CatalogueError
from harness.machine import start
from harness.machine.child import Child, last_words
from harness.spec import Cell, Choice

COMMAND: Final = start.command("ratebp.catalogue")
_TIMEOUT_S: Final = 480.0  # the first process of a machine may build the C++ kernels


@dataclass(frozen=True)
class OptionInfo:
    """One option: its default, the legal values if they are a list, its types, if it must be given.

    `type` has the names of types with " or " between them, and is empty if nothing is known.
    """

    default: Any
    choices: tuple[Any, ...] | None
    type: str
    required: bool = False


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
class Offer:
    """A model, or a data set of the user's, with its options.

    Attributes:
        open: whether it takes options that nobody can list.
        source: "builtin", "entry point" or "path".
        file: that holds it, if there is one.
        error: why it cannot be loaded, or None.
    """

    name: str
    summary: str
    options: Mapping[str, OptionInfo]
    open: bool = False
    source: str = "path"
    file: str = ""
    error: str | None = None


@dataclass(frozen=True)
class BrokenPlugin:
    """A plug-in that could not be loaded: where it came from, why, what it may have been."""

    source: str
    error: str
    kind: str = "methods"


@dataclass(frozen=True)
class Catalogue:
    """Everything the library offers.

    Attributes:
        digest: of the library's source without the methods.
        operators: by type of device, and "eager" or "compiled": which operators run where nobody
            says which.
        path: folders in which a process that has loaded the library looks for modules.
        data: sets of the user's alone; what the harness has is in `harness.data.facts`.
        facts: of the user's sets that a sweep names, with their options; None for one that fails.
    """

    version: str
    digest: str
    methods: Mapping[str, MethodInfo]
    models: Mapping[str, Offer]
    data: Mapping[str, Offer]
    surrogates: tuple[str, ...]
    broken: tuple[BrokenPlugin, ...]
    operators: Mapping[str, Mapping[str, str]]
    path: tuple[str, ...]
    facts: Mapping[Choice, Facts | None] = field(default_factory=dict)

    def failures(self) -> Iterator[str]:
        """What a sweep names by its place and cannot be loaded, one sentence each."""
        for offer in (*self.models.values(), *self.data.values()):
            if offer.error is not None:
                yield f"{offer.name}: {offer.error}"

    def files(self, cell: Cell) -> tuple[Path, ...]:
        """The files of the user's that hold the model and the data of a cell."""
        named = (self.models.get(cell.model.name), self.data.get(cell.data.name))
        own = (each for each in named if each is not None and each.source != "builtin")
        return tuple(Path(each.file) for each in own if each.file)

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
        models, data = map(_offer, plain["models"]), map(_offer, plain.get("data", ()))
        return Catalogue(
            version=plain["version"],
            digest=plain["digest"],
            methods={method.name: method for method in methods},
            models={model.name: model for model in models},
            data={each.name: each for each in data},
            surrogates=tuple(plain["surrogates"]),
            broken=tuple(
                BrokenPlugin(each["source"], each["error"], each.get("kind", "methods"))
                for each in plain["broken"]
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
        options=options_of(plain["options"]),
        identities=tuple(plain["identities"]),
        source=plain["source"],
        file=plain["file"],
        digest=plain["digest"],
    )


def _offer(plain: Mapping[str, Any]) -> Offer:
    return Offer(
        plain["name"],
        plain["summary"],
        options_of(plain["options"]),
        plain.get("open", False),
        plain.get("source", "builtin"),
        plain.get("file", ""),
    )


def options_of(plain: Mapping[str, Any] | Sequence[str]) -> dict[str, OptionInfo]:
    """Read options; older libraries give those of models as a list of names."""
    if not isinstance(plain, Mapping):
        return {name: OptionInfo(None, None, "") for name in plain}
    return {name: _option(info) for name, info in plain.items()}


def _option(plain: Mapping[str, Any]) -> OptionInfo:
    choices = plain.get("choices")
    return OptionInfo(
        default=plain["default"],
        choices=None if choices is None else tuple(choices),
        type=plain.get("type", ""),
        required=plain.get("required", False),
    )
