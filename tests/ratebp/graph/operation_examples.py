"""A call of every operation of the table: several where arguments change kind or place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Run = Callable[..., Any]
W = torch.linspace(-1.3, 0.9, 20).reshape(5, 4).double()
ROW = torch.tensor([0.5, -1.0, 2.0, 0.3]).double()
SQUARE = torch.linspace(-1, 1, 16).reshape(4, 4).double()
STACK = torch.linspace(-1, 1, 24).reshape(2, 4, 3).double()
MASK = torch.tensor([True, False, True, True])
PICK = torch.tensor([2, 0])
KERNEL = {n: torch.linspace(-1, 1, 4 * 2**n).reshape(2, 2, *(2,) * n).double() for n in (1, 2, 3)}


class Called(nn.Module):
    """One operation as a network, of one to three signals."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Any:
        return self.run(x)


class CalledOnTwo(Called):
    def forward(self, x: Tensor, y: Tensor) -> Any:  # type: ignore[override]
        return self.run(x, y)


class CalledOnThree(Called):
    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> Any:  # type: ignore[override]
        return self.run(x, y, z)


@dataclass(frozen=True)
class Example:
    """One call.

    Attributes:
        name: of the operation, for messages.
        run: of signals ``[B, ...]``, or a module.
        shapes: of one sample of each signal.
        number: to tell several of one operation apart.
    """

    name: str
    run: Run
    shapes: tuple[tuple[int, ...], ...]
    number: int = 0

    def model(self) -> nn.Module:
        kind = (Called, CalledOnTwo, CalledOnThree)[len(self.shapes) - 1]
        return kind(self.run).double()

    def inputs(self, batch: int, seed: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            torch.randn(batch, *shape, generator=generator, dtype=torch.float64)
            for shape in self.shapes
        )

    def __str__(self) -> str:
        return f"{self.name}-{self.number}"


EXAMPLES: list[Example] = []


def _signals(run: Run) -> int:
    given = inspect.signature(run).parameters.values()
    return sum(each.default is each.empty for each in given)


def of(name: str, *runs: Run, shape: Any = (3, 4)) -> None:
    """Enter calls of an operation; `shape` is one for all signals, or a list of them."""
    for run in runs:
        count = 1 if isinstance(run, nn.Module) else _signals(run)
        shapes = tuple(shape) if isinstance(shape, list) else (shape,) * count
        EXAMPLES.append(Example(name, run, shapes, len(EXAMPLES)))


def functions(names: str, **more: Any) -> None:
    """Enter functions of one signal, under ``torch``, ``torch.nn.functional`` or of a tensor."""
    for name in names.split():
        found = getattr(torch, name, None) or getattr(F, name, None)
        run = found if found is not None else lambda x, name=name: getattr(x, name)()
        of(name, lambda x, run=run: run(x, **more))


