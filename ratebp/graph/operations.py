"""What is known of every operation that may stand between two leaves of a model.

An operation is known by its name (``add`` for ``a + b``, ``torch.add(a, b)`` and ``a.add(b)``) and
described by *kinds*. Some depend on what it is called with: ``a * 2`` is linear in ``a``, ``a * b``
is a product of two signals. A *signal* depends on the model's input; parameters, constants and
sizes do not.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from enum import Enum
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ratebp.graph.node import Node


class Kind(Enum):
    """What an operation does to its signals.

    ::

        LINEAR        f(a x + b y) = a f(x) + b f(y), all signals taken together
        AFFINE        linear, up to a constant: it commutes with a mean
        HOMOGENEOUS   f(a x) = a f(x) for a > 0: it commutes with a factor
        PRODUCT       linear in each of several signals
        NONLINEAR     none of these
        RANDOM        two calls differ
        IN_PLACE      changes one of its inputs
        STATEFUL      changes a buffer of the model
        UNKNOWN       nothing is known of it
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


SIZES = frozenset(
    [
        "shape",
        "size",
        "dim",
        "ndim",
        "numel",
        "nelement",
        "dtype",
        "device",
        "stride",
        "is_floating_point",
        "is_complex",
        "is_cuda",
        "is_contiguous",
        "is_meta",
        "layout",
        "itemsize",
        "element_size",
        "requires_grad",
        "ndimension",
        "len",
        "itemsize",
        "get_device",
        "is_leaf",
        "is_sparse",
        "is_quantized",
        "names",
        "grad_fn",
        "storage_offset",
        "data_ptr",
        "_version",
        "untyped_storage",
    ]
)
"""What reads no values. A size is not a signal."""

FACTORIES = frozenset(
    [
        "zeros",
        "ones",
        "full",
        "empty",
        "arange",
        "linspace",
        "eye",
        "tensor",
        "as_tensor",
        "scalar_tensor",
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "new_tensor",
        "tril_indices",
        "triu_indices",
    ]
)
"""What makes a constant, of a shape that a signal may say."""

RANDOM_FACTORIES = frozenset(
    [
        "rand",
        "randn",
        "randint",
        "randperm",
        "rand_like",
        "randn_like",
        "randint_like",
        "bernoulli",
        "normal",
        "poisson",
        "multinomial",
    ]
)
_RANDOM_FILLS = frozenset(
    [
        "bernoulli_",
        "uniform_",
        "normal_",
        "exponential_",
        "random_",
        "geometric_",
        "cauchy_",
        "log_normal_",
    ]
)
_RANDOM = frozenset(
    [
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_alpha_dropout",
        "feature_dropout",
        "rrelu",
        "gumbel_softmax",
    ]
)

MOVES = frozenset(
    [
        "reshape",
        "view",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "expand",
        "expand_as",
        "broadcast_to",
        "repeat",
        "tile",
        "repeat_interleave",
        "transpose",
        "permute",
        "movedim",
        "moveaxis",
        "t",
        "T",
        "mT",
        "contiguous",
        "clone",
        "detach",
        "view_as",
        "reshape_as",
        "getitem",
        "narrow",
        "select",
        "chunk",
        "split",
        "tensor_split",
        "unbind",
        "index_select",
        "gather",
        "take_along_dim",
        "flip",
        "roll",
        "rot90",
        "cat",
        "stack",
        "hstack",
        "vstack",
        "identity",
        "to",
        "float",
        "double",
        "half",
        "bfloat16",
        "type",
        "type_as",
        "cpu",
        "cuda",
        "real",
        "pixel_shuffle",
        "pixel_unshuffle",
        "channel_shuffle",
        "unfold",
        "fold",
        "tril",
        "triu",
        "diagonal",
        "meshgrid",
        "broadcast_tensors",
        "data",
    ]
)
"""What only moves values: linear, whatever it is called with."""

