"""Trials that cannot fit the device are not run: their exact bytes are known before.

The largest cells of each method and network are predicted first, the rest only if one of them comes
near the device's memory. Of the cells predicted to fail, the smallest of each method and network is
run all the same, one trial of it: a probe of the prediction. If it ends well the prediction was
wrong, and nothing of that method and network is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from harness.outcome import Outcome
from harness.spec import LATER, Cell, TrialSpec

FULL: Final = 0.95
"""Part of the device's memory that tensors may take: context and workspaces need the rest."""

NEAR: Final = 0.5
"""Part of the device's memory from which the smaller cells are predicted too."""

FACT: Final = "forecast"
"""Fact of a record that was skipped for a prediction."""

_DECISIVE: Final = ("ok", "oom_host", "oom_cuda")
"""Ends of a probe that say whether the prediction was right, the strongest word first."""


Predict = Callable[[Sequence[Cell]], Iterable[tuple[Cell, Outcome]]]
"""Predicts cells, in any order."""

Capacity = Mapping[str, int | None]
"""Device -> bytes that a trial can have there; None where nobody knows."""

Records = Callable[[str], Mapping[str, Any] | None]
"""Trial id -> its record."""


@dataclass(frozen=True)
class Shortage:
    """A cell that asks for more than there is: bytes of its tensors, bytes of the device."""

    bytes: int
    device_bytes: int


Key = tuple[object, ...]


class Forecast:
    """Which trials of a sweep are predicted to fail, and what their probes have said."""

    def __init__(
        self, specs: Sequence[TrialSpec], todo: Sequence[TrialSpec], needs: Mapping[Cell, Shortage]
    ) -> None:
        """`specs` are all trials of the sweep, `todo` those to do; `needs` is from `foresee`."""
        self._todo = todo
        self._needs = needs
        self._doomed: dict[Key, list[TrialSpec]] = {}
        for spec in specs:
            if _bare(spec.cell) in needs:
                self._doomed.setdefault(_key(spec.cell), []).append(spec)

    def first(self, records: Records) -> list[TrialSpec]:
        """The trials to run now: what is predicted to fit, and the probes that are missing."""
        probes = {
            min(doomed, key=self._preference).trial
            for doomed in self._doomed.values()
            if not any(status in _DECISIVE for _, status in _tried(doomed, records))
        }
        return [s for s in self._todo if _bare(s.cell) not in self._needs or s.trial in probes]

    def rest(
        self, ran: Collection[TrialSpec], records: Records
    ) -> tuple[list[TrialSpec], list[tuple[TrialSpec, Outcome]], list[str]]:
        """After `first` has run: trials to run after all, trials to skip, and what to tell."""
        run: list[TrialSpec] = []
        skip: list[tuple[TrialSpec, Outcome]] = []
        notices: list[str] = []
        done = {spec.trial for spec in ran}
        for doomed in self._doomed.values():
            mine = {spec.trial for spec in doomed}
            left = [s for s in self._todo if s.trial in mine and s.trial not in done]
            tried = sorted(_tried(doomed, records), key=lambda pair: _rank(pair[1]))
            if not left or not tried:
                continue
            probe, status = tried[0]
            if status == "ok":
                run += left
            else:
                skip += [(spec, self._outcome(spec, probe, status)) for spec in left]
            notices.append(self._told(probe, status, len(left)))
        return run, skip, notices

    def _preference(self, spec: TrialSpec) -> tuple[int, bool, int]:
        """The smallest first; of its trials the one that measures memory."""
        return self._needs[_bare(spec.cell)].bytes, spec.probe != "memory", spec.order

    def _told(self, probe: TrialSpec, status: str, left: int) -> str:
        cell, need = probe.cell, self._needs[_bare(probe.cell)]
        where = f"{cell.method.label} on {cell.model.label}, T={cell.T}, batch {cell.batch}"
        text = (
            f"{where}: predicted to need {_gib(need.bytes)}, too much for the "
            f"{_gib(need.device_bytes)} of {cell.device!r}; tried all the same, it ended {status}"
        )
        if status == "ok":
            return f"{text}: the prediction was wrong, and {left} more trials are run after all"
        doubt = "" if status in _DECISIVE else " (which decides nothing)"
        return f"{text}{doubt}; {left} more trials are skipped"

    def _outcome(self, spec: TrialSpec, probe: TrialSpec, status: str) -> Outcome:
        need = self._needs[_bare(spec.cell)]
        text = (
            f"predicted to fail: its tensors take {_gib(need.bytes)}, more than {FULL:g} of the "
            f"{_gib(need.device_bytes)} of {spec.cell.device!r}; tried with T={probe.cell.T} and "
            f"batch {probe.cell.batch}, it ended {status}"
        )
        facts = {**asdict(need), "full": FULL, "probe": probe.trial, "probe_status": status}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return Outcome("skipped", text, facts={FACT: facts}, started=now)