# Moves ------------------------------------------------------------------------------------------
of("reshape", lambda x: x.reshape(-1, 12), lambda x: x.reshape(x.shape[0] * 3, 4))
of("reshape", lambda x: x.reshape(x.shape[0], 2, 6), lambda x: x.reshape(x.shape[0], 4, 3))
of("view", lambda x: x.view(x.size(0), -1), lambda x: x.view(torch.int64), lambda x: x.view(-1))
of("flatten", lambda x: x.flatten(1), lambda x: x.flatten(0, 1), lambda x: torch.flatten(x, -2))
of("unflatten", lambda x: x.unflatten(-1, (2, 2)), lambda x: x.unflatten(2, (1, -1)))
of("squeeze", lambda x: x.unsqueeze(0).squeeze(0), lambda x: x[:, :1].squeeze())
of("squeeze", lambda x: x[..., None].squeeze(-1), lambda x: x[None, :, None].squeeze((0, 2)))
of("unsqueeze", lambda x: x.unsqueeze(-1), lambda x: x.unsqueeze(0), lambda x: x.unsqueeze(-4))
of("expand", lambda x: x[:, :, None].expand(-1, -1, 2, -1), lambda x: x.expand(2, *x.shape))
of("expand", lambda x: x + ROW.expand(x.shape[0], 3, 4), lambda x: x * ROW.expand(3, -1))
of("expand_as", lambda x, y: x[:, :1].expand_as(y), lambda x: x + ROW.expand_as(x))
of("broadcast_to", lambda x: torch.broadcast_to(x, (2, *x.shape)))
of("repeat", lambda x: x.repeat(1, 2, 1), lambda x: x.repeat(2, 1, 1, 1))
of(
    "repeat",
    lambda x: x.flatten() * ROW.repeat(x.shape[0]),
    shape=(4,),
)
of("repeat", lambda x: (x.flatten() * ROW.repeat(x.shape[0])).view(-1, 4), shape=(4,))
of("repeat", lambda x: x + ROW.repeat(3), shape=(12,))
of("tile", lambda x: x.tile(2, 1), lambda x: x.tile((1, 1, 3)))
of(
    "repeat_interleave",
    lambda x: x.repeat_interleave(2, 1),
    lambda x: x.repeat_interleave(2, dim=0),
)
of("repeat_interleave", lambda x: x.repeat_interleave(3, dim=-1), lambda x: x.repeat_interleave(2))
of(
    "transpose",
    lambda x: x.transpose(1, 2),
    lambda x: x.transpose(0, -1),
    lambda x: torch.swapaxes(x, axis0=0, axis1=1),
)
of(
    "permute",
    lambda x: x.permute(2, 0, 1),
    lambda x: x.permute((1, -1, 0)),
    lambda x: torch.permute(x, dims=(0, 2, 1)),
)
of("movedim", lambda x: x.movedim(0, 2), lambda x: torch.moveaxis(x, (0, 1), (-1, 0)))
of("t", lambda x: x.t(), lambda x: x[:, 0].t(), shape=(4,))
of("T", lambda x: x.T)
of("mT", lambda x: x.mT, lambda x: x.mT.mT[0])
for each in ("contiguous", "clone", "detach", "float", "double", "half", "bfloat16", "cpu"):
    of(each, lambda x, each=each: getattr(x, each)())