_SUMS = frozenset(
    [
        "add",
        "sub",
        "rsub",
        "neg",
        "pos",
        "sum",
        "mean",
        "cumsum",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "pad",
        "interpolate",
        "upsample",
        "nansum",
        "diff",
    ]
)
_BY_WEIGHTS = frozenset(
    [
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "convolution",
        "bilinear",
        "addmm",
        "baddbmm",
        "addbmm",
        "addmv",
        "addcmul",
    ]
)
_PRODUCTS = frozenset(
    [
        "mul",
        "matmul",
        "bmm",
        "mm",
        "mv",
        "dot",
        "inner",
        "outer",
        "einsum",
        "tensordot",
        "kron",
        "multi_dot",
        "vdot",
        "cross",
    ]
)
_HOMOGENEOUS = frozenset(
    [
        "relu",
        "leaky_relu",
        "prelu",
        "abs",
        "max",
        "min",
        "amax",
        "amin",
        "maximum",
        "minimum",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "adaptive_max_pool3d",
        "sort",
        "topk",
        "median",
        "kthvalue",
        "norm",
        "fmax",
        "fmin",
        "cummax",
        "cummin",
        "lp_pool1d",
        "lp_pool2d",
    ]
)
_ELEMENTWISE = frozenset(
    [
        "sigmoid",
        "tanh",
        "gelu",
        "silu",
        "mish",
        "elu",
        "selu",
        "celu",
        "softplus",
        "hardtanh",
        "hardsigmoid",
        "hardswish",
        "relu6",
        "clamp",
        "clip",
        "exp",
        "expm1",
        "log",
        "log1p",
        "log2",
        "log10",
        "sqrt",
        "rsqrt",
        "square",
        "pow",
        "reciprocal",
        "sin",
        "cos",
        "tan",
        "erf",
        "floor",
        "ceil",
        "round",
        "trunc",
        "sign",
        "sgn",
        "heaviside",
        "logsigmoid",
        "tanhshrink",
        "hardshrink",
        "softshrink",
        "softsign",
        "threshold",
        "remainder",
        "fmod",
        "floor_divide",
        "true_divide",
        "gt",
        "ge",
        "lt",
        "le",
        "eq",
        "ne",
        "logical_and",
        "logical_or",
        "logical_not",
        "logical_xor",
        "bitwise_and",
        "bitwise_or",
        "bitwise_not",
        "isnan",
        "isinf",
        "isfinite",
        "where",
        "masked_fill",
        "masked_select",
        "nan_to_num",
        "lerp",
        "atan",
        "atan2",
        "logaddexp",
        "polar",
        "angle",
        "int",
        "long",
        "bool",
        "bitwise_xor",
        "logit",
        "glu",
        "clamp_min",
        "clamp_max",
    ]
)
_OVER_DIMENSIONS = frozenset(
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
        "argsort",
    ]
)
OUT_OF_PLACE: dict[Any, Any] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
"""What ``a += b`` and its kin would be without a change in place."""

NONLINEAR = _ELEMENTWISE | _OVER_DIMENSIONS

_ALIASES = {
    **{"subtract": "sub", "multiply": "mul", "divide": "div", "truediv": "div"},
    **{"concat": "cat", "concatenate": "cat", "swapaxes": "transpose", "swapdims": "transpose"},
    **{"negative": "neg", "positive": "pos", "absolute": "abs", "__get__": "data", "rmul": "mul"},
    **{"radd": "add", "rmatmul": "matmul", "adaptive_avg_pool": "adaptive_avg_pool2d"},
    **{"greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne"},
    **{"rtruediv": "rdiv", "moveaxis": "movedim", "imul": "mul_", "iadd": "add_", "isub": "sub_"},
    **{"itruediv": "div_", "setitem": "setitem_", "_softmax": "softmax", "unsafe_chunk": "chunk"},
    **{"imatmul": "matmul_", "ipow": "pow_", "unsafe_split": "split", "hsplit": "tensor_split"},
}

