"""Which files decide a figure: those that the processes of a trial run, found by reading imports.

Followed from a few entry modules, as text (`run.imports`), so that nothing is imported to find
out. Importing a module runs the packages around it. A module that imports by a computed name may
reach all of its package. What lies in a package beside its Python (C++ sources, data sets) belongs
to it; documentation does not.

Two packages are *doors*: who comes in is named by the trial. So a probe's code is part of the ids
of its own trials and of no others, and so is a method's.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

from harness.errors import CatalogueError
from harness.machine.start import PACKAGES, ROOT
from harness.run import imports
from harness.run.imports import Imports
from harness.spec import OWN, digest

ENTRIES: Final = ("harness.trial.worker", "harness.run.executors.local", "harness.machine.start")
"""What makes every trial: its process, and what starts it and reads the driver's figures."""

PROBES: Final = "harness.trial.probes"
"""The package of the probes, one module (or package) each."""

_DOORS: Final = (PROBES, "ratebp.methods")

_DOCUMENTS: Final = ("", ".md", ".pyi", ".rst", ".typed")
_INSTALLED: Final = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class _Seen:
    """A file as it was: digest, time and size, and what it imports."""

    sha256: str
    stamp: tuple[int, int] | None
    imports: Imports


@dataclass(frozen=True)
class _Module:
    """A file of code: where its import path begins, and its dotted name from there."""

    file: Path
    folder: Path
    name: str

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]

    @property
    def is_package(self) -> bool:
        return self.file.name == "__init__.py"

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]


Files = Mapping[str, Path]
"""Name for the digest -> file."""


