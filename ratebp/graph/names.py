"""Names of operations, by what they do.

An operation is known by its name: ``add`` for ``a + b``, ``torch.add(a, b)`` and ``a.add(b)``. What
changes its first input has an underscore at the end of its name.
"""

from __future__ import annotations

import operator
from typing import Any

import torch.nn.functional


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SIZES = _names(
    """
    shape size dim ndim ndimension numel nelement len stride storage_offset dtype device layout
    itemsize element_size names get_device is_floating_point is_complex is_cuda is_contiguous
    is_meta is_leaf is_sparse is_quantized requires_grad grad_fn data_ptr _version untyped_storage
    """
)
"""What reads no values. A size is not a signal."""

TOLD = _names(
    """
    shape size numel nelement len stride storage_offset dtype itemsize element_size is_contiguous
    is_floating_point is_complex untyped_storage data_ptr
    """
)
"""What of these tells a shape or a type."""

SHAPED = _names(
    """
    zeros ones empty arange eye zeros_like ones_like empty_like new_zeros new_ones new_empty
    tril_indices triu_indices
    """
)
"""What makes a constant out of sizes alone."""

VALUED = _names("full full_like new_full new_tensor scalar_tensor linspace")
"""What makes a constant of given values; those are signals if they depend on one."""

FACTORIES = SHAPED | VALUED | {"tensor"}
"""What makes a constant, of a shape that a signal may say."""

RANDOM_FACTORIES = _names("rand randn randint randperm rand_like randn_like randint_like")
"""What draws a constant, of a shape that a signal may say."""

SHAPE_OF_OTHER = _names("expand_as view_as reshape_as type_as")
"""What reads of its second argument the shape or type alone."""

RANDOM_FILLS = _names(
    "bernoulli_ uniform_ normal_ exponential_ random_ geometric_ cauchy_ log_normal_"
)
"""What replaces values by draws."""

DRAWS = _names("bernoulli normal poisson multinomial")
"""What draws by given probabilities or means."""

RANDOM = _names(
    """
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout rrelu
    gumbel_softmax
    """
)
"""What is random while training."""

COPIES = _names("expand expand_as broadcast_to repeat tile repeat_interleave")
CONVERSIONS = _names("to type type_as float double half bfloat16 view")
"""What may give another type."""

VIEWS = _names(
    """
    reshape view flatten unflatten squeeze unsqueeze expand expand_as broadcast_to transpose permute
    movedim t T mT contiguous detach view_as reshape_as getitem narrow select chunk split
    tensor_split hsplit vsplit dsplit unbind identity to float double half bfloat16 type type_as
    real data diagonal unfold broadcast_tensors part
    """
)
"""What may share memory with what it takes."""

MOVES = VIEWS | _names(
    """
    repeat tile repeat_interleave clone index_select gather take_along_dim flip roll rot90 cat stack
    hstack vstack cpu cuda pixel_shuffle pixel_unshuffle channel_shuffle im2col col2im tril triu
    meshgrid overwritten values
    """
)
"""What only moves values: linear, whatever it is called with."""

JOINS = _names("cat stack hstack vstack copy setitem overwritten meshgrid broadcast_tensors")
"""Moves that may take constants beside signals."""

SUMS = _names(
    """
    add sub rsub neg pos sum mean nansum cumsum diff pad interpolate upsample deg2rad rad2deg
    avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    """
)
WITH_BIAS = _names("addmm baddbmm addbmm addmv addcmul")
BY_WEIGHTS = _names(
    """
    linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
    bilinear
    """
)
PRODUCTS = _names("mul matmul bmm mm mv dot inner outer einsum tensordot kron multi_dot vdot cross")
WITH_INDICES = _names(
    """
    max min sort topk median nanmedian mode kthvalue cummax cummin max_pool1d max_pool2d max_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    """
)
"""What may also give places, which a factor does not change."""

