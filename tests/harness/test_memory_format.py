"""channels_last: parameters and folded inputs have it, and gradients agree to rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.errors import AbsentError
from harness.spec import Cell, Choice
from harness.trial import memory_format, trial
from harness.trial.bench import build, virtual
from harness.trial.probe import Bench

TINY = Choice.make("tiny_resnet", {"width": 0.25})


def cell(method: str, memory_format: str, T: int = 3) -> Cell:
    return Cell(
        Choice(method), TINY, "synthetic-3x8x8-10", T, 2, "float64", memory_format=memory_format
    )


def gradients(bench: Bench) -> list[torch.Tensor]:
    torch.manual_seed(1)
    bench.gradient(None, bench.x, bench.y)
    return [p.grad for p in bench.model.parameters() if p.grad is not None]


def is_channels_last(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


@pytest.mark.parametrize(
    "method", ["bptt_m", "bptt_s", "rate_m", "rate_s", "sltt", "ottt_a", "ndot_a", "bptt_ckpt"]
)
def test_gradients_agree_with_contiguous_ones_to_rounding(method: str) -> None:
    plain, last = (build(cell(method, name)) for name in ("contiguous", "channels_last"))
    pairs = list(zip(gradients(plain), gradients(last), strict=True))
    assert len(pairs) == len(list(plain.model.parameters()))
    scale = max(float(a.abs().max()) for a, _ in pairs)
    assert max(float((a - b).abs().max()) for a, b in pairs) < 1e-12 * scale
    images = [b for _, b in pairs if b.dim() == 4 and b.shape[1] > 1 and b.shape[2] > 1]
    assert images
    assert all(map(is_channels_last, images)), "gradients have the layout of their parameters"


@pytest.mark.parametrize("method", ["bptt_s", "rate_s", "sltt", "ottt_a"])
def test_every_convolution_of_a_step_wise_method_gets_channels_last(method: str) -> None:
    bench = build(cell(method, "channels_last"))
    assert is_channels_last(bench.x[0])
    with memory_format.Convolutions() as seen:
        bench.step()
    assert seen.count > 0
    assert seen.channels_last == seen.count


def test_convolutions_in_the_usual_layout_are_told_apart() -> None:
    image = torch.rand(2, 3, 8, 8)
    with memory_format.Convolutions() as seen:
        nn.Conv2d(3, 4, 3)(image)
        nn.Conv2d(3, 4, 3)(memory_format.images(image, "channels_last"))
    assert (seen.count, seen.channels_last) == (2, 1)


def test_the_layout_that_convolutions_got_is_a_fact_of_the_trial() -> None:
    facts = trial.conduct(build(cell("sltt", "channels_last")))
    assert facts == {"layout": "channels_last into 27 of 27 convolutions"}
    assert trial.conduct(build(cell("sltt", "contiguous"))) == {}


def test_a_virtual_bench_has_the_layout_of_the_real_one() -> None:
    real = build(cell("bptt_s", "channels_last"))
    with virtual(cell("bptt_s", "channels_last")) as fake:
        pairs = list(zip(real.persistent(), fake.persistent(), strict=True))
        assert all(a.stride() == b.stride() for a, b in pairs)


def test_what_is_shared_stays_shared_and_other_data_is_left_alone() -> None:
    first, second = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
    second.weight = first.weight
    memory_format.arrange(nn.Sequential(first, second), "channels_last")
    assert second.weight is first.weight
    assert is_channels_last(first.weight)
    flat = torch.rand(2, 6)
    assert memory_format.images(flat, "channels_last") is flat


def test_what_torch_cannot_run_in_channels_last_is_refused_by_name() -> None:
    """Torch's backward of a strided 1x1 convolution of few channels corrupts memory on a CPU."""
    few, enough = nn.Conv2d(4, 8, 1, stride=2), nn.Conv2d(8, 8, 1, stride=2)
    with pytest.raises(AbsentError, match=r"`1`, a 1x1 convolution with a stride and 4 input"):
        memory_format.refuse_unsafe(nn.Sequential(enough, few), "channels_last")
    memory_format.refuse_unsafe(nn.Sequential(few), "contiguous")
    for fine in (enough, few.double(), nn.Conv2d(4, 8, 3, stride=2), nn.Conv2d(4, 8, 1)):
        memory_format.refuse_unsafe(nn.Sequential(fine), "channels_last")
