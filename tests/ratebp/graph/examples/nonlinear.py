"""What is nonlinear, one entry by itself or over dimensions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .base import MASK, PICK, ROW, W, functions, of

functions("sigmoid tanh gelu silu mish elu selu celu")
functions("softplus hardtanh hardsigmoid hardswish")
functions("relu6 logsigmoid")
functions("tanhshrink hardshrink softshrink softsign exp exp2 expm1 log")
functions("log1p log2 log10 logit")
functions("sqrt rsqrt")
functions(
    "square reciprocal sin cos tan sinh cosh asin acos atan asinh acosh atanh sinc erf erfc erfinv"
)
functions("lgamma digamma floor ceil round trunc frac sign sgn isnan isinf isfinite")
functions("signbit angle nan_to_num logical_not")
for each in ("int", "long", "short", "char", "bool", "byte"):
    of(each, lambda x, each=each: getattr(x, each)())
of("threshold", lambda x: F.threshold(x, 0.1, 0.0), nn.Threshold(0.2, 1.0))
of("clamp", lambda x: x.clamp(0, 1), lambda x: x.clamp(min=0), lambda x: torch.clamp(x, max=ROW))
of("clip", lambda x: x.clip(-1, 1))
of("clamp_min", lambda x: x.clamp_min(0), lambda x: x.clamp_min(1))
of("clamp_max", lambda x: x.clamp_max(0.3))
of("pow", lambda x: x**2, lambda x: x.pow(3), lambda x, y: x.abs() ** y, lambda x: 2**x)
of("float_power", lambda x: x.float_power(2))
of("atan2", lambda x, y: torch.atan2(x, y))
of("xlogy", lambda x, y: torch.special.xlogy(x, y))
of("sigmoid", lambda x: torch.special.expit(x))
of("logaddexp", lambda x, y: torch.logaddexp(x, y))
of("logaddexp2", lambda x, y: torch.logaddexp2(x, y))
of("copysign", lambda x, y: torch.copysign(x, y))
of("heaviside", lambda x: torch.heaviside(x, ROW))
of("remainder", lambda x: x % 2, lambda x, y: x.remainder(y))
of("fmod", lambda x: x.fmod(2))
of("floor_divide", lambda x: x // 2)
of("true_divide", lambda x: torch.true_divide(x, 2))
for compare in ("gt", "ge", "lt", "le", "eq", "ne", "isclose"):
    of(compare, lambda x, y, f=compare: getattr(torch, f)(x, y))
of("gt", lambda x: x > 0.2, lambda x: x > ROW)
for both in (
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
):
    of(both, lambda x, y, f=both: getattr(torch, f)(x > 0, y > 0))
of("bitwise_and", lambda x, y: (x > 0) & (y > 0))
of("bitwise_or", lambda x, y: (x > 0) | (y > 0))
of("bitwise_xor", lambda x, y: (x > 0) ^ (y > 0))
of("bitwise_not", lambda x: ~(x > 0))
of(
    "where",
    lambda x, y: torch.where(x > 0, x, y),
    lambda x, y: torch.where(MASK, x, y),
    lambda x: torch.where(MASK, x, 0.5),
    lambda x: x.where(MASK, ROW),
)
of(
    "masked_fill",
    lambda x: x.masked_fill(MASK, 0.0),
    lambda x: x.masked_fill(MASK, -3.0),
    lambda x: x.masked_fill(x > 0, 0.0),
)
of(
    "lerp",
    lambda x, y: torch.lerp(x, y, 0.3),
    lambda x, y: x.lerp(y, ROW),
    lambda x, y, z: torch.lerp(x, y, z),
    lambda x: torch.lerp(x, ROW, 0.5),
)
of("polar", lambda x, y: torch.polar(x.abs(), y))
for act in (
    "GELU",
    "SiLU",
    "Mish",
    "ELU",
    "SELU",
    "CELU",
    "ReLU6",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Hardtanh",
    "Hardsigmoid",
    "Hardswish",
):
    of(act.lower(), getattr(nn, act)())
for act in ("LogSigmoid", "Softsign", "Hardshrink", "Softshrink", "Tanhshrink"):
    of(act.lower(), getattr(nn, act)())

of(
    "softmax",
    lambda x: x.softmax(-1),
    lambda x: F.softmax(x, dim=1),
    nn.Softmax(1),
    nn.Softmax2d(),
    shape=(2, 3, 4),
)
of("log_softmax", lambda x: x.log_softmax(1), nn.LogSoftmax(-1))
of("softmin", lambda x: F.softmin(x, 1), nn.Softmin(2))
of("logsumexp", lambda x: x.logsumexp(1), lambda x: torch.logsumexp(x, (1, 2), keepdim=True))
of("logcumsumexp", lambda x: x.logcumsumexp(1))
of(
    "var",
    lambda x: x.var(1),
    lambda x: x.var(dim=(1, 2), unbiased=False),
    lambda x: x.var(-1, False, True),
)
of("std", lambda x: x.std(1, keepdim=True), lambda x: torch.std(x, dim=-1, correction=0))
of("var_mean", lambda x: torch.var_mean(x, dim=1))
of("std_mean", lambda x: torch.std_mean(x, 2, keepdim=True))
of("layer_norm", lambda x: F.layer_norm(x, (4,)), lambda x: F.layer_norm(x, [3, 4], eps=1e-3))
of("rms_norm", lambda x: F.rms_norm(x, (4,), ROW))
of("group_norm", lambda x: F.group_norm(x, 2), shape=(4, 3))
of("instance_norm", lambda x: F.instance_norm(x))
of("local_response_norm", lambda x: F.local_response_norm(x, 2))
of(
    "normalize",
    lambda x: F.normalize(x),
    lambda x: F.normalize(x, dim=-1),
    lambda x: F.normalize(x, 1.0, 2),
)
of("batch_norm", lambda x: F.batch_norm(x, None, None, training=True), shape=(4,))
of("argmax", lambda x: x.argmax(1), lambda x: x.argmax(-1, keepdim=True))
of("argmin", lambda x: x.argmin(dim=1))
of("argsort", lambda x: x.argsort(1), lambda x: x.argsort())
of("prod", lambda x: x.prod(1), lambda x: x.prod(-1, True))
of("cumprod", lambda x: x.cumprod(1))
of("any", lambda x: (x > 0).any(1))
of("all", lambda x: torch.all(x > 0, dim=-1))
of("count_nonzero", lambda x: torch.count_nonzero(x, dim=1))
of("aminmax", lambda x: torch.aminmax(x, dim=1))
of(
    "scaled_dot_product_attention",
    lambda x, y: F.scaled_dot_product_attention(x, y, y),
    lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    lambda x, y: F.scaled_dot_product_attention(x, x, x, attn_mask=y @ y.mT),
    shape=(2, 3, 4),
)
of(
    "scaled_dot_product_attention",
    lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5),
    shape=(2, 3, 4),
)
of(
    "cosine_similarity",
    lambda x, y: F.cosine_similarity(x, y),
    lambda x, y: F.cosine_similarity(x, y, dim=-1),
)
of(
    "pairwise_distance",
    lambda x, y: F.pairwise_distance(x, y),
    lambda x, y: F.pairwise_distance(x, y, 2.0, 1e-6, True),
)
of("cdist", lambda x, y: torch.cdist(x, y))
of("glu", lambda x: F.glu(x), nn.GLU(2), lambda x: F.glu(x[:, :2], dim=1))
of("embedding", lambda x: F.embedding((x > 0).long(), W), lambda x: F.embedding(PICK, x[0]))
of("one_hot", lambda x: F.one_hot((x > 0).long(), 3))
of("nonzero", lambda x: torch.ones(3).nonzero().sum() + x)
of("unique", lambda x: PICK.unique().sum() + x)
of("masked_select", lambda x: ROW.masked_select(MASK).sum() + x)
