"""An identity, compared at one setting of the test network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F

from ratebp import methods
from ratebp.method import Identity
from ratebp.testing.gradients import differences, gradients
from ratebp.testing.path import no_method
from ratebp.testing.problems import Problem, into_last_spiking_layer, problem

RTOL = 1e-10


def identity_differences(
    name: str,
    identity: Identity,
    setting: dict[str, Any],
    make: Callable[..., Problem] = problem,
) -> dict[str, float]:
    """Return the relative error of every gradient that differs from what `identity` says.

    Args:
        name: of the method that declares it.
        identity: what it declares.
        setting: of the problem.
        make: what makes the problem.
    """
    mine, theirs = make(**setting), make(**setting)
    got = gradients(methods.get(name, **identity.options), mine)
    if identity.oracle is None:
        want = gradients(methods.get(identity.other, **identity.other_options), theirs)
    else:
        with no_method():
            want = identity.oracle(theirs.model, theirs.x, theirs.y, F.cross_entropy)
    if identity.scale == "inverse_t":
        want = {n: g / mine.timesteps for n, g in want.items()}
    if identity.over == "last_spiking":
        last = into_last_spiking_layer(mine.model)
        got, want = ({n: g[n] for n in last} for g in (got, want))
    return differences(got, want, RTOL)
