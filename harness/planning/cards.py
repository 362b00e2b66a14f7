"""Graphics cards by size: what the driver says they have, and what it gives to a program.

`nvidia-smi` shows the card's total; CUDA hands out less, because the driver reserves a part for
itself. What counts for fitting is the latter, which torch prints in its out-of-memory message
("GPU 0 has a total capacity of 79.11 GiB"). Both vary a little with driver and model; one common
card stands for each size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MIB: Final = 2**20


@dataclass(frozen=True)
class Card:
    """One card.

    Attributes:
        name, model: its size as it is sold, and the card that stands for it.
        total: bytes that `nvidia-smi` shows.
        usable: bytes that CUDA offers to programs, all of them together.
        source: where the two figures were read.
    """

    name: str
    model: str
    total: int
    usable: int
    source: str


def _card(name: str, model: str, total_mib: int, usable_mib: int, source: str) -> Card:
    return Card(name, model, total_mib * _MIB, usable_mib * _MIB, source)


# The usable figures are rounded down to MiB from the GiB of torch's message.
CARDS: Final = (
    _card(
        "8 GB",
        "GeForce RTX 3070",
        8192,
        7946,
        "nvidia-smi: github.com/ace-step/ACE-Step/issues/344; "
        "torch, 7.76 GiB: github.com/sshan-zhao/GASDA/issues/19",
    ),
    _card(
        "16 GB",
        "Tesla T4",
        15360,
        14909,
        "nvidia-smi: github.com/robbyant-research/MagicQuill/issues/57; "
        "torch, 14.56 GiB: github.com/Zheng-Chong/CatVTON/issues/133",
    ),
    _card(
        "24 GB",
        "GeForce RTX 4090",
        24564,
        24207,
        "nvidia-smi: github.com/RLinf/RLinf/issues/255; "
        "torch, 23.64 GiB: github.com/3DTopia/Phidias-Diffusion/issues/8",
    ),
    _card(
        "40 GB",
        "A100-SXM4-40GB",
        40960,
        40339,
        "nvidia-smi: many reports; "
        "deviceQuery, 42298834944 B: github.com/bottlerocket-os/bottlerocket/pull/3873",
    ),
    _card(
        "80 GB",
        "H100 80GB HBM3",
        81559,
        81008,
        "nvidia-smi: many reports; torch, 79.11 GiB: github.com/vllm-project/vllm/issues/27508",
    ),
    _card(
        "141 GB",
        "H200",
        143771,
        143073,
        "nvidia-smi: many reports; torch, 139.72 GiB: the least of several (139.80, 139.81 GiB)",
    ),
)
