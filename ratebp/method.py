"""The contract of a training method.

A method is *rules* (which variant replaces a leaf of which role) and a *schedule* (the order of
passes over time). It is one final, frozen dataclass in one file; its options are its fields:

- `info` and `identities` are class attributes: claims, each measured by the contract tests.
- `build` is called once by `bind` and returns the method's views. It may look at the model and its
  wiring, and refuses with `BindError` what the method cannot train, naming the place and a way out.
- `step` is called once per optimiser update (or more often, to accumulate). It adds to the model's
  `.grad` and returns a `Result`. It may enter "forward" and "backward" of the context, never
  nested; it contains no clock, no device and no optimiser.
- A method keeps nothing on itself or on the user's modules. Buffers change exactly as `info` says:
  once a step for layout "multi" (statistics over T*B), T times for layout "single".

The tests of `ratebp.testing` hold every registered method to this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp import schedules
from ratebp.errors import BindError, OptionError
from ratebp.phases import StepContext
from ratebp.roles import Role, role_of
from ratebp.rules import ScanLIF, StepLIF
from ratebp.schedules import Loss, Result
from ratebp.views import Rule, View, Wrap, view
from ratebp.wiring import Wiring, trace

_WORDS = {
    "memory": ("constant", "linear"),
    "layout": ("multi", "single"),
    "loss": ("mean", "per_step", "weighted_mean"),
    "updates": ("batch", "time step"),
}


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
    """

    label: str
    family: str
    memory: str
    layout: str
    loss: str
    papers: tuple[str, ...]
    updates: str = "batch"
    norms: bool = True

    def __post_init__(self) -> None:
        """Refuse words that the suite does not know."""
        for name, legal in _WORDS.items():
            if getattr(self, name) not in legal:
                raise OptionError.unknown(f"Info.{name}", getattr(self, name), legal)


@dataclass(frozen=True)
class Identity:
    """An exact statement: "my gradients equal those of `other` when ...".

    Attributes:
        other: name of the method to compare with.
        when: what must hold: "timesteps" (int), "decay" (float), "norm" ("none" or "batch"),
            "reset", "detach_reset". What is not named must not matter.
        over: "all" gradients, or "last_spiking": only weights into the last spiking layer.
        options: options of this method.
        other_options: options of the other.
        scale: "one", or "inverse_t": mine are 1/T of the other's.
    """

    other: str
    when: Mapping[str, Any] = field(default_factory=dict)
    over: str = "all"
    options: Mapping[str, Any] = field(default_factory=dict)
    other_options: Mapping[str, Any] = field(default_factory=dict)
    scale: str = "one"

    def __str__(self) -> str:
        """Return the statement in words."""
        parts = [f"{k}={v}" for k, v in self.options.items()]
        mine = f"with {', '.join(parts)}: " if parts else ""
        others = ", ".join(f"{k}={v}" for k, v in self.other_options.items())
        when = " and ".join(f"{k}={v}" for k, v in self.when.items()) or "always"
        factor = "(1/T) * " if self.scale == "inverse_t" else ""
        where = " (weights into the last spiking layer)" if self.over == "last_spiking" else ""
        return f"{mine}= {factor}{self.other}({others}), {when}{where}"


@dataclass(frozen=True)
class Binding:
    """What `Method.build` works with.

    Attributes:
        model: the user's model, to be read only.
        timesteps: T.
        wiring: which leaf comes after which.
        wrap: what is put around each view, or None.
    """

    model: nn.Module
    timesteps: int
    wiring: Wiring
    wrap: Wrap | None

    def view(self, rules: Mapping[Role, Rule], *, builds_graph: bool = True) -> View:
        """Return a view of the model with leaves swapped by `rules`."""
        return view(
            self.model, rules, wiring=self.wiring, wrap=self.wrap, builds_graph=builds_graph
        )


def option(default: str, *choices: str) -> Any:
    """Return a dataclass field for an option of a method: its default and its legal values."""
    return field(default=default, metadata={"choices": tuple(choices)})


def count(default: int) -> Any:
    """Return a dataclass field for an option that is a number of things, at least 1."""
    return field(default=default, metadata={"at_least": 1})


