"""A leaf of a view that answers as the layer it stands for.

A model may ask its layers what they are: ``isinstance(layer, ratebp.LIF)``, ``layer.in_features``,
the ``weight`` of a tied head. So a variant takes the class of the layer as one more base, behind
its own, and the layer's attributes, tensors and children under their names, without registering
any of them a second time.
"""

from __future__ import annotations

import types
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from ratebp.leaves import Leaf

_EVERY = frozenset(dir(nn.Module()))
_PROTOCOL = _EVERY | {"reset", "detach", "stateful", "takes_one_step"}
"""What a variant has in its own right."""

_LIBRARIES = ("torch.", "ratebp.")


def standing(variant: Leaf, layer: nn.Module) -> Leaf:
    """Return `variant`, answering as `layer`; behind a facade where it would hide an attribute.

    Args:
        variant: what runs.
        layer: the view's copy of the model's.
    """
    if _would_hide(variant, layer):
        variant = Facade(variant)
    _stand_for(variant, layer)
    return variant


class Facade(Leaf):
    """A leaf that has nothing of its own but the variant that runs behind it."""

    def __init__(self, variant: Leaf) -> None:
        """Take the variant."""
        super().__init__()
        self._stand_in = variant
        self.stateful, self.takes_one_step = variant.stateful, variant.takes_one_step

    def forward(self, *inputs: Tensor) -> Any:
        """Return what the variant makes of the input."""
        return self._stand_in(*inputs)


def _stand_for(variant: nn.Module, layer: nn.Module) -> None:
    """Let `variant`, a leaf of a view, answer as `layer`, the copy of the model's."""
    kinds: tuple[Any, Any] = type(variant), type(layer)
    variant.__class__ = _both(*kinds)
    answers: dict[str, Any] = {n: v for n, v in layer.__dict__.items() if n != "forward"}
    for table in (layer._parameters, layer._buffers, layer._modules):
        answers.update(table)
    for name, value in answers.items():
        if not any(name in t for t in (variant.__dict__, variant._parameters, variant._modules)):
            variant.__dict__[name] = value


def _would_hide(variant: nn.Module, layer: nn.Module) -> bool:
    """Say whether `variant` has another value under a name that is an attribute of `layer`.

    What torch and this library write into a layer's class is the variant's business; what a user
    does is not.
    """
    written = {
        name
        for cls in type(layer).__mro__
        if not f"{cls.__module__}.".startswith(_LIBRARIES) and cls is not object
        for name in vars(cls)
        if not name.startswith("__")
    }
    answers = (written | _held(layer)) - _PROTOCOL
    own = _held(variant).union(*(vars(cls) for cls in type(variant).__mro__))
    return any(not _same(getattr(variant, n), getattr(layer, n)) for n in answers & own)


def _held(module: nn.Module) -> set[str]:
    """Names of what a module holds, without what every module does."""
    held = {*module.__dict__, *module._parameters, *module._buffers, *module._modules}
    return held - _EVERY


@lru_cache(maxsize=1024)  # of classes, some of which are made for one layer alone
def _both(variant: Any, layer: Any) -> Any:
    if issubclass(variant, layer):
        return variant
    names = {"__module__": variant.__module__, "__qualname__": variant.__qualname__}
    return types.new_class(
        variant.__name__, (variant, layer), exec_body=lambda space: space.update(names)
    )


def _same(a: object, b: object) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, int | float | str | tuple) and a == b)
