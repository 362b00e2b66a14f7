"""Energy counters of the processor's packages, through the kernel's powercap interface (RAPL).

They count everything that the packages do, for whatever program; memory modules and boards are not
in them. Intel's and AMD's counters have the same face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import AbsentError

ROOT: Final = Path("/sys/class/powercap")
_PACKAGES: Final = "intel-rapl:*"
_MOST_WATTS: Final = 1000.0


@dataclass(frozen=True)
class Domain:
    """One package: its counter in µJ, which starts again at 0 after `turn` µJ."""

    name: str
    file: Path
    turn: int


class Packages:
    """The counters of all packages together."""

    def __init__(self, domains: Sequence[Domain]) -> None:
        """See `packages`."""
        self._domains = tuple(domains)

    @property
    def names(self) -> str:
        """The packages, for the record."""
        return ", ".join(domain.name for domain in self._domains)

    @property
    def longest_s(self) -> float:
        """Seconds that a window may last: beyond, a counter may have turned twice."""
        return min(domain.turn for domain in self._domains) / 1e6 / _MOST_WATTS

    def read(self) -> tuple[int, ...]:
        """The counters now.

        Raises:
            AbsentError: if one cannot be read.
        """
        return tuple(_count(domain.file) for domain in self._domains)

    def joules(self, start: Sequence[int], end: Sequence[int]) -> float:
        """Energy between two readings, no more than one turn apart."""
        pairs = zip(self._domains, start, end, strict=True)
        return sum((now - then) % domain.turn for domain, then, now in pairs) / 1e6


def packages(root: Path) -> Packages:
    """Find the counters of this machine, and see that they can be read.

    Raises:
        AbsentError: if there are none (a virtual machine, an old kernel, no Linux), or they cannot
            be read.
    """
    domains = [
        Domain(name, zone / "energy_uj", _count(zone / "max_energy_range_uj"))
        for zone in sorted(root.glob(_PACKAGES))
        if (name := _text(zone / "name")).startswith("package")
    ]
    if not domains:
        raise AbsentError(
            f"no energy counter of the processor: {root} has no package domain (a virtual machine, "
            "or the module intel_rapl_common is not loaded); measure on the bare machine, or drop "
            "'energy' from probes"
        )
    found = Packages(domains)
    found.read()
    return found


def _count(file: Path) -> int:
    text = _text(file)
    try:
        return int(text)
    except ValueError as error:
        raise AbsentError(f"the energy counter {file} says {text!r}, which is no number") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except PermissionError as error:
        raise AbsentError(
            f"the energy counter {file} is for root alone; allow reading it until the next boot by "
            f"`sudo chmod a+r {ROOT}/{_PACKAGES}/energy_uj`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise AbsentError(f"the energy counter {file} cannot be read: {error}") from error