class Sources:
    """The code of a project's trials, as its files were when they were first looked at.

    Args:
        methods: by name: the file of each method, plug-ins among them.
        path: folders in which a trial's process looks for what is not of the project, in order.
        root: the folder that holds the project's packages.

    Raises:
        CatalogueError: from every method, if a file of the code is not there.
    """

    def __init__(
        self, methods: Mapping[str, Path], path: Sequence[str] = (), root: Path = ROOT
    ) -> None:
        """Read nothing yet."""
        self._methods = methods
        self._path = tuple(map(Path, path))
        self._root = root
        self._parts: dict[_Module, tuple[Files, frozenset[str]]] = {}
        self._seen: dict[Path, _Seen] = {}
        self._modules: dict[tuple[str, Path], _Module | None] = {}

    @cached_property
    def shared(self) -> str:
        """Digest of what all trials run: library and instrument, without probes and methods."""
        return digest(self._hashes(self._base))[:16]

    def code(self, method: str, probe: str, others: Sequence[Path] = ()) -> str:
        """Digest of all that decides a figure of `probe` about `method`.

        Args:
            others: files of the user's that hold the model and the data; their own digest follows a
                `+`, as trials of other models and data are of the same code of a method.
        """
        _, foreign = self._beyond(_placed(self._methods[method]))
        own = self._hashes(self.own(method, probe))
        code = digest([self.shared, own, imports.versions(foreign)])[:16]
        return code + (f"{OWN}{self._others(others)}" if others else "")

    def _others(self, files: Sequence[Path]) -> str:
        """Digest of files with what they import, each apart: two may have one name."""
        parts = [self._beyond(_placed(file)) for file in files]
        said = [[self._hashes(own), imports.versions(foreign)] for own, foreign in parts]
        return digest(said)[:16]

    def files(self, method: str, probe: str) -> Files:
        """Every file that decides a figure of `probe` about `method`."""
        return {**self._base, **self.own(method, probe)}

    def own(self, method: str, probe: str) -> Files:
        """Of these, the files that not all trials run: the probe's, and those of its methods.

        A probe runs the method of the cell and those that it names itself, such as references.
        """
        of_probe, _ = self._beyond(self._named(f"{PROBES}.{probe}"))
        named = {text for file in of_probe.values() for text in self._look(file).imports.texts}
        own = dict(of_probe)
        for name in (method, *sorted(named & self._methods.keys())):
            own |= self._beyond(_placed(self._methods[name]))[0]
        return own

    def changed(self) -> list[Path]:
        """Files that were edited or removed since they were looked at."""
        return [file for file, seen in self._seen.items() if _stamp(file) != seen.stamp]

    @cached_property
    def _base(self) -> Files:
        return self._closure(map(self._named, ENTRIES))[0]

    def _beyond(self, entry: _Module) -> tuple[Files, frozenset[str]]:
        """What an entry runs beyond the base, and the installed packages that it needs."""
        if entry not in self._parts:
            files, foreign = self._closure([entry])
            beyond = {name: file for name, file in files.items() if name not in self._base}
            self._parts[entry] = beyond, foreign
        return self._parts[entry]

    def _hashes(self, files: Files) -> list[list[str]]:
        return [[name, self._look(files[name]).sha256] for name in sorted(files)]

    def _look(self, file: Path) -> _Seen:
        if file not in self._seen:
            self._seen[file] = _look(file)
        return self._seen[file]

    def _named(self, name: str) -> _Module:
        found = self._module(name, self._root)
        if found is None:
            raise CatalogueError(
                f"there is no module {name!r} in {self._root}, so the code of a trial cannot be "
                "told; install the library and the harness from one checkout"
            )
        return found

    def _closure(self, entries: Iterable[_Module]) -> tuple[Files, frozenset[str]]:
        """Files by name, and the installed packages that plug-ins among them import."""
        found: dict[Path, _Module] = {}
        foreign: set[str] = set()
        waiting = list(entries)
        while waiting:
            module = waiting.pop()
            if module.file not in found:
                found[module.file] = module
                waiting += self._imported(module, foreign)
        named = {_label(m.file, m.folder): m.file for m in found.values()}
        beside = (
            (_label(file, module.folder), file)
            for module in found.values()
            if module.is_package
            for file in _other_files(module.file.parent)
        )
        return {**named, **dict(beside)}, frozenset(foreign)

    def _imported(self, module: _Module, foreign: set[str]) -> Iterator[_Module]:
        said = self._look(module.file).imports
        names = {imports.absolute(name, module.package) for name in said.names} | {module.package}
        for name in filter(None, names):
            yield from self._along(name, module, foreign)
        if said.computed and module.package not in _DOORS:
            top = module.folder.joinpath(*module.package.split("."))
            files = top.rglob("*.py") if module.package else module.file.parent.glob("*.py")
            yield from (_Module(f, module.folder, _dotted(f, module.folder)) for f in files)

    def _along(self, name: str, importer: _Module, foreign: set[str]) -> Iterator[_Module]:
        """The module called `name` and the packages on the way to it."""
        top, *rest = name.split(".")
        folder = self._folder(top, importer)
        if folder is None:
            if importer.top not in PACKAGES and top not in sys.stdlib_module_names:
                foreign.add(top)
            return
        for length in range(len(rest) + 1):
            found = self._module(".".join([top, *rest[:length]]), folder)
            if found is not None:
                yield found

    def _folder(self, top: str, importer: _Module) -> Path | None:
        """Where a top-level package of the project or of a plug-in lies; None for all others."""
        if top in PACKAGES:
            return self._root
        if importer.top in PACKAGES or top in sys.stdlib_module_names:
            return None
        if top == importer.top:
            return importer.folder
        # The folder of a file of the user's comes last.
        path = (*self._path, importer.folder, importer.file.parent)
        regular = (f for f in path if self._module(top, f))
        without_init = (f for f in path if (f / top).is_dir())
        first = next(regular, None) or next(without_init, None)
        return None if first is None or first.name in _INSTALLED else first

    def _module(self, name: str, folder: Path) -> _Module | None:
        key = (name, folder)
        if key not in self._modules:
            self._modules[key] = _module(name, folder)
        return self._modules[key]


def _module(name: str, folder: Path) -> _Module | None:
    place = folder.joinpath(*name.split("."))
    compiled = (f"{place.name}{suffix}" for suffix in EXTENSION_SUFFIXES)
    names = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    for file in (*names, *map(place.with_name, compiled)):
        if file.is_file():
            return _Module(file, folder, name)
    return None


def _placed(file: Path) -> _Module:
    """A file as a module: its import path begins where the packages around it end."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return _Module(file, folder, _dotted(file, folder))


def _dotted(file: Path, folder: Path) -> str:
    parts = file.relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _label(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _other_files(package: Path) -> Iterator[Path]:
    """What a package holds beside its Python, documentation and other packages left out."""
    for entry in sorted(package.iterdir()):
        if entry.name.startswith((".", "__pycache__")) or entry.name.endswith("~"):
            continue
        if entry.is_dir():
            if not (entry / "__init__.py").is_file():
                yield from _other_files(entry)
        elif entry.suffix not in (".py", *_DOCUMENTS, *EXTENSION_SUFFIXES):
            yield entry


def _look(file: Path) -> _Seen:
    stamp = _stamp(file)
    try:
        text = file.read_bytes()
    except OSError as error:
        raise CatalogueError(
            f"cannot read {file}, which is code of a trial: {error.strerror}; mend that and run "
            "again"
        ) from error
    said = imports.read(text) if file.suffix == ".py" else Imports()
    return _Seen(hashlib.sha256(text).hexdigest(), stamp, said)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
