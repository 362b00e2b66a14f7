"""The one place that imports torchvision, and only when its data sets are asked for.

A torchvision that was built for CUDA fails to import beside a CPU build of torch: its compiled
library does not load, and its registrations then ask for operators that do not exist. Declaring
these operators is enough for everything but the operators themselves (`ops.nms`), which data sets
do not use.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import torch
from torch import library

from harness.errors import DataError

_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def datasets() -> Any:
    """The module `torchvision.datasets`.

    Raises:
        DataError: torchvision is not installed, or cannot be imported beside this torch.
    """
    try:
        return _import()
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise DataError(_unusable(error)) from error
    try:
        _declare_operators()
        return _import()
    except RuntimeError as error:
        raise DataError(_unusable(error)) from error


def _import() -> Any:
    try:
        return importlib.import_module("torchvision.datasets")
    except ImportError as error:
        raise DataError(_unusable(error)) from error


def _declare_operators() -> None:
    """Declare the missing operators and forget the half-imported torchvision."""
    for operator in _OPERATORS:
        # Without a library of ours, torch keeps the declaration alive itself.
        library.define(f"torchvision::{operator}", _SIGNATURE)
    for module in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
        del sys.modules[module]


def _unusable(error: Exception) -> str:
    return (
        f"torchvision cannot be imported beside torch {torch.__version__}: {error}. This data set "
        "is read through it: install the torchvision that belongs to this torch (constraints.txt "
        "names a pair), or use a data set that ships with the harness, e.g. 'fashion-mini'."
    )