_MODULES: dict[type[nn.Module], str] = {
    nn.Identity: "identity",
    nn.Flatten: "flatten",
    nn.Unflatten: "unflatten",
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.PReLU: "prelu",
    nn.RReLU: "rrelu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.ELU: "elu",
    nn.SELU: "selu",
    nn.CELU: "celu",
    nn.ReLU6: "relu6",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.Softplus: "softplus",
    nn.Hardtanh: "hardtanh",
    nn.Hardsigmoid: "hardsigmoid",
    nn.Hardswish: "hardswish",
    nn.LogSigmoid: "logsigmoid",
    nn.Softsign: "softsign",
    nn.GLU: "glu",
    nn.Softmax: "softmax",
    nn.LogSoftmax: "log_softmax",
    nn.AvgPool1d: "avg_pool1d",
    nn.AvgPool2d: "avg_pool2d",
    nn.AvgPool3d: "avg_pool3d",
    nn.MaxPool1d: "max_pool1d",
    nn.MaxPool2d: "max_pool2d",
    nn.MaxPool3d: "max_pool3d",
    nn.AdaptiveAvgPool1d: "adaptive_avg_pool1d",
    nn.AdaptiveAvgPool2d: "adaptive_avg_pool2d",
    nn.AdaptiveAvgPool3d: "adaptive_avg_pool3d",
    nn.AdaptiveMaxPool1d: "adaptive_max_pool1d",
    nn.AdaptiveMaxPool2d: "adaptive_max_pool2d",
    nn.AdaptiveMaxPool3d: "adaptive_max_pool3d",
    nn.Upsample: "interpolate",
    nn.UpsamplingNearest2d: "interpolate",
    nn.UpsamplingBilinear2d: "interpolate",
    nn.PixelShuffle: "pixel_shuffle",
    nn.PixelUnshuffle: "pixel_unshuffle",
    nn.ChannelShuffle: "channel_shuffle",
    nn.ZeroPad1d: "pad",
    nn.ZeroPad2d: "pad",
    nn.ZeroPad3d: "pad",
    nn.ReflectionPad1d: "pad",
    nn.ReflectionPad2d: "pad",
    nn.ReplicationPad1d: "pad",
    nn.ReplicationPad2d: "pad",
    nn.Embedding: "embedding",
    nn.Bilinear: "bilinear",
    nn.Unfold: "unfold",
    nn.Fold: "fold",
}


def name_of(target: Any) -> str:
    """Return the name of an operation: of a function, a method descriptor or a method's name.

    What changes its first input ends in an underscore.
    """
    name = target if isinstance(target, str) else getattr(target, "__name__", repr(target))
    if name == "__get__":  # the getter of a tensor's property
        name = getattr(getattr(target, "__self__", None), "__name__", "data")
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
        name = {"lt": "lt", "rdiv": "rdiv"}.get(name, name)
    return _ALIASES.get(name, name)


def name_of_module(module: nn.Module) -> str:
    """Return the name of the operation that a torch module without a role is."""
    return _MODULES.get(type(module), type(module).__name__)


def arguments_of_module(module: nn.Module) -> dict[str, Any]:
    """Return how that operation is called, for those whose kind or batch depends on it."""
    if isinstance(module, nn.Flatten):
        return {"start_dim": module.start_dim, "end_dim": module.end_dim}
    if isinstance(module, nn.Softmax | nn.LogSoftmax | nn.GLU):
        return {"dim": module.dim}
    if isinstance(module, nn.Unflatten):
        return {"dim": module.dim}
    return {}


def kinds_of(node: Node) -> frozenset[Kind]:
    """Return the kinds of the operation at `node`; empty for leaves, sizes and constants."""
    if node.role is not None or node.name in SIZES or node.name in ("input", "output", "parameter"):
        return frozenset()
    extra = set()
    name = node.name
    if _draws(node):
        extra.add(Kind.RANDOM)
    if node.changes:
        extra.add(Kind.IN_PLACE)
    if node.buffers:
        extra.add(Kind.STATEFUL)
    name = name.removesuffix("_")
    if not any(each.signal for each in node.tensors):
        known = name in _KNOWN or name in FACTORIES or name in RANDOM_FACTORIES
        extra |= set() if known or not node.opaque else {Kind.UNKNOWN}
        return frozenset(extra)
    return frozenset(extra | _CLASSES.get(name, _unknown)(node))


def _draws(node: Node) -> bool:
    if node.name in RANDOM_FACTORIES or node.name in _RANDOM_FILLS:
        return True
    if node.name.removesuffix("_") not in _RANDOM:
        return node.module is not None and isinstance(node.module, _DropoutNd)
    active = node.option("training", 2, True) if node.module is None else node.module.training
    share = node.option("p", 1, 0.5) if node.module is None else getattr(node.module, "p", 1.0)
    return bool(active) and (node.name != "dropout" or share != 0)


