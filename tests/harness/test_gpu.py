"""Inventory, memory and lock, through a stand-in for the module `pynvml`."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import fake_nvml
import pynvml
import pytest
from fake_nvml import GIB, Board, FakeNvml, Instance

from harness.machine import gpu


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    return fake


def usage() -> gpu.Usage:
    with gpu.device() as device:
        assert isinstance(device, gpu.Device)
        return gpu.usage(device)


def test_what_we_ask_for_exists_in_the_real_module() -> None:
    folder = Path(inspect.getfile(gpu)).parent
    asked = {
        name
        for file in folder.glob("*.py")
        for name in re.findall(r'"(nvml[A-Z]\w+)"', file.read_text())
    }
    assert len(asked) > 20
    assert asked <= set(dir(pynvml))


def test_the_stand_in_fails_as_the_real_module_does() -> None:
    for code, (name, words) in fake_nvml._ERRORS.items():
        for module in (pynvml, fake_nvml):
            error = module.NVMLError(code)
            assert isinstance(error, module.NVMLError)
            assert (type(error).__name__, str(error)) == (f"NVMLError_{name}", words)
    assert not issubclass(pynvml.NVMLLibraryMismatchError, pynvml.NVMLError)
    missing = {name for name in vars(FakeNvml) if name.startswith("nvml")} - set(dir(pynvml))
    assert not missing


def test_the_gpus_of_a_machine(nvml: FakeNvml) -> None:
    found = gpu.inventory()
    trial = gpu.TrialDevice("Imaginary GPU", 16 * GIB, mig=False, power_limit_w=700.0, ecc=True)
    assert found == gpu.Inventory(("Imaginary GPU",), (16 * GIB,), "999.1", None, trial)
    assert gpu.present(found)
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (fake_nvml.LIBRARY_NOT_FOUND, "NVML Shared Library Not Found (is the NVIDIA driver"),
        (fake_nvml.VERSION_MISMATCH, "version mismatch. (the driver was updated"),
        (fake_nvml.NO_PERMISSION, "Insufficient Permissions (let this user read /dev/nvidia*)"),
    ],
)
def test_a_driver_that_does_not_answer_is_a_fact(nvml: FakeNvml, code: int, words: str) -> None:
    nvml.driver_error = code
    found = gpu.inventory()
    assert words in str(found.absent)
    assert found.names == ()
    with gpu.device() as device:
        assert isinstance(device, gpu.Absent)
        assert words in device.reason


def test_no_module_is_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "install nvidia-ml-py" in str(gpu.inventory().absent)


def test_what_cannot_be_read_leaves_the_rest(nvml: FakeNvml) -> None:
    nvml.failing = dict.fromkeys(
        ("nvmlDeviceGetEccMode", "nvmlDeviceGetMemoryInfo"), fake_nvml.NOT_SUPPORTED
    )
    found = gpu.inventory()
    assert found.names == ("Imaginary GPU",)
    assert found.memory == (None,)
    assert found.trial == gpu.TrialDevice("Imaginary GPU", None, False, 700.0, None)


def test_hidden_gpus_do_not_count(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = gpu.inventory()
    assert not gpu.present(found)
    assert found.names == ("Imaginary GPU",)
    assert "hides every GPU" in str(found.unknown)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpu.present(found)


def test_use_by_process_and_by_device(nvml: FakeNvml) -> None:
    nvml.boards[0].processes = lambda: [(10, 3 * GIB), (11, GIB), (10, GIB), (12, None), (13, 0)]
    now = usage()
    assert now.device == 2 * GIB
    assert not now.idle
    assert now.of({10, 11, 99}) == 5 * GIB
    assert now.of({99}) == gpu.Absent("the driver does not name the process")
    withheld = gpu.Absent("the driver withholds the bytes of the process")
    assert now.of({10, 12}) == now.of({13}) == withheld


def test_another_boards_use_is_not_counted(nvml: FakeNvml) -> None:
    nvml.boards.append(Board("GPU-bbbb", "00000000:02:00.0", processes=lambda: [(7, GIB)]))
    now = usage()
    assert now.idle
    assert now.device == 2 * GIB


def test_a_mig_instance_has_its_own_use(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    board = nvml.boards[0]
    board.in_mig_mode = True
    board.processes = lambda: [(7, GIB), (8, GIB)]
    board.instances = [Instance(board, "MIG-1234", (1, 0), processes=lambda: [(8, GIB)])]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    assert usage() == gpu.Usage({8: GIB}, GIB)
    trial = gpu.inventory().trial
    assert trial is not None
    assert (trial.name, trial.mig) == ("Imaginary GPU MIG 1g.10gb", True)


def test_each_figure_of_memory_fails_by_itself(nvml: FakeNvml) -> None:
    nvml.failing["nvmlDeviceGetComputeRunningProcesses"] = fake_nvml.NO_PERMISSION
    now = usage()
    assert now.device == 2 * GIB
    assert isinstance(now.processes, gpu.Absent)
    assert not now.idle
    assert isinstance(now.of({10}), gpu.Absent)
    nvml.failing = {"nvmlDeviceGetMemoryInfo": fake_nvml.GPU_IS_LOST}
    assert usage() == gpu.Usage({}, gpu.Absent("NVMLError_GpuIsLost: GPU is lost"))


def test_an_error_of_another_kind_is_a_fact_too(nvml: FakeNvml) -> None:
    mismatch = fake_nvml.NVMLLibraryMismatchError("unversioned function")
    nvml.failing["nvmlDeviceGetComputeRunningProcesses"] = mismatch
    assert usage().processes == gpu.Absent("NVMLLibraryMismatchError: unversioned function")


def test_an_old_driver_counts_its_reserve(nvml: FakeNvml) -> None:
    nvml.failing["version 2"] = fake_nvml.FUNCTION_NOT_FOUND
    assert usage().device == 3 * GIB


LOCKER = """
import sys, time
from harness.machine import gpu
with gpu.exclusive("GPU-x", lambda: time.sleep(0.01)) as unlocked:
    print(unlocked, flush=True)
    sys.stdin.readline()
"""


def test_two_runs_take_turns_on_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = subprocess.Popen(
        [sys.executable, "-c", LOCKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "None\n"
        waits = []

        def wait() -> None:
            waits.append(1)
            if len(waits) == 3:
                other.kill()  # a lock dies with its owner
                other.wait()

        with gpu.exclusive("GPU-x", wait) as unlocked:
            assert unlocked is None
    assert len(waits) >= 3


def test_a_lock_that_cannot_be_made_is_a_fact(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with gpu.exclusive("GPU-x", pytest.fail) as unlocked:
        assert isinstance(unlocked, gpu.Absent)
        assert "No such file" in unlocked.reason
