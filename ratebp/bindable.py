"""The part of `ratebp.Binding` that rules use; it names no method, so rules import none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import nn

from ratebp.graph import Graph
from ratebp.roles import Role
from ratebp.views import Container, Rule, View
from ratebp.wiring import Wiring


class Bindable(Protocol):
    """What is bound: `ratebp.Binding`."""

    @property
    def model(self) -> nn.Module:
        """The user's model, to be read only."""

    @property
    def timesteps(self) -> int:
        """T."""

    @property
    def wiring(self) -> Wiring:
        """Which leaf comes after which."""

    @property
    def graph(self) -> Graph:
        """The operations of one forward."""

    @property
    def code(self) -> Graph:
        """The graph with the code that `torch.fx` traced."""

    @property
    def defaults(self) -> Mapping[Role, Rule]:
        """The rules of roles for which a method has none of its own."""

    def view(
        self,
        rules: Mapping[Role, Rule],
        *,
        containers: Mapping[str, Container] | None = None,
        builds_graph: bool = True,
    ) -> View:
        """Return a view of the model with leaves swapped by `rules`, parts by `containers`."""
