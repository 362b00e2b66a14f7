"""The contract of a training method.

A method is *rules* (which variant replaces a leaf of which role) and a *schedule* (the order of
passes over time). It is one final, frozen dataclass in one file; its options are its fields:

- `info` and `identities` are class attributes: claims, each measured by the contract tests. An
  identity is with another method, an oracle (`ratebp.oracles`), or options that run other
  operators: a method compared with itself proves nothing and is refused.
- `neurons` are the classes of neurons that the method can train; `bind` refuses all others.
- `needs` are what operations between leaves must be (`ratebp.needs`); what is not is refused.
- `build` is called once by `bind` and returns the method's views. It may look at the model and its
  wiring, and refuses with `BindError` what the method cannot train, naming the place and a way out.
- `step` is called once per optimiser update (or more often, to accumulate). It adds to the model's
  `.grad` and returns a `Result`. It may enter "forward" and "backward" of the context, never
  nested; it contains no clock, no device and no optimiser.
- A method keeps nothing on itself or on the user's modules. Buffers change exactly as `info` says:
  once a step for layout "multi" (statistics over T*B), T times for layout "single".
- A method whose network is not the plain spiking one overrides `network`.

The tests of `ratebp.testing` hold every registered method to this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field, fields, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp import legal, losses
from ratebp.binding import Binding as Binding
from ratebp.checks import CheckedLoss, of_samples, refuse_inputs, refuse_model, refuse_untrainable
from ratebp.claims import Identity as Identity
from ratebp.claims import Info as Info
from ratebp.errors import BindError, OptionError
from ratebp.inputs import Given, gathered
from ratebp.losses import Scoped
from ratebp.needs import Need, needs_of
from ratebp.network import Network, spiking
from ratebp.neurons import LIF, Delay, Neuron
from ratebp.phases import StepContext
from ratebp.reader import Reader
from ratebp.roles import Role, role_of
from ratebp.schedules import Loss, Result
from ratebp.structures import Output, mean_of
from ratebp.views import View, Wrap
from ratebp.wiring import Wiring

_EXACT = {"multi": "bptt_m", "single": "bptt_s"}
_OUTPUTS = {
    "mean": "the mean output",
    "per_step": "the outputs of single steps",
    "weighted_mean": "a weighted mean of the outputs",
}


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
    neurons: ClassVar[tuple[type[nn.Module], ...]] = (LIF,)
    needs: ClassVar[tuple[Need, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse option values that their fields, or the types of their defaults, do not allow."""
        for each in fields(self):  # type: ignore[arg-type]
            legal.option(f"{type(self).__name__}.{each.name}", getattr(self, each.name), each)

    @abstractmethod
    def build(self, binding: Binding) -> dict[str, View]:
        """Return the method's views, by name."""

    @abstractmethod
    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run forward and backward for one batch; add to `.grad`."""

    def network(self, binding: Binding, views: dict[str, View]) -> Network:
        """Return which network the method trains: the spiking one, if it has no other."""
        return spiking(binding)

    def under(self, loss: Loss) -> Method:
        """Return the method that minimises `loss`: itself, or with its `loss_mode` as that asks.

        Raises:
            OptionError: when the method never has the output that a `losses.Scoped` is defined on.
        """
        takes = getattr(self, "loss_mode", self.info.loss)
        if not isinstance(loss, Scoped) or loss.scope == takes:
            return self
        if any(f.name == "loss_mode" for f in fields(self)):  # type: ignore[arg-type]
            as_asked: Method = replace(self, loss_mode=loss.scope)  # type: ignore[type-var]
            return as_asked
        raise OptionError(
            f"the loss {loss} is defined on {_OUTPUTS[loss.scope]}, but {self.info.label} "
            f"minimises that of {_OUTPUTS[takes]}. Give it a loss of any output (F.cross_entropy, "
            "ratebp.losses.Mix), or train with bptt_m or bptt_s, which have both."
        )

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
        legal.whole("timesteps", timesteps)
        refuse_model(model)
        if not any(role_of(m) is Role.NEURON for m in model.modules()):
            raise BindError(
                f"{type(model).__name__} has no spiking neuron. Put ratebp.LIF() where the "
                "activations are."
            )
        self._refuse_neurons(model)
        needs = needs_of(self.info.layout, self.needs)
        reader = Reader(model, self.info.label, needs, wiring)
        return Bound(self, model, timesteps, reader, wrap)

    def _refuse_neurons(self, model: nn.Module) -> None:
        for path, module in model.named_modules():
            if role_of(module) is not Role.NEURON:
                continue
            layouts = module.layouts if isinstance(module, Neuron) else tuple(_EXACT)
            if not isinstance(module, self.neurons) or self.info.layout not in layouts:
                trained = ", ".join(each.__name__ for each in self.neurons)
                delay = isinstance(module, Delay)
                remedy = "Leave its connection out" if delay else "Put one there"
                raise BindError(
                    f"{self.info.label} cannot train the neuron {type(module).__name__} at "
                    f"`{path}`: it trains {trained} in the {self.info.layout}-step layout. "
                    f"{remedy}, or train with {' or '.join(_EXACT[each] for each in layouts)}."
                )


class Bound:
    """A method bound to a model: call `step` once per batch."""

    def __init__(
        self,
        method: Method,
        model: nn.Module,
        timesteps: int,
        reader: Reader,
        wrap: Wrap | None,
    ) -> None:
        """Build the views, unless the forward can only be read with inputs; `bind` makes this."""
        self.method = method
        self.timesteps = timesteps
        self._reader = reader
        self._binding = Binding(model, timesteps, wrap, method.info.layout, reader)
        self._views: dict[str, View] = {}
        self._network: Network | None = None
        if reader.wiring is not None:
            self._views = method.build(self._binding)

    def step(
        self,
        x: Given,
        y: Any,
        *,
        loss: Loss = F.cross_entropy,
        context: StepContext | None = None,
    ) -> Result:
        """Run forward and backward for one batch, adding to the model's `.grad`.

        Args:
            x: inputs, time-major ``[T, B, ...]``: one tensor, or for a forward that takes several a
                tuple or a list of them in its order, or a dict by its parameters' names.
            y: targets ``[B, ...]`` as `loss` wants them.
            loss: ``loss(logits [B, K], y) -> scalar``, see `ratebp.losses`. It is given what the
                model returns, a tuple or a dict of tensors among that.
            context: the hooks for measuring, gradient scaling and updates.

        Raises:
            OptionError: when ``x.shape[0]`` is not the T that was bound, x is none that the model
                can take (`ratebp.checks.refuse_inputs`) or asks for a gradient that the method
                does not define, the loss returns no scalar with a graph or is defined on an output
                that the method does not have, or no graph may be built.
            BindError: when the model returns anything but tensors ``[B, ...]``.
            StaleViewError: when the model changed after `bind`, but for its tensors' values.
        """
        losses.refuse_no_loss(loss)
        given, info = gathered(x), self.method.info
        self._check(given)
        refuse_untrainable(self._binding.model, given, info.label, info.inputs)
        method, checked = self.method.under(loss), CheckedLoss(loss, given.shape[1])
        with self._clean(given):
            return method.step(self._views, given, y, checked, context or StepContext())

    def plain(self, x: Given) -> Output:
        """Run the spiking forward alone: same layout and norms, no graph, no trace.

        A method's trace is what it costs beyond this. Running statistics move as in training.

        Args:
            x: inputs, time-major ``[T, B, ...]``.

        Returns:
            Mean logits ``[B, K]``.
        """
        given = gathered(x)
        self._check(given)
        network = self._trained()
        network.view.follow()
        with torch.no_grad(), self._clean(given):
            steps = network.forward(network.view, given)
            return of_samples(mean_of(steps), given.shape[1])

    def infer(self, x: Given) -> Output:
        """Return the mean logits ``[B, K]`` in eval mode, without a graph: `ratebp.infer`.

        Only a method whose network is not the plain spiking one answers differently.

        Args:
            x: inputs, time-major ``[T, B, ...]``, of any T.
        """
        given = gathered(x)
        if not self._views:
            self._check(given)
        return self._trained().infer(given)

    def _trained(self) -> Network:
        if self._network is None:
            self._network = self.method.network(self._binding, self._views)
        return self._network

    @property
    def binding(self) -> Binding:
        """What the views were built with: the model's graph and wiring among it."""
        return self._binding

    def views(self, x: Given) -> dict[str, View]:
        """Return the views, by name, that run ``x [T, B, ...]``; shapes may change them.

        Raises:
            OptionError: for inputs that no step can take.
            BindError: when the method cannot train the model for these inputs.
            StaleViewError: when the model changed after `bind`.
        """
        self._check(gathered(x))
        return self._views

    def _check(self, x: Tensor) -> None:
        """Refuse a changed model, and inputs that no step can take; read the model for them."""
        for place, each in enumerate(self._views.values()):
            if place == 0:  # all were made of the same model at once
                each.refresh()
            each.follow()
        known = self._reader.wiring
        entrances = None if known is None else known.entrances
        indices = () if known is None else known.indices
        refuse_inputs(self._binding.model, x, entrances, self.timesteps, indices)
        if self._reader.sees(x) or not self._views:
            self._network = None
            self._views = self.method.build(self._binding)

    @contextmanager
    def _clean(self, x: Tensor) -> Iterator[None]:
        """Surround one sequence; if it is interrupted, forget its states and records."""
        try:
            with self._binding.masks.sequence(*x.shape[:2]):
                yield
        except BaseException:
            plain = () if self._network is None else (self._network.view,)
            for each in (*self._views.values(), *plain):
                each.forget()
            raise
