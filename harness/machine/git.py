"""What git says of a checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from harness.errors import HarnessError

_TIMEOUT_S: Final = 300.0
_OF_HOOKS: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""What git sets for its hooks: inside one, every command would be about the hook's own tree."""


class GitError(HarnessError):
    """Git is absent, takes too long, or refuses."""


def git(folder: Path, *words: str) -> str:
    """What git prints, without the final line break; hooks of the checkout are not run.

    Raises:
        GitError: if git is absent, takes too long, or refuses.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", *words],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env={name: value for name, value in os.environ.items() if name not in _OF_HOOKS},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git cannot be run: {error}") from error
    if done.returncode != 0:
        why = done.stderr.strip() or "no reason given"
        raise GitError(f"`git {' '.join(words)}` failed: {why}")
    return done.stdout.removesuffix("\n")
