"""The probes by name. Importing this package is light: a probe's module loads when it is asked for.

The names are `harness.spec.PROBES`, where the parent process finds them without torch; the probe
`time` is the class `Time` of the module `time` here, and so on.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from harness.errors import TrialError, unknown
from harness.spec import PROBES

if TYPE_CHECKING:
    from harness.trial.probe import Probe

__all__ = ["get"]


def get(name: str) -> Probe:
    """The probe called `name`.

    Raises:
        TrialError: if there is none; the message lists those that exist.
    """
    if name not in PROBES:
        raise TrialError(unknown("probe", name, PROBES))
    probe: Probe = getattr(import_module(f"harness.trial.probes.{name}"), name.capitalize())()
    return probe
