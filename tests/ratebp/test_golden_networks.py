"""Published networks against their papers' own code: logits, all gradients, running statistics.

The files are those of tests/data/golden/networks, and of the folder that the environment variable
RATEBP_GOLDEN_NETWORKS names, if it is set.
"""

from __future__ import annotations

import json
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.models.attention import CurrentMlp, Residual, attention_parts, lif_conv_norm
from ratebp.models.blocks import Parts, conv_norm
from ratebp.models.ms_resnet import MSBlock, MSResNet, ms_resnet_parts
from ratebp.models.sdt_v2 import ConvBlock, MetaSpikeFormer, RepAttention

FOLDERS = [Path(__file__).parents[1] / "data" / "golden" / "networks"]
FOLDERS += [Path(folder) for folder in [os.environ.get("RATEBP_GOLDEN_NETWORKS")] if folder]
FILES = sorted(path for folder in FOLDERS for path in folder.glob("*.npz"))
TOLERANCE = 1e-9
LAYERS = ("conv", "norm", "lif", "pool")


def ms_resnet(neuron: Mapping[str, Any], channels: int) -> nn.Module:
    """Two blocks of MS-ResNet-18 and one of MS-ResNet-104."""
    made: Parts = ms_resnet_parts(neuron)
    stem = nn.Sequential(made.conv(channels, 8, 7, 2, False), made.norm(8))
    body = nn.Sequential(
        MSBlock(8, 8, 2, made), MSBlock(8, 8, 1, made), MSBlock(8, 16, 2, made, pooled=True)
    )
    return MSResNet(made, stem, body, nn.Linear(16, 5))


def sdt_v2(neuron: Mapping[str, Any], channels: int) -> nn.Module:
    """A stem, one block of convolutions and one of attention."""
    made = attention_parts(neuron, 0.5)
    block = Residual(RepAttention(made, 16, 2), CurrentMlp(made, 16, 64))
    layers = OrderedDict[str, nn.Module](
        down0=nn.Sequential(conv_norm(made, channels, 8, 7, 2, bias=True)),
        stage0=ConvBlock(made, 8, 0.0),
        down1=lif_conv_norm(made, 8, 16, 3, 2, bias=True),
        stage1=block,
    )
    return MetaSpikeFormer(made, nn.Sequential(layers), 16, 5)


def built(name: str, **options: Any) -> Callable[[Mapping[str, Any], int], nn.Module]:
    def build(neuron: Mapping[str, Any], channels: int) -> nn.Module:
        return ratebp.models.build(name, in_channels=channels, neuron=neuron, **options)

    return build


NETS: dict[str, Callable[[Mapping[str, Any], int], nn.Module]] = {
    "spikformer": built("spikformer", size="tiny", num_classes=5),
    "sdt1": built("sdt", size="tiny", num_classes=5),
    "sdt1_dvs": built("sdt", size="tiny", num_classes=5, dvs_mode=True),
    "qkformer": built("qkformer", size="tiny", num_classes=5),
    "ms_resnet": ms_resnet,
    "sdt2": sdt_v2,
    "dvsgesture": built("dvs_gesture_net", width=4 / 128, hidden=48),
}

