"""What is known of every operation that may stand between two leaves of a model.

Some kinds depend on what an operation is called with: ``a * 2`` is linear in ``a``, ``a * b`` is a
product of two signals. A *signal* depends on the model's input; parameters, constants and sizes do
not.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ratebp.graph import names
from ratebp.graph.node import Node


class Kind(Enum):
    """What an operation does to its signals.

    ::

        LINEAR        f(a x + b y) = a f(x) + b f(y), all signals taken together
        AFFINE        linear, up to a constant: it commutes with a mean
        HOMOGENEOUS   f(a x) = a f(x) for a > 0: it commutes with a factor
        PRODUCT       affine in each of several signals, the others held
        NONLINEAR     none of these
        RANDOM        two calls differ
        IN_PLACE      changes one of its inputs
        STATEFUL      changes a buffer of the model
        UNKNOWN       nothing is known of it

    What is random is linear, or homogeneous, for the same draws.
    """

    LINEAR = "linear"
    AFFINE = "affine"
    HOMOGENEOUS = "homogeneous"
    PRODUCT = "product of signals"
    NONLINEAR = "nonlinear"
    RANDOM = "random"
    IN_PLACE = "in place"
    STATEFUL = "changes a buffer"
    UNKNOWN = "unknown"


Kinds = frozenset[Kind]
_EXACTLY_LINEAR = frozenset({Kind.LINEAR, Kind.AFFINE, Kind.HOMOGENEOUS})
_UP_TO_A_CONSTANT = frozenset({Kind.AFFINE})
_HOMOGENEOUS = frozenset({Kind.HOMOGENEOUS})
_PRODUCT = frozenset({Kind.PRODUCT})
_NONLINEAR = frozenset({Kind.NONLINEAR})
_UNKNOWN = frozenset({Kind.UNKNOWN})


def kinds_of(node: Node) -> Kinds:
    """Return the kinds of the operation at `node`; empty for leaves, sizes and constants."""
    name = node.name.removesuffix("_")
    if node.role is not None or name in names.SIZES or name in ("input", "output", "parameter"):
        return frozenset()
    extra = set()
    if _draws(node):
        extra.add(Kind.RANDOM)
    if node.changes:
        extra.add(Kind.IN_PLACE)
    if node.buffers:
        extra.add(Kind.STATEFUL)
    if not any(each.signal for each in node.tensors):
        known = name in KNOWN or name in names.FACTORIES or name in names.RANDOM_FACTORIES
        extra |= set() if known or not node.opaque else {Kind.UNKNOWN}
        return frozenset(extra)
    if node.kwargs.get("out") is not None:
        return frozenset(extra | {Kind.IN_PLACE, Kind.UNKNOWN})
    return frozenset(extra | _CLASSES.get(name, _unknown)(node))


def moved_statistics(node: Node) -> tuple[str, ...]:
    """Return the buffers that a functional norm moves, which torch does not count as a change."""
    if node.name not in ("batch_norm", "instance_norm") or node.module is not None:
        return ()
    own = node.name == "instance_norm"
    active = node.option("use_input_stats" if own else "training", 5, own)
    given = (node.option("running_mean", 1, None), node.option("running_var", 2, None))
    return tuple(each.path for each in given if isinstance(each, Node) and active)


def _draws(node: Node) -> bool:
    name, module = node.name, node.module
    if name in names.RANDOM_FACTORIES or name in names.RANDOM_FILLS or name in names.DRAWS:
        return True
    if isinstance(module, nn.MultiheadAttention):
        return module.training and module.dropout > 0
    if name == "scaled_dot_product_attention":
        return bool(node.option("dropout_p", 4, 0.0))
    name = name.removesuffix("_")
    if name == "gumbel_softmax" or name not in names.RANDOM:
        return name in names.RANDOM or isinstance(module, _DropoutNd)
    if module is not None:
        return module.training
    place = {"rrelu": 3}.get(name, 2)
    active = node.option("training", place, node.kwargs.get("train", name in _ACTIVE))
    return bool(active) and (name == "rrelu" or node.option("p", 1, 0.5) != 0)


_ACTIVE = frozenset(("dropout", "dropout1d", "dropout2d", "dropout3d"))
"""Which of the functions are training where it is not said."""


def _is_signal(value: Any) -> bool:
    return isinstance(value, Node) and value.signal


def _moved(node: Node) -> Kinds:
    """Linear, unless a signal says what is moved where, or the type has no fractions."""
    source, name = node.args[0] if node.args else None, node.name.removesuffix("_")
    results = source if isinstance(source, Node) and source.shape is None else None
    second = name in ("part", "getitem") and node.args[1:] == (1,)
    if second and results is not None and results.name in names.WITH_INDICES:
        return _NONLINEAR
    if name in names.JOINS:
        constants = any(not each.signal for each in node.tensors)
        return _UP_TO_A_CONSTANT if constants else _EXACTLY_LINEAR
    by_signals = {*node.signals} - {source}
    return _NONLINEAR if by_signals or _whole(node) else _EXACTLY_LINEAR


def _whole(node: Node) -> bool:
    if node.name not in names.CONVERSIONS:
        return False
    given = [*node.args[1:], *node.kwargs.values()]
    types = [each for each in given if isinstance(each, torch.dtype)]
    types += [each.dtype for each in given if isinstance(each, Node) and each.dtype is not None]
    named = any(isinstance(each, str) and "Tensor" in each for each in given)
    other = node.name == "view" and bool(types)
    return named or other or any(not t.is_floating_point and not t.is_complex for t in types)


def _sum(node: Node) -> Kinds:
    """Sums of signals are linear; a number or a constant among them is an offset."""
    base = node.name.removesuffix("_")
    if any(isinstance(v, torch.dtype) and not v.is_floating_point for v in node.kwargs.values()):
        return _NONLINEAR
    if base == "pad":
        return _UP_TO_A_CONSTANT if node.option("value", 3, None) else _EXACTLY_LINEAR
    if base not in ("add", "sub", "rsub", "diff"):
        return _EXACTLY_LINEAR
    offset = any(not each.signal for each in node.tensors)
    if base != "diff" and len(node.signals) < 2:
        offset = True
    if _is_signal(node.kwargs.get("alpha")):
        return _PRODUCT
    return _UP_TO_A_CONSTANT if offset else _EXACTLY_LINEAR


def _by_weights(node: Node) -> Kinds:
    if len(node.signals) > 1:
        return _PRODUCT
    place = 3 if node.name == "bilinear" else 2
    return _UP_TO_A_CONSTANT if node.option("bias", place, None) is not None else _EXACTLY_LINEAR


def _with_bias(node: Node) -> Kinds:
    """A term and a product: of one signal, or of two."""
    term, factors = node.args[0], [*node.args[1:], *node.kwargs.values()]
    signals = sum(map(_is_signal, factors))
    if signals > 1:
        return _PRODUCT
    return _EXACTLY_LINEAR if signals and _is_signal(term) else _UP_TO_A_CONSTANT


def _product(node: Node) -> Kinds:
    return _EXACTLY_LINEAR if len(node.signals) == 1 else _PRODUCT


def _quotient(node: Node) -> Kinds:
    divided = _is_signal(node.option("other", 1, None))
    rounded = node.kwargs.get("rounding_mode") is not None
    return _NONLINEAR if divided or rounded else _EXACTLY_LINEAR


def _homogeneous(node: Node) -> Kinds:
    constants = any(not each.signal for each in node.tensors)
    weights = [each for each in node.tensors if each is not node.args[0]]
    name = node.name.removesuffix("_")
    if name == "prelu":
        return _NONLINEAR if any(map(_is_signal, weights)) else _HOMOGENEOUS
    counts = name == "norm" and node.option("p", 1, node.kwargs.get("ord", 2)) in (0, -0.0)
    return _NONLINEAR if constants or counts else _HOMOGENEOUS


def _nonlinear(node: Node) -> Kinds:
    return _NONLINEAR


def _clamped(node: Node) -> Kinds:
    """Limits at zero commute with factors."""
    limits = [*node.args[1:], *node.kwargs.values()]
    return _HOMOGENEOUS if all(each is None or each == 0 for each in limits) else _NONLINEAR


def _filled(node: Node) -> Kinds:
    mask, value = node.option("mask", 1, None), node.option("value", 2, None)
    if _is_signal(mask) or isinstance(value, Node):
        return _NONLINEAR
    return _EXACTLY_LINEAR if value == 0 else _UP_TO_A_CONSTANT


def _chosen(node: Node) -> Kinds:
    """torch.where and lerp, by constants, are linear in what they choose from or mix."""
    at = 0 if node.name == "where" else 2
    chooser = node.option("condition" if at == 0 else "weight", at, None)
    if _is_signal(chooser) or len(node.args) + len(node.kwargs) < 3:
        return _NONLINEAR
    given = [*node.args, *node.kwargs.values()]
    others = [each for each in given if each is not chooser]
    return _EXACTLY_LINEAR if all(map(_is_signal, others)) else _UP_TO_A_CONSTANT


def _setitem(node: Node) -> Kinds:
    target, _, value = node.args[:3]
    if any(each.signal for each in node.tensors if each not in (target, value)):
        return _NONLINEAR
    whole = _is_signal(target) and (
        _is_signal(value) or (not isinstance(value, Node) and not value)
    )
    return _EXACTLY_LINEAR if whole else _UP_TO_A_CONSTANT


def _dropped(node: Node) -> Kinds:
    name = node.name.removesuffix("_")
    if name == "gumbel_softmax":
        return _NONLINEAR
    if name == "rrelu":
        return _HOMOGENEOUS
    return _UP_TO_A_CONSTANT if "alpha" in name else _EXACTLY_LINEAR


def _unknown(node: Node) -> Kinds:
    return _UNKNOWN


_CLASSES: dict[str, Callable[[Node], Kinds]] = {
    **dict.fromkeys(names.MOVES | {"zero"}, _moved),
    **dict.fromkeys(names.SUMS, _sum),
    **dict.fromkeys(names.BY_WEIGHTS, _by_weights),
    **dict.fromkeys(names.WITH_BIAS, _with_bias),
    **dict.fromkeys(names.PRODUCTS, _product),
    **dict.fromkeys(names.HOMOGENEOUS, _homogeneous),
    **dict.fromkeys(names.NONLINEAR | names.DRAWS, _nonlinear),
    **dict.fromkeys(names.RANDOM, _dropped),
    **{name.removesuffix("_"): _nonlinear for name in names.RANDOM_FILLS},
    **dict.fromkeys(("clamp", "clip", "clamp_min", "clamp_max"), _clamped),
    **dict.fromkeys(("where", "lerp"), _chosen),
    "masked_fill": _filled,
    "div": _quotient,
    "rdiv": _nonlinear,
    "setitem": _setitem,
    "fill": _nonlinear,
    "copy": _moved,
}
KNOWN = frozenset(_CLASSES)
"""Names of all operations that have kinds."""
