"""What the contract's checks compare: the settings of an identity, the outside of a model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from torch import nn

from ratebp.method import Identity


def settings(identity: Identity) -> Iterator[dict[str, Any]]:
    """Return every setting of `problem` at which `identity` must hold."""
    axes: dict[str, tuple[Any, ...]] = {
        "norm": ("none", "batch", "frozen"),
        "timesteps": (3,),
        "decay": (0.5,),
        "reset": ("soft", "hard"),
        "detach_reset": (True, False),
    }
    axes |= {name: (value,) for name, value in identity.when.items()}
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def with_grad(model: nn.Module) -> list[Any]:
    """Return the parameters that have a gradient."""
    return [p for p in model.parameters() if p.grad is not None]


def fingerprint(model: nn.Module) -> list[Any]:
    """Return what a method must leave as it was: types, attributes, modes, hooks, keys."""
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        (path, type(m), m.training, sorted(m.__dict__), [len(m.__dict__[t]) for t in tables])
        for path, m in model.named_modules()
    ] + [list(model.state_dict()), [p.requires_grad for p in model.parameters()]]
