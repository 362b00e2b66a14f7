"""Every error that the harness raises on purpose, and the one way to word a bad name.

    Exception
    └── HarnessError          what a user can act on; the command line prints it and exits with 2
        ├── SweepError        the sweep file: syntax, unknown key, bad value, unknown name
        ├── CatalogueError    the library's catalogue could not be read
        ├── CheckError        a network cannot be checked, or its check fails
        ├── DataError         a data set is unknown, absent or damaged
        ├── RowError          a measured row breaks the schema of `harness.rows`
        ├── TrialError        a trial could not be built or measured (worker side)
        │   └── AbsentError   this machine lacks the means to measure it
        ├── StoreError        the results folder: not writable, disk full, record damaged
        │   └── LockedError   another run holds this results folder
        ├── ReportError       the report could not be written from the tables
        ├── MixedError        trials that do not belong together were to be compared
        ├── GitError          git is absent or refuses (`machine.git`)
        └── SideError         a commit cannot be one side of the time gate (`gate.worktrees`)

What ends a trial without being a fault of the user's is not of this tree: the library's own
`ratebp.errors.RatebpError`, which `harness.trial.trial.judge` turns into a trial's status, and
`harness.run.executors.TrialStopped`, raised where a run is being given up.

Each message says what is wrong, where, what would be legal, and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Base of every error that the harness raises on purpose."""


class SweepError(HarnessError):
    """The sweep file is unreadable or asks for something that does not exist."""


class CatalogueError(HarnessError):
    """The library's catalogue could not be read."""


class CheckError(HarnessError):
    """A network cannot be loaded or run, or the process that checks it fails."""


class DataError(HarnessError):
    """A data set is unknown, absent or damaged."""


class RowError(HarnessError):
    """A measured row breaks the schema."""


class TrialError(HarnessError):
    """A trial could not be built or measured."""


class AbsentError(TrialError):
    """This machine lacks the means (a counter, a permission) to measure what was asked."""


class StoreError(HarnessError):
    """The results folder cannot be read or written."""


class LockedError(StoreError):
    """Another run holds this results folder."""


class ReportError(HarnessError):
    """The report could not be written."""


class MixedError(HarnessError):
    """Trials that do not belong together were to be compared."""


def unknown(what: str, value: object, legal: Iterable[str]) -> str:
    """Word a bad name: `unknown method 'rate_n' (did you mean 'rate_m'?); legal: ...`."""
    names = sorted(legal)
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown {what} {value!r}{hint}; legal: {', '.join(names) or 'none'}"
