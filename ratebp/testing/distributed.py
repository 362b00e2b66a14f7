"""One training step on two gloo processes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from ratebp import methods
from ratebp.testing.problems import Problem, problem, seeded_step

WORLD = 2


def gradients_of_two_processes(
    name: str, folder: Path, make: Callable[..., Problem] = problem
) -> dict[str, Tensor]:
    """Return the gradients after one step of a problem, its batch of 4 split in two.

    Args:
        name: of the method; found again in each process.
        folder: an empty folder for the rendezvous and the result.
        make: what makes the problem; found again in each process.
    """
    spawn(_train, args=(name, str(folder), make), nprocs=WORLD, join=True)
    found: dict[str, Tensor] = torch.load(folder / "gradients.pt")
    return found


def _train(rank: int, name: str, folder: str, make: Callable[..., Problem]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD
    )
    try:
        _step(rank, name, folder, make)
        gc.collect()  # DDP's reducers must go before the process group that they use
        dist.barrier()
    finally:
        dist.destroy_process_group()


def _step(rank: int, name: str, folder: str, make: Callable[..., Problem]) -> None:
    case = make(batch=4)
    bound = methods.get(name).bind(case.model, case.timesteps, wrap=_data_parallel)
    mine = slice(rank * 2, rank * 2 + 2)
    seeded_step(bound, case.x[:, mine], case.y[mine])
    if rank == 0:
        found: dict[str, Any] = {n: p.grad for n, p in case.model.named_parameters()}
        torch.save(found, f"{folder}/gradients.pt")


def _data_parallel(module: nn.Module, builds_graph: bool) -> nn.Module:
    return DistributedDataParallel(module) if builds_graph else module
