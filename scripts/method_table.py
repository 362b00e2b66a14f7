"""Write docs/methods.md: what each training method costs, equals, refuses and offers.

python scripts/method_table.py

Nothing in the page is typed by hand. Claims and options are read off the classes, whose claims the
contract tests measure; arithmetic is counted while a small network trains; limits are found by
binding networks that hold one awkward thing each.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from method_costs import CHANNELS, FITTED, Line, lines, network
from torch import Tensor, nn

import ratebp
from ratebp.controls import Control
from ratebp.errors import RatebpError
from ratebp.method import Method
from ratebp.needs import Need, needs_of
from ratebp.norms import BNTT, TEBN

PAGE = Path(__file__).parents[1] / "docs" / "methods.md"
TESTS = Path(__file__).parents[1] / "tests"
LOSSES = {
    "mean": "of the mean output",
    "per_step": "mean over the steps",
    "weighted_mean": "of a weighted mean output",
}
NORMS = {
    ("multi", "pass"): "over T*B",
    ("single", "pass"): "per step",
    ("single", "batch"): "per step, running statistics move once a batch",
}
HEAD = """\
# Training methods

Written by `python scripts/method_table.py` from the classes in `ratebp/methods`; a test compares.
Methods have their default options here; what the words mean is said below each table.
"""
COST = """\
*Kept*: what autograd keeps between forward and backward, as T grows. *Forwards*, *backwards*:
how often each hidden synapse is applied to one time step's batch, and how often its gradients are
computed (by its weight, and by its input where that differs), as counted at T=2 and 4 and verified
at T=8. *Arithmetic*: their sum; one backward is the work of two forwards, so the unit is a
network's forward on one time step. What neurons, norms and feedback matrices cost is not in it.
*Passes*: how often the backward is started. *Norms*: what batch statistics are taken over.
"""
EXACT = """\
*Equal to*: the gradients of a batch, to rounding, under every setting that is not named (norms,
reset, whether the reset is detached); each is a contract test. `T` is the number of time steps.
"By hand" is a loop of `ratebp/oracles` that runs no method.
*Refuses*: what `bind` names and declines, of these in a network of convolutions: {tried}.
`tests/ratebp/test_refusals.py` has such a table for linear layers, where `eprop` trains an ALIF.
"""
NUMBERED = """\
From the names of the tests. `tests/contracts` runs the statements of the table above.
"""
BETWEEN = """\
*What lies between* two layers of a small network of linear layers, and whether a method trains it:
yes, or refused when it is bound, or refused at the first inputs, whose shapes say where the samples
are. Kinds are those of `ratebp.graph.Kind`; an operation that nothing is known of is refused where
a kind matters. *Needs*: what a method asks of all operations (`ratebp.needs`), in the words below;
more that a method refuses here is its own.