def make(
    specs: Sequence[TrialSpec], todo: Sequence[TrialSpec], predict: Predict, capacity: Capacity
) -> Forecast:
    """Predict what `todo` needs, and as much of the other `specs` as their probes concern."""
    concerned = {_key(spec.cell) for spec in todo}
    cells = [spec.cell for spec in specs if _key(spec.cell) in concerned]
    return Forecast(specs, todo, foresee(cells, predict, capacity))


def foresee(cells: Iterable[Cell], predict: Predict, capacity: Capacity) -> dict[Cell, Shortage]:
    """Cells (without seed and training) that need more than `FULL` of their device's memory.

    A cell whose prediction fails is not among them: running it says more.
    """
    groups: dict[Key, list[Cell]] = {}
    for cell in dict.fromkeys(map(_bare, cells)):
        if capacity.get(cell.device) is not None:
            how = (getattr(cell, axis) for axis in LATER)
            groups.setdefault((*_key(cell), cell.data, cell.dtype, *how), []).append(cell)
    largest = {cell for group in groups.values() for cell in _undominated(group)}
    needs = dict(_needs(list(largest), predict, capacity))
    rest = [
        cell
        for group in groups.values()
        if any(c in needs and needs[c].bytes > NEAR * needs[c].device_bytes for c in group)
        for cell in group
        if cell not in largest
    ]
    needs |= _needs(rest, predict, capacity)
    return {cell: need for cell, need in needs.items() if need.bytes > FULL * need.device_bytes}


def stands(record: Mapping[str, Any], capacity: Capacity) -> bool:
    """Whether a skipped record is still right on the device as it is now."""
    found = _forecast(record)
    if not found:
        return True
    now = capacity.get(record["cell"]["device"])
    return now is not None and found["bytes"] > FULL * now


def _needs(
    cells: Sequence[Cell], predict: Predict, capacity: Capacity
) -> Iterator[tuple[Cell, Shortage]]:
    asked: dict[Cell, list[Cell]] = {}
    for cell in cells:
        asked.setdefault(_countable(cell), []).append(cell)
    for counted, found in predict(list(asked)) if asked else ():
        for cell in asked[counted]:
            there = capacity[cell.device]
            if found.status == "ok" and there is not None:
                yield cell, Shortage(found.demand, there)


def _countable(cell: Cell) -> Cell:
    """The cell as a CPU can count it: a GPU's kernels hold no more than torch's operators."""
    return replace(cell, operators="torch") if cell.operators == "triton" else cell


def _undominated(cells: Sequence[Cell]) -> Iterator[Cell]:
    """Cells that no other cell exceeds in T and batch."""
    for cell in cells:
        if not any(c != cell and c.T >= cell.T and c.batch >= cell.batch for c in cells):
            yield cell


def _tried(doomed: Sequence[TrialSpec], records: Records) -> list[tuple[TrialSpec, str]]:
    """Trials predicted to fail that were run nevertheless, with how they ended."""
    found = [(spec, records(spec.trial)) for spec in doomed]
    return [(spec, str(r["status"])) for spec, r in found if r is not None and not _forecast(r)]


def _rank(status: str) -> int:
    return _DECISIVE.index(status) if status in _DECISIVE else len(_DECISIVE)


def _forecast(record: Mapping[str, Any] | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (record or {}).get("facts", {}).get(FACT, {})
    return found


def _bare(cell: Cell) -> Cell:
    """What decides a cell's memory."""
    return replace(cell, seed=0, training=None)


def _key(cell: Cell) -> Key:
    """Cells with one key share a probe."""
    return (cell.method, cell.model, cell.device)


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"
