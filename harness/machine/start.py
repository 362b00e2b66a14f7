"""Starts a module in a process of its own: `python -P start.py MODULE ARGUMENTS...`.

The module is that of the project which holds this file, wherever the process is started. `-P` keeps
the current folder off the path, so that neither a `random.py` nor another checkout that lies there
is run in place of what the parent has looked at. Standard library only.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Final

PACKAGES: Final = ("harness", "ratebp")
"""The packages of the project; they lie beside each other."""

ROOT: Final = Path(__file__).absolute().parents[2]
"""The folder that holds them."""


def command(module: str) -> tuple[str, ...]:
    """The words that start `module`; arguments are appended."""
    return (sys.executable, "-P", str(Path(__file__).absolute()), module)


def main(module: str, arguments: list[str]) -> None:
    """Run `module` as `python -m` would, from `ROOT`."""
    others = [place for place, folder in enumerate(sys.path) if _holds(Path(folder))]
    # Before any other copy, but behind the standard library, which a file in ROOT must not replace.
    sys.path.insert(others[0] if others else len(sys.path), str(ROOT))
    sys.argv[:] = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _holds(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in PACKAGES)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
