"""What a sweep names by its place, and what is there.

Places are ``file.py:name``, written as it is or under `path`, and, written under `spikingjelly`,
``package.module:name``. What is there is looked at in a child process, as the parent never runs
code of the user's. What cannot be loaded stays a name that every trial of it will fail with.
"""

from __future__ import annotations

import json
import posixpath
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from harness.data.facts import Facts
from harness.machine import start
from harness.machine.child import Child, cause
from harness.spec import Choice
from harness.sweep.catalogue import Catalogue, Offer, options_of
from harness.sweep.choices import products

PLACES: Final = ("path", "spikingjelly")
"""The keys of a table under which it names a place."""

DESCRIBER: Final = start.command("harness.trial.describer")
_SPIKINGJELLY: Final = "spikingjelly:"
_TIMEOUT_S: Final = 300.0


def split(entry: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and the options of one entry of a grid; places are written in one way."""
    if isinstance(entry, str):
        return _written(entry), {}
    key = next(each for each in ("name", *PLACES) if each in entry)
    prefix = _SPIKINGJELLY if key == "spikingjelly" else ""
    options = {name: value for name, value in entry.items() if name != key}
    return prefix + _written(entry[key]), options


def is_place(name: str) -> bool:
    """Whether a name is that of a place; no registry's has a colon."""
    return ":" in name or name.endswith(".py")


def with_places(
    known: Catalogue,
    models: Iterable[str | Mapping[str, Any]],
    data: Iterable[str | Mapping[str, Any]],
    folder: Path,
) -> Catalogue:
    """The library's catalogue with what is at the places that entries of a sweep name.

    Args:
        models, data: the entries of all grids.
        folder: where their paths begin.
    """
    places = dict.fromkeys(name for name, _ in map(split, models) if is_place(name))
    sets = [split(entry) for entry in data]
    own = [(name, given) for name, given in sets if is_place(name) or name in known.data]
    if not places and not own:
        return known
    with _Describer(folder.absolute()) as describer:
        models_there = {name: describer.offer("model", name) for name in places}
        data_there = {name: describer.offer("data", name) for name, _ in own if is_place(name)}
        choices = (Choice.make(n, each) for n, given in own for each in products(given))
        facts = {choice: describer.facts(choice) for choice in dict.fromkeys(choices)}
    return replace(
        known,
        models={**known.models, **models_there},
        data={**known.data, **data_there},
        facts=facts,
    )


def _written(name: str) -> str:
    prefix = _SPIKINGJELLY if name.startswith(_SPIKINGJELLY) else ""
    file, colon, rest = name.removeprefix(prefix).rpartition(":")
    return f"{prefix}{posixpath.normpath(file)}:{rest}" if colon and file else name


class _Describer:
    """A child process that looks at places; one that ends instead of an answer is replaced."""

    def __init__(self, folder: Path) -> None:
        """Start nothing yet."""
        self._folder = folder
        self._logs = tempfile.TemporaryDirectory(prefix="ratebp-places-")
        self._child: Child | None = None

    def __enter__(self) -> _Describer:
        """Return the describer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child."""
        if self._child is not None:
            self._child.end()
        self._logs.cleanup()

    def offer(self, kind: str, name: str) -> Offer:
        """What is at a place; broken, with the reason, if it cannot be loaded."""
        said = self._ask({"kind": kind, "name": name})
        if "error" in said:
            return Offer(name, "", {}, open=True, file=self._file(name), error=said["error"])
        options = options_of(said["options"])
        return Offer(name, said["summary"], options, said["open"], "path", said["file"])

    def facts(self, choice: Choice) -> Facts | None:
        """The facts of a data set; None if it cannot be loaded, which its trials will tell."""
        said = self._ask({"kind": "facts", "name": choice.name, "options": dict(choice.options)})
        if "error" in said:
            return None
        lists = {k: tuple(v) for k, v in said["facts"].items() if isinstance(v, list)}
        return Facts(**{**said["facts"], **lists})

    def _file(self, name: str) -> str:
        """The file of a place that could not be loaded: its trials are of it as it is."""
        path = self._folder / Path(name.removeprefix(_SPIKINGJELLY).rpartition(":")[0]).expanduser()
        return str(path) if path.is_file() else ""

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        log = Path(self._logs.name) / "stderr"
        child = self._child or Child(DESCRIBER, log)
        line = child.ask(json.dumps({**request, "folder": str(self._folder)}), _TIMEOUT_S)
        if line.endswith("\n"):
            self._child = child
            said: dict[str, Any] = json.loads(line)
            return said
        code, self._child = child.end(), None
        if child.late:
            return {"error": f"it gives no answer in {_TIMEOUT_S:g} s"}
        return {"error": f"it ends the process that loads it: {cause(code, log)}"}
