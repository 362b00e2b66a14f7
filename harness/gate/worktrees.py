"""The code of each side in a folder of its own, made by git and removed at the end.

Nothing in the user's checkout changes: the folders are worktrees of the same repository in a
temporary place, and what is not committed is copied. The base is checked out twice, so that the
placebo arm compares two folders as every other arm does.
"""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from harness.errors import HarnessError
from harness.machine.git import GitError, git
from harness.machine.signals import handled

PACKAGES: Final = ("harness", "ratebp")
_ORIGIN: Final = (
    "from importlib.util import find_spec; "
    f"print(*(find_spec(name).origin for name in {PACKAGES!r}), sep='\\n')"
)
_TIMEOUT_S: Final = 300.0


class SideError(HarnessError):
    """A side of the comparison cannot be had, or cannot be compared with the other."""


@dataclass(frozen=True)
class Version:
    """One version of the code.

    Attributes:
        name, commit: what the user called it, and what git says (with `+` for uncommitted
            changes).
        folder: where its packages are.
        settings: further environment variables of its processes.
    """

    name: str
    commit: str
    folder: Path
    settings: tuple[tuple[str, str], ...] = ()

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Run Python on this side's code; `-P` keeps the current folder off the path."""
        theirs = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([str(self.folder), *([theirs] if theirs else [])])
        words = [f"{name}={value}" for name, value in (*self.settings, ("PYTHONPATH", path))]
        return ("/usr/bin/env", *words, sys.executable, "-P", *arguments)

    def module(self, file: str) -> str:
        """How this side imports a module of the harness, by the name of its file.

        Raises:
            SideError: if there is no such file, or more than one.
        """
        return ".".join(self._place(file).relative_to(self.folder).with_suffix("").parts)

    def version(self, file: str, name: str) -> int:
        """The whole number that a module of the harness defines, read from its source.

        Raises:
            SideError: if there is none.
        """
        path = self._place(file)
        with contextlib.suppress(OSError, SyntaxError, ValueError):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
                    return int(ast.literal_eval(node.value))  # type: ignore[arg-type]
        raise SideError(
            f"{self.name} ({self.commit}) has no {name} in {path.relative_to(self.folder)}: it is "
            "older than the time gate, or damaged. Give a later commit"
        )

    def _place(self, file: str) -> Path:
        """Where this side keeps a module; the other side may keep it in another room."""
        found = list((self.folder / "harness").rglob(file))
        if len(found) != 1:
            raise SideError(
                f"{self.name} ({self.commit}) has {len(found)} files {file} in harness, where the "
                "time gate needs one: it is older than the gate, or damaged. Give a later commit"
            )
        return found[0]


@dataclass(frozen=True)
class Versions:
    """What is compared: base with head, and base with base again as a placebo."""

    base: Version
    again: Version
    head: Version


@contextlib.contextmanager
def checkouts(base: str, head: str | None, repository: Path = Path()) -> Iterator[Versions]:
    """Check base and head out into temporary folders, which are gone afterwards.

    They go on Ctrl-C, SIGTERM and SIGHUP too, which are raised as `KeyboardInterrupt`.

    Args:
        base, head: commits, branches or tags; `head` None means the files of the checkout as they
            are.

    Raises:
        SideError: if git does not know a name, or a side lacks the packages.
    """
    root = Path(_git(repository, "rev-parse", "--show-toplevel"))
    with (
        handled(_interrupt, signal.SIGTERM, signal.SIGHUP),
        tempfile.TemporaryDirectory(prefix="ratebp-gate-") as folder,
    ):
        place = Path(folder).resolve()
        try:
            commit = _commit(root, base)
            sides = Versions(
                base=_worktree(root, base, commit, place / "base"),
                again=_worktree(root, base, commit, place / "again"),
                head=(
                    _copy(root, place / "head")
                    if head is None
                    else _worktree(root, head, _commit(root, head), place / "head")
                ),
            )
            for side in (sides.base, sides.again, sides.head):
                _check(side)
            yield sides
        finally:
            for name in ("base", "again", "head"):
                with contextlib.suppress(SideError):  # a copy is no worktree, or none was made yet
                    _git(root, "worktree", "remove", "--force", str(place / name))


def _worktree(root: Path, name: str, commit: str, folder: Path) -> Version:
    _git(root, "worktree", "add", "--detach", str(folder), commit)
    return Version(name, commit[:10], folder)


def _copy(root: Path, folder: Path) -> Version:
    """The packages of the checkout as they are, committed or not, without what git ignores."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", *PACKAGES)
    for name in filter(None, listed.split("\0")):
        source, target = root / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    dirty = "+" if _git(root, "status", "--porcelain", *PACKAGES) else ""
    return Version("the working tree", _commit(root, "HEAD")[:10] + dirty, folder)


def _check(side: Version) -> None:
    """Be sure that the side's processes import the side's code."""
    for package in PACKAGES:
        if not (side.folder / package / "__init__.py").is_file():
            raise SideError(
                f"{side.name} ({side.commit}) has no package {package!r}; give a commit that has "
                "both the library and the harness"
            )
    done = subprocess.run(
        side.command("-c", _ORIGIN), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    origins = [Path(line).resolve() for line in done.stdout.splitlines()]
    wanted = [(side.folder / package / "__init__.py").resolve() for package in PACKAGES]
    if origins != wanted:
        found = ", ".join(map(str, origins)) or done.stderr.strip()
        raise SideError(
            f"processes of {side.name} import other code than that of {side.commit}: {found}. "
            "Something on this machine takes precedence over PYTHONPATH; use a plain virtual "
            "environment"
        )


def _commit(root: Path, name: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except SideError as error:
        raise SideError(
            f"git knows no commit {name!r} here; in a shallow clone fetch it first: "
            f"`git fetch --depth=1 origin {name}`, and give FETCH_HEAD"
        ) from error


def _git(folder: Path, *words: str) -> str:
    """What git prints.

    Raises:
        SideError: if git is absent or refuses.
    """
    try:
        return git(folder, *words)
    except GitError as error:
        raise SideError(f"{error}; run the gate inside a git checkout of the project") from error


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that the folders are removed."""
    raise KeyboardInterrupt(signal.Signals(number).name)
