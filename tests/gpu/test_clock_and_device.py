"""Two clocks on one device, and one name for it."""

from __future__ import annotations

import pytest
import torch

from harness.machine import gpu
from harness.trial.probe import Phase
from harness.trial.probes.time.stopwatch import on_cuda

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


def test_events_and_the_host_agree_on_long_work() -> None:
    """Of work that keeps the device busy, neither clock may miss more than a twentieth."""
    matrix = torch.randn(4096, 4096, device="cuda")

    def work(phase: Phase) -> None:
        with phase("forward"):
            for _ in range(200):
                matrix @ matrix

    on_cuda(work)
    spans = on_cuda(work)
    assert spans["forward"] <= spans["step"] <= spans["host"]
    assert spans["step"] > 0.95 * spans["host"]


def test_the_drivers_device_is_the_one_that_torch_computes_on() -> None:
    with gpu.device() as device:
        if isinstance(device, gpu.Absent):
            pytest.skip(f"NVML does not answer: {device.reason}")
        uuid, mig = device.uuid, device.mig
        before = gpu.usage(device)
        block = torch.zeros(2**28, device="cuda")
        after = gpu.usage(device)
        state = gpu.state(device)
    if not mig:
        assert uuid == f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    if not isinstance(before.device, gpu.Absent) and not isinstance(after.device, gpu.Absent):
        assert after.device - before.device >= block.nbytes
    assert state.to_json()
    found = gpu.inventory().trial
    assert found is not None
    assert mig or found.name == torch.cuda.get_device_name(0)
