"""Standard output of a process that answers in lines, kept from what others' code prints."""

from __future__ import annotations

import os
import sys
from typing import IO


def private_stdout() -> IO[str]:
    """Return standard output; what is printed from now on goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers
