"""Where a figure was taken (machine, software) and with which code. Never imports torch.

The fingerprint holds what changes figures and stays put between two runs: no host name, no free
memory, no clock of the moment.
"""

from __future__ import annotations

import importlib.util
import math
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

from harness.machine.git import GitError, git
from harness.spec import digest

PACKAGES: Final = (
    "torch",
    "torchvision",
    "triton",
    "numpy",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "nvidia-cublas",
    "nvidia-cublas-cu12",
)
"""Distributions whose version changes figures."""

SETTINGS: Final = (
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUBLASLT_WORKSPACE_SIZE",
    "TORCH_CUBLAS_WORKSPACE_CACHE",
    "CUDA_MODULE_LOADING",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "ATEN_CPU_CAPABILITY",
    "TRITON_INTERPRET",
    "TORCHDYNAMO_DISABLE",
    "TORCH_COMPILE_DISABLE",
    "CXX",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
)
"""Environment variables that change figures and that a trial inherits."""

_HARNESS: Final = Path(__file__).parents[1]
_CPUS: Final = Path("/sys/devices/system/cpu")


def fingerprint(gpus: Mapping[str, Any]) -> dict[str, Any]:
    """Describe this machine and its software; `gpus` comes from `harness.machine.gpu`."""
    return {
        "os": _os_name(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(logical=True),
        "governor": _read(_CPUS / "cpu0/cpufreq/scaling_governor"),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "memory_limit_gib": None if (limit := memory_limit()) is None else round(limit / 2**30, 1),
        "cpu_quota": cpu_quota(),
        "container": _container(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "compiler": compiler(),
        "packages": {name: _version(name) for name in PACKAGES},
        "torch_build": torch_build(),
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "gpus": dict(gpus),
    }


def compiler() -> str | None:
    """How the C++ compiler names itself that builds the library's CPU kernels; None without one."""
    named = os.environ.get("CXX", "").strip()
    commands = [_words(named)] if named else [["c++"], ["g++"], ["clang++"]]
    found = next((words for words in commands if words and shutil.which(words[0])), None)
    return None if found is None else _first_line(*found, "--version")


def _words(command: str) -> list[str]:  # as a shell does: ``ccache g++``
    try:
        return [command] if shutil.which(command) else shlex.split(command)
    except ValueError:
        return []


def fingerprint_hash(found: Mapping[str, Any]) -> str:
    """Twelve hex digits that name a fingerprint."""
    return digest(found)[:12]


def torch_build() -> str | None:
    """`cuda 13.0`, `hip 6.4`, `cpu`, or None where torch is not installed. Reads, never imports."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    text = _read(Path(found.origin).with_name("version.py")) or ""
    for name in ("cuda", "hip"):
        match = re.search(rf"^{name}\b[^=\n]*=\s*'([^']+)'", text, re.MULTILINE)
        if match:
            return f"{name} {match.group(1)}"
    return "cpu"


def commit(folder: Path = _HARNESS) -> tuple[str | None, bool | None]:
    """Commit of the checkout that holds `folder`, and whether tracked files differ from it.

    `(None, None)` without git, outside a checkout, or where git does not track the folder (an
    installed copy that happens to lie inside somebody's repository).
    """
    try:
        head = git(folder, "rev-parse", "HEAD")
        if not git(folder, "ls-files", "."):
            return None, None
    except GitError:
        return None, None
    try:
        return head, bool(git(folder, "status", "--porcelain", "--untracked-files=no"))
    except GitError:  # nobody knows what differs
        return head, True


def usable_cores() -> int:
    """Physical cores that this process may use: affinity, then the control group's quota."""
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:
        return psutil.cpu_count(logical=False) or 1
    siblings = {_read(_CPUS / f"cpu{cpu}/topology/core_cpus_list") or str(cpu) for cpu in allowed}
    quota = cpu_quota()
    return len(siblings) if quota is None else max(1, min(len(siblings), math.ceil(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Processors' worth of time that the control group allows (version 2, then 1), or None."""
    mount = root / "sys/fs/cgroup"
    quota, _, period = (_read(mount / "cpu.max") or "").partition(" ")
    if not quota:
        quota = _read(mount / "cpu/cpu.cfs_quota_us") or ""
        period = _read(mount / "cpu/cpu.cfs_period_us") or ""
    if quota.isdigit() and period.isdigit() and int(period):
        return round(int(quota) / int(period), 2)
    return None


def memory_groups(root: Path = Path("/")) -> tuple[Path, ...]:
    """Folders that may hold this process's memory accounts, the nearest first.

    Of control groups version 2, then 1; inside a container the group's own path is not visible and
    its files lie at the mount point.
    """
    listing = _read(root / "proc/self/cgroup") or ""
    parts = [line.split(":", 2) for line in listing.splitlines() if line.count(":") >= 2]
    first = [path for _, names, path in parts if "memory" in names.split(",")]
    group = next(iter(first + [path for _, names, path in parts if not names]), "").lstrip("/")
    mount = root / "sys/fs/cgroup"
    return mount / group, mount, mount / "memory" / group, mount / "memory"


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes that the control group allows, or None where it sets no limit."""
    limits = [limit for limit, _ in _memory_accounts(root)]
    return min(limits, default=None)


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that a new process could take without anything being pushed out."""
    left = [limit - used for limit, used in _memory_accounts(root)]
    return max(0, min([psutil.virtual_memory().available, *left]))


def _memory_accounts(root: Path) -> list[tuple[int, int]]:
    """(limit, use) in bytes, of each group that sets a limit below the machine's memory."""
    found = []
    for group in memory_groups(root):
        for limit_file, use_file in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit = _read(group / limit_file) or ""
            if limit.isdigit() and int(limit) < psutil.virtual_memory().total:
                cached = re.search(r"^(?:total_)?inactive_file (\d+)$", _stat(group), re.MULTILINE)
                used = int(_read(group / use_file) or 0) - int(cached.group(1) if cached else 0)
                found.append((int(limit), used))
    return found


def _stat(group: Path) -> str:
    return _read(group / "memory.stat") or ""


def _container(root: Path = Path("/")) -> str | None:
    """What kind of container this is, as far as it leaves a mark."""
    for mark, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / mark).exists():
            return name
    kinds = re.search(r"kubepods|docker|libpod|lxc|slurm", _read(root / "proc/self/cgroup") or "")
    return kinds.group(0) if kinds else None


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return f"{platform.system()} {platform.version()}"


def _cpu_model() -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")) or "", re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _first_line(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.splitlines()), None)
