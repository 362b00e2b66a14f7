"""The library of the C++ kernels: built once a machine by its own compiler, kept, and loaded.

The sources stand beside this file and in the operators' folders. The library that they make is
kept in the user's cache folder under a key that tells sources, compiler, flags and processor, so
that a home folder may be shared by unlike machines.

What is loaded runs in the user's name. So folders and files are made for that user alone, whatever
the umask; nothing is loaded that another user owns or may write; and the file's name holds the
digest of its contents, so that one that was cut off, or changed, is built anew.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

_HERE = Path(__file__).parent
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fopenmp",
    "-ffp-contract=off",  # a potential has the rounding of the readable version
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
)
_SECONDS = 300
_NONE = "there is no C++ compiler (install g++ or clang, or name one in CXX)"


@functools.cache
def missing() -> str:
    """Return what keeps the kernels from running on this machine; empty if nothing does.

    The first call builds them, in a few seconds, where no process has yet. It warns if a compiler
    that CXX names cannot be used, or if one is there and fails, with what it said.
    """
    if os.name != "posix":
        return "they are built on POSIX systems alone"
    command = compiler()
    if not command:
        named = os.environ.get("CXX", "").strip()
        return _told(f"{_NONE}: CXX={named!r} is no command of this machine") if named else _NONE
    try:
        load(command)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return _told(f"{shlex.join(command)} cannot build them: {said[-1] if said else error}")
    return ""


def _told(reason: str) -> str:
    warnings.warn(f"C++ kernels: {reason}. Torch's operators run.", RuntimeWarning, 4)
    return reason


def compiler() -> tuple[str, ...]:
    """Return the command of the C++ compiler, word by word; empty if there is none.

    CXX names it, read as a shell does (``ccache g++``, ``g++ -pipe``); else the first of c++, g++
    and clang++ that is installed.
    """
    return _found(os.environ.get("CXX", "").strip())


@functools.cache
def _found(named: str) -> tuple[str, ...]:
    for words in [_words(named)] if named else [["c++"], ["g++"], ["clang++"]]:
        program = shutil.which(words[0]) if words else None
        if program is not None:
            return program, *words[1:]
    return ()


def _words(named: str) -> list[str]:
    if shutil.which(named):  # a path with a space in it
        return [named]
    try:
        return shlex.split(named)
    except ValueError:  # an open quotation
        return []


@functools.cache
def load(command: tuple[str, ...]) -> ctypes.CDLL:
    """Return the library that the compiler `command` makes, built if it is not kept yet.

    Raises:
        OSError: if no folder is this user's own, or the library cannot be loaded.
        subprocess.SubprocessError: if the compiler fails.
    """
    sources = sorted(_HERE.rglob("*.cpp"))
    folder = _folder(_key(command, [*sources, *_HERE.glob("*.h")]))
    path = _kept(folder) or _build(command, sources, folder)
    return ctypes.CDLL(str(path))


def _kept(folder: Path) -> Path | None:
    """Return the library that is kept in a folder; remove, with a word, what must not be loaded."""
    for path in sorted(folder.glob("kernels-*.so")):
        try:
            _distrust(path)
            if path.name == _name(path):
                return path
            reason = f"{path} is damaged (its contents are not those that were built)"
        except OSError as error:
            reason = str(error)
        warnings.warn(f"C++ kernels: {reason}. They are built anew.", RuntimeWarning, 5)
        path.unlink(missing_ok=True)
    return None


def _build(command: tuple[str, ...], sources: list[Path], folder: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out = Path(scratch) / "kernels.so"
        line = [*command, *_FLAGS, f"-I{_HERE}", *map(str, sources), "-o", str(out)]
        subprocess.run(
            line, check=True, capture_output=True, text=True, timeout=_SECONDS, umask=0o077
        )
        out.chmod(0o600)
        return out.replace(folder / _name(out))  # at once, as another process may build the same


def _name(library: Path) -> str:
    return f"kernels-{hashlib.sha256(library.read_bytes()).hexdigest()}.so"


def _folder(key: str) -> Path:
    """Return a folder of this user's own: in the cache folder, or else in one for temporary files.

    It warns where the cache folder cannot serve.
    """
    refused: list[str] = []
    for place in _places(refused):
        try:
            for folder in (place, place / key):
                _make(folder)
                _distrust(folder)
        except OSError as error:
            refused.append(str(error))
            continue
        if refused:
            said = f"C++ kernels: {'; '.join(refused)}. They are kept in {place}."
            warnings.warn(said, RuntimeWarning, 6)
        return place / key
    raise PermissionError(f"no folder to keep them in: {'; '.join(refused)}")


def _places(refused: list[str]) -> Iterator[Path]:
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        yield (Path(root) if root else Path.home() / ".cache") / "ratebp"
    except RuntimeError:
        refused.append("this user has no home folder (set HOME or XDG_CACHE_HOME)")
    yield Path(tempfile.gettempdir()) / f"ratebp-{os.geteuid()}"


def _make(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # whatever the umask has taken


def _distrust(path: Path) -> None:
    """Refuse a folder or file that another user owns or may write."""
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user, number {found.st_uid}")
    if found.st_mode & 0o022:
        raise PermissionError(f"other users may write {path} (take that away: chmod go-w)")


def _key(command: tuple[str, ...], files: list[Path]) -> str:
    programs = [Path(found).resolve() for found in map(shutil.which, command) if found]
    found = hashlib.sha256()
    for file in files:
        found.update(file.read_bytes())
    known = (
        *(command, [(str(each), each.stat().st_mtime_ns) for each in programs]),
        *(_FLAGS, platform.machine(), _processor()),
    )
    found.update(repr(known).encode())
    return found.hexdigest()[:24]


def _processor() -> str:
    """Return what this processor can do, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((each for each in lines if each.startswith(("flags", "Features"))), "")
