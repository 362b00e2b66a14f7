"""Where the figures come from: the machine, the settings of a trial, the commit, the counts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.results.quantities import words


def environments(folder: Path, trials: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    """Name and fingerprint of every environment that the trials name, as far as it is readable."""
    found = []
    for name in sorted(trials["environment"].dropna().unique()):
        path = folder / "environments" / f"{name}.json"
        with contextlib.suppress(OSError, ValueError):
            found.append((str(name), json.loads(path.read_text(encoding="utf-8"))))
    return found


def settings(
    trials: pd.DataFrame, records: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Probe -> what its first finished trial recorded of its settings (threads, allocator)."""
    finished = trials[trials["status"] == "ok"].drop_duplicates("probe")
    pairs = zip(finished["probe"], finished["trial"], strict=True)
    return {probe: dict(records.get(trial, {}).get("facts", {})) for probe, trial in pairs}


def summary(
    trials: pd.DataFrame,
    machines: Sequence[tuple[str, Mapping[str, Any]]],
    facts: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, str]]:
    """The lines under the title: what a reader needs before believing a figure."""
    lines = [("Measured", _when(trials))]
    for _, machine in machines:
        lines.append(("CPU", _joined(machine, "{cpu}", "{cores} cores", "{memory_gib} GiB")))
        lines.append(("GPU", ", ".join(machine.get("gpus", {}).get("names", ())) or "none"))
        torch = machine.get("packages", {}).get("torch")
        software = {**machine, "torch": torch}
        lines.append(
            ("Software", _joined(software, "torch {torch}", "{torch_build} build", "{python}"))
        )
    threads = {str(fact["threads"]) for fact in facts.values() if "threads" in fact}
    if threads:
        lines.append(("Threads of a trial", ", ".join(sorted(threads))))
    commits = sorted(str(commit)[:10] for commit in trials["commit"].dropna().unique())
    lines.append(("Commit", ", ".join(commits) or "none recorded"))
    return lines


def counts(trials: pd.DataFrame) -> list[tuple[str, str, int]]:
    """(status, words, number of trials), finished ones first."""
    found = trials["status"].value_counts()
    order = sorted(found.index, key=lambda status: (status != "ok", status))
    return [(str(status), words(status), int(found[status])) for status in order]


def flat(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A nested document as pairs of dotted name and text."""
    for key, value in plain.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{prefix}{key}", text if value not in (None, []) else "–"


def _when(trials: pd.DataFrame) -> str:
    started = pd.to_datetime(trials["started"], utc=True, format="ISO8601")
    seconds = float(trials["seconds"].fillna(0).sum())
    days = f"{started.min():%Y-%m-%d %H:%M}"
    return f"{days} UTC, {len(trials)} trials, {seconds / 60:.1f} minutes of trials"


def _joined(plain: Mapping[str, Any], *patterns: str) -> str:
    """The patterns whose value is known."""
    known = {key: value for key, value in plain.items() if value not in (None, "")}
    parts = []
    for pattern in patterns:
        try:
            parts.append(pattern.format_map(known))
        except KeyError:
            continue
    return ", ".join(parts)
