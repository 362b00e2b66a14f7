"""The command line that the adapters share: ask, check, race in several processes, print."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from benchmarks.processes import answers
from harness.data.facts import describe
from harness.errors import HarnessError
from harness.machine.environment import fingerprint
from harness.results.stats import interquartile, median

_MIB = 2**20
_BUSY = 0.1
_SECONDS = ("ours_s", "theirs_s")
_CLOCKS = {
    "wall": "on the wall",
    "processor": "of the processor (what a busy neighbour does not stretch)",
}


@dataclass(frozen=True)
class Peer:
    """An adapter as the command line sees it.

    Attributes:
        words: its documentation.
        module: its full name; the processes import it.
        methods: our methods that it has counterparts of; the first is the default.
        models: our models that it has; empty: it translates any.
        options: of our method, by its name, so that both sides compute the same.
        has_checkout: whether the user must say where its code is.
    """

    words: str
    module: str
    methods: Sequence[str]
    models: Sequence[str]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    has_checkout: bool = False


def main(peer: Peer, arguments: Sequence[str] | None = None) -> int:
    """Compare, and print what came out; returns the exit code (2: refused)."""
    asked = _parser(peer).parse_args(arguments)
    request = {
        "peer": peer.module,
        "method": asked.method,
        "options": dict(peer.options.get(asked.method, {})),
        "model": asked.model,
        "data": asked.data,
        "T": asked.T,
        "batch": asked.batch,
        "device": asked.device,
        "blocks": asked.blocks,
    }
    try:
        request["classes"] = describe(asked.data).num_classes
        if peer.has_checkout:
            request["checkout"] = str(asked.checkout.resolve())
        (equal,) = answers("benchmarks.peers.race:check", request, 1)
        _tell_equal(request, equal)
        (counted,) = answers("benchmarks.peers.race:count", request, 1)
        runs = list(answers("benchmarks.peers.race:race", request, asked.processes))
    except HarnessError as refusal:
        typer.echo(f"error: {refusal}", err=True)
        return 2
    _tell(counted, runs, asked.blocks)
    return 0


def _parser(peer: Peer) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=peer.words, formatter_class=argparse.RawTextHelpFormatter
    )
    if peer.has_checkout:
        parser.add_argument("--checkout", type=Path, required=True, help="folder of the code")
    parser.add_argument("--method", choices=peer.methods, default=peer.methods[0])
    parser.add_argument("--model", choices=peer.models or None, default="resnet18")
    parser.add_argument("--data", default="synthetic-3x32x32-10", help="default: %(default)s")
    parser.add_argument("--T", type=int, default=4, help="time steps (default: 4)")
    parser.add_argument("--batch", type=int, default=16, help="default: 16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--processes", type=int, default=5, help="default: 5")
    parser.add_argument("--blocks", type=int, default=3, help="of ABBA a process (default: 3)")
    return parser


def _tell_equal(request: Mapping[str, Any], equal: Mapping[str, Any]) -> None:
    a, b = equal["labels"]
    error, name = equal["worst"]
    typer.echo(
        f"{a} against {b}: {request['model']}, {request['data']}, T={request['T']}, "
        f"batch {request['batch']}, {request['device']}"
    )
    typer.echo(
        f"equal in float64: all {equal['spikes']} spikes of {equal['layers']} layers; gradients "
        f"to {error:.1e} of their norm ({name} the worst); in float32 to {equal['float32']:.1e} on "
        f"small batch {equal['seeds']}"
    )


def _tell(counted: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], blocks: int) -> None:
    (a, b), (f, g) = counted["peaks"], counted["flops"]
    typer.echo(
        f"peak of live tensor bytes above what outlives a step: ours {a / _MIB:.1f} MiB, theirs "
        f"{b / _MIB:.1f} MiB, ratio {a / b:.3f}; arithmetic {f / 1e9:.1f} and {g / 1e9:.1f} GFLOP"
    )
    for clock, words in _CLOCKS.items():
        ratios = [run[clock]["ratio"] for run in runs]
        low, high = interquartile(ratios)
        ours, theirs = (median([run[clock][side] for run in runs]) for side in _SECONDS)
        typer.echo(
            f"step, {words}: ours {ours:.3f} s, theirs {theirs:.3f} s; ratio {median(ratios):.3f}, "
            f"quartiles {low:.3f} to {high:.3f}"
        )
    typer.echo(f"({len(runs)} processes of {blocks} blocks ABBA, one thread, heap kept)")
    others = [run["others"] for run in runs if run["others"] is not None]
    busy = max(others, default=0.0)
    if busy > _BUSY:
        typer.echo(f"note: other processes kept up to {busy:.2f} cores busy meanwhile")
    here = fingerprint({})
    typer.echo(
        f"{datetime.now(UTC):%Y-%m-%d}; {here['cpu']}, {here['threads']} threads, "
        f"{here['memory_gib']} GiB, torch {here['packages']['torch']} ({here['torch_build']}), "
        f"{here['python']}, {here['os']}"
    )
