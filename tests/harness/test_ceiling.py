"""What a device can do at most: tables, clocks, and ignorance, which bounds nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.trial import ceiling
from harness.trial.ceiling import Ceiling, of, of_cpu, of_gpu

AVX512 = {"sse2", "avx", "avx2", "fma", "avx512f"}


@pytest.mark.parametrize(
    ("flags", "dtype", "per_cycle"),
    [
        (AVX512, "float32", 64),
        (AVX512, "float64", 32),
        (AVX512, "bfloat16", 64),
        (AVX512 | {"avx512_bf16"}, "bfloat16", 128),
        (AVX512 | {"avx512_bf16", "amx_bf16"}, "bfloat16", 2048),
        (AVX512 | {"avx512_bf16", "amx_bf16"}, "float32", 64),
        ({"sse2", "avx", "avx2", "fma"}, "float32", 32),
        ({"sse2", "avx", "avx2"}, "float32", 16),
        ({"sse2"}, "float64", 8),
        ({"fp", "asimd"}, "float32", 32),
        ({"fp", "asimd", "sve"}, "float64", 32),
    ],
)
def test_a_cpu_by_its_instruction_sets(flags: set[str], dtype: str, per_cycle: float) -> None:
    found = of_cpu(flags, 2000.0, 3, dtype)
    assert found.matmul == 3 * 2e9 * per_cycle
    assert found.convolution == ceiling.WINOGRAD * found.matmul
    assert "3 threads x 2000 MHz x" in found.basis


def test_a_cpu_whose_clock_is_not_told_gets_a_stated_bound() -> None:
    found = of_cpu(AVX512, None, 1, "float32")
    assert found.matmul == 6e9 * 64
    assert "6000 MHz, a bound" in found.basis


def test_an_unknown_cpu_bounds_nothing() -> None:
    found = of_cpu({"altivec"}, 4000.0, 1, "float32")
    assert found.least_seconds({"matmul": 10**20}) is None
    assert "not known" in found.basis


@pytest.mark.parametrize(
    ("capability", "processors", "mhz", "dtype", "tf32", "published"),
    [
        ((8, 9), 128, 2520, "float32", False, 82.6e12),  # RTX 4090
        ((8, 0), 108, 1410, "float32", False, 19.5e12),  # A100
        ((8, 0), 108, 1410, "float32", True, 156e12),
        ((8, 0), 108, 1410, "bfloat16", False, 312e12),
        ((8, 0), 108, 1410, "float64", False, 19.5e12),
        ((9, 0), 132, 1830, "bfloat16", False, 989e12),  # H100 SXM at its tensor clock
        ((7, 0), 80, 1530, "float32", True, 15.7e12),  # V100 knows no TF32
    ],
)
def test_matrix_products_of_a_gpu_reach_the_published_peak(
    capability: tuple[int, int],
    processors: int,
    mhz: float,
    dtype: str,
    tf32: bool,
    published: float,
) -> None:
    found = of_gpu(capability, processors, mhz, dtype, tf32)
    assert found.matmul == pytest.approx(published, rel=0.01)


def test_convolutions_of_a_gpu_may_always_use_tf32() -> None:
    found = of_gpu((8, 0), 108, 1410.0, "float32", False)
    assert found.convolution == pytest.approx(4 * 156e12, rel=0.01)
    assert of_gpu((8, 0), 108, 1410.0, "float64", True).convolution == pytest.approx(
        4 * 19.5e12, rel=0.01
    )


def test_an_unknown_gpu_bounds_nothing_and_an_unknown_clock_is_high() -> None:
    assert of_gpu((99, 0), 100, 1000.0, "float32", False).matmul is None
    assert "99.0 is not in the table" in of_gpu((99, 0), 1, 1.0, "float32", False).basis
    found = of_gpu((8, 9), 128, None, "float32", False)
    assert found.matmul == 128 * 3.2e9 * 256
    assert "3200 MHz, a bound" in found.basis


def test_the_published_forward_time_is_impossible() -> None:
    """16384 neurons, B=16, T=500: 4.29 TFLOP in 19.7 ms on a card of 83 TFLOP/s (peers.md 1.1)."""
    flops = 2 * 8000 * 16384**2
    least = of_gpu((8, 9), 128, 2520.0, "float32", False).least_seconds({"matmul": flops})
    assert least is not None
    assert 0.0197 < 0.051 < least


def test_groups_take_their_time_one_after_the_other() -> None:
    found = Ceiling(10.0, 40.0, "made up")
    assert found.least_seconds({"matmul": 20, "convolution": 20}) == 2.5
    assert found.least_seconds({}) == 0


def machine(root: Path, boost: str | None, *khz: int) -> Path:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text("processor : 0\ncpu MHz : 1234.5\nflags : sse2 avx\n")
    for number, value in enumerate(khz):
        folder = root / f"sys/devices/system/cpu/cpu{number}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "cpuinfo_max_freq").write_text(f"{value}\n")
    if boost is not None:
        (root / "sys/devices/system/cpu/cpufreq").mkdir()
        (root / "sys/devices/system/cpu/cpufreq/boost").write_text(boost)
    return root


@pytest.mark.parametrize(
    ("boost", "khz", "mhz"),
    [
        (None, (3_000_000, 3_500_000), 3500.0),
        ("0", (3_000_000,), 3000.0),
        ("1", (3_000_000,), None),  # the boost may not be in it
        (None, (), None),  # the clock of the moment is no bound
    ],
)
def test_what_a_machine_tells_of_its_cpu(
    tmp_path: Path, boost: str | None, khz: tuple[int, ...], mhz: float | None
) -> None:
    assert ceiling._processor(machine(tmp_path, boost, *khz)) == ({"sse2", "avx"}, mhz)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert ceiling._processor(tmp_path) == (set(), None)


def test_the_ceiling_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "_processor", lambda _: (AVX512 | {"amx_bf16"}, 1000.0))
    threads = torch.get_num_threads()
    assert of(torch.device("cpu"), "float32").matmul == threads * 64e9
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    assert of(torch.device("cpu"), "float32").matmul == threads * 2048e9
    assert of(torch.device("meta"), "float32").matmul is None


def test_the_ceiling_of_a_gpu_asks_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    class NVMLError(Exception):
        pass

    def by_uuid(uuid: str) -> str:
        if uuid != "GPU-abc":
            raise NVMLError
        return uuid

    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByUUID=by_uuid,
        nvmlDeviceGetMaxClockInfo=lambda handle, clock: 2000,
    )
    card = SimpleNamespace(major=8, minor=9, multi_processor_count=10, uuid="abc")
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    cuda = torch.device("cuda")
    assert of(cuda, "float32").matmul == 10 * 2e9 * 256
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert of(cuda, "float32").matmul == 10 * 2e9 * 512
    card.uuid = "another"
    assert of(cuda, "bfloat16").matmul == 10 * 3.2e9 * 1024
