"""Rules of what keeps the dimensions, or takes some out: elementwise, along, reductions, spaces."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from ratebp.graph.batch.call import ELSEWHERE, At, Call, Rule, ends
from ratebp.graph.node import Node
from ratebp.roles import Role

_NOT_FIRST = "needs the samples in its first dimension"
_FEATURES = "takes the samples for features"
_OVER = "normalises over the samples"


def unknown(call: Call) -> str:
    """Nothing is known."""
    return "is an operation of which nothing is known"


def same(call: Call) -> At:
    """All dimensions stay, each entry by itself."""
    return call.first[0]


def output(call: Call) -> At:
    """What a model gives, of which the first counts where it gives several."""
    return call.first[0]


def aligned(call: Call) -> At | str:
    """Elementwise with broadcasting: shapes are aligned at their ends."""
    if call.shape is None:
        return "gives no tensor"
    found = ends(call, [*call.node.tensors])
    if found is None:
        return ELSEWHERE
    end, inner, copies = found
    return At(len(call.shape) + end, inner, copies)


def channels(call: Call) -> At | str:
    """Dimension 0 is one of samples, whatever the others are."""
    place, _ = call.first
    return place if place.dim == 0 else _NOT_FIRST


def leaf(call: Call) -> At | str:
    """Neurons, synapses, norms and dropouts."""
    place, shape = call.first
    module = call.node.module
    if call.node.role in (Role.NEURON, Role.DROPOUT):
        return place
    if isinstance(module, nn.Linear):
        return place if place.dim < len(shape) - 1 else _FEATURES
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return place if place.dim < len(shape) - len(module.normalized_shape) else _OVER
    return place if place.dim == 0 else _NOT_FIRST


def reduced(dim_at: int = 1, keep_at: int = 2, default: int | None = None) -> Rule:
    """Return the rule of what takes dimensions out.

    Args:
        dim_at: position of the argument `dim`.
        keep_at: position of `keepdim`.
        default: of `dim`; None for all dimensions.
    """

    def rule(call: Call) -> At | str:
        place, _ = call.first
        if isinstance(call.option("other", 1, None), Node):
            return aligned(call)
        dims = call.dims("dim", dim_at, default)
        kept = call.option("keepdim", keep_at, False)
        if dims is None or place.dim in dims or type(kept) is not bool:
            return "mixes the samples"
        return place if kept else replace(place, dim=place.dim - sum(d < place.dim for d in dims))

    return rule


def along(default: int | None = None, dim_at: int = 1) -> Rule:
    """Return the rule of what works along dimensions, and keeps all."""

    def rule(call: Call) -> At | str:
        place, _ = call.first
        name = "dims" if "dims" in call.node.kwargs else "dim"
        dims = call.dims(name, dim_at, default)
        return "works along the samples" if dims is None or place.dim in dims else place

    return rule


def windows(call: Call) -> At | str:
    """Tensor.unfold: windows along one dimension, their entries along a new last one."""
    place, _ = call.first
    dim = call.dim("dimension", 1)
    return "works along the samples" if dim is None or dim == place.dim else place


def flipped(call: Call) -> At | str:
    """Dimensions are given as a tuple, or one by one."""
    place, shape = call.first
    given = call.node.kwargs.get("dims", call.node.args[1:])
    flat = given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given
    turned = {dim % len(shape) for dim in flat}
    return "works along the samples" if place.dim in turned else place


def by_space(dims: int) -> Rule:
    """Return the rule of what works on the last `dims` dimensions."""

    def rule(call: Call) -> At | str:
        place, shape = call.first
        return place if place.dim < len(shape) - dims else "works along the samples"

    return rule


def padded(call: Call) -> At | str:
    """Pads come in pairs, from the last dimension on."""
    place, shape = call.first
    pads = call.option("pad", 1, None)
    if not isinstance(pads, tuple | list):
        return "pads the samples"
    return place if len(pads) // 2 < len(shape) - place.dim else "pads the samples"


def normalised(call: Call) -> At | str:
    """Statistics over the last dimensions."""
    place, shape = call.first
    own = call.option("normalized_shape", 1, ())
    inside = len(own) if isinstance(own, tuple | list) else 1
    return place if place.dim < len(shape) - inside else _OVER


def over_samples(call: Call) -> str:
    """Batch norm outside of a module."""
    return "normalises over the samples outside of a module"


def by_distance(dim_at: int) -> Rule:
    """Return the rule of what compares two signals along one dimension."""

    def rule(call: Call) -> At | str:
        found, (place, shape) = aligned_inputs(call), call.first
        if isinstance(found, str):
            return found
        dim = call.dim("dim", dim_at, 1) if dim_at else len(shape) - 1
        ranks = {len(each.shape or ()) for each in call.node.tensors}
        if dim is None or dim == place.dim or len(ranks) > 1:
            return "works along the samples"
        kept = call.option("keepdim", 4, False) if dim_at == 0 else False
        return replace(place, dim=place.dim - (dim < place.dim and not kept))

    return rule


def aligned_inputs(call: Call) -> str | tuple[int, int, bool]:
    """Return where the samples are, from the end, if they are there in all arguments."""
    return ends(call, [*call.node.tensors]) or ELSEWHERE


def attention(call: Call) -> At | str:
    """Queries, keys and values ``[..., L, E]``, and a mask ``[..., L, S]``."""
    names = ("query", "key", "value", "attn_mask")
    given = [call.option(name, at, None) for at, name in enumerate(names)]
    found = ends(call, [each for each in given if each is not None])
    if found is None or found[0] >= -2 or call.shape is None:
        return "mixes samples"
    end, inner, copies = found
    return At(len(call.shape) + end, inner, copies)


def attention_module(call: Call) -> At | str:
    """torch's own multi-head attention on three-dimensional inputs."""
    wanted = 0 if getattr(call.node.module, "batch_first", False) else 1
    plain = all(place == At(wanted) and len(n.shape or ()) == 3 for n, place in call.placed)
    masks = {"key_padding_mask", "attn_mask"} & call.node.kwargs.keys()
    masks = {name for name in masks if call.node.kwargs[name] in dict(call.placed)}
    fits = plain and not masks and len(call.node.args) <= 3
    return At(wanted) if fits else "finds the samples in another dimension than it expects"
