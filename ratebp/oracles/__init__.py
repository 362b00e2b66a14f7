"""Reference gradients by loops written out by hand, for identities that no other method can state.

An oracle is a function ``oracle(model, x, y, loss) -> gradients by name``: it copies the model,
swaps its neurons for a few lines of plain torch, and shares no code with methods, rules, schedules
or operators; of a neuron it takes the constants and the surrogate's derivative. It is slow, keeps
everything, and takes models of torch's layers, batch norms and LIF neurons, written for one step.

Steps are folded into the batch, so that a norm takes its statistics over T*B.
"""

from ratebp.oracles.frames import one_step, rectifiers, rectifiers_on_each_step, rounded_levels
from ratebp.oracles.mean_currents import clipped_rates, curve_of_mean_current, evenly_clipped_rates
from ratebp.oracles.mean_rates import measured_rates, rates_with_the_last_slope, rectified_rates

__all__ = [
    "clipped_rates",
    "curve_of_mean_current",
    "evenly_clipped_rates",
    "measured_rates",
    "one_step",
    "rates_with_the_last_slope",
    "rectified_rates",
    "rectifiers",
    "rectifiers_on_each_step",
    "rounded_levels",
]