class Method(ABC):
    """Base of every training method; see the module's text for the contract."""

    info: ClassVar[Info]
    identities: ClassVar[tuple[Identity, ...]]

    def __post_init__(self) -> None:
        """Refuse option values that their fields do not allow."""
        for each in fields(self):  # type: ignore[arg-type]
            choices = each.metadata.get("choices")
            value = getattr(self, each.name)
            if choices is not None and value not in choices:
                raise OptionError.unknown(f"{type(self).__name__}.{each.name}", value, choices)
            least = each.metadata.get("at_least")
            whole = isinstance(value, int) and not isinstance(value, bool)
            if least is not None and not (whole and value >= least):
                raise OptionError(
                    f"{type(self).__name__}.{each.name}={value!r} must be an integer of at least "
                    f"{least}."
                )

    @abstractmethod
    def build(self, binding: Binding) -> dict[str, View]:
        """Return the method's views, by name."""

    @abstractmethod
    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run forward and backward for one batch; add to `.grad`."""

    def bind(
        self,
        model: nn.Module,
        timesteps: int,
        *,
        wiring: Wiring | None = None,
        wrap: Wrap | None = None,
    ) -> Bound:
        """Make the method's views of `model`, which itself stays untouched.

        Bind last, after moving the model to its device and type.

        Args:
            model: torch layers and `ratebp.LIF`, for one time step ``[B, ...] -> [B, K]``.
            timesteps: T, at least 1.
            wiring: for models whose forward `torch.fx` cannot trace.
            wrap: ``wrap(module, builds_graph)`` is put around each view: compile, DDP.

        Raises:
            BindError: when the method cannot train this model.
            OptionError: for a number of time steps below 1.
        """
        if isinstance(timesteps, bool) or not isinstance(timesteps, int) or timesteps < 1:
            raise OptionError(f"timesteps={timesteps!r} must be an integer of at least 1.")
        if not any(role_of(m) is Role.NEURON for m in model.modules()):
            raise BindError(
                f"{type(model).__name__} has no spiking neuron. Put ratebp.LIF() where the "
                "activations are."
            )
        binding = Binding(model, timesteps, wiring or trace(model), wrap)
        return Bound(self, binding, self.build(binding))


class Bound:
    """A method bound to a model: call `step` once per batch."""

    def __init__(self, method: Method, binding: Binding, views: dict[str, View]) -> None:
        """Keep the views; `Method.bind` makes this."""
        self.method = method
        self.timesteps = binding.timesteps
        self._binding = binding
        self._views = views
        self._plain: View | None = None

    def step(
        self,
        x: Tensor,
        y: Tensor,
        *,
        loss: Loss = F.cross_entropy,
        context: StepContext | None = None,
    ) -> Result:
        """Run forward and backward for one batch, adding to the model's `.grad`.

        Args:
            x: inputs, time-major ``[T, B, ...]``.
            y: targets ``[B, ...]`` as `loss` wants them.
            loss: ``loss(logits [B, K], y) -> scalar``.
            context: the seam for measuring, gradient scaling and updates.

        Raises:
            OptionError: when ``x.shape[0]`` is not the T that was bound.
            StaleViewError: when the model's tensors were replaced after `bind`.
        """
        self._check(x)
        for each in self._views.values():
            each.refresh()
        return self.method.step(self._views, x, y, loss, context or StepContext())

    def plain(self, x: Tensor) -> Tensor:
        """Run the spiking forward alone: same layout and norms, no graph, no trace.

        This is what the cost of the method's forward trace is measured against. Running statistics
        are updated as in a training forward.

        Args:
            x: inputs, time-major ``[T, B, ...]``.

        Returns:
            Mean logits ``[B, K]``.
        """
        self._check(x)
        multi = self.method.info.layout == "multi"
        if self._plain is None:
            rule: Rule = lambda lif, _: ScanLIF(lif, self.timesteps) if multi else StepLIF(lif)  # noqa: E731
            self._plain = self._binding.view({Role.NEURON: rule}, builds_graph=False)
        self._plain.refresh()
        forward = schedules.layer_by_layer if multi else schedules.step_by_step
        with torch.no_grad():
            return torch.stack(forward(self._plain, x)).mean(0)

    def _check(self, x: Tensor) -> None:
        if x.dim() < 2 or x.shape[0] != self.timesteps:
            raise OptionError(
                f"x has shape {tuple(x.shape)}, but the method is bound to timesteps="
                f"{self.timesteps}: inputs are time-major [T, B, ...]. Encode images with "
                f"ratebp.direct(images, {self.timesteps}), or bind again."
            )