_EXACTLY_LINEAR = frozenset({Kind.LINEAR, Kind.AFFINE, Kind.HOMOGENEOUS})
_UP_TO_A_CONSTANT = frozenset({Kind.AFFINE})


def _linear(node: Node) -> frozenset[Kind]:
    joins = node.name in ("cat", "stack", "hstack", "vstack", "where", "copy_")
    constants = joins and any(not each.signal for each in node.tensors)
    return _UP_TO_A_CONSTANT if constants else _EXACTLY_LINEAR


def _sum(node: Node) -> frozenset[Kind]:
    """Sums of signals are linear; a number or a constant among them is an offset."""
    base = node.name.removesuffix("_")
    if base == "pad":
        return _UP_TO_A_CONSTANT if node.option("value", 3, None) else _EXACTLY_LINEAR
    if base not in ("add", "sub", "rsub"):
        return _EXACTLY_LINEAR
    whole = len(node.signals) == 2 or base == "neg"
    return _EXACTLY_LINEAR if whole else _UP_TO_A_CONSTANT


def _by_weights(node: Node) -> frozenset[Kind]:
    if len(node.signals) > 1:
        return frozenset({Kind.PRODUCT})
    biased = node.option("bias", 2, None) is not None or node.name.startswith("add")
    return _UP_TO_A_CONSTANT if biased else _EXACTLY_LINEAR


def _product(node: Node) -> frozenset[Kind]:
    return _EXACTLY_LINEAR if len(node.signals) == 1 else frozenset({Kind.PRODUCT})


def _quotient(node: Node) -> frozenset[Kind]:
    divisor = node.args[1] if len(node.args) > 1 else None
    divided = isinstance(divisor, Node) and divisor.signal
    rounded = node.kwargs.get("rounding_mode") is not None
    return frozenset({Kind.NONLINEAR}) if divided or rounded else _EXACTLY_LINEAR


def _homogeneous(node: Node) -> frozenset[Kind]:
    against = node.name in ("maximum", "minimum", "max", "min", "fmax", "fmin")
    numbers = against and len(node.args) > 1 and isinstance(node.args[1], Node)
    if numbers and not node.args[1].signal:
        return frozenset({Kind.NONLINEAR})
    return frozenset({Kind.HOMOGENEOUS})


def _nonlinear(node: Node) -> frozenset[Kind]:
    return frozenset({Kind.NONLINEAR})


def _embedding(node: Node) -> frozenset[Kind]:
    return frozenset({Kind.NONLINEAR})


def _setitem(node: Node) -> frozenset[Kind]:
    value = node.args[2] if len(node.args) > 2 else None
    whole = isinstance(value, Node) and value.signal
    return _EXACTLY_LINEAR if whole or value == 0 else _UP_TO_A_CONSTANT


def _dropped(node: Node) -> frozenset[Kind]:
    return _EXACTLY_LINEAR if node.name != "rrelu" else frozenset({Kind.HOMOGENEOUS})


def _unknown(node: Node) -> frozenset[Kind]:
    return frozenset({Kind.UNKNOWN})


_CLASSES: dict[str, Callable[[Node], frozenset[Kind]]] = {
    **dict.fromkeys(MOVES, _linear),
    **dict.fromkeys(_SUMS, _sum),
    **dict.fromkeys(_BY_WEIGHTS, _by_weights),
    **dict.fromkeys(_PRODUCTS, _product),
    **dict.fromkeys(("div", "rdiv"), _quotient),
    **dict.fromkeys(_HOMOGENEOUS, _homogeneous),
    **dict.fromkeys(NONLINEAR, _nonlinear),
    **dict.fromkeys(_RANDOM, _dropped),
    **{name.removesuffix("_"): _nonlinear for name in _RANDOM_FILLS},
    "rdiv": _nonlinear,
    "setitem": _setitem,
    "embedding": _embedding,
    "zero": _linear,
    "fill": _nonlinear,
    "copy": _linear,
}
_KNOWN = frozenset(_CLASSES)
KNOWN = _KNOWN
"""Names of all operations that have kinds."""