of("to", lambda x: x.to(torch.float32), lambda x: x.to(torch.int64), lambda x: x.to(x.device))
of("to", lambda x, y: x.to(y), lambda x: torch.as_tensor(x), lambda x: x.to(MASK))
of("type", lambda x: x.type(torch.float32), lambda x: x.type("torch.LongTensor"))
of("type_as", lambda x: x.type_as(PICK), lambda x, y: x.type_as(y))
of("data", lambda x: x.data)
of("real", lambda x: torch.real(x))
of("view_as", lambda x, y: x.view_as(y), lambda x: ROW.view_as(x[0, 0]) + x)
of("reshape_as", lambda x, y: x.reshape_as(y.transpose(1, 2)))
of("identity", nn.Identity())
of(
    "getitem",
    lambda x: x[:, 1],
    lambda x: x[..., 0],
    lambda x: x[:, None, 1:, ::2],
    lambda x: x[:, [2, 0]],
)
of(
    "getitem",
    lambda x: x[:, PICK],
    lambda x: x[:, 0, PICK],
    lambda x: x[None, ..., -1],
)
of(
    "getitem",
    lambda x: x[:, x[0, :, 0].argsort()],
    lambda x: x.transpose(0, 1)[1],
    lambda x: x.movedim(0, 1)[[0, 1]],
)
of(
    "getitem",
    lambda x: x.movedim(0, 2)[:, [[0, 1], [1, 0]]],
    lambda x: x.max(1)[1],
    lambda x: x.max(1)[0],
)
of("narrow", lambda x: x.narrow(1, 0, 2), lambda x: x.narrow(-1, 1, 2))
of("select", lambda x: x.select(1, 0), lambda x: x.transpose(0, 1).select(0, 2))
of("chunk", lambda x: x.chunk(2, -1)[0], lambda x: x.chunk(2, dim=2)[1])
of(
    "split",
    lambda x: x.split([1, 3], -1)[1],
    lambda x: torch.split(x, 2, dim=2)[0],
    lambda x: x.split(1, 1)[2],
)
of("tensor_split", lambda x: x.tensor_split(2, 1)[1])
of("hsplit", lambda x: x.hsplit(3)[0])
of("vsplit", lambda x: x.transpose(0, 1).vsplit(3)[0])
of("dsplit", lambda x: x.dsplit(2)[1])
of(
    "unbind",
    lambda x: x.unbind(1)[0],
    lambda x: x.transpose(0, 1).unbind()[1],
    lambda x: [*x.movedim(0, 1)][2],
)
of("index_select", lambda x: x.index_select(1, PICK), lambda x: x.index_select(-1, PICK))
of("gather", lambda x: x.gather(1, x.argsort(1)), lambda x: x.gather(-1, x.argsort(-1)[..., :2]))
of("take_along_dim", lambda x: torch.take_along_dim(x, x.argsort(1), 1))
of("flip", lambda x: x.flip(1, 2), lambda x: torch.flip(x, (-1,)))
of(
    "roll",
    lambda x: x.roll(1, 1),
    lambda x: torch.roll(x, (1, 2), (1, -1)),
    lambda x: torch.roll(x, shifts=1, dims=2),
)
of("rot90", lambda x: x.rot90(1, (1, 2)))
of("cat", lambda x, y: torch.cat([x, y], 1), lambda x, y: torch.cat((x, y), dim=-1))
of(
    "cat",
    lambda x: torch.cat([x, x.new_ones(x.shape[0], 1, 4)], 1),
    lambda x: torch.cat((x, x, x), 1),
)
of(
    "stack",
    lambda x, y: torch.stack([x, y], 1),
    lambda x, y: torch.stack((x, y)),
    lambda x: torch.stack([x, x], -1),
)
of("hstack", lambda x, y: torch.hstack((x, y)))
of("vstack", lambda x, y: torch.vstack((x.transpose(0, 1), y.transpose(0, 1))))
of("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), nn.PixelShuffle(2), shape=(4, 2, 2))
of("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), nn.PixelUnshuffle(2), shape=(2, 4, 4))
of("channel_shuffle", lambda x: F.channel_shuffle(x, 2), nn.ChannelShuffle(2), shape=(4, 2, 2))
of(
    "unfold",
    lambda x: x.unfold(2, 2, 1),
    lambda x: x.unfold(-1, 3, 1),
    lambda x: x.unfold(dimension=1, size=2, step=1),
)
of("im2col", lambda x: F.unfold(x, 2), nn.Unfold(2), shape=(2, 4, 4))
of("col2im", lambda x: F.fold(x, (3, 3), 2), nn.Fold((3, 3), 2), shape=(8, 4))
of("tril", lambda x: x.tril(), lambda x: torch.tril(x, -1))
of("triu", lambda x: torch.triu(x, diagonal=1))
of("diagonal", lambda x: x.diagonal(dim1=1, dim2=2))
of("meshgrid", lambda x: torch.meshgrid(x, ROW, indexing="ij")[0], shape=())
of("broadcast_tensors", lambda x, y: torch.broadcast_tensors(x, y[:, :1])[1])
of("part", lambda x: x.chunk(2, 2)[1])
of("values", lambda x: x.max(1).values, lambda x: x.sort(-1).values)
of("indices", lambda x: x.max(1).indices)


def _through_a_view(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 0].mul_(2.0)
    return x


def _into_a_constant(x: Tensor) -> Tensor:
    made = torch.zeros(x.shape[0], 3, 4, dtype=x.dtype)
    made[:, 1].copy_(x[:, 0])
    return made


of("overwritten", _through_a_view, _into_a_constant)

# Sums -------------------------------------------------------------------------------------------
of(
    "add",
    lambda x, y: x + y,
    lambda x: x + 1,
    lambda x: 1 + x,
    lambda x: x + ROW,
    lambda x, y: torch.add(x, y, alpha=2),
)
of(
    "add",
    lambda x, y: x[:, :1] + y,
    lambda x, y: x.transpose(0, 1) + y.transpose(0, 1),
    lambda x: x + x,
)
of("sub", lambda x, y: x - y, lambda x: x - 2, lambda x: x.sub(ROW), lambda x, y: x.subtract(y))
of("rsub", lambda x: 1 - x, lambda x, y: torch.rsub(x, y))
of("neg", lambda x: -x, lambda x: x.negative())
of("pos", lambda x: +x)
of(
    "sum",
    lambda x: x.sum(1),
    lambda x: x.sum((-1, -2)),
    lambda x: x.sum(2, keepdim=True),
    lambda x: x.sum(axis=1),
)
of(
    "sum",
    lambda x: x.transpose(0, 1).sum(0),
    lambda x: x.movedim(0, 2).sum((0, 1), True),
    lambda x: x.sum(1, dtype=torch.int64),
)
of(
    "mean",
    lambda x: x.mean(1),
    lambda x: x.mean([1, 2], keepdim=True),
    lambda x: x.mean(-1, dtype=torch.float32),
)
of("mean", lambda x: torch.mean(x, axis=1, keepdims=True), lambda x: x.permute(1, 0, 2).mean(dim=0))
of("nansum", lambda x: x.nansum(1))
of("cumsum", lambda x: x.cumsum(1), lambda x: torch.cumsum(x, dim=-1))
of("diff", lambda x: x.diff(), lambda x: torch.diff(x, 1, 1), lambda x: torch.diff(x, n=2, dim=-1))
of("diff", lambda x: torch.diff(x, 1, 1, torch.ones(x.shape[0], 1, 4, dtype=x.dtype)))
of(
    "pad",
    lambda x: F.pad(x, (1, 2)),
    lambda x: F.pad(x, (1, 0, 0, 1), value=2.0),
    lambda x: F.pad(x, [1, 1], "reflect"),
)
of(
    "pad",
    lambda x: F.pad(x, (1, 1), mode="circular"),
    lambda x: F.pad(x, (1, 0), "constant", 3),
    lambda x: F.pad(x, (-1, 0)),
)
of(
    "pad",
    nn.ZeroPad1d(1),
    nn.ConstantPad1d(1, 2.0),
    nn.ReflectionPad1d(1),
    nn.ReplicationPad1d(1),
    nn.CircularPad1d(1),
)
of(
    "pad",
    nn.ZeroPad2d(1),
    nn.ConstantPad2d(1, 0.5),
    nn.ReflectionPad2d(1),
    nn.ReplicationPad2d(1),
    nn.CircularPad2d(1),
    shape=(2, 3, 3),
)
of(
    "pad",
    nn.ZeroPad3d(1),
    nn.ConstantPad3d(1, 0.5),
    nn.ReflectionPad3d(1),
    nn.ReplicationPad3d(1),
    nn.CircularPad3d(1),
    shape=(1, 3, 3, 3),
)
of(
    "interpolate",
    lambda x: F.interpolate(x, scale_factor=2),
    lambda x: F.interpolate(x, size=(3, 3), mode="bilinear"),
    nn.Upsample(scale_factor=2),
    nn.UpsamplingNearest2d(scale_factor=2),
    nn.UpsamplingBilinear2d(scale_factor=2),
    shape=(2, 2, 2),
)
of("deg2rad", lambda x: torch.deg2rad(x))
of("rad2deg", lambda x: x.rad2deg())
for n in (1, 2, 3):
    space = (2, *(4,) * n)
    for kind in ("avg", "max", "lp"):
        name = f"{kind}_pool{n}d"
        if name == "lp_pool3d":
            of(name, lambda x: F.lp_pool3d(x, 2, 2), nn.LPPool3d(2, 2), shape=space)
            continue
        size = (2, 2) if kind == "lp" else (2,)
        made = {"avg": "AvgPool", "max": "MaxPool", "lp": "LPPool"}[kind]
        of(
            name,
            lambda x, f=name, size=size: getattr(F, f)(x, *size),
            getattr(nn, f"{made}{n}d")(*size),
            shape=space,
        )
    of(f"max_pool{n}d", getattr(nn, f"MaxPool{n}d")(2, return_indices=True), shape=space)
    for kind, made in (("avg", "AdaptiveAvgPool"), ("max", "AdaptiveMaxPool")):
        name = f"adaptive_{kind}_pool{n}d"
        of(name, lambda x, f=name: getattr(F, f)(x, 2), getattr(nn, f"{made}{n}d")(1), shape=space)
of("max_pool2d", lambda x: F.max_pool2d(x, 2, return_indices=True), shape=(2, 4, 4))

# Products ---------------------------------------------------------------------------------------
of(
    "mul",
    lambda x, y: x * y,
    lambda x: x * 2,
    lambda x: 0.5 * x,
    lambda x: x.mul(ROW),
    lambda x: x * x,
)
of(
    "matmul",
    lambda x, y: x @ y.transpose(1, 2),
    lambda x: x @ W.t(),
    lambda x: torch.matmul(x, ROW),
    lambda x: ROW[:3] @ x,
)
of(
    "matmul",
    lambda x: W[:, :3] @ x,
    lambda x, y: x[:, None] @ y.mT[:, None],
    lambda x: x[:, 0] @ SQUARE,
    lambda x: W @ x[:, 0].t(),
)
of("matmul", lambda x: x[:, 0] @ ROW, lambda x: x.movedim(0, 1) @ STACK[:1])
of(
    "bmm",
    lambda x, y: torch.bmm(x, y.mT),
    lambda x: x.transpose(0, 1).bmm(STACK[:1].repeat(3, 1, 1)),
)
of(
    "mm",
    lambda x: x.mm(SQUARE),
    lambda x: SQUARE.mm(x.t()),
    lambda x: torch.mm(x, W.t()),
    shape=(4,),
)
of("mv", lambda x: x.mv(ROW), shape=(4,))
of("dot", lambda x: torch.dot(x[0], ROW), shape=(4,))
of("vdot", lambda x: torch.vdot(x[0], ROW), shape=(4,))
of("inner", lambda x: torch.inner(x, ROW), lambda x: torch.inner(W, x), shape=(4,))
of("outer", lambda x: torch.outer(x, ROW), lambda x: ROW.ger(x), shape=())
of(
    "einsum",
    lambda x, y: torch.einsum("bij,bkj->bik", x, y),
    lambda x: torch.einsum("bij,oj->obi", x, W),
    lambda x: torch.einsum("bij->bji", x),
)
of(
    "einsum",
    lambda x, y: torch.einsum("b...d,b...d->b...", x, y),
    lambda x: torch.einsum("...j,oj", x, W),
    lambda x, y: torch.einsum("bij, bij -> ib", [x, y]),
)
of(
    "tensordot",
    lambda x: torch.tensordot(x, SQUARE, 1),
    lambda x: torch.tensordot(W, x, dims=([1], [2])),
)
of("kron", lambda x: torch.kron(x, ROW))
of("multi_dot", lambda x: torch.linalg.multi_dot([x, SQUARE, SQUARE]), shape=(4,))
of("cross", lambda x, y: torch.cross(x, y, dim=1))
of(
    "linear",
    lambda x: F.linear(x, W),
    lambda x: F.linear(x, W, W[:, 0]),
    lambda x: F.linear(x.transpose(0, 1), weight=W),
    lambda x, y: F.linear(x, y[0]),
)
of(
    "bilinear",
    lambda x, y: F.bilinear(x, y, SQUARE.reshape(1, 4, 4)),
    lambda x: F.bilinear(x, x, SQUARE[None], ROW[:1]),
)
for n in (1, 2, 3):
    space = (2, *(3,) * n)
    for back in ("", "_transpose"):
        of(
            f"conv{back}{n}d",
            lambda x, f=f"conv{back}{n}d", n=n: getattr(F, f)(x, KERNEL[n]),
            lambda x, f=f"conv{back}{n}d", n=n: getattr(F, f)(x, KERNEL[n], ROW[:2]),
            shape=space,
        )
of(
    "convolution",
    lambda x: torch.convolution(x, KERNEL[1], None, [1], [0], [1], False, [0], 1),
    shape=(2, 3),
)
of(
    "addmm",
    lambda x: torch.addmm(ROW[:1], x, W.t()),
    lambda x, y: torch.addmm(x[:, :1], y, W.t()),
    shape=(4,),
)
of(
    "baddbmm",
    lambda x, y: torch.baddbmm(ROW[:1], x, y.mT),
    lambda x, y, z: torch.baddbmm(z[..., :3], x, y.mT),
)
of("addbmm", lambda x: torch.addbmm(ROW[:3], x.transpose(0, 1), STACK[:1].repeat(3, 1, 1)))
of("addmv", lambda x: torch.addmv(ROW[:1], x, ROW), shape=(4,))
of(
    "addcmul",
    lambda x, y, z: torch.addcmul(x, y, z),
    lambda x, y: torch.addcmul(x, y, ROW),
    lambda x: torch.addcmul(x, ROW, ROW),
    lambda x: torch.addcmul(ROW, x, ROW),
)
of("addcdiv", lambda x, y: torch.addcdiv(x, ROW, y))
of(
    "div",
    lambda x: x / 2,
    lambda x: x / ROW,
    lambda x, y: x / y,
    lambda x: x.div(2, rounding_mode="floor"),
    lambda x: torch.div(1.0, x),
)
of("rdiv", lambda x: 1 / x)

# Homogeneous ------------------------------------------------------------------------------------
of(
    "relu",
    lambda x: F.relu(x),
    lambda x: x.relu(),
    nn.ReLU(),
    lambda x: F.relu(x.clone(), inplace=True),
    lambda x: F.relu(x.clone(), True),
)
of("relu", nn.ReLU(inplace=True), lambda x: x.clone().relu_())
of("leaky_relu", lambda x: F.leaky_relu(x, 0.1), nn.LeakyReLU(0.2))
of("prelu", lambda x: F.prelu(x, ROW[:3].abs()), nn.PReLU(), lambda x, y: F.prelu(x, y[0, :, 0]))
of("abs", lambda x: x.abs(), lambda x: abs(x))
of(
    "max",
    lambda x: x.max(1),
    lambda x: x.max(-1, True),
    lambda x, y: torch.max(x, y),
    lambda x: torch.max(x, ROW),
    lambda x: torch.max(x, dim=1)[1],
)
of("min", lambda x: x.min(dim=2, keepdim=True), lambda x, y: torch.min(x, other=y))
of("amax", lambda x: x.amax((1, 2)), lambda x: x.amax(-1, keepdim=True))
of("amin", lambda x: x.amin(1))
of("maximum", lambda x, y: torch.maximum(x, y), lambda x: torch.maximum(ROW, x))
of("minimum", lambda x, y: torch.minimum(x, y), lambda x: torch.minimum(x, ROW))
of("fmax", lambda x, y: torch.fmax(x, y))
of("fmin", lambda x, y: torch.fmin(x, y))
of(
    "sort",
    lambda x: x.sort(),
    lambda x: torch.sort(x, 1, descending=True),
    lambda x: x.sort(dim=1)[1],
)
of("topk", lambda x: x.topk(2), lambda x: x.topk(1, 1), lambda x: torch.topk(x, k=2, dim=-1))
of("median", lambda x: x.median(1), lambda x: x.median(dim=-1, keepdim=True))
of("nanmedian", lambda x: x.nanmedian(1))
of("mode", lambda x: x.mode(1))
of(
    "kthvalue",
    lambda x: x.kthvalue(2),
    lambda x: x.kthvalue(1, 1),
    lambda x: x.transpose(0, 1).kthvalue(1, 0, True),
)
of("cummax", lambda x: x.cummax(1))
of("cummin", lambda x: x.cummin(-1))
of(
    "norm",
    lambda x: x.norm(dim=1),
    lambda x: x.norm(2, 1),
    lambda x: torch.norm(x, 1, -1, True),
    lambda x: torch.linalg.vector_norm(x, dim=(1, 2)),
    lambda x: x.norm(0, 1),
)
of("norm", lambda x: torch.linalg.vector_norm(x, 0, 1), lambda x: torch.linalg.norm(x, dim=2))
of("hypot", lambda x, y: torch.hypot(x, y))

# Nonlinear, one entry by itself -----------------------------------------------------------------
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

# Nonlinear, over dimensions ---------------------------------------------------------------------
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

# Random -----------------------------------------------------------------------------------------
for drop in ("dropout", "dropout1d", "alpha_dropout", "feature_alpha_dropout"):
    of(
        drop,
        lambda x, f=drop: getattr(F, f)(x, 0.5, training=True),
        lambda x, f=drop: getattr(F, f)(x, 0.5, training=False),
    )
of("dropout2d", lambda x: F.dropout2d(x, 0.5), shape=(9, 2, 2))
of("dropout3d", lambda x: F.dropout3d(x, 0.5), shape=(9, 1, 2, 2))
of(
    "dropout",
    lambda x: F.dropout(x),
    lambda x: F.dropout(x, 0.0),
    lambda x: F.dropout(x, p=0.3, training=True),
)
of("dropout", lambda x: torch.dropout(x, 0.5, train=True), lambda x: F.dropout(x, 0.5, False))
of("feature_dropout", lambda x: torch.feature_dropout(x, 0.5, True))
of("rrelu", lambda x: F.rrelu(x, training=True), lambda x: F.rrelu(x), nn.RReLU())
of("gumbel_softmax", lambda x: F.gumbel_softmax(x), lambda x: F.gumbel_softmax(x, dim=1))
for fill in (
    "bernoulli_",
    "uniform_",
    "normal_",
    "exponential_",
    "random_",
    "cauchy_",
    "log_normal_",
):
    of(fill, lambda x, fill=fill: x * getattr(torch.empty_like(x), fill)())
of("geometric_", lambda x: x * torch.empty_like(x).geometric_(0.5))
of("bernoulli_", lambda x: x * x.new_empty(x.shape[0], 1, 1).bernoulli_(0.5).div_(0.5))
of("bernoulli", lambda x: torch.bernoulli(x.sigmoid()))
of("poisson", lambda x: torch.poisson(x.abs()))
of("normal", lambda x: torch.normal(x, 1.0))
of("multinomial", lambda x: torch.multinomial(x[0].abs(), 2))
of("rand", lambda x: x + torch.rand(x.shape[0], 1, 4))
of("randn", lambda x: x + torch.randn(3, 4))
of("randint", lambda x: x + torch.randint(0, 900, x.shape))
of("randperm", lambda x: x[..., None] + torch.randperm(30))
of("rand_like", lambda x: x + torch.rand_like(x))
of("randn_like", lambda x: x + torch.randn_like(x))
of("randint_like", lambda x: x + torch.randint_like(x, 900))

# In place ---------------------------------------------------------------------------------------
of("add", lambda x, y: x.clone().add_(y), lambda x: x.add_(1), lambda x, y: x.__iadd__(y))
of("mul", lambda x: x.mul_(2), lambda x, y: x.__imul__(y))
of("fill", lambda x: x.clone().fill_(2.0))
of("zero", lambda x: x.clone().zero_())
of("copy", lambda x, y: x.clone().copy_(y), lambda x: torch.zeros_like(x).copy_(x))


def _set(index: Any, value: Any = 1.0) -> Run:
    def run(x: Tensor) -> Tensor:
        x = x.clone()
        x[index] = value
        return x

    return run


def _set_zero_where_negative(x: Tensor) -> Tensor:
    x = x.clone()
    x[x < 0] = 0.0
    return x


def _set_another(x: Tensor, y: Tensor) -> Tensor:
    x = x.clone()
    x[:, 0] = y[:, 1]
    x[..., 1:3] = y[..., :1]
    return x


def _set_in_zeros(x: Tensor) -> Tensor:
    made = x.new_zeros(x.shape[0], 5, 4)
    made[:, 1:4] = x
    return made


of("setitem", _set((slice(None), 0)), _set((Ellipsis, 0), 0.0), _set((slice(None), 0), ROW))
of("setitem", _set_zero_where_negative, _set_another, _set_in_zeros)

# Constants --------------------------------------------------------------------------------------
of("zeros", lambda x: x + torch.zeros(x.shape[0], 3, 1))
of("ones", lambda x: x * torch.ones(3, 4))
of(
    "full",
    lambda x: x + torch.full((x.size(0), 1, 1), 0.5),
    lambda x: torch.full((2,), 3.0) + x[..., :2],
)
of("empty", lambda x: x + torch.empty(4).fill_(1.0))
of("arange", lambda x: x + torch.arange(4), lambda x: x + torch.arange(x.shape[1])[:, None])
of("linspace", lambda x: x * torch.linspace(0, 1, 4))
of("eye", lambda x: x @ torch.eye(4, dtype=x.dtype))
of("tensor", lambda x: x * torch.tensor(2.0))
of("scalar_tensor", lambda x: x * torch.scalar_tensor(2.0))
of("zeros_like", lambda x: x + torch.zeros_like(x))
of("ones_like", lambda x: x * torch.ones_like(x[:, :1]))
of("full_like", lambda x: x + torch.full_like(x, 2.0))
of("empty_like", lambda x: torch.empty_like(x).copy_(x))
for made in ("zeros", "ones", "empty"):
    of(
        f"new_{made}",
        lambda x, made=made: x + getattr(x, f"new_{made}")(x.shape[0], 1, 4).fill_(3.0),
    )
of("new_full", lambda x: x + x.new_full((x.shape[0], 1, 1), 0.1))
of("new_tensor", lambda x: x + x.new_tensor([1.0, 2.0, 3.0, 4.0]))
of("tril_indices", lambda x: x + torch.tril_indices(2, 2)[0, 0])
of("triu_indices", lambda x: x + torch.triu_indices(2, 2)[1, 0])
of("flatten", nn.Flatten(), nn.Flatten(0, 1))
of("unflatten", nn.Unflatten(2, (2, 2)))


class Looked(nn.Module):
    """Tokens of signs."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(2, 3)

    def forward(self, x: Tensor) -> Any:
        return self.table((x > 0).long())


class Attending(nn.Module):
    """torch's own attention, with the batch in front or behind."""

    def __init__(self, first: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.inside = nn.MultiheadAttention(4, 2, dropout, batch_first=first)
        self.first = first

    def forward(self, x: Tensor) -> Any:
        x = x if self.first else x.transpose(0, 1)
        return self.inside(x, x, x, need_weights=False)[0]


class Paired(nn.Module):
    """Modules of two signals."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Any:
        return self.inside(x, 2 * x + 1)


of("embedding", Looked())
of("MultiheadAttention", Attending(True), Attending(False), Attending(True, 0.5))
of("cosine_similarity", Paired(nn.CosineSimilarity(1)))
of("pairwise_distance", Paired(nn.PairwiseDistance()), Paired(nn.PairwiseDistance(keepdim=True)))
of("bilinear", Paired(nn.Bilinear(4, 4, 2)))
