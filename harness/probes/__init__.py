"""The probes by name. Importing this package is light: a probe's module loads when it is asked for.

The names are `harness.spec.PROBES`, where the parent process finds them without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import TrialError, unknown
from harness.spec import PROBES

if TYPE_CHECKING:
    from harness.probe import Probe

__all__ = ["get"]


def get(name: str) -> Probe:
    """The probe called `name`.

    Raises
    ------
    TrialError
        If there is none; the message lists those that exist.
    """
    from harness.probes.accuracy import Accuracy
    from harness.probes.memory import Memory
    from harness.probes.time import Time

    known: dict[str, type[Probe]] = {"time": Time, "memory": Memory, "accuracy": Accuracy}
    if name not in known:
        raise TrialError(unknown("probe", name, PROBES))
    return known[name]()
