"""What bf16 autocast does to a method's gradient.

    python -m benchmarks.autocast [--method rate_m rate_s ...] [--model tiny_resnet] [--T 4]

The gradient of one step under autocast is compared with that in float32, at the same weights and
batch; the float32 gradient is compared with the float64 one beside it, as the floor. Most of the
difference is spikes: a rounded current on the other side of the threshold flips one, and a flipped
spike changes what lies behind it. The share of flipped spikes is printed too. Last, the bytes that
autograd keeps between forward and backward, by type: potentials, eligibilities and statistics stay
in float32, and what convolutions read is in bfloat16, one byte or one bit.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import typer
from torch import Tensor

from harness.errors import HarnessError
from harness.spec import Cell, Choice
from harness.trial.bench import build, usual
from harness.trial.probe import Bench

METHODS = ("bptt_m", "bptt_s", "bptt_ckpt", "rate_m", "rate_s", "sltt", "ottt_a")


@dataclass(frozen=True)
class Difference:
    """Cosine between two gradients, and the norm of their difference by that of the finer one."""

    cosine: float
    error: float


@dataclass(frozen=True)
class Finding:
    """What autocast does to one method.

    Attributes:
        bfloat16, float32: against float32, and against float64.
        flipped: the mean over layers and steps of how much the firing rate moved, at least the
            share of spikes that flipped one way more than the other.
        kept: bytes that autograd keeps, by type.
    """

    bfloat16: Difference
    float32: Difference
    flipped: float
    kept: dict[str, int]


def examine(method: str, model: Choice, data: str, T: int, batch: int) -> Finding:
    """Compare the gradients of one step in three precisions."""
    found, rates = {}, {}
    for dtype in ("bfloat16", "float32", "float64"):
        bench = build(Cell(Choice(method), model, data, T, batch, dtype, operators=usual("cpu")))
        rates[dtype] = torch.cat([each.flatten() for each in bench.rates(bench.x).values()])
        found[dtype], kept = _gradient(bench)
        if dtype == "bfloat16":
            by_type = kept
    moved = (rates["bfloat16"] - rates["float32"]).abs().mean()
    return Finding(
        _difference(found["bfloat16"], found["float32"]),
        _difference(found["float32"], found["float64"]),
        float(moved),
        by_type,
    )


def _gradient(bench: Bench) -> tuple[Tensor, dict[str, int]]:
    """The whole gradient of a step in float64, and the bytes kept for it, storages once each."""
    kept: Counter[str] = Counter()
    mine = {p.untyped_storage().data_ptr() for p in bench.persistent()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in mine:
            mine.add(tensor.untyped_storage().data_ptr())
            kept[str(tensor.dtype).removeprefix("torch.")] += tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        bench.gradient(None, bench.x, bench.y)
    parts = [p.grad for p in bench.model.parameters()]
    whole = torch.cat([part.double().flatten() for part in parts if part is not None])
    return whole, dict(kept)


def _difference(coarse: Tensor, fine: Tensor) -> Difference:
    cosine = torch.cosine_similarity(coarse, fine, dim=0)
    return Difference(float(cosine), float((coarse - fine).norm() / fine.norm()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line a method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--method", nargs="+", default=METHODS)
    parser.add_argument("--model", default="tiny_resnet", help="default: tiny_resnet")
    parser.add_argument("--data", default="fashion-mini", help="default: fashion-mini")
    parser.add_argument("--T", type=int, default=4, help="default: 4")
    parser.add_argument("--batch", type=int, default=32, help="default: 32")
    asked = parser.parse_args(arguments)
    typer.echo("method: cosine, relative error (float32's own), rates moved, bytes kept by type")
    for method in asked.method:
        try:
            found = examine(method, Choice.make(asked.model), asked.data, asked.T, asked.batch)
        except HarnessError as refusal:
            typer.echo(f"error: {refusal}", err=True)
            return 2
        kept = ", ".join(f"{name} {size}" for name, size in sorted(found.kept.items()))
        typer.echo(
            f"{method}: {found.bfloat16.cosine:.4f}, {found.bfloat16.error:.3f} "
            f"({found.float32.error:.1e}), {found.flipped:.4f}, {kept}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
