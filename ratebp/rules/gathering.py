"""A synapse of many time steps whose weight's gradient waits in no buffer of autograd's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ratebp.ops import at_once
from ratebp.views import Leaf


class GatheringSynapse(Leaf):
    """A synapse that is used at many time steps and adds to its parameters' `.grad` at each."""

    def __init__(self, layer: nn.Module) -> None:
        """Take the synapse, a torch layer or a leaf."""
        super().__init__()
        self.layer = layer
        self.reset()

    def reset(self) -> None:
        """Start a sequence, whose first step leaves its gradient to autograd."""
        self.first = True

    def detach(self) -> None:
        """Start another graph: the same."""
        self.first = True

    def forward(self, x: Tensor) -> Tensor:
        """Return the synapse's output for this step."""
        first = self.first or torch.compiler.is_compiling()
        if first:
            self.first = False
            plain: Tensor = self.layer(x)
            return plain
        parameters = {name: at_once(p) for name, p in self.layer.named_parameters()}
        out: Tensor = functional_call(self.layer, parameters, (x,))
        return out