HOMOGENEOUS = WITH_INDICES | _names(
    """
    relu leaky_relu prelu abs amax amin maximum minimum fmax fmin norm hypot lp_pool1d lp_pool2d
    lp_pool3d
    """
)
ELEMENTWISE = _names(
    """
    sigmoid tanh gelu silu mish elu selu celu softplus hardtanh hardsigmoid hardswish relu6
    logsigmoid tanhshrink hardshrink softshrink softsign threshold
    clamp clip clamp_min clamp_max exp exp2 expm1 log log1p log2 log10 logit sqrt rsqrt square pow
    float_power reciprocal sin cos tan sinh cosh asin acos atan asinh acosh atanh atan2 sinc erf
    erfc erfinv lgamma digamma xlogy logaddexp logaddexp2 copysign
    floor ceil round trunc frac sign sgn heaviside remainder fmod floor_divide true_divide addcdiv
    gt ge lt le eq ne isclose logical_and logical_or logical_not logical_xor
    bitwise_and bitwise_or bitwise_not bitwise_xor isnan isinf isfinite signbit
    where masked_fill nan_to_num lerp polar angle int long short char bool byte
    """
)
OVER_DIMENSIONS = _names(
    """
    softmax log_softmax softmin logsumexp logcumsumexp var std var_mean std_mean layer_norm
    group_norm instance_norm rms_norm local_response_norm normalize batch_norm argmax argmin argsort
    prod cumprod any all count_nonzero aminmax nonzero unique masked_select
    scaled_dot_product_attention MultiheadAttention cosine_similarity cdist pairwise_distance glu
    embedding one_hot indices
    """
)
NONLINEAR = ELEMENTWISE | OVER_DIMENSIONS

MULTIPLIES = _names(
    """
    linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d matmul mm bmm
    einsum addmm baddbmm bilinear convolution embedding embedding_bag
    """
)
"""What multiplies a signal by weights that it is given."""

OUT_OF_PLACE: dict[Any, Any] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
"""What ``a += b`` and its kin would be without a change in place."""

_ALIASES = {
    **{"subtract": "sub", "multiply": "mul", "divide": "div", "truediv": "div"},
    **{"concat": "cat", "concatenate": "cat", "swapaxes": "transpose", "swapdims": "transpose"},
    **{"negative": "neg", "positive": "pos", "absolute": "abs", "rmul": "mul", "radd": "add"},
    **{"adaptive_avg_pool": "adaptive_avg_pool2d", "moveaxis": "movedim", "rtruediv": "rdiv"},
    **{"greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne"},
    **{"imul": "mul_", "iadd": "add_", "isub": "sub_", "itruediv": "div_", "imatmul": "matmul_"},
    **{"ipow": "pow_", "setitem": "setitem_", "_softmax": "softmax", "unsafe_chunk": "chunk"},
    **{"unsafe_split": "split", "split_with_sizes": "split", "arctan": "atan", "arctan2": "atan2"},
    **{"linalg_vector_norm": "norm", "linalg_norm": "norm", "linalg_multi_dot": "multi_dot"},
    **{"ger": "outer", "floordiv": "floor_divide", "mod": "remainder", "expit": "sigmoid"},
    **{"as_tensor": "to", "asarray": "to", "invert": "bitwise_not", "and": "bitwise_and"},
    **{"or": "bitwise_or", "xor": "bitwise_xor", "rpow": "pow", "rfloordiv": "floor_divide"},
    **{"rsub": "rsub", "fold": "col2im", "max_pool1d_with_indices": "max_pool1d"},
    **{f"max_pool{n}d_with_indices": f"max_pool{n}d" for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d_with_indices": f"adaptive_max_pool{n}d" for n in (1, 2, 3)},
}


TELLING = TOLD | SHAPED | VALUED | RANDOM_FACTORIES | SHAPE_OF_OTHER
"""What reads the shape or the type of a tensor that it is given."""


def name_of(target: Any) -> str:
    """Return the name of an operation: of a function, a method descriptor or a method's name.

    What changes its first input ends in an underscore.
    """
    name = target if isinstance(target, str) else getattr(target, "__name__", repr(target))
    if name == "__get__":  # the getter of a tensor's property
        name = getattr(getattr(target, "__self__", None), "__name__", "data")
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
    if target is torch.nn.functional.unfold:  # Tensor.unfold is another operation
        return "im2col"
    name = name.removeprefix("special_").rstrip("_") if name in ("and_", "or_") else name
    name = name.removeprefix("special_")
    return _ALIASES.get(name, name)
