"""The LIF scan in C++ (kernels.cpp), called as the Triton kernels are."""

from __future__ import annotations

from torch import Tensor

from ratebp.ops.cpp import call


def forward(equation: str, current: Tensor, spikes: Tensor, potentials: Tensor | None) -> None:
    """Fill `spikes` and, where it is given, `potentials`."""
    steps, number = current.shape[0], current[0].numel()
    call("lif_scan", equation, current, current.stride(0), spikes, potentials, steps, number)


def backward(equation: str, potentials: Tensor, grad: Tensor, out: Tensor) -> None:
    """Fill `out` with the gradient by the currents."""
    steps, number = out.shape[0], out[0].numel()
    call("lif_scan_backward", equation, potentials, grad, grad.stride(0), out, steps, number)
