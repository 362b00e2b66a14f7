"""What a training method claims about itself; the contract tests measure every claim."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ratebp.errors import OptionError

_WORDS = {
    "memory": ("constant", "linear"),
    "layout": ("multi", "single"),
    "loss": ("mean", "per_step", "weighted_mean"),
    "updates": ("batch", "time step"),
    "statistics": ("pass", "batch"),
}
_STATED = {"over": ("all", "last_spiking"), "scale": ("one", "inverse_t")}

Oracle = Callable[
    [nn.Module, Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]], dict[str, Tensor]
]
"""``oracle(model, x, y, loss)`` returns reference gradients by the parameters' names.

It is a loop written out by hand that runs no method; `ratebp.oracles` has some. Its docstring's
first line says whose gradients they are, after "Return".
"""


@dataclass(frozen=True)
class Info:
    """What a method claims about itself.

    Attributes:
        label: name in plots.
        family: "exact", "rate", "online", or a new one; methods of one family share a colour range.
        memory: growth in T of what is kept between forward and backward, "constant" or "linear".
        layout: "multi" runs layer by layer with norms over T*B; "single" runs step by step.
        loss: what is minimised by default: of the "mean" output, the mean of the "per_step" losses,
            or of the "weighted_mean", whose weights fall exponentially into the past.
        papers: references, "authors year, venue, arXiv id".
        updates: "batch" leaves the update to the caller; "time step" applies one after every time
            step through the context's `update`, which then must have an optimiser.
        norms: False if `bind` refuses every norm, in training or eval mode, naming its place.
        statistics: running statistics move at every "pass" through a norm (once a step for layout
            "multi", T times for "single"), or once a "batch".
        inputs: False if the method defines no gradient by the input: `step` refuses one that asks.
    """

    label: str
    family: str
    memory: str
    layout: str
    loss: str
    papers: tuple[str, ...]
    updates: str = "batch"
    norms: bool = True
    statistics: str = "pass"
    inputs: bool = True

    def __post_init__(self) -> None:
        """Refuse words that the suite does not know."""
        for name, legal in _WORDS.items():
            if getattr(self, name) not in legal:
                raise OptionError.unknown(f"Info.{name}", getattr(self, name), legal)


@dataclass(frozen=True)
class Identity:
    """An exact statement: "my gradients equal those of `other`, or of `oracle`, when ...".

    It says something only if the two come about in two ways. So a method is not found whose
    identity compares it with itself under the same options, and the contract tests refuse one
    whose options take the same path wherever it is stated.

    Attributes:
        other: name of the method to compare with; of this one only under `options` that make it
            run other operators. Empty where there is an oracle.
        when: what must hold: "timesteps" (int), "decay" (float), "norm" ("none" or "batch"),
            "reset", "detach_reset". What is not named must not matter.
        over: "all" gradients, or "last_spiking": only weights into the last spiking layer.
        options: options of this method.
        other_options: options of the other.
        scale: "one", or "inverse_t": mine are 1/T of the other's.
        oracle: a function that returns the gradients to compare with.

    Raises:
        OptionError: if there is neither another method nor an oracle or both, for an oracle
            without a docstring or with options, and for an unknown word.
    """

    other: str = ""
    when: Mapping[str, Any] = field(default_factory=dict)
    over: str = "all"
    options: Mapping[str, Any] = field(default_factory=dict)
    other_options: Mapping[str, Any] = field(default_factory=dict)
    scale: str = "one"
    oracle: Oracle | None = None

    def __post_init__(self) -> None:
        """Refuse a statement that cannot be measured."""
        for name, legal in _STATED.items():
            if getattr(self, name) not in legal:
                raise OptionError.unknown(f"Identity.{name}", getattr(self, name), legal)
        if (self.oracle is None) == (not self.other):
            raise OptionError(
                f"an identity names another method or an oracle, one of them; found "
                f"other={self.other!r} and oracle={self.oracle!r}."
            )
        if self.oracle is not None and (self.other_options or not inspect.getdoc(self.oracle)):
            raise OptionError(
                f"the oracle {self.oracle!r} takes no options and says in its docstring whose "
                "gradients it returns, as the table of methods shows it."
            )

    def __str__(self) -> str:
        """Return the statement in words, for example ``loss_mode=mean: bptt_s, where T=1``."""
        mine = ", ".join(f"{k}={v}" for k, v in self.options.items())
        others = ", ".join(f"{k}={v}" for k, v in self.other_options.items())
        other = f"{self.other}({others})" if others else self.other
        if self.oracle is not None:
            said, _, _ = (inspect.getdoc(self.oracle) or "").partition("\n")
            other = said.removeprefix("Return ").removesuffix(".") + ", by hand"
        when = ", ".join(f"{'T' if k == 'timesteps' else k}={v}" for k, v in self.when.items())
        return "".join(
            (
                f"{mine}: " if mine else "",
                f"{other} / T" if self.scale == "inverse_t" else other,
                " in weights into the last spiking layer" if self.over == "last_spiking" else "",
                f", where {when}" if when else "",
            )
        )
