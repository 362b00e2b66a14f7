"""Where the samples are: the batch dimension, followed through every operation.

A method that runs T time steps at once folds them into the batch, ``[T*B, ...]``. That is right as
long as every operation treats the samples alike and the neurons find them in dimension 0. So each
signal has a place of its samples::

    At(dim, inner)   dimension `dim`, of size B * inner, one sample after the other
    Lost(why)        they were mixed, or nothing is known of the operation
    None             no signal
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ratebp.graph.graph import Graph
from ratebp.graph.node import Node
from ratebp.graph.operations import NONLINEAR
from ratebp.roles import Role


@dataclass(frozen=True)
class At:
    """The samples are along `dim`, of size ``B * inner``, each one's `inner` items together.

    Attributes:
        dim: the dimension.
        inner: items a sample has along it.
        copies: whether a dimension in front of it holds copies of one input.
    """

    dim: int
    inner: int = 1
    copies: bool = False


@dataclass(frozen=True)
class Lost:
    """The samples are mixed, or not to be found.

    Attributes:
        why: in words, to follow the operation's name.
        node: the operation.
    """

    why: str
    node: Node


Place = At | Lost | None


class Samples:
    """The place of the samples at every node of a graph that has shapes."""

    def __init__(self, graph: Graph, batch: int) -> None:
        """Follow them; the inputs have `batch` samples in dimension 0."""
        self.batch = batch
        self._places: dict[Node, Place] = {}
        for node in graph.nodes:
            self._places[node] = self._follow(node)

    def at(self, node: Node) -> Place:
        """Return the place of the samples of the value of `node`."""
        return self._places.get(node)

    def into(self, node: Node) -> Place:
        """Return the place of the samples of the first signal that `node` takes."""
        return next((self.at(each) for each in node.signals), None)

    def _follow(self, node: Node) -> Place:
        if node.name == "input":
            return At(0)
        signals = [each for each in node.signals if self.at(each) is not None]
        if not signals:
            return None
        for each in signals:
            place = self.at(each)
            if isinstance(place, Lost):
                return place
        found = self._rule(node)(self, node)
        return self._checked(found, node)

    def _checked(self, found: Place | str, node: Node) -> Place:
        if isinstance(found, str):
            return Lost(found, node)
        if isinstance(found, At) and node.shape is not None:
            fits = found.dim < len(node.shape)
            if not fits or node.shape[found.dim] != self.batch * found.inner:
                return Lost("does not keep one entry a sample in any dimension", node)
        return found

    def _rule(self, node: Node) -> Callable[[Samples, Node], Place | str]:
        if node.role is not None:
            return _leaf
        return _RULES.get(node.name.removesuffix("_"), _unknown)

    def place_of(self, node: Any) -> At | None:
        """Return where the samples of an argument are; None for what is no signal."""
        place = self.at(node) if isinstance(node, Node) else None
        return place if isinstance(place, At) else None


Rule = Callable[[Samples, Node], "Place | str"]


def _unknown(samples: Samples, node: Node) -> str:
    return "is an operation of which nothing is known"


def _first(samples: Samples, node: Node) -> tuple[At, tuple[int, ...]]:
    signal = next(n for n in node.signals if samples.place_of(n) is not None)
    place = samples.place_of(signal)
    assert place is not None
    assert signal.shape is not None
    return place, signal.shape


def _leaf(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    if node.role in (Role.NEURON, Role.DROPOUT):
        return place
    if isinstance(node.module, nn.Linear):
        return place if place.dim < len(shape) - 1 else "takes the samples for features"
    if isinstance(node.module, nn.LayerNorm | nn.RMSNorm):
        own = len(shape) - len(node.module.normalized_shape)
        return place if place.dim < own else "normalises over the samples"
    return place if place.dim == 0 else "needs the samples in its first dimension"


def _same(samples: Samples, node: Node) -> Place:
    return _first(samples, node)[0]


def _aligned(samples: Samples, node: Node) -> Place | str:
    """Elementwise with broadcasting: shapes are aligned at their ends."""
    if node.shape is None:
        return "gives no tensor"
    found: set[tuple[int, int]] = set()
    copies = False
    for each in node.signals:
        place = samples.place_of(each)
        if place is not None and each.shape is not None:
            found.add((place.dim - len(each.shape), place.inner))
            copies |= place.copies
    if len(found) != 1:
        return "meets signals whose samples are in different dimensions"
    ((end, inner),) = found
    for each in node.tensors:
        own = each.shape or ()
        wide = len(own) + end >= 0 and own[len(own) + end] != 1
        if samples.place_of(each) is None and wide and not _alike(each):
            return "takes other constants for each sample, by its number in the batch"
    return At(len(node.shape) + end, inner, copies)


_UNIFORM = frozenset(
    [
        "zeros",
        "ones",
        "full",
        "empty",
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "expand",
        "expand_as",
        "broadcast_to",
        "repeat",
        "tile",
        "bernoulli_",
        "uniform_",
        "normal_",
        "rand",
        "randn",
        "rand_like",
        "randn_like",
        "bernoulli",
        "randint",
        "randint_like",
        "exponential_",
        "random_",
        "zero_",
        "fill_",
    ]
)


def _alike(constant: Node) -> bool:
    """Has `constant`, as wide as the batch, the same for every sample, or draws of one kind?"""
    if constant.name in _UNIFORM:
        return True
    elementwise = constant.name.removesuffix("_") in _BY_ELEMENT or constant.name in _SHAPES
    return elementwise and bool(constant.tensors) and all(map(_alike, constant.tensors))


_BY_ELEMENT = (NONLINEAR - frozenset(("argsort", "cumprod"))) | frozenset(
    ["add", "sub", "rsub", "neg", "mul", "div", "rdiv", "relu", "abs"]
)
_SHAPES = frozenset(
    [
        "reshape",
        "view",
        "unsqueeze",
        "squeeze",
        "to",
        "float",
        "double",
        "type",
        "contiguous",
        "clone",
    ]
)


def _normal(dim: int, rank: int) -> int:
    return dim + rank if dim < 0 else dim


def _dims(value: Any, rank: int) -> list[int] | None:
    """Return given dimensions from 0; None for all."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | tuple | list):
        return None
    given = [value] if isinstance(value, int) else [*value]
    return [_normal(each, rank) for each in given]


