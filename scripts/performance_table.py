"""Write the exact tables of docs/performance.md from the recorded figures.

    ratebp-bench gate --exact --sweep lean --baselines results/baselines/lean --update
    python scripts/performance_table.py

The first command counts on fake tensors and records; this one reads what is recorded and replaces
what stands between the page's markers. Nothing between them is typed by hand; a test compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.gate.baseline import Baseline, environment

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
RECORDED = ROOT / "results" / "baselines" / "lean"
MIB = 2**20

PUBLISHED = {
    ("bptt_m", 4): 421.0,
    ("rate_m", 4): 139.0,
    ("rate_m", 8): 189.0,
    ("rate_s", 4): 132.0,
}
"""MiB of activations in the papers' own code, as the targets were set (docs/performance.md)."""

Found = dict[tuple[str, str, int], tuple[int, int, int]]
"""Peak in bytes, FLOP of a step, FLOP of the plain forward; by model, method and T."""
MAIN = "resnet18"


@dataclass(frozen=True)
class Target:
    """One line of the first table.

    `share` of the published figure of `rival` is what the peak may be; `forwards` is how many
    network forwards of arithmetic a step may have.
    """

    number: str
    method: str
    T: int
    rival: tuple[str, int]
    share: float
    forwards: Callable[[int], float]


def _whole(T: int) -> float:
    """BPTT: a forward, and a backward of two, for every step."""
    return 3 * T


def _once_more(T: int) -> float:
    return 4 * T


def _rate(T: int) -> float:
    return T + 2


OTHERS = ("bptt_m", "rate_m", "sltt")
ONLINE = ("rate_s", "sltt", "sltt(pre_activations=recomputed)", "ottt_a", "ndot_a")
TARGETS = (
    *(
        Target("1", name, T, ("rate_m", T), 0.45, _rate)
        for T in (4, 8)
        for name in ("rate_m", "rate_m(pre_activations=recomputed)")
    ),
    Target("2", "rate_s", 4, ("rate_s", 4), 0.45, _rate),
    *(Target("2", name, 4, ("rate_s", 4), 0.45, _whole) for name in ONLINE[1:]),
    *(Target("3", n, 4, ("bptt_m", 4), 0.45, _whole) for n in ("bptt_m", "bptt_s")),
    *(
        Target("4", name, 4, ("bptt_m", 4), 0.2, _once_more)
        for name in ("bptt_ckpt", "bptt_ckpt(over=time)", "bptt_ckpt(over=both)")
    ),
)


def recorded(folder: Path) -> Found:
    """The figures of one environment's folder."""
    keys = ("mem.live_peak", "step"), ("ops.flops", "step"), ("ops.flops", "plain_forward")
    return {
        (place.model, place.method, place.T): tuple(int(figures[key].value) for key in keys)  # type: ignore[misc]
        for place, figures in Baseline(folder).read().items()
    }


def targets(found: Found) -> Iterator[list[str]]:
    """Rows of the first table."""
    for target in TARGETS:
        peak, flops, plain = found[MAIN, target.method, target.T]
        published = PUBLISHED[target.rival]
        most, share = target.share * published, peak / MIB / published
        forwards = flops / (plain / target.T)
        allowed = target.forwards(target.T)
        over = f"{peak / MIB / most:.2f} times"
        yield [
            target.number,
            f"`{target.method}`",
            str(target.T),
            f"{peak / MIB:.1f}",
            f"{most:.1f} ({target.share:g} of {published:g})",
            f"{share:.2f}",
            "met" if peak <= most * MIB else over,
            f"{forwards:.1f}",
            f"{allowed:g}" if forwards <= allowed + 0.05 else f"{allowed:g}: exceeded",
        ]


def constant(found: Found) -> Iterator[list[str]]:
    """Rows of the table of methods whose peak must not move with T."""
    lengths = sorted({T for model, _, T in found if model == MAIN})
    for method in ONLINE:
        peaks = [found[MAIN, method, T][0] for T in lengths]
        steady = len(set(peaks[1:])) == 1
        yield [f"`{method}`", *(f"{p:,}" for p in peaks), "yes" if steady else "no"]


def everything(found: Found) -> Iterator[list[str]]:
    """Rows of the table of all cells: MiB, and GFLOP."""
    lengths = sorted({T for model, _, T in found if model == MAIN})
    for method in dict.fromkeys(method for model, method, _ in found if model == MAIN):
        cells = [found[MAIN, method, T] for T in lengths]
        mib = [f"{peak / MIB:.1f}" for peak, _, _ in cells]
        yield [f"`{method}`", *mib, *(f"{flops / 1e9:.0f}" for _, flops, _ in cells)]


def networks(found: Found) -> Iterator[list[str]]:
    """Rows of the table of the other networks, at their one T: MiB, and GFLOP."""
    for model in dict.fromkeys(model for model, _, _ in found if model != MAIN):
        cells = {m: figures for (of, m, _), figures in found.items() if of == model}
        mib = [f"{cells[method][0] / MIB:.1f}" for method in OTHERS]
        yield [f"`{model}`", *mib, *(f"{cells[method][1] / 1e9:.0f}" for method in OTHERS)]


def table(titles: list[str], rows: Iterator[list[str]]) -> str:
    """A Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def parts(found: Found) -> dict[str, str]:
    """What stands between the page's markers, by name."""
    lengths = [f"T={T}" for T in sorted({T for model, _, T in found if model == MAIN})]
    first = ["target", "method", "T", "peak, MiB", "asked, MiB", "share", "memory"]
    return {
        "targets": table([*first, "forwards", "asked"], targets(found)),
        "constant": table(["method", *lengths, "steady from T=2"], constant(found)),
        "everything": table(
            ["method", *(f"{T}, MiB" for T in lengths), *(f"{T}, GFLOP" for T in lengths)],
            everything(found),
        ),
        "networks": table(
            ["network", *(f"`{m}`, MiB" for m in OTHERS), *(f"`{m}`, GFLOP" for m in OTHERS)],
            networks(found),
        ),
    }


def filled(page: str, found: Found) -> str:
    """The page with its exact tables written anew; ValueError for a marker that is missing."""
    for name, text in parts(found).items():
        begin, end = f"<!-- exact: {name} -->\n", "<!-- end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        count = len(pattern.findall(page))
        if count != 1:
            raise ValueError(f"{PAGE.name} has {count} parts between {begin.strip()} and {end}")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return page


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text(), recorded(RECORDED / environment())))
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
