"""What only moves values."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import MASK, PICK, ROW, of

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