def _reduced(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    if len(node.signals) > 1:
        return _aligned(samples, node)
    dims = _dims(node.option("dim", 1, None), len(shape))
    if dims is None or place.dim in dims:
        return "mixes the samples"
    kept = bool(node.kwargs.get("keepdim", node.option("keepdim", 2, False) is True))
    if kept:
        return place
    return replace(place, dim=place.dim - sum(each < place.dim for each in dims))


def _along(default: Any, place_of_dim: int = 1) -> Rule:
    """Return the rule of what works along one dimension, or several, and keeps all."""

    def rule(samples: Samples, node: Node) -> Place | str:
        place, shape = _first(samples, node)
        dims = _dims(node.option("dim", place_of_dim, default), len(shape))
        if dims is None:
            dims = _dims(node.option("dims", place_of_dim, default), len(shape))
        return "works along the samples" if dims is None or place.dim in dims else place

    return rule


def _transposed(samples: Samples, node: Node) -> Place:
    place, shape = _first(samples, node)
    rank = len(shape)
    if node.name in ("t", "T", "mT"):
        a, b = (0, 1) if node.name == "t" and rank == 2 else (-2, -1)
    else:
        a, b = node.option("dim0", 1, 0), node.option("dim1", 2, 1)
    a, b = _normal(a, rank), _normal(b, rank)
    if node.name == "T" and rank != 2:
        return replace(place, dim=rank - 1 - place.dim)
    return replace(place, dim={a: b, b: a}.get(place.dim, place.dim))


def _permuted(samples: Samples, node: Node) -> Place:
    place, shape = _first(samples, node)
    given = node.kwargs.get("dims", node.args[1:])
    flat = given[0] if len(given) == 1 and isinstance(given[0], tuple) else given
    order = [_normal(each, len(shape)) for each in flat]
    return replace(place, dim=order.index(place.dim))


def _dim_moved(samples: Samples, node: Node) -> Place:
    place, shape = _first(samples, node)
    rank = len(shape)
    sources = _dims(node.option("source", 1, None), rank) or []
    targets = _dims(node.option("destination", 2, None), rank) or []
    order: list[int | None] = [None] * rank
    for a, b in zip(sources, targets, strict=True):
        order[b] = a
    rest = iter(each for each in range(rank) if each not in sources)
    filled = [next(rest) if each is None else each for each in order]
    return replace(place, dim=filled.index(place.dim))


def _reshaped(samples: Samples, node: Node) -> Place | str:
    """Match dimensions by their sizes: the samples' one may be joined with those behind it."""
    place, shape = _first(samples, node)
    if node.shape is None:
        return "gives no tensor"
    before, size = math.prod(shape[: place.dim]), 1
    for dim, each in enumerate(node.shape):
        if size == before and each > 0 and each % samples.batch == 0:
            return At(dim, each // samples.batch, place.copies)
        size *= each
    return "joins the samples with what is in front of them"


def _squeezed(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    dims = _dims(node.option("dim", 1, None), len(shape))
    gone = [d for d, size in enumerate(shape) if size == 1 and (dims is None or d in dims)]
    return replace(place, dim=place.dim - sum(each < place.dim for each in gone))


def _unsqueezed(samples: Samples, node: Node) -> Place:
    place, shape = _first(samples, node)
    dim = _normal(node.option("dim", 1, 0), len(shape) + 1)
    return replace(place, dim=place.dim + (dim <= place.dim))


def _expanded(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    if node.shape is None:
        return "gives no tensor"
    more = len(node.shape) - len(shape)
    ones = (1,) * more + shape
    front = zip(ones[: place.dim + more], node.shape, strict=False)
    copied = any(was == 1 and now > 1 for was, now in front)
    return At(place.dim + more, place.inner, place.copies or copied)


def _repeated(samples: Samples, node: Node) -> Place | str:
    found = _expanded(samples, node)
    if isinstance(found, At) and node.shape is not None:
        place, shape = _first(samples, node)
        if node.shape[found.dim] != shape[place.dim]:
            return "repeats the samples"
    return found


def _joined(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    stacks = node.name == "stack"
    rank = len(shape) + stacks
    dim = _normal(node.option("dim", 1, 0), rank)
    if node.name in ("hstack", "vstack"):
        dim = 0 if node.name == "vstack" or len(shape) == 1 else 1
    found = {samples.place_of(each) for each in node.signals} - {None}
    if len({(p.dim, p.inner) for p in found if p is not None}) != 1:
        return "joins signals whose samples are in different dimensions"
    if stacks:
        same = len(set(node.signals)) == 1 and len(node.signals) > 1
        front = dim <= place.dim
        return replace(place, dim=place.dim + front, copies=place.copies or (same and front))
    return "joins samples to samples" if dim == place.dim else place


def _split(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    at = 1 if node.name == "unbind" else 2
    dim = _normal(node.option("dim", at, 0), len(shape))
    if dim == place.dim:
        return "takes the samples apart"
    gone = node.name == "unbind" and dim < place.dim
    return replace(place, dim=place.dim - gone)


def _part(samples: Samples, node: Node) -> Place:
    """One of several results: its operation has said where the samples are."""
    return samples.at(node.args[0])


def _selected(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    dim = _normal(node.option("dim", 1, 0), len(shape))
    if dim == place.dim:
        return "takes single samples"
    gone = node.name == "select" and dim < place.dim
    return replace(place, dim=place.dim - gone)


def _indexed(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    used = sum(each is not None and each is not Ellipsis for each in index)
    at, out, found = 0, 0, -1
    tensors = 0
    for each in index:
        if each is None:
            out += 1
        elif each is Ellipsis:
            for _ in range(len(shape) - used):
                found = out if at == place.dim else found
                at, out = at + 1, out + 1
        else:
            if at == place.dim:
                if each != slice(None):
                    return "takes single samples"
                found = out
            if isinstance(each, Node | tuple | list):
                tensors += 1
                if tensors > 1 or (isinstance(each, Node) and len(each.shape or ()) != 1):
                    return "indexes with several tensors"
            out += not isinstance(each, int)
            at += 1
    while at < len(shape):
        found = out if at == place.dim else found
        at, out = at + 1, out + 1
    return replace(place, dim=found)


def _assigned(samples: Samples, node: Node) -> Place | str:
    place = samples.place_of(node.args[0])
    if place is None:
        return "writes samples into a constant"
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    plain = place.dim == 0 and (index[0] in (Ellipsis, slice(None)) or _is_mask(index[0], node))
    return place if plain else "writes to single samples"


def _is_mask(index: Any, node: Node) -> bool:
    return isinstance(index, Node) and index.shape == node.args[0].shape


def _multiplied(samples: Samples, node: Node) -> Place | str:
    """Matrix products: the samples are among the leading dimensions, or rows of the first."""
    if node.shape is None:
        return "gives no tensor"
    rank = len(node.shape)
    left, right = node.args[-2:] if node.name in ("addmm", "baddbmm") else node.args[:2]
    found: set[tuple[int, int, bool]] = set()
    for each, is_left in ((left, True), (right, False)):
        place = samples.place_of(each)
        if place is None:
            continue
        end = place.dim - len(each.shape)
        rows = is_left and end == -2
        if not (end < -2 or rows):
            return "sums over the samples" if len(each.shape) < 2 or is_left else "mixes samples"
        found.add((end, place.inner, place.copies))
    if len({(end, inner) for end, inner, _ in found}) != 1:
        return "meets signals whose samples are in different dimensions"
    end, inner, copies = next(iter(found))
    both_rows = end == -2 and samples.place_of(right) is not None
    return "mixes samples" if both_rows else At(rank + end, inner, copies)


def _summed_by_letters(samples: Samples, node: Node) -> Place | str:
    equation = node.args[0]
    if not isinstance(equation, str):
        return "is written as lists, which are not read"
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or "..." in equation:
        return "has an ellipsis or no result in its equation, which is not read"
    operands = node.args[1] if isinstance(node.args[1], tuple) else node.args[1:]
    letters, inner, copies = set(), 1, False
    for term, each in zip(terms, operands, strict=True):
        place = samples.place_of(each)
        if place is not None:
            letters.add(term[place.dim])
            inner, copies = place.inner, copies or place.copies
    if len(letters) != 1:
        return "meets signals whose samples have different letters"
    (letter,) = letters
    return At(right.index(letter), inner, copies) if letter in right else "sums over the samples"


def _by_weight(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    if len([n for n in node.signals if samples.place_of(n) is not None]) > 1:
        return "takes weights that depend on the samples"
    if node.name == "linear":
        return place if place.dim < len(shape) - 1 else "takes the samples for features"
    return place if place.dim == 0 else "needs the samples in its first dimension"


def _channels(samples: Samples, node: Node) -> Place | str:
    place, _ = _first(samples, node)
    return place if place.dim == 0 else "needs the samples in its first dimension"


def _by_space(dims: int) -> Rule:
    """Return the rule of what works on the last `dims` dimensions."""

    def rule(samples: Samples, node: Node) -> Place | str:
        place, shape = _first(samples, node)
        return place if place.dim < len(shape) - dims else "works along the samples"

    return rule


def _padded(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    if node.module is not None:
        return place if place.dim == 0 else "needs the samples in its first dimension"
    pads = node.option("pad", 1, ())
    behind = len(shape) - place.dim
    return place if len(pads) // 2 < behind else "pads the samples"


def _normalised(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    own = node.option("normalized_shape", 1, ())
    inside = len(own) if isinstance(own, tuple | list) else 1
    return place if place.dim < len(shape) - inside else "normalises over the samples"


def _attention(samples: Samples, node: Node) -> Place | str:
    places = [samples.place_of(each) for each in node.args[:3]]
    found = {(p.dim, p.inner) for p in places if p is not None}
    ranks = {len(each.shape) for each in node.args[:3]}
    fits = len(found) == len(ranks) == 1 and next(iter(found))[0] < next(iter(ranks)) - 2
    return places[0] if fits else "mixes samples"


def _attention_module(samples: Samples, node: Node) -> Place | str:
    place, shape = _first(samples, node)
    first = bool(getattr(node.module, "batch_first", False))
    wanted = 0 if first else 1
    fits = len(shape) == 3 and place.dim == wanted
    return place if fits else "finds the samples in another dimension than it expects"


_POOLS_BY_SPACE = {
    f"{kind}_pool{n}d": n
    for kind in ("avg", "max", "adaptive_avg", "adaptive_max", "lp")
    for n in (1, 2, 3)
}
_NOT_ELEMENTWISE = frozenset(
    [
        "softmax",
        "log_softmax",
        "softmin",
        "logsumexp",
        "var",
        "std",
        "var_mean",
        "std_mean",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "rms_norm",
        "local_response_norm",
        "normalize",
        "batch_norm",
        "argmax",
        "argmin",
        "prod",
        "cumprod",
        "any",
        "all",
        "scaled_dot_product_attention",
        "cosine_similarity",
        "cdist",
        "pairwise_distance",
        "unique",
        "count_nonzero",
        "aminmax",
        "logcumsumexp",
        "nonzero",
        "masked_select",
        "glu",
    ]
)

_RULES: dict[str, Rule] = {
    **dict.fromkeys(NONLINEAR - _NOT_ELEMENTWISE, _aligned),
    **dict.fromkeys(
        ["add", "sub", "rsub", "neg", "pos", "mul", "div", "rdiv", "relu", "leaky_relu", "abs"],
        _aligned,
    ),
    **dict.fromkeys(
        ["maximum", "minimum", "fmax", "fmin", "addcmul", "fill", "zero", "copy"], _aligned
    ),
    **dict.fromkeys(["bernoulli", "uniform", "normal", "exponential", "random"], _same),
    **dict.fromkeys(
        ["contiguous", "clone", "detach", "to", "float", "double", "half", "bfloat16"], _same
    ),
    **dict.fromkeys(
        ["type", "type_as", "cpu", "cuda", "identity", "real", "tril", "triu", "data"], _same
    ),
    **dict.fromkeys(["dropout", "alpha_dropout", "feature_dropout", "rrelu"], _same),
    **dict.fromkeys(["dropout1d", "dropout2d", "dropout3d", "prelu"], _channels),
    **dict.fromkeys(
        [
            "sum",
            "mean",
            "nansum",
            "max",
            "min",
            "amax",
            "amin",
            "norm",
            "var",
            "std",
            "prod",
            "argmax",
            "argmin",
            "any",
            "all",
        ],
        _reduced,
    ),
    **dict.fromkeys(("logsumexp", "median", "count_nonzero", "var_mean", "std_mean"), _reduced),
    **dict.fromkeys(
        ["softmax", "log_softmax", "softmin", "cumsum", "cumprod", "cummax", "cummin"], _along(-1)
    ),
    **dict.fromkeys(("sort", "argsort", "glu", "diff"), _along(-1)),
    "normalize": _along(1, 2),
    "cosine_similarity": _unknown,
    "topk": _along(-1, 2),
    "kthvalue": _along(-1, 2),
    "flip": _along(None),
    "roll": _along(None, 2),
    **dict.fromkeys(("transpose", "t", "T", "mT"), _transposed),
    "permute": _permuted,
    "movedim": _dim_moved,
    **dict.fromkeys(
        ["reshape", "view", "flatten", "unflatten", "view_as", "reshape_as"], _reshaped
    ),
    "squeeze": _squeezed,
    "unsqueeze": _unsqueezed,
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), _expanded),
    **dict.fromkeys(("repeat", "tile"), _repeated),
    **dict.fromkeys(("cat", "stack", "hstack", "vstack"), _joined),
    **dict.fromkeys(("chunk", "split", "tensor_split", "unbind"), _split),
    "part": _part,
    **dict.fromkeys(("select", "narrow", "index_select", "repeat_interleave"), _selected),
    "getitem": _indexed,
    "setitem": _assigned,
    **dict.fromkeys(("matmul", "bmm", "mm", "addmm", "baddbmm"), _multiplied),
    "einsum": _summed_by_letters,
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d", "convolution"), _by_weight),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _by_weight),
    **{name: _by_space(n) for name, n in _POOLS_BY_SPACE.items()},
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _by_space(3)),
    **dict.fromkeys(["interpolate", "upsample", "group_norm", "instance_norm"], _channels),
    **dict.fromkeys(("channel_shuffle", "unfold", "fold", "embedding"), _channels),
    "pad": _padded,
    **dict.fromkeys(("layer_norm", "rms_norm"), _normalised),
    "batch_norm": lambda samples, node: "normalises over the samples outside of a module",
    "scaled_dot_product_attention": _attention,
    "MultiheadAttention": _attention_module,
    "output": lambda samples, node: samples.into(node),
}
FOLLOWED = frozenset(_RULES)
"""Names of the operations through which the samples are followed."""
