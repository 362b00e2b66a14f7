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

from torch import nn

from ratebp.errors import BindError

_PROTOCOL = frozenset({"forward", "reset", "detach", "stateful", "once", "extra_repr"})
"""What a variant has in its own right."""

_LIBRARIES = ("torch.", "ratebp.")


def stand_for(variant: nn.Module, layer: nn.Module, path: str) -> None:
    """Let `variant`, a leaf of a view, answer as `layer`, the copy of the model's at `path`.

    Raises:
        BindError: where the layer's class has an attribute of its own, under a name that the
            variant needs.
    """
    _refuse_same_names(variant, layer, path)
    kinds: tuple[Any, Any] = type(variant), type(layer)
    variant.__class__ = _both(*kinds)
    answers: dict[str, Any] = {**layer.__dict__}
    for table in (layer._parameters, layer._buffers, layer._modules):
        answers.update(table)
    for name, value in answers.items():
        if not any(name in t for t in (variant.__dict__, variant._parameters, variant._modules)):
            variant.__dict__[name] = value


@lru_cache(maxsize=1024)  # of classes, some of which are made for one layer alone
def _both(variant: Any, layer: Any) -> Any:
    if issubclass(variant, layer):
        return variant
    names = {"__module__": variant.__module__, "__qualname__": variant.__qualname__}
    return types.new_class(
        variant.__name__, (variant, layer), exec_body=lambda space: space.update(names)
    )


def _refuse_same_names(variant: nn.Module, layer: nn.Module, path: str) -> None:
    plain = nn.Module()
    written = {
        name
        for cls in type(layer).__mro__
        if not f"{cls.__module__}.".startswith(_LIBRARIES) and cls is not object
        for name in vars(cls)
        if not name.startswith("__")
    }
    held = {*layer.__dict__, *layer._parameters, *layer._buffers, *layer._modules}
    for name in sorted((written | held) - _PROTOCOL):
        if hasattr(plain, name) or not hasattr(variant, name):
            continue
        if not _same(getattr(variant, name), getattr(layer, name)):
            raise BindError(
                f"`{path}` ({type(layer).__name__}) has an attribute `{name}`, a name that its "
                "stand-in in the method needs for itself, so that the model would read another "
                "value there. Rename the attribute."
            )


def _same(a: object, b: object) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, int | float | str | tuple) and a == b)
