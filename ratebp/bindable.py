"""What rules may ask of a binding, without knowing methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import nn

from ratebp.graph import Graph
from ratebp.roles import Role
from ratebp.views import Rule, View, Wrap
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
        """The same with the code that `torch.fx` made of it."""

    @property
    def wrap(self) -> Wrap | None:
        """What is put around each view."""

    def view(self, rules: Mapping[Role, Rule], *, builds_graph: bool = True) -> View:
        """Return a view of the model with leaves swapped by `rules`."""
