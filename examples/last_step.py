"""An example of a training method in one file: learn from the last time step alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ratebp import Binding, Identity, Info, Method, Result, Role, StepContext, View
from ratebp.rules import DetachedLIF
from ratebp.schedules import Loss, Tally


@dataclass(frozen=True)
class LastStep(Method):
    """Run T - 1 steps without a graph, then one step forward and backward.

    ::

        dW = g_u[T] s_in[T]^T,   g_u[T] = (W_next^T g_u_next[T]) h'(u[T] - threshold)

    Source: none, it is an example. Cheap, and it forgets everything but the end.
    """

    info: ClassVar = Info(
        label="last step only",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=(),
    )
    identities: ClassVar = (Identity("bptt_s", {"timesteps": 1}),)

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons for single steps without a gradient through time."""
        return {"net": binding.view({Role.NEURON: lambda lif, _: DetachedLIF(lif)})}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run to the end, then learn."""
        net, tally = views["net"], Tally()
        with net.sequence():
            with context.phase("forward"):
                for t, now in enumerate(x.unbind(0), start=1):
                    with torch.set_grad_enabled(t == len(x)):
                        out = net(now)
                        value = loss(out, y)
                    tally.add(value, out)
            with context.phase("backward"):
                context.backward(value)
        return tally.result(len(x))
