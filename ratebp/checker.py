"""The process that checks: ``python -m ratebp.checker``, a JSON request a line in, an answer out.

A request has model, options, method, T, batch, input (a list of sizes) and classes. The model is
what `ratebp.loading` takes, or ``zoo:name`` for a network of `ratebp.testing.zoo`, which brings its
own inputs. An answer has outcome, error, cosine (the least of all parameters), leaf and reason;
where the question makes no sense it has "invalid" and the reason instead. A request with an empty
method asks what exact training keeps: the outcome is "kept", with leaves and bytes a neuron-step.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp import loading
from ratebp.doors.output import private_stdout
from ratebp.errors import BindError, InputError, OptionError, RatebpError
from ratebp.keeping import keeping
from ratebp.schedules import Loss
from ratebp.verification import oracle, verify

ZOO = "zoo:"


def main() -> int:
    """Answer every request on standard input."""
    answers = private_stdout()
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
    return 0


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return what `ratebp.verify` says of one method, as plain values."""
    try:
        model, x, y, loss = _case(
            request["model"],
            json.dumps(request.get("options", {})),
            request["T"],
            request["batch"],
            tuple(request["input"]),
            request["classes"],
        )
        if not request["method"]:
            return _kept(model, x, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = verify(model, request["method"], x, y, loss=loss)
    except InputError as error:
        # A network of the zoo brings its input: that no method takes it is what it shows.
        zoo = request["model"].startswith(ZOO)
        nothing = {"error": 0.0, "cosine": None, "leaf": None}
        return {"outcome": "refused" if zoo else "invalid", "reason": str(error), **nothing}
    except RatebpError as error:
        return {"outcome": "invalid", "reason": str(error)}
    return {
        "outcome": found.outcome,
        "error": found.error,
        "cosine": min(found.cosines.values(), default=None),
        "leaf": found.leaf,
        "reason": found.reason,
    }


def _kept(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Any]:
    try:
        found = keeping(model, x, y)
    except BindError as refused:
        return {"outcome": "refused", "reason": str(refused)}
    leaves = [asdict(each) for each in found.leaves]
    return {"outcome": "kept", "leaves": leaves, "per_neuron": found.per_neuron, "reason": ""}


@cache
def _case(
    place: str, options: str, timesteps: int, batch: int, shape: tuple[int, ...], classes: int
) -> tuple[nn.Module, Any, Tensor, Loss]:
    if place.startswith(ZOO):
        return _of_the_zoo(place.removeprefix(ZOO), timesteps)
    torch.manual_seed(0)
    offered = {"num_classes": classes, "in_channels": shape[0]}
    model = loading.build(loading.network(place), json.loads(options), offered, shape)
    x = torch.randn(timesteps, batch, *shape)
    try:
        with torch.no_grad():
            out = oracle.forward(oracle.prepared(model), x.double())[0]
    except Exception as error:
        raise OptionError(
            f"{place} fails on inputs of {'x'.join(map(str, shape))}, run one time step after the "
            f"other without any method ({type(error).__name__}: {error}). Give the size of one "
            "sample at one step with --input. A forward takes one time step of a batch, [B, ...]: "
            "it has no dimension of time and no loop over it."
        ) from error
    return model, x, torch.randint(out.shape[1], (batch, *out.shape[2:])), F.cross_entropy


def _of_the_zoo(name: str, timesteps: int) -> tuple[nn.Module, Any, Tensor, Loss]:
    from ratebp.testing import zoo  # needs pytest, which not everybody has

    if name not in zoo.entries():
        raise OptionError.unknown("network of the zoo", name, zoo.entries())
    case = zoo.entries()[name].case(timesteps)
    return case.model, case.x, case.y, case.loss


if __name__ == "__main__":
    sys.exit(main())
