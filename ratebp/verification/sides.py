"""The two sides of a check: one step by the method, and the same step the plain way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.errors import InputError, OracleError, RatebpError
from ratebp.inputs import each_of
from ratebp.method import Method
from ratebp.phases import StepContext
from ratebp.schedules import Loss
from ratebp.structures import Output
from ratebp.verification import oracle
from ratebp.verification.oracle import Neurons, Run
from ratebp.verification.plain import NoOracleError
from ratebp.views import View


class FailedError(Exception):
    """The method raised something that is no refusal; it is the cause."""


class RefusedError(Exception):
    """The method refused; what it raised is the cause."""


class WithheldUpdates(StepContext):
    """Lets the gradients of a method that updates at every time step add up instead."""

    def update(self) -> None:
        """Apply nothing."""


@dataclass(frozen=True)
class Side:
    """What a step of the method did.

    Attributes:
        run: what it left behind.
        drawing: the state of torch's generator when its first forward began.
        plain: the mean output of `Bound.plain`, on buffers as they were.
        records: the outputs of leaves, by view and path, where they were asked for.
    """

    run: Run
    drawing: Tensor
    plain: Output = None
    records: Mapping[str, Mapping[str, list[Tensor]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sides:
    """A network, a method and a batch; every step starts from a fresh copy of the network."""

    model: nn.Module
    method: Method
    y: Tensor
    loss: Loss

    def copied(self, x: Tensor) -> tuple[nn.Module, Tensor]:
        """Return a float64 copy of the model, and one of `x` that asks for a gradient if it does.

        Raises:
            OracleError: when the model cannot be copied.
            RefusedError: when the method refuses it, which then comes first.
        """
        try:
            prepared = oracle.prepared(self.model)
        except Exception as error:
            try:
                self.method.bind(self.model, len(x))
            except RatebpError as refusal:
                raise RefusedError from refusal
            raise OracleError(
                f"{type(self.model).__name__} cannot be copied ({error}), so nothing can be "
                "compared. Keep computed tensors out of its attributes."
            ) from error
        return prepared, each_of(x, _own)

    def by_method(self, x: Tensor, *, plain: bool = False, watched: bool = False) -> Side:
        """Run one step by the method.

        Args:
            x: inputs ``[T, B, ...]``.
            plain: whether to run `Bound.plain` first, on a copy of its own.
            watched: whether to record the outputs of leaves.

        Raises:
            RefusedError: when it refuses.
            InputError: when no method could take the input.
            FailedError: when it raises anything else.
        """
        model, own = self.copied(x)
        records: dict[str, dict[str, list[Tensor]]] = {}
        drawing = [torch.get_rng_state()]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                forward = self._plain(x) if plain else None
                bound = self.method.bind(model, len(x))
                views = bound.views(own)
                for name, view in views.items():
                    if watched:
                        _watch(view.module, records.setdefault(name, {}))
                _note_the_first_draw(views, drawing)
                result = bound.step(own, self.y, loss=self.loss, context=WithheldUpdates())
                if not isinstance(result.loss, Tensor):
                    raise TypeError(f"its loss is no tensor but {type(result.loss).__name__}")
            except InputError:
                raise  # the user's, not the method's
            except RatebpError as error:
                raise RefusedError from error
            except Exception as error:
                raise FailedError from error
        run = oracle.snapshot(model, own, result.loss, result.logits)
        return Side(run, drawing[-1], forward, records)

    def _plain(self, x: Tensor) -> Output:
        model, own = self.copied(x)
        state = torch.get_rng_state()
        out = self.method.bind(model, len(x)).plain(own.detach())
        torch.set_rng_state(state)
        return out

    def plainly(
        self,
        x: Tensor,
        drawing: Tensor,
        layout: str,
        loss_mode: str,
        *,
        through_time: bool = True,
        neurons: Neurons | None = None,
    ) -> Run:
        """Run the same step the plain way; see `oracle.run`.

        Raises:
            OracleError: when the network cannot be run one step after the other.
        """
        model, own = self.copied(x)
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(drawing)
            try:
                return oracle.run(
                    model,
                    own,
                    self.y,
                    self.loss,
                    layout=layout,
                    loss_mode=loss_mode,
                    through_time=through_time,
                    neurons=neurons,
                )
            except NoOracleError as error:
                raise OracleError(f"{error}: it can be trained, but not verified.") from error
            except Exception as error:
                raise OracleError(
                    f"{type(self.model).__name__} or its loss fails when it is run one time step "
                    f"after the other, without any method ({type(error).__name__}: {error}). Check "
                    "the shapes of x, time-major [T, B, ...], and of y, and the loss; a model is "
                    "written for one time step, [B, ...] -> [B, ...]."
                ) from error


def _own(x: Tensor) -> Tensor:
    constant = x.dim() > 0 and x.stride(0) == 0
    own = x.detach()[:1].clone().expand_as(x) if constant else x.detach().clone()
    return own.requires_grad_(x.requires_grad)


def _watch(module: nn.Module, record: dict[str, list[Tensor]]) -> None:
    for path, leaf in module.named_modules():
        leaf.register_forward_hook(_recorder(record, path))


def _recorder(record: dict[str, list[Tensor]], path: str) -> Callable[..., None]:
    def keep(_module: nn.Module, _args: Any, out: Any) -> None:
        if isinstance(out, Tensor):
            record.setdefault(path, []).append(out.detach().clone())

    return keep


def _note_the_first_draw(views: Mapping[str, View], drawing: list[Tensor]) -> None:
    """Keep the generator's state as the network first sees it: a method may draw before."""

    def note(_module: nn.Module, _args: Any) -> None:
        if len(drawing) == 1:
            drawing.append(torch.get_rng_state())

    drawing[0] = torch.get_rng_state()
    for view in views.values():
        view.module.register_forward_pre_hook(note)
