"""Products of signals, or of a signal and weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .base import KERNEL, ROW, SQUARE, STACK, W, of

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
