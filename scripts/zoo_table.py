"""Write docs/zoo.md: every method on every small network, right, refused or wrong.

python scripts/zoo_table.py

It asks what `ratebp-bench check` asks, of the networks in `ratebp/testing/zoo`, which the contract
tests run as well. It takes minutes, so no test compares the marks; one compares the names.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.run.checking import WRONG, CheckAnswer, CheckRequest, ask
from ratebp import methods
from ratebp.testing import zoo

PAGE = Path(__file__).parents[1] / "docs" / "zoo.md"
T = 3
MARKS = {"exact": "=", "equal at T=1": "1", "approximate": "~", "refused": "-", WRONG: "**X**"}
MEANING = {
    "exact": "loss, mean output, every gradient and every buffer are those of a plain autograd "
    "loop over the time steps",
    "equal at T=1": "so they are at one time step; over T steps the backward approximates, as the "
    "method says, and the forward is equal",
    "approximate": "the method promises no equality here, or one of some parameters alone; the "
    "forward, and what it promises, were found so",
    "refused": "declined by name, with a remedy",
    WRONG: "none of these",
}
HEAD = """\
# Every method on every kind of network

Written by `python scripts/zoo_table.py`. Each row is a small network of `ratebp/testing/zoo`, each
column a method with its default options, each mark what `ratebp.verify` says in float64 at T="""
TAIL = """
Batch norms of the plain loop are those of the method's layout: of each step, or over T*B. A method
whose network is another one (`os`, `ann`, `sfa`, `t1`) is compared with that. `ratebp-bench check
file.py:Net` asks the same of your own network.
"""


def rows(answers: Sequence[CheckAnswer], names: Sequence[str]) -> list[str]:
    """Return the lines of the matrix, under a heading for each module of the zoo."""
    marks: dict[tuple[str, str], str] = {
        (answer.request.model, answer.request.method): MARKS[answer.outcome] for answer in answers
    }
    lines: list[str] = []
    theme = ""
    for name, entry in zoo.entries().items():
        if entry.theme != theme:
            theme = entry.theme
            lines += [f"\n## {theme}\n", f"| network | about | {' | '.join(names)} |"]
            lines += ["|---" * (len(names) + 2) + "|"]
        cells = [marks[f"zoo:{name}", method] for method in names]
        lines.append(f"| `{name}` | {entry.kind} | {' | '.join(cells)} |")
    return lines


def wrong(answers: Sequence[CheckAnswer]) -> list[str]:
    """Return a line for each cell that is wrong."""
    found = [answer for answer in answers if answer.outcome == WRONG]
    lines = [f"- `{a.request.model[4:]}`, `{a.request.method}`: {a.reason}" for a in found]
    return ["\n## Wrong\n", *lines] if lines else []


def page(answers: Sequence[CheckAnswer]) -> str:
    """Return the whole page."""
    count: Mapping[str, int] = Counter(answer.outcome for answer in answers)
    names = list(dict.fromkeys(answer.request.method for answer in answers))
    meaning = [
        f"| {mark} | {outcome} | {MEANING[outcome]} | {count[outcome]} |"
        for outcome, mark in MARKS.items()
    ]
    table = ["| mark | outcome | meaning | cells |", "|---|---|---|---|", *meaning]
    return "\n".join([f"{HEAD}{T}:\n", *table, TAIL, *rows(answers, names), *wrong(answers)]) + "\n"


def main() -> None:
    """Write the page."""
    builtin = [n for n, entry in methods.entries().items() if entry.source == "builtin"]
    asked = [
        CheckRequest(f"zoo:{name}", method, T=T) for name in zoo.entries() for method in builtin
    ]
    PAGE.write_text(page(list(ask(asked))))
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
