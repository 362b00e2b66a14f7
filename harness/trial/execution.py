"""How the steps of a cell are run: as written, compiled, or as one captured CUDA graph.

*compile* gives each view of a method to `torch.compile`, as one graph (`fullgraph`): a break is an
error of torch's, not a silent eager run. The schedule around the views, the loss and the optimiser
stay as written. Kernels are built in one thread, into a folder that starts empty, so that what
compiling takes does not depend on what was compiled before.

*cuda_graph* captures one whole training step, update included, after three steps of warm-up. What
a graph cannot hold is refused: another batch, a learning rate that changes, random numbers that the
host draws (each replay would use the same ones).
"""

from __future__ import annotations

import atexit
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import AbsentError, TrialError
from harness.spec import Cell
from harness.trial.probe import PHASES, Phase, unwatched

TrainStep = Callable[[Tensor, Tensor, Phase], Tensor]
Wrap = Callable[[nn.Module, bool], nn.Module]

_CACHE: Final = "TORCHINDUCTOR_CACHE_DIR"
_WARM_UP: Final = 3
_BACKEND: Final = "inductor"  # torch's default; it needs a C++ compiler on a CPU, Triton on a GPU
_REFUSALS: Final = ("torch._dynamo.exc", "torch._inductor.exc")


class Execution:
    """Runs steps as they are written: "eager". Subclasses run them otherwise.

    Attributes:
        wrap: what to put around each view of the method, or None.
        phases: the phases of a step that can be told apart.
        uncounted: why no dispatch mode can count such a step, or None if it can.
    """

    wrap: Wrap | None = None
    phases: tuple[str, ...] = PHASES
    uncounted: str | None = None

    def step(self, run: TrainStep, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        """One training step by `run`."""
        return run(x, y, phase)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Word what the way of running refuses."""
        yield

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Run what is inside as it is written."""
        yield

    def facts(self) -> dict[str, Any]:
        """How steps have really run so far."""
        return {}


class Compiled(Execution):
    """By `torch.compile` with its default backend, one graph a view."""

    uncounted = (
        "execution 'compile': compiled code runs eagerly while operators are watched, so the count "
        "would be another program's; count the cell with execution = 'eager'"
    )

    def __init__(self) -> None:
        """Compile anew: in one thread, into a folder of this process."""
        from torch._dynamo.utils import counters
        from torch._inductor import config

        folder = tempfile.mkdtemp(prefix="compiled-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[_CACHE] = folder
        config.compile_threads = 1
        torch.compiler.reset()
        counters.clear()
        self.wrap = _compiled

    def step(self, run: TrainStep, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        """One training step by `run`.

        Raises:
            AbsentError: if torch was told to compile nothing, for example by TORCHDYNAMO_DISABLE.
        """
        loss = run(x, y, phase)
        if not self.facts()["graphs"]:
            raise AbsentError(
                "execution 'compile': torch compiled nothing and ran the step eagerly; unset "
                "TORCHDYNAMO_DISABLE and TORCH_COMPILE_DISABLE, or use execution = 'eager'"
            )
        return loss

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Word what torch cannot compile.

        Raises:
            AbsentError: if there is no C++ compiler, a view is not one graph, or is compiled too
                often.
        """
        try:
            yield
        except Exception as error:
            if not type(error).__module__.startswith(_REFUSALS):
                raise
            lines = str(error).strip().splitlines() or [""]
            raise AbsentError(
                f"torch.compile refused the step ({type(error).__name__}): {lines[0]}; nothing was "
                "run eagerly in its stead. Run the cell with execution = 'eager', or, if a C++ "
                "compiler is missing, install one (g++) or name it in CXX"
            ) from error

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Run what is inside as it is written: one graph cannot be had under a dispatch mode."""
        with torch.compiler.set_stance("force_eager"):
            yield

    def facts(self) -> dict[str, Any]:
        """Graphs that were compiled so far, and breaks between them."""
        from torch._dynamo.utils import counters

        return {
            "graphs": counters["stats"]["unique_graphs"],
            "graph_breaks": sum(counters["graph_break"].values()),
        }


class Graphed(Execution):
    """As one CUDA graph, captured at the first step and replayed from then on."""

    phases = ()
    uncounted = (
        "execution 'cuda_graph': a replay dispatches no operator; count the cell with "
        "execution = 'eager'"
    )

    def __init__(self) -> None:
        """Nothing is captured yet."""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: tuple[Tensor, Tensor] | None = None
        self._loss: Tensor | None = None
        self._replays = 0

    def step(self, run: TrainStep, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        """Capture `run` on this batch, or replay it.

        Raises:
            AbsentError: if the step cannot be captured.
            TrialError: if the batch is not the one that was captured.
        """
        if self._graph is None:
            self._capture(run, x, y)
        if self._batch is None or self._batch[0] is not x or self._batch[1] is not y:
            raise TrialError(
                "execution 'cuda_graph': the graph holds another batch; only probes that repeat "
                "one step can be run like that (time, memory, energy)"
            )
        assert self._graph is not None
        assert self._loss is not None
        self._graph.replay()
        self._replays += 1
        return self._loss

    def facts(self) -> dict[str, Any]:
        """Whether a graph was captured."""
        return {"graphs": int(self._graph is not None), "captured_after": _WARM_UP}

    def _capture(self, run: TrainStep, x: Tensor, y: Tensor) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                run(x, y, unwatched)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with host_draws_nothing(), torch.cuda.graph(graph):
                self._loss = run(x, y, unwatched)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise AbsentError(
                f"execution 'cuda_graph': the step cannot be captured: {error}; run the cell with "
                "execution = 'eager'"
            ) from error
        self._graph, self._batch = graph, (x, y)


@contextmanager
def host_draws_nothing() -> Iterator[None]:
    """Refuse random numbers that the host draws inside: a graph would repeat them.

    Raises:
        AbsentError: if one of the host's generators has moved.
    """
    before = _host_generators()
    yield
    if moved := [name for name, state in _host_generators().items() if state != before[name]]:
        raise AbsentError(
            f"execution 'cuda_graph': the step draws random numbers on the host "
            f"({', '.join(moved)}), and every replay would use the same ones; run the cell with "
            "execution = 'eager'"
        )


def of(cell: Cell, device: torch.device) -> Execution:
    """The way in which the steps of `cell` are run on `device`.

    Raises:
        AbsentError: if the device, the operators or a training budget do not go with it.
    """
    if cell.execution == "cuda_graph":
        if device.type != "cuda":
            raise AbsentError(
                f"execution 'cuda_graph' needs CUDA, and the cell is on {device.type!r}; legal "
                "there: eager, compile"
            )
        if cell.training is not None:
            raise AbsentError(
                "execution 'cuda_graph' holds one batch and one learning rate, and this probe "
                "trains with many; legal with it: time, memory, energy"
            )
        return Graphed()
    if cell.execution == "compile" and cell.operators == "cpp":
        raise AbsentError(
            "execution 'compile': torch fuses its own operators in a graph, and calls none of the "
            "library's C++ there; legal with it on a CPU: operators = 'torch' or 'auto'"
        )
    return Compiled() if cell.execution == "compile" else Execution()


def _compiled(view: nn.Module, _: bool) -> nn.Module:
    """Compile what the view computes; a module around it would meet the hooks of a counter."""
    view.forward = torch.compile(view.forward, fullgraph=True, dynamic=False, backend=_BACKEND)
    return view


def _host_generators() -> dict[str, object]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (name, np.asarray(keys).tobytes(), *rest),
        "random": random.getstate(),
    }
