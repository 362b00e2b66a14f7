"""How often each spiking layer fires, by time step, before and after training."""

from __future__ import annotations

from harness.rows import Row
from harness.trial.probe import Bench, Probe, Reading
from harness.trial.training import stages


class Activity(Probe):
    """Firing rates on the first training batch, in training mode.

    Rows `activity.<stage>.rate`, one a spiking layer (its module path is the phase): T values, the
    share of its neurons that fire at each time step, in order, mean over batch and units.
    """

    def measure(self, bench: Bench) -> Reading:
        """Measure, train for the cell's budget, measure again.

        Raises:
            TrialError: if the cell has no training budget, or the loss stops being finite.
        """
        rows = [
            Row(f"activity.{stage}.rate", path, "1", "outcome", tuple(rates.tolist()))
            for stage in stages(bench)
            for path, rates in bench.rates(bench.x).items()
        ]
        return Reading(tuple(rows), {"samples": len(bench.y)})
