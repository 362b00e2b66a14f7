"""SpikingJelly's multi-step BPTT beside ours.

    python -m benchmarks.peers.spikingjelly [--model resnet18] [--T 4] [--batch 16] ...

Written for SpikingJelly 2.0 (``pip install spikingjelly``, 2.0.0 was tried). Its defaults are
another neuron: ``LIFNode(tau=1 / (1 - decay), decay_input=False, v_reset=None)`` with its sigmoid
surrogate is our equation. The network is a copy of our model whose leaves are replaced by
`spikingjelly.activation_based.layer` in step mode "m", which folds time into the batch; the tensor
of all time steps goes in as its users give it, ``[T, B, ...]``.
"""

from __future__ import annotations

import copy
import sys
from importlib import import_module, metadata
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.peers.command import Peer, main
from benchmarks.peers.sides import Side, copy_weights, watched
from harness.errors import HarnessError
from harness.trial.bench import COST_RATE
from harness.trial.probe import Bench
from ratebp import LIF

METHODS = ("bptt_m",)


def rival(bench: Bench, request: dict[str, Any]) -> Side:
    """SpikingJelly's side of a cell.

    Raises:
        HarnessError: if it is not installed, or has no counterpart of a part of the model.
    """
    try:
        parts = import_module("spikingjelly.activation_based.layer")
        neurons = import_module("spikingjelly.activation_based.neuron")
        surrogates = import_module("spikingjelly.activation_based.surrogate")
        functional = import_module("spikingjelly.activation_based.functional")
    except ImportError as error:
        raise HarnessError(
            f"SpikingJelly cannot be imported here ({error}). Install version 2.0 beside torch, "
            "for example `pip install spikingjelly==2.0.0`, and ask again."
        ) from error
    net = _translated(bench.model, parts, neurons, surrogates)
    functional.set_step_mode(net, "m")
    net = net.to(bench.x.device, bench.x.dtype).train()
    label = f"SpikingJelly {metadata.version('spikingjelly')}"
    copy_weights(bench.model, net, label)

    def gradient() -> Tensor:
        functional.reset_net(net)
        loss = cross_entropy(net(bench.x).mean(0), bench.y)
        loss.backward()
        return loss.detach()

    def spikes() -> dict[str, Tensor]:
        leaves = [m for m in net.modules() if isinstance(m, neurons.LIFNode)]
        rows = bench.x.shape[0] * bench.x.shape[1]
        found = watched(leaves, gradient, rows, lambda out: out.flatten(0, 1))
        return {f"layer {number}": each for number, each in enumerate(found)}

    optimizer = torch.optim.SGD(net.parameters(), lr=COST_RATE, momentum=0.9)
    return Side(label, net, optimizer, (), gradient, spikes)


def _translated(model: nn.Module, parts: Any, neurons: Any, surrogates: Any) -> nn.Module:
    """A copy of `model` made of the peer's layers; containers stay."""
    net = copy.deepcopy(model)
    for path, leaf in list(net.named_modules()):
        if any(True for _ in leaf.children()) or not path:
            continue
        parent, _, name = path.rpartition(".")
        setattr(net.get_submodule(parent), name, _leaf(leaf, path, parts, neurons, surrogates))
    return net


def _leaf(leaf: nn.Module, path: str, parts: Any, neurons: Any, surrogates: Any) -> Any:
    match leaf:
        case LIF():
            return _neuron(leaf, neurons, surrogates)
        case nn.Conv2d():
            return parts.Conv2d(
                leaf.in_channels,
                leaf.out_channels,
                leaf.kernel_size,
                leaf.stride,
                leaf.padding,
                bias=leaf.bias is not None,
            )
        case nn.BatchNorm2d():
            return parts.BatchNorm2d(leaf.num_features, leaf.eps, leaf.momentum)
        case nn.Linear():
            return parts.Linear(leaf.in_features, leaf.out_features, leaf.bias is not None)
        case nn.AdaptiveAvgPool2d():
            return parts.AdaptiveAvgPool2d(leaf.output_size)
        case nn.AvgPool2d():
            return parts.AvgPool2d(leaf.kernel_size, leaf.stride, leaf.padding)
        case nn.Flatten():
            return parts.Flatten()
        case nn.Identity():
            return leaf
    raise HarnessError(
        f"{path} is a {type(leaf).__name__}: no counterpart is known. Legal: Conv2d, BatchNorm2d, "
        "Linear, AdaptiveAvgPool2d, AvgPool2d, Flatten, Identity, LIF (resnet18, vgg11, ...)."
    )


def _neuron(leaf: LIF, neurons: Any, surrogates: Any) -> Any:
    d = leaf.dynamics
    if d.surrogate.name != "sigmoid" or d.decay == 1:
        raise HarnessError(
            f"surrogate {d.surrogate.name} with decay {d.decay}: the adapter knows the sigmoid and "
            "decays below 1."
        )
    return neurons.LIFNode(
        tau=1 / (1 - d.decay),
        decay_input=False,
        v_threshold=d.threshold,
        v_reset=None if d.reset == "soft" else 0.0,
        surrogate_function=surrogates.Sigmoid(alpha=d.surrogate.alpha),
        detach_reset=d.detach_reset,
    )


if __name__ == "__main__":
    sys.exit(main(Peer(__doc__ or "", "benchmarks.peers.spikingjelly", METHODS, ())))