# How the published name of a layer becomes ours: applied in order, to "<layer>.<tensor>".
RENAMED: dict[str, list[tuple[str, str]]] = {
    "spikformer": [
        (r"patch_embed\.proj_(conv|bn)\.", r"patch_embed.proj_\g<1>0."),
        (r"patch_embed\.proj_(\w+?)(\d)\.", r"patch_embed.body.proj\2_\1."),
        (r"_(?:conv|linear)\.", ".conv."),
        (r"_bn\.", ".norm."),
    ],
    "qkformer": [
        (r"patch_embed(\d)\.proj_res_", r"body.embed\1.shortcut_"),
        (r"patch_embed1\.proj_", "body.embed1.entry.0_"),
        (r"patch_embed1\.proj1_", "body.embed1.main.0_"),
        (r"patch_embed(\d)\.proj3_", r"body.embed\1.main.0_"),
        (r"patch_embed(\d)\.proj4_", r"body.embed\1.main.1_"),
        (r"^stage", "body.stage"),
        (r"\.t?ssa\.", ".attn."),
        (r"mlp(\d)_", r"fc\1_"),
        (r"_conv\.", ".conv."),
        (r"_bn\.", ".norm."),
    ],
    "ms_resnet": [
        (r"\.bn\.", "."),
        (r"^conv1\.", "stem."),
        (r"^block(\d)", lambda found: f"stages.{int(found[1]) - 1}"),
        (r"residual_function\.1\.", "first.conv."),
        (r"residual_function\.2\.", "first.norm."),
        (r"residual_function\.4\.", "second.conv."),
        (r"residual_function\.5\.", "second.norm."),
        (r"^fc\.", "head."),
    ],
}
RENAMED["sdt2"] = [
    (r"^downsample1\.", "body.down0."),
    (r"^downsample2\.", "body.down1."),
    (r"^conv_block\.", "body.stage0."),
    (r"^block\.", "body.stage1."),
    (r"encode_", ""),
    (r"\.Conv\.pwconv1\.", ".separable.expand.conv."),
    (r"\.Conv\.bn1\.", ".separable.expand.norm."),
    (r"\.Conv\.dwconv\.", ".separable.depthwise."),
    (r"\.Conv\.pwconv2\.", ".separable.reduce.conv."),
    (r"\.Conv\.bn2\.", ".separable.reduce.norm."),
    (r"stage0\.conv(\d)\.", lambda found: f"stage0.wide.{int(found[1]) - 1}.conv."),
    (r"stage0\.bn(\d)\.", lambda found: f"stage0.wide.{int(found[1]) - 1}.norm."),
    (r"attn\.([qkv])_conv\.", r"attn.\1.rep."),
    (r"attn\.proj_conv\.", "attn.proj."),
    (r"\.0\.body\.0\.", ".conv."),
    (r"\.0\.body\.1\.bn\.", ".border.bn."),
    (r"\.0\.body\.2\.0\.", ".depthwise."),
    (r"\.0\.body\.2\.1\.", ".pointwise."),
    (r"\.0\.body\.2\.2\.", ".inner."),
    (r"(attn\.(?:[qkv]\.rep|proj))\.1\.", r"\1.outer."),
    (r"_conv\.", ".conv."),
    (r"_bn\.", ".norm."),
    (r"(down\d)\.bn\.", r"\1.norm."),
]
RENAMED["dvsgesture"] = [
    (r"^conv_fc\.(\d+)\.", lambda found: "conv_fc." + PLACES[int(found[1])] + "."),
    (r"^conv_fc\.", ""),
]
PLACES = {4 * n + k: f"features.{n}.{each}" for n in range(5) for k, each in enumerate(LAYERS)}
PLACES |= {22: "classifier.hidden", 25: "classifier.voters"}
RENAMED["sdt1"] = RENAMED["sdt1_dvs"] = RENAMED["spikformer"]


def ours(kind: str, name: str) -> str:
    for pattern, name_of in RENAMED[kind]:
        name = re.sub(pattern, name_of, name)
    return name


def one_hot_distance(logits: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(logits, F.one_hot(y, logits.shape[1]).to(logits.dtype))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_equals_the_published_code(path: Path) -> None:
    data = np.load(path)
    kind, (meta,) = path.stem.split("-")[0], [json.loads(str(data["meta"]))]
    x, timesteps = torch.from_numpy(data["x"]), meta["T"]
    if x.dim() == 4:
        x = ratebp.direct(x, timesteps)
    model = NETS[kind](meta["ratebp_lif"], x.shape[2]).double()
    given = {
        ours(kind, key.removeprefix("param/")): torch.from_numpy(data[key])
        for key in data.files
        if key.startswith("param/")
    }
    parameters = dict(model.named_parameters())
    assert set(given) == set(parameters)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(given[name].reshape(parameter.shape))
    loss = one_hot_distance if meta["loss"].startswith("mean squared") else F.cross_entropy
    bound = ratebp.methods.get("bptt_m").bind(model, timesteps)
    result = bound.step(x, torch.from_numpy(data["y"]), loss=loss)

    got: dict[str, Tensor] = {"logits": result.logits, "loss": result.loss}
    got |= {f"grad/{n}": p.grad for n, p in parameters.items() if p.grad is not None}
    got |= {f"buffer/{n}": b for n, b in model.named_buffers() if "running" in n}
    wanted = {
        f"{sort}/{ours(kind, name)}" if name else sort: torch.from_numpy(data[key])
        for key in data.files
        for sort, _, name in [key.partition("/")]
        if sort in ("grad", "buffer", "logits", "loss")
    }
    assert set(got) == set(wanted)
    largest = max(float(w.norm()) for n, w in wanted.items() if n.startswith("grad/"))
    errors = {}
    for name, want in wanted.items():
        # A bias in front of a batch norm has no gradient but rounding.
        silent = name.startswith("grad/") and float(want.norm()) < 1e-12 * largest
        scale = largest if silent else float(want.norm())
        errors[name] = float((got[name] - want.reshape(got[name].shape)).norm()) / scale
    assert {name: error for name, error in errors.items() if not error < TOLERANCE} == {}


def test_every_network_has_a_file() -> None:
    assert {path.stem.split("-")[0] for path in FILES} == set(NETS)
