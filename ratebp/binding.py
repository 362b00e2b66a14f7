"""What a method is given when it is bound to a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from keyword import iskeyword

from torch import nn

from ratebp.errors import BindError
from ratebp.graph import Graph
from ratebp.reader import Reader
from ratebp.roles import Role
from ratebp.rules.convolutions import lean_convolution
from ratebp.rules.dropout import Masks
from ratebp.rules.norms.repeated import repeated_rule
from ratebp.rules.norms.temporal import norm_rule
from ratebp.rules.pools import lean_pool
from ratebp.views import Container, Rule, View, Wrap, view
from ratebp.wiring import Wiring


@dataclass(frozen=True)
class Binding:
    """What `Method.build` works with.

    Attributes:
        model: the user's model, to be read only.
        timesteps: T.
        wrap: what is put around each view, or None.
        layout: the method's, which decides how norms with parameters per time step run.
        reader: of the model's forward.
        masks: of dropout, one a sequence for all views.
    """

    model: nn.Module
    timesteps: int
    wrap: Wrap | None
    layout: str
    reader: Reader
    masks: Masks = field(default_factory=Masks)

    @property
    def wiring(self) -> Wiring:
        """Which leaf comes after which."""
        assert self.reader.wiring is not None  # or nothing is built yet
        return self.reader.wiring

    @property
    def graph(self) -> Graph:
        """The operations of one forward.

        Raises:
            BindError: where it is not known, since control flow depends on the values of tensors.
        """
        if self.reader.graph is None:
            raise BindError(
                f"the forward of {type(self.model).__name__} depends on the values of tensors, so "
                "its operations are not known. Remove that control flow, or train with bptt_s and "
                "bind(..., wiring=ratebp.Wiring(...))."
            )
        return self.reader.graph

    @property
    def code(self) -> Graph:
        """The graph with the code that `torch.fx` traced, for forwards run in pieces.

        Raises:
            BindError: where `torch.fx` could not trace the forward.
        """
        code = self.reader.code
        reason = f"torch.fx cannot trace it ({self.reader.reason})"
        if code is not None and code.contexts:
            reason = "parts of it run under torch.no_grad or autocast, which pieces would not know"
        elif code is not None and code.drawn:
            reason = "it draws numbers while it runs, which pieces would draw once and for all"
        elif code is not None:
            names = (part for path in code.modules for part in path.split("."))
            word = next(filter(iskeyword, names), None)
            if word is None:
                return code
            reason = f"its code would call a module `{word}`, a word of Python's own"
        raise BindError(
            f"the forward of {type(self.model).__name__} cannot be cut into pieces, since "
            f"{reason}. Take that out of it, or train with bptt_s."
        )

    @property
    def defaults(self) -> dict[Role, Rule]:
        """The rules of roles for which a method has none of its own.

        Norms run as the layout says, over T*B samples or over one step; dropout draws one mask a
        sequence. A rule of the method's own may hand on to them.
        """
        return {
            Role.NORM: norm_rule(self.layout, self.timesteps),
            Role.DROPOUT: self.masks.rule,
        }

    def view(
        self,
        rules: Mapping[Role, Rule],
        *,
        containers: Mapping[str, Container] | None = None,
        builds_graph: bool = True,
    ) -> View:
        """Return a view of the model inside `wrap`, whose pools and frozen layers keep little.

        Args:
            rules: role -> rule; roles without one have `defaults`. In the multi-step layout, what
                they make of a norm before the first neurons may run one step in place of T
                (`ratebp.rules.norms.repeated`).
            containers: what replaces parts of the model, see `ratebp.views.view`.
            builds_graph: whether gradients will flow through this view.

        Raises:
            BindError: as `ratebp.views.view` does.
        """
        chosen = {**self.defaults, **rules}
        if self.layout == "multi":
            chosen[Role.NORM] = repeated_rule(chosen[Role.NORM], self.wiring, self.timesteps)
        made = view(
            self.model,
            chosen,
            containers=containers,
            wiring=self.wiring,
            wrap=self.wrap,
            builds_graph=builds_graph,
        )
        for module in made.module.modules():
            lean_pool(module)
            lean_convolution(module)
        return made
