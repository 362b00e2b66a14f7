"""Where a figure was taken (machine, software) and with which code. Never imports torch.

The fingerprint holds what changes figures and stays put between two runs: no host name, no free
memory, no clock of the moment.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

from harness.spec import digest

PACKAGES: Final = ("torch", "torchvision", "triton", "numpy", "nvidia-cudnn-cu13")
"""Distributions whose version changes figures."""

SETTINGS: Final = (
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_MODULE_LOADING",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_TF32_OVERRIDE",
    "LD_PRELOAD",
)
"""Environment variables that change figures and that a trial inherits."""

MEASURING: Final = (
    "worker.py",
    "trial.py",
    "rig.py",
    "probe.py",
    "probes",
    "tracker.py",
    "data",
    "executors/settings.py",
)
"""What of the harness decides a figure; the report and the command line are not among it."""

_HARNESS: Final = Path(__file__).parent
_CPUS: Final = Path("/sys/devices/system/cpu")


def fingerprint(gpus: Mapping[str, Any]) -> dict[str, Any]:
    """Describe this machine and its software; `gpus` comes from `harness.gpu`."""
    return {
        "os": _os_name(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(logical=True),
        "governor": _read(_CPUS / "cpu0/cpufreq/scaling_governor"),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "packages": {name: _version(name) for name in PACKAGES},
        "torch_build": torch_build(),
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "gpus": dict(gpus),
    }


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


def measuring_digest(root: Path = _HARNESS) -> str:
    """SHA-256 over the files of the harness that decide a figure (data files among them)."""
    total = hashlib.sha256()
    for name in MEASURING:
        entry = root / name
        files = sorted(entry.rglob("*")) if entry.is_dir() else [entry]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(file.relative_to(root).as_posix().encode() + b"\0")
                total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def commit(folder: Path = _HARNESS) -> tuple[str | None, bool | None]:
    """Commit of the checkout that holds `folder`, and whether tracked files differ from it.

    `(None, None)` without git, outside a checkout, or where git does not track the folder (an
    installed copy that happens to lie inside somebody's repository).
    """
    head = _git(folder, "rev-parse", "HEAD")
    if head is None or not _git(folder, "ls-files", "."):
        return None, None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return head, changed is None or bool(changed)


def usable_cores() -> int:
    """Physical cores that this process may use: affinity, then the control group's quota."""
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:
        return psutil.cpu_count(logical=False) or 1
    siblings = {_read(_CPUS / f"cpu{cpu}/topology/core_cpus_list") or str(cpu) for cpu in allowed}
    quota, _, period = (_read(Path("/sys/fs/cgroup/cpu.max")) or "max").partition(" ")
    if quota.isdigit() and period.isdigit():
        return max(1, min(len(siblings), math.ceil(int(quota) / int(period))))
    return len(siblings)


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


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
