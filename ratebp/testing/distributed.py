"""One training step on two gloo processes, which are started once and serve every method."""

from __future__ import annotations

import atexit
import gc
import os
import tempfile
import traceback
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from ratebp import methods
from ratebp.testing.problems import Problem, problem, seeded_step

WORLD = 2
LIMIT = 300.0
"""Seconds that one step of both processes may take."""


def gradients_of_two_processes(
    name: str, folder: Path, make: Callable[..., Problem] = problem
) -> dict[str, Tensor]:
    """Return the gradients after one step of a problem, its batch of 4 split in two.

    Args:
        name: of the method; found again in each process.
        folder: an empty folder for the result.
        make: what makes the problem; found again in each process.

    Raises:
        RuntimeError: with what a process said that failed, or did not answer in time.
    """
    _pair(os.environ.get("RATEBP_PLUGINS")).step(name, str(folder / "gradients.pt"), make)
    found: dict[str, Tensor] = torch.load(folder / "gradients.pt")
    return found


class _ProcessPair:
    """Two processes of one gloo group."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._meeting = tempfile.TemporaryDirectory(prefix="ratebp-gloo-")
        self._ends: list[Connection] = []
        self._processes = []
        for rank in range(WORLD):
            ours, theirs = context.Pipe()
            served = (rank, f"file://{self._meeting.name}/rendezvous", theirs)
            process = context.Process(target=_serve, args=served, daemon=True)
            process.start()
            theirs.close()  # so that an end of the process is heard
            self._ends.append(ours)
            self._processes.append(process)
        atexit.register(self.end)

    def step(self, *asked: Any) -> None:
        """Let both take one step; a failure of one ends both, since the other waits for it."""
        for end in self._ends:
            end.send(asked)
        silent = [*self._ends]
        while silent:
            ready = wait(silent, LIMIT)
            heard = [end for end in silent if end in ready]
            said = [_said(end) for end in heard] or [f"no answer within {LIMIT:.0f} s"]
            if failed := [each for each in said if each is not None]:
                _pair.cache_clear()
                self.end()
                raise RuntimeError(f"a step of {WORLD} processes failed: {failed[0]}")
            silent = [end for end in silent if end not in heard]

    def end(self) -> None:
        """Stop both processes."""
        atexit.unregister(self.end)
        for process, end in zip(self._processes, self._ends, strict=True):
            process.kill()
            process.join()
            end.close()
        self._meeting.cleanup()


@cache
def _pair(plug_ins: str | None) -> _ProcessPair:
    """Return the processes that have seen these plug-ins."""
    return _ProcessPair()


def _said(end: Connection) -> str | None:
    try:
        said: str | None = end.recv()
    except EOFError:
        return "it ended without a word"
    return said


def _serve(rank: int, meeting: str, end: Connection) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=WORLD)
    while True:
        try:
            asked = end.recv()
        except EOFError:  # nobody asks any more
            return
        try:
            _step(rank, *asked)
            gc.collect()  # DDP's reducers must go before the next ones come
            dist.barrier()
            end.send(None)
        except BaseException:
            end.send(traceback.format_exc())


def _step(rank: int, name: str, result: str, make: Callable[..., Problem]) -> None:
    case = make(batch=4)
    bound = methods.get(name).bind(case.model, case.timesteps, wrap=_data_parallel)
    mine = slice(rank * 2, rank * 2 + 2)
    seeded_step(bound, case.x[:, mine], case.y[mine])
    if rank == 0:
        found: dict[str, Any] = {n: p.grad for n, p in case.model.named_parameters()}
        torch.save(found, result)


def _data_parallel(module: nn.Module, builds_graph: bool) -> nn.Module:
    return DistributedDataParallel(module) if builds_graph else module
