"""How fast a device could compute at the very most, to refuse times that cannot be.

A time that implies more arithmetic per second than the hardware has was taken without waiting for
the device, or work was left out. The best-known public comparison of SNN libraries holds such
times. The bound is generous on purpose: every core or multiprocessor at its highest clock issuing
its widest multiply-add each cycle, two floating-point operations per multiply-add. What is not
known here has no bound: a trial is never refused out of ignorance.

Convolutions get four times the bound of matrix products: Winograd's F(4x4, 3x3) needs a quarter of
the multiplications that a count of the direct algorithm finds (Lavin and Gray 2016, arXiv
1509.09308).

Sources: the throughput tables of the CUDA C++ programming guide ("Arithmetic Instructions") and
NVIDIA's architecture papers for tensor cores (dense, per multiprocessor); the vendors'
optimisation guides for CPUs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch

Group = Literal["matmul", "convolution"]

WINOGRAD: Final = 4.0
CPU_BOUND_MHZ: Final = 6000.0
"""Where the highest clock of a CPU is not told."""

GPU_BOUND_MHZ: Final = 3200.0
"""Where the highest clock of a GPU is not told."""

_ROOT: Final = Path("/")

_CPU: Final = (
    # flags that must all be there, FLOP per core and cycle in float32, the same in bfloat16
    (("amx_bf16",), 64, 2048),
    (("avx512f", "avx512_bf16"), 64, 128),
    (("avx512f",), 64, 64),
    (("avx2", "fma"), 32, 32),
    (("avx",), 16, 16),
    (("sse2",), 16, 16),
    (("sve", "bf16"), 64, 256),
    (("sve",), 64, 64),
    (("asimd", "bf16"), 32, 128),
    (("asimd",), 32, 32),
)


@dataclass(frozen=True)
class _Sm:
    """FLOP per multiprocessor and cycle; tensor cores where they are faster."""

    float32: int
    float64: int
    tf32: int
    bfloat16: int


_GPU: Final = {
    (5, 0): _Sm(256, 8, 256, 256),
    (5, 2): _Sm(256, 8, 256, 256),
    (6, 0): _Sm(128, 64, 128, 256),
    (6, 1): _Sm(256, 8, 256, 256),
    (7, 0): _Sm(128, 64, 128, 1024),
    (7, 5): _Sm(128, 4, 128, 1024),
    (8, 0): _Sm(128, 128, 1024, 2048),
    (8, 6): _Sm(256, 4, 512, 1024),
    (8, 7): _Sm(256, 4, 1024, 2048),
    (8, 9): _Sm(256, 4, 512, 1024),
    (9, 0): _Sm(256, 256, 2048, 4096),
    (10, 0): _Sm(256, 128, 4096, 8192),
    (10, 3): _Sm(256, 128, 4096, 8192),
    (12, 0): _Sm(256, 4, 512, 1024),
    (12, 1): _Sm(256, 4, 512, 1024),
}


@dataclass(frozen=True)
class Ceiling:
    """FLOP per second that the device cannot exceed.

    Attributes:
        matmul: for matrix products; None where nothing is known.
        convolution: for convolutions, counted as the direct algorithm.
        basis: how the bound was found, or why there is none.
    """

    matmul: float | None
    convolution: float | None
    basis: str

    def least_seconds(self, flops: Mapping[Group, int]) -> float | None:
        """Seconds below which nothing could do this work, one group after the other."""
        if self.matmul is None or self.convolution is None:
            return None
        return flops.get("matmul", 0) / self.matmul + flops.get("convolution", 0) / self.convolution


def of(device: torch.device, dtype: str) -> Ceiling:
    """The ceiling of a device that this process uses, for a cell's `dtype`."""
    if device.type == "cpu":
        cpu = _processor(_ROOT)
        reduced = dtype == "float32" and torch.get_float32_matmul_precision() != "highest"
        return of_cpu(*cpu, torch.get_num_threads(), "bfloat16" if reduced else dtype)
    if device.type != "cuda" or torch.version.hip is not None:
        return Ceiling(None, None, f"no bound is known for device type {device.type!r} here")
    found = torch.cuda.get_device_properties(device)
    return of_gpu(
        (found.major, found.minor), found.multi_processor_count, _max_mhz(found), dtype, _tf32()
    )


def of_cpu(flags: Collection[str], mhz: float | None, threads: int, dtype: str) -> Ceiling:
    """The ceiling of `threads` cores with these instruction sets and this highest clock."""
    for needed, single, reduced in _CPU:
        if set(needed) <= set(flags):
            per_cycle = {"float32": single, "float64": single / 2, "bfloat16": reduced}[dtype]
            clock, told = (mhz, "") if mhz else (CPU_BOUND_MHZ, ", a bound")
            basis = (
                f"{threads} threads x {clock:.0f} MHz{told} x {per_cycle:g} FLOP per cycle "
                f"({' '.join(needed)}, {dtype})"
            )
            return _bound(threads * clock * 1e6 * per_cycle, basis)
    return Ceiling(None, None, "the CPU's instruction sets are not known here")


def of_gpu(
    capability: tuple[int, int], processors: int, mhz: float | None, dtype: str, tf32: bool
) -> Ceiling:
    """The ceiling of a CUDA device; `tf32`: matrix products of float32 may be rounded to TF32.

    Convolutions of float32 may be rounded in any case: cuDNN does so by default.
    """
    sm = _GPU.get(capability)
    name = ".".join(map(str, capability))
    if sm is None:
        return Ceiling(None, None, f"compute capability {name} is not in the table")
    full = {"float32": sm.float32, "float64": sm.float64, "bfloat16": sm.bfloat16}[dtype]
    single = dtype == "float32"
    products = max(full, sm.tf32) if single and tf32 else full
    convolutions = max(full, sm.tf32) if single else full
    clock, told = (mhz, "") if mhz else (GPU_BOUND_MHZ, ", a bound")
    basis = (
        f"{processors} multiprocessors x {clock:.0f} MHz{told} x {products} FLOP per cycle "
        f"(capability {name}, {dtype}{', TF32' if products != full else ''})"
    )
    cycles = processors * clock * 1e6
    return Ceiling(cycles * products, cycles * convolutions * WINOGRAD, basis)


def _bound(rate: float, basis: str) -> Ceiling:
    return Ceiling(rate, rate * WINOGRAD, basis)


def _processor(root: Path) -> tuple[set[str], float | None]:
    """Instruction sets, and the highest clock in MHz if it is told."""
    info = _read(root / "proc/cpuinfo")
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", info, re.MULTILINE)
    flags = set(line.group(1).split()) if line else set()
    folder = root / "sys/devices/system/cpu"
    # Where a boost can be switched, some drivers leave it out of the highest clock. The clock of
    # the moment in /proc/cpuinfo is no bound either: it may rise while we measure.
    texts = [_read(file) for file in folder.glob("cpu*/cpufreq/cpuinfo_max_freq")]
    khz = [int(text) for text in texts if text.isdigit()]
    boosted = _read(folder / "cpufreq/boost") == "1"
    return flags, max(khz) / 1e3 if khz and not boosted else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _max_mhz(found: Any) -> float | None:
    """Highest clock of the multiprocessors, from the driver's library."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{found.uuid}")
        return float(pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM))
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _tf32() -> bool:
    forced = os.environ.get("NVIDIA_TF32_OVERRIDE") == "1"
    return forced or torch.get_float32_matmul_precision() != "highest"