{needs}
"""
OPTIONS = """\
The first value is the default.
"""


def years(papers: Sequence[str]) -> str:
    """Return the years of `papers`, "authors year, venue"."""
    found = [re.search(r"\b(?:19|20)\d\d\b", paper.partition(",")[0]) for paper in papers]
    if None in found:
        raise ValueError(f"no year before the first comma in one of {papers}")
    return ", ".join(dict.fromkeys(each[0] for each in found if each))


def cost(name: str, method: Method) -> list[str]:
    """Return the row of the first table."""
    info, work = method.info, lines(name, method)
    weight, signal = work["by_weight"], work["by_input"]
    norms = NORMS[info.layout, info.statistics]
    if info.layout == "multi" and work["forward"] == Line(Fraction(0), Fraction(1)):
        norms = "over B"  # of the one forward that there is
    return [
        f"`{name}`",
        "; ".join(info.papers),
        years(info.papers),
        "linear in T" if info.memory == "linear" else "constant",
        str(work["forward"]),
        str(weight) if weight == signal else f"{weight} by weights, {signal} by inputs",
        str(work["forward"] + weight + signal),
        str(work["passes"]),
        "T" if info.updates == "time step" else "1",
        LOSSES[info.loss],
        norms if info.norms else "refused",
    ]


def awkward() -> dict[str, Callable[[], nn.Module]]:
    """Return networks with one awkward thing each, by its name, for ``T = FITTED[0]``."""
    width, kinds = CHANNELS[1], ratebp.neurons.KINDS
    needs = {"timesteps": FITTED[0], "k": 2}

    def made_of(kind: type[nn.Module]) -> nn.Module:
        taken = inspect.signature(kind).parameters.values()
        return network(kind=kind, **{p.name: needs[p.name] for p in taken if p.default is p.empty})

    neurons = {k.__name__: lambda k=k: made_of(k) for n, k in kinds.items() if n != "lif"}
    return {
        "batch norm": lambda: network(before=[nn.BatchNorm2d(width)]),
        "TEBN": lambda: network(before=[TEBN(width, FITTED[0])]),
        "BNTT": lambda: network(before=[BNTT(width, FITTED[0])]),
        "group norm": lambda: network(before=[nn.GroupNorm(2, width)]),
        "max pooling of currents": lambda: network(before=[nn.MaxPool2d(2)]),
        "max pooling of spikes": lambda: network(nn.MaxPool2d(2)),
        "dropout of spikes": lambda: network(nn.Dropout(0.5)),
        "hard reset": lambda: network(reset="hard"),
        "a reset in the gradient": lambda: network(detach_reset=False),
        **neurons,
    }


def refused(method: Method) -> list[str]:
    """Return the names of the awkward things that `method` does not bind."""
    found = []
    for name, make in awkward().items():
        try:
            method.bind(make(), FITTED[0])
        except RatebpError:
            found.append(name)
    return found


def limits(name: str, method: Method) -> list[str]:
    """Return the row of the second table."""
    cls, needs = type(method), []
    if method.info.updates == "time step":
        needs.append("`StepContext(optimizer)`")
    if cls.network not in (Method.network, Control.network):
        needs.append("`Bound.infer` to predict")
    equal = "<br>".join(str(identity) for identity in cls.identities)
    declined = ", ".join(refused(method)) or "nothing of these"
    return [f"`{name}`", equal, declined, ", ".join(needs)]


class Between(nn.Module):
    """Two layers of neurons, and an operation between them."""

    def __init__(self, between: Callable[[nn.Module, Tensor], Tensor]) -> None:
        """Make the layers."""
        super().__init__()
        self.between = between
        self.f0, self.l0, self.f1 = nn.Linear(5, 6), ratebp.LIF(), nn.Linear(6, 6)
        self.l1, self.f2 = ratebp.LIF(), nn.Linear(6, 3)
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        """Run them."""
        spikes = self.between(self, self.l0(self.f0(x)))
        return self.f2(self.l1(self.f1(spikes)))


def counted(net: nn.Module, x: Tensor) -> Tensor:
    """Change a buffer of `net`."""
    net.seen.add_(1)
    return x


KINDS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "linear (x * 2)": lambda net, x: x * 2,
    "affine (x + 1)": lambda net, x: x + 1,
    "homogeneous (relu)": lambda net, x: x.relu(),
    "product (x * y)": lambda net, x: x * x.flip(1),
    "nonlinear (sigmoid)": lambda net, x: x.sigmoid(),
    "random (randn_like)": lambda net, x: x + torch.randn_like(x),
    "in place (x += 1)": lambda net, x: x.clone().add_(1),
    "changes a buffer": counted,
    "mixes samples (x - x.mean(0))": lambda net, x: x - x.mean(0),
    "weights not in a layer that is called": lambda net, x: F.linear(x, net.f1.weight),
    "unknown (fft)": lambda net, x: torch.fft.fft(x).real,
}


def between(name: str, method: Method) -> list[str]:
    """Return the row of the table of kinds."""
    found = []
    for each in KINDS.values():
        answer = "refused at bind"
        try:
            bound = method.bind(Between(each), FITTED[0])
            answer = "refused at inputs"
            bound.views(torch.zeros(FITTED[0], 2, 5))
            answer = "yes"
        except RatebpError:
            pass
        found.append(answer)
    needs = needs_of(method.info.layout, method.needs)
    return [f"`{name}`", ", ".join(n.name.lower() for n in Need if n in needs), *found]


def described(cls: type[Method]) -> dict[str, str]:
    """Return what the docstring says of each option, by name; absent if it says nothing."""
    _, _, text = (inspect.getdoc(cls) or "").partition("\nOptions:\n")
    names = "|".join(f.name for f in fields(cls))  # type: ignore[arg-type]
    parts = re.split(rf"^    ({names}): ", text, flags=re.MULTILINE)
    return {n: " ".join(words.split()) for n, words in zip(parts[1::2], parts[2::2], strict=True)}


def values(option: Field[Any]) -> str:
    """Return the legal values of an option, the default first."""
    if choices := option.metadata.get("choices"):
        rest = [c for c in choices if c != option.default]
        return ", ".join(f"`{c}`" for c in (option.default, *rest))
    least = option.metadata.get("at_least")
    at_least = "" if least is None else f", at least {least}"
    return f"`{option.default}` ({type(option.default).__name__}{at_least})"


def options(name: str, cls: type[Method]) -> list[list[str]]:
    """Return the rows of the third table."""
    words = described(cls)
    return [
        [f"`{name}`", f"`{f.name}`", values(f), words[f.name].replace("|", "\\|")]
        for f in fields(cls)  # type: ignore[arg-type]
    ]


def numbered() -> list[list[str]]:
    """Return the rows of the table of identities: number, statement, file, from tests' names."""
    found = [
        (int(number), words.replace("_", " "), file.relative_to(TESTS.parent).as_posix())
        for file in TESTS.rglob("test_*.py")
        for number, words in re.findall(r"^def test_e(\d+)_(\w+)", file.read_text(), re.MULTILINE)
    ]
    return [[f"E{number}", words, f"`{file}`"] for number, words, file in sorted(found)]


def table(head: str, rows: list[list[str]]) -> str:
    """Return a Markdown table; `head` holds the titles, separated by commas."""
    titles = head.split(", ")
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def page() -> str:
    """Return the whole page."""
    found = {n: e.cls for n, e in ratebp.methods.entries().items() if e.source == "builtin"}
    made = {name: cls() for name, cls in found.items()}
    costs = (
        "method, paper, year, kept, forwards, backwards, arithmetic, passes, updates, loss, norms"
    )
    parts = [
        HEAD,
        "## What a batch costs\n",
        table(costs, [cost(name, method) for name, method in made.items()]),
        COST,
        "## What it equals, what it refuses\n",
        table(
            "method, equal to, refuses, needs",
            [limits(name, method) for name, method in made.items()],
        ),
        EXACT.format(tried=", ".join(awkward())),
        "## What may lie between layers\n",
        table(", ".join(["method", "needs", *KINDS]), [between(*each) for each in made.items()]),
        BETWEEN.format(needs="\n".join(f"- *{n.name.lower()}*: {n.value}" for n in Need)),
        "## Identities by number\n",
        table("number, what the test states, where", numbered()),
        NUMBERED,
        "## Options\n",
        table(
            "method, option, values, meaning",
            [row for name, cls in found.items() for row in options(name, cls)],
        ),
        OPTIONS,
    ]
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
