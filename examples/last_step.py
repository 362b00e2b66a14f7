"""An example of a training method in one file: learn from the last time step alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ratebp import Binding, Identity, Info, Method, Result, Role, StepContext, View
from ratebp.rules import DetachedLIF
from ratebp.schedules import Loss


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
        net = views["net"]
        *early, last = x.unbind(0)
        with net.sequence():
            with context.phase("forward"):
                with torch.no_grad():
                    outputs = [net(now) for now in early]
                out = net(last)
                value = loss(out, y)
                logits = torch.stack([*outputs, out.detach()]).mean(0)
            with context.phase("backward"):
                context.backward(value)
        return Result(value.detach(), logits)
