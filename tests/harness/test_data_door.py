"""The door to torchvision opens where a plain import fails, and explains what it cannot open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Fails like a torchvision built for CUDA beside a CPU torch: until the operators are declared.
FAILS_WITHOUT_OPERATORS = """
import torch
from torchvision import extension
for operator in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, operator):
        raise RuntimeError(f"operator torchvision::{operator} does not exist")
"""


def run(code: str, *path: Path) -> str:
    """Run code in a fresh process with these folders before all others; give what it printed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def fake_torchvision(folder: Path, init: str) -> None:
    package = folder / "torchvision"
    (package / "datasets").mkdir(parents=True)
    (package / "__init__.py").write_text(init)
    (package / "extension.py").write_text("print('extension')")
    (package / "datasets" / "__init__.py").write_text("CIFAR10 = 'fake'")


def message(folder: Path, init: str) -> str:
    fake_torchvision(folder, init)
    return run(
        "from harness.data.torchvision_door import datasets\n"
        "from harness.errors import DataError\n"
        "try:\n    datasets()\n"
        "except DataError as error:\n    print(error)\n",
        folder,
    )


def test_the_real_torchvision_opens_and_stays_open() -> None:
    code = (
        "from harness.data.torchvision_door import datasets\n"
        "first = datasets()\n"
        "assert datasets() is first\n"
        "import torch, torchvision\n"
        "from torchvision.transforms import v2\n"
        "assert torchvision.datasets is first\n"
        "print(first.CIFAR10.base_folder, v2.RandomCrop(28)(torch.zeros(3, 32, 32)).shape[-1])\n"
    )
    assert run(code) == "cifar-10-batches-py 28"


def test_missing_operators_are_declared_and_the_import_starts_afresh(tmp_path: Path) -> None:
    fake_torchvision(tmp_path, FAILS_WITHOUT_OPERATORS)
    code = "from harness.data.torchvision_door import datasets; print(datasets().CIFAR10)"
    assert run(code, tmp_path).split() == ["extension", "extension", "fake"]


def test_a_good_torchvision_is_imported_once_and_nothing_declared(tmp_path: Path) -> None:
    fake_torchvision(tmp_path, "from torchvision import extension")
    code = (
        "from harness.data.torchvision_door import datasets; print(datasets().CIFAR10)\n"
        "import torch; print(hasattr(torch.ops.torchvision, 'nms'))"
    )
    assert run(code, tmp_path).split() == ["extension", "fake", "False"]


def test_another_failure_is_explained_with_a_remedy(tmp_path: Path) -> None:
    told = message(tmp_path, "raise RuntimeError('compiled for another torch')")
    assert "compiled for another torch" in told
    assert "constraints.txt" in told
    assert "'fashion-mini'" in told


def test_operators_that_do_not_help_are_explained_too(tmp_path: Path) -> None:
    told = message(tmp_path, "raise RuntimeError('operator torchvision::roi does not exist')")
    assert "operator torchvision::roi does not exist" in told
    assert "constraints.txt" in told


def test_an_absent_torchvision_is_explained_too(tmp_path: Path) -> None:
    told = message(tmp_path, "raise ModuleNotFoundError('No module named torchvision')")
    assert told.startswith("torchvision cannot be imported beside torch")
