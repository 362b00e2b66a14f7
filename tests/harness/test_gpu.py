"""NVML through a small stand-in for the module `pynvml`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness import gpu
from harness.executors import Outcome
from harness.executors.local import LocalExecutor
from harness.spec import TrialSpec

GIB = 2**30


class FakeNvml(ModuleType):
    """One GPU. `processes` are (process id, bytes or None) pairs, `used` the device's bytes."""

    nvmlMemory_v2 = 2  # noqa: N815 - the module's own name

    class NVMLError(Exception):
        """Base of the module's errors."""

    class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801, N818 - its own name
        """No driver."""

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.processes: Callable[[], list[tuple[int, int | None]]] = list
        self.used = 2 * GIB
        self.driver = True
        self.open = 0
        self.version_2 = True

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.driver:
            raise self.NVMLError_LibraryNotFound("NVML Shared Library Not Found")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return "Imaginary GPU"

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "999.1"

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: int = 1) -> Any:  # noqa: N802
        if version == 2 and not self.version_2:
            raise self.NVMLError("Function Not Found")
        reserve = 0 if version == 2 else GIB
        return SimpleNamespace(total=16 * GIB, used=self.used + reserve)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.processes()]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def test_the_gpus_of_a_machine(nvml: FakeNvml) -> None:
    found = gpu.inventory()
    assert found == gpu.Inventory(("Imaginary GPU",), (16 * GIB,), "999.1", None)
    assert gpu.present(found)
    assert nvml.open == 0


def test_no_driver_is_a_fact(nvml: FakeNvml) -> None:
    nvml.driver = False
    words = "NVMLError_LibraryNotFound: NVML Shared Library Not Found"
    assert gpu.inventory() == gpu.Inventory(absent=words)
    assert gpu.usage() == gpu.Usage(absent=words)


def test_no_module_is_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "install nvidia-ml-py" in str(gpu.inventory().absent)


def test_an_error_in_the_middle_is_a_fact(nvml: FakeNvml) -> None:
    def lost() -> list[tuple[int, int | None]]:
        raise nvml.NVMLError("GPU is lost")

    nvml.processes = lost
    assert gpu.usage().absent == "NVMLError: GPU is lost"
    assert nvml.open == 0


def test_hidden_gpus_do_not_count(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    found = gpu.inventory()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not gpu.present(found)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpu.present(found)


def test_use_by_process_and_by_device(nvml: FakeNvml) -> None:
    nvml.processes = lambda: [(10, 3 * GIB), (11, GIB), (12, None)]
    now = gpu.usage()
    assert now.device == 2 * GIB
    assert now.busy
    assert now.of({10, 11, 99}) == 4 * GIB
    assert now.of({12, 99}) is None


def test_an_old_driver_counts_its_reserve(nvml: FakeNvml) -> None:
    nvml.version_2 = False
    assert gpu.usage().device == 3 * GIB


@pytest.fixture
def on_gpu(executor: LocalExecutor, make_spec: Callable[..., TrialSpec], tmp_path: Path) -> Any:
    return lambda: executor.run(make_spec("measures", device="cuda"), tmp_path / "trial")


def _nvml_rows(outcome: Outcome) -> dict[str, float]:
    return {row.metric: row.values[0] for row in outcome.rows if row.metric.startswith("nvml.")}


def test_a_trial_gets_the_figure_of_its_process_tree(
    nvml: FakeNvml, on_gpu: Callable[[], Outcome]
) -> None:
    def children() -> list[tuple[int, int | None]]:
        import psutil

        return [(1, 7 * GIB)] + [(child.pid, GIB) for child in psutil.Process().children()]

    nvml.processes = children
    outcome = on_gpu()
    assert outcome.facts["nvml"] == "process"
    assert _nvml_rows(outcome) == {"nvml.process_peak": GIB}


def test_without_figures_by_process_an_idle_device_stands_in(
    nvml: FakeNvml, on_gpu: Callable[[], Outcome]
) -> None:
    used = iter([2 * GIB, 5 * GIB])
    nvml.nvmlDeviceGetMemoryInfo = lambda *_, **__: SimpleNamespace(used=next(used))  # type: ignore[method-assign]
    outcome = on_gpu()
    assert outcome.facts["nvml"].startswith("device: ")
    assert _nvml_rows(outcome) == {"nvml.device_peak": 3 * GIB}


def test_a_busy_device_gives_no_figure(nvml: FakeNvml, on_gpu: Callable[[], Outcome]) -> None:
    nvml.processes = lambda: [(1, None)]
    outcome = on_gpu()
    assert outcome.facts["nvml"].startswith("absent: the driver does not name this process")
    assert _nvml_rows(outcome) == {}
