"""Options of the networks with sizes: what they change, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ratebp
from ratebp import models
from ratebp.errors import OptionError
from ratebp.models.attention import DropPath
from ratebp.neurons import LIF

TRANSFORMERS = ("spikformer", "sdt", "sdt_v2", "qkformer", "e_spikeformer", "spikingresformer")


def meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return models.build(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("spikformer", {"size": "4-385"}, "size of model 'spikformer': '4-385'.*4-384"),
        ("spikformer", {"size": 4}, "size of model 'spikformer' is 4"),
        ("spikformer", {"heads": 5}, "5, which does not divide the widths 384. Legal: 1, 2, 3"),
        ("qkformer", {"heads": 64}, "does not divide the widths 96, 192, 384"),
        ("sdt", {"mlp_ratio": 0.3}, "mlp_ratio of model 'sdt' is 0.3"),
        ("sdt", {"pools": "011"}, "Legal: four of 0 and 1"),
        ("sdt", {"dvs_mode": 1}, "true or false"),
        ("sdt", {"drop_path": 1}, "below 1"),
        ("sdt", {"attention_threshold": 0}, "positive"),
        ("qkformer", {"neuron_over": "rows"}, "defect.*one time step.*Legal: 'time'"),
        ("qkformer", {"neuron_over": "space"}, "Legal: rows, time"),
        ("dvs_gesture_net", {"image_size": 48}, "a multiple of 32"),
        ("shd_net", {"size": "64"}, "size of model 'shd_net': '64'"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        meta(name, **options)


def test_attention_neurons_have_half_the_threshold_of_the_others() -> None:
    found = {}
    for path, module in meta("spikformer", size="tiny").named_modules():
        if isinstance(module, LIF):
            found.setdefault(module.dynamics.threshold, []).append(path)
    assert found.pop(1.0) == ["block.0.attn.attn_lif"]
    assert set(found) == {2.0}
    model = meta("sdt", size="tiny", neuron={"threshold": 0.8}, attention_threshold=0.25)
    assert model.block[0].attn.attn_lif.dynamics.threshold == pytest.approx(0.2)
    assert model.head_lif.dynamics == LIF(threshold=0.8).dynamics


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_stochastic_depth_rises_along_the_network_and_is_absent_at_0(name: str) -> None:
    def shares(**options: object) -> list[float]:
        model = meta(name, size="tiny", **options)
        return [m.dropout.p for m in model.modules() if isinstance(m, DropPath)]

    assert shares() == []
    found = shares(drop_path=0.2)
    assert found == sorted(found)
    if len(found) > 2:
        assert found[-1] == pytest.approx(0.2)


def test_stochastic_depth_drops_whole_branches_with_one_draw_a_sequence() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif, self.drop = LIF(0.0, 0.5), DropPath(0.5)
            self.head = nn.Linear(48, 48)
            nn.init.eye_(self.head.weight)
            nn.init.zeros_(self.head.bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.drop(self.lif(x)).flatten(1))
            return out

    torch.manual_seed(0)
    x = torch.rand(3, 64, 3, 4, 4) + 0.5
    for method in ("bptt_m", "bptt_s"):
        logits = ratebp.methods.get(method).bind(Net(), 3).step(x, torch.arange(64) % 48).logits
        assert set(logits.unique().tolist()) == {0.0, 2.0}  # all steps alike, where all spike
        assert torch.equal(logits, logits[:, :1].expand(-1, 48))  # a branch is dropped as a whole
        assert 0.2 < float((logits[:, 0] == 0).float().mean()) < 0.8


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize("side", [(32, 32), (33, 47)])
def test_images_of_other_sizes_run(name: str, side: tuple[int, int]) -> None:
    model = models.build(name, size="tiny", num_classes=7, in_channels=2)
    assert ratebp.infer(model, torch.randn(2, 2, 2, *side)).shape == (2, 7)
