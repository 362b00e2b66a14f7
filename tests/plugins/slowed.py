"""BPTT that can be made slower from outside, to prove that the time gate notices.

`RATEBP_TEST_SLOWED=0.2` makes each step's forward and backward take 20 % longer; without it this is
`bptt_m`. A plug-in for tests: no method of the library has such a switch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from time import perf_counter
from typing import ClassVar

from torch import Tensor

from ratebp.method import Identity
from ratebp.methods.bptt_m import BpttM
from ratebp.phases import StepContext
from ratebp.schedules import Loss, Result
from ratebp.views import View


@dataclass(frozen=True)
class Slowed(BpttM):
    """`bptt_m`, kept busy after each step for a share of what the step took."""

    info: ClassVar = replace(BpttM.info, label="BPTT, slowed on demand")
    identities: ClassVar = (Identity("bptt_m"),)

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run `bptt_m`'s step, then burn time in its backward."""
        start = perf_counter()
        result = super().step(views, x, y, loss, context)
        end = start + (1 + float(os.environ.get("RATEBP_TEST_SLOWED", "0"))) * (
            perf_counter() - start
        )
        with context.phase("backward"):
            while perf_counter() < end:
                pass
        return result
