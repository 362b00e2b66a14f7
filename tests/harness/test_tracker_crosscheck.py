"""The live-bytes tracker against other instruments, devices and processes, on one training step.

The step is that of a small residual spiking net. Every process that measures is a fresh one: run
as a script, this file prints one measurement as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile

from harness.trial.exact.tracker import LiveBytes

T, B, CHANNELS = 4, 8, 16


class Spike(torch.autograd.Function):
    """Heaviside step with the derivative of a sigmoid."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 1).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        s = torch.sigmoid(4 * (ctx.saved_tensors[0] - 1))
        return grad * 4 * s * (1 - s)


class Net(nn.Module):
    """Two convolutions with norm and neurons, a residual sum, a readout; `[T, B, 3, S, S]`."""

    def __init__(self) -> None:
        super().__init__()
        self.synapses = nn.ModuleList(nn.Conv2d(c, CHANNELS, 3, padding=1) for c in (3, CHANNELS))
        self.norms = nn.ModuleList(nn.BatchNorm2d(CHANNELS) for _ in range(2))
        self.readout = nn.Linear(CHANNELS, 10)

    def forward(self, x: Tensor) -> Tensor:
        sums = []
        for synapse, norm in zip(self.synapses, self.norms, strict=True):
            current = norm(synapse(x.flatten(0, 1))).unflatten(0, x.shape[:2])
            u = s = torch.zeros_like(current[0])
            spikes = []
            for i in current.unbind(0):
                u = 0.2 * (u - s) + i
                s = Spike.apply(u)
                spikes.append(s)
            x = torch.stack(spikes)
            sums.append(x)
        return self.readout((sums[0] + sums[1]).mean((0, 3, 4)))


class Step:
    """A net after two updates, and one more update to be measured."""

    def __init__(self, size: int, device: str = "cpu") -> None:
        torch.manual_seed(0)
        with torch.device(device):
            self.net = Net()
            self.x = torch.randn(B, 3, size, size).expand(T, -1, -1, -1, -1)
            self.y = torch.zeros(B, dtype=torch.long)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)
        for _ in range(2):
            self(lambda _: nullcontext())

    def __call__(self, phase: Callable[[str], AbstractContextManager[None]]) -> None:
        with phase("forward"):
            loss = F.cross_entropy(self.net(self.x), self.y)
        with phase("backward"):
            loss.backward()
        with phase("update"):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)

    def persistent(self) -> list[Tensor]:
        state = [t for group in self.optimizer.state.values() for t in group.values()]
        params = list(self.net.parameters())
        return [*params, *(p.grad for p in params), *self.net.buffers(), *state, self.x, self.y]


def tracked(step: Step) -> dict[str, int]:
    tracker = LiveBytes(step.persistent())
    with tracker:
        step(tracker.phase)
    peaks = {phase: tracker.peak(phase) for phase in ("forward", "backward", "update")}
    stored = tracker.at_entry("backward")
    return {**peaks, "step": tracker.peak(), "stored": stored, "persistent": tracker.persistent}


def memray_peak(step: Step) -> int:
    """High-water mark of everything allocated within one step, Python and native, in bytes."""
    import memray

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "allocations.bin"
        with memray.Tracker(path):
            step(lambda _: nullcontext())
        with memray.FileReader(path) as reader:
            return sum(r.size for r in reader.get_high_watermark_allocation_records())


def profiler_peak(step: Step) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        step(lambda _: nullcontext())
    live = peak = 0
    for event in run.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def mem_tracker_peak(step: Step) -> int:
    """torch's own tracker of FSDP, less the parameters and buffers that it knows of."""
    from torch.distributed._tools.mem_tracker import MemTracker

    other = MemTracker()
    other.track_external(step.net, step.optimizer, step.x, step.y)
    with other:
        step(lambda _: nullcontext())
    known = {id(s): s.nbytes() for s in (t.untyped_storage() for t in step.persistent())}
    return other.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"] - sum(known.values())


def tracked_on(device: str, size: int) -> dict[str, int]:
    """The step on "cpu", on "meta", or as "fake": CPU tensors without memory."""
    with FakeTensorMode() if device == "fake" else nullcontext():
        return tracked(Step(size, "cpu" if device == "fake" else device))


def measure(what: str, size: int) -> Any:
    """What a fresh process measures."""
    torch.set_num_threads(1)
    if what == "devices":
        return [tracked_on(device, size) for device in ("cpu", "fake", "meta")]
    step = Step(size)
    other = {"memray": memray_peak, "profiler": profiler_peak, "mem_tracker": mem_tracker_peak}
    second = other[what](step) if what in other else None
    return {"other": second, **tracked(step)}


def measured(what: str, size: int = 12) -> Any:
    """Call `measure` in a fresh process."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, what, str(size)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.deep
def test_three_processes_and_fake_and_meta_tensors_agree_to_the_byte() -> None:
    real, fake, meta = measured("devices")
    assert real["step"] > real["stored"] > 0
    assert real["persistent"] > 0
    assert fake == real
    assert meta == real
    for _ in range(2):
        assert measured("tracker") == {"other": None, **real}


def test_memray_agrees_within_one_percent() -> None:
    figures = measured("memray", 56)
    assert figures["step"] > 50 * 2**20
    assert abs(figures["other"] - figures["step"]) < 0.01 * figures["step"]


def test_the_profiler_agrees_within_three_hundred_bytes() -> None:
    figures = measured("profiler")
    assert abs(figures["other"] - figures["step"]) < 300


def test_the_tracker_of_torch_agrees() -> None:
    figures = measured("mem_tracker")
    assert abs(figures["other"] - figures["step"]) < 0.005 * figures["step"]


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
