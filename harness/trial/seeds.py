"""Everything at random in a trial's process begins from one seed."""

from __future__ import annotations

import random

import numpy as np
import torch


def settle(seed: int) -> None:
    """Seed Python, numpy and torch; one thread, and no convolutions tried out by luck."""
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = False  # its trial runs need memory, and its choice is luck
    for draw in (random.seed, np.random.seed, torch.manual_seed):
        draw(seed)
