"""The published code of rate-based backpropagation beside ours.

    git clone https://github.com/Tab-ct/rate-based-backpropagation PATH
    python -m benchmarks.peers.rate_bp --checkout PATH [--method rate_m] [--T 4] [--batch 16] ...

Code of Yu et al., NeurIPS 2024, arXiv 2410.11488 (commit 3c70ee9 was tried), with the
SpikingJelly that it names (``pip install spikingjelly==0.0.0.0.14``; later ones dropped functions
that it calls). Its ResNet-18 is ours; weights are copied in. Its recipe scales the rate-based
gradient by 1/T in its loss; here both sides leave that out. Its single-step rate pass uses the
last step's statistics and adds eps twice: our side of `rate_s` is told to do the same, so that like
is compared with like. It gives the network a tensor of all time steps, as its training script does.
"""

from __future__ import annotations

import math
import sys
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.peers.command import Peer, main
from benchmarks.peers.sides import Side, copy_weights, is_single, watched
from harness.errors import HarnessError
from harness.trial.bench import COST_RATE
from harness.trial.probe import Bench

METHODS = ("rate_m", "rate_s", "bptt_m", "bptt_s")
OPTIONS = {"rate_s": {"statistics": "last_step"}}
_FILES = ("model/resnet.py", "model/layer.py", "model/model_setting.py")


def rival(bench: Bench, request: dict[str, Any]) -> Side:
    """The published code's side of a cell.

    Raises:
        HarnessError: if `request["checkout"]` is none, cannot be imported, or holds another
            network.
    """
    modules = _modules(Path(request["checkout"]))
    layers, settings = modules["layer"], modules["model_setting"]
    net = modules["resnet"].resnet18(
        num_classes=request["classes"], in_channel=bench.x.shape[2], **_neuron(bench)
    )
    single, T = is_single(bench), bench.x.shape[0]
    rate = bench.cell.method.name.startswith("rate")
    setting = settings.rate_model_setting if rate else settings.bptt_model_setting
    setting(net, time_step=T, step_mode="s" if single else "m")
    net = net.to(bench.x.device, bench.x.dtype).train()
    label = f"published code {bench.cell.method.name}"
    copy_weights(bench.model, net, label)
    # It reads the gradient of outputs that are no leaves of its own making: torch warns of that.
    warnings.filterwarnings("ignore", message="Full backward hook is firing")

    def gradient() -> Tensor:
        settings.init_model(net)
        if single:
            out = torch.stack([net(now) for now in bench.x.unbind(0)]).mean(0)
        else:
            out = net(bench.x.reshape(-1, *bench.x.shape[2:]))
        loss = cross_entropy(out, bench.y)
        loss.backward()
        return loss.detach()

    def spikes() -> dict[str, Tensor]:
        leaves = [m for m in net.modules() if isinstance(m, layers.LIFLayer)]
        found = watched(leaves, gradient, T * bench.x.shape[1], lambda out: out)
        return {f"layer {number}": each for number, each in enumerate(found)}

    optimizer = torch.optim.SGD(net.parameters(), lr=COST_RATE, momentum=0.9)
    return Side(label, net, optimizer, (), gradient, spikes)


def _modules(checkout: Path) -> dict[str, ModuleType]:
    missing = [name for name in _FILES if not (checkout / name).is_file()]
    if missing:
        raise HarnessError(
            f"{checkout} holds no {missing[0]}. Give --checkout the folder of a checkout of "
            "https://github.com/Tab-ct/rate-based-backpropagation."
        )
    sys.path.insert(0, str(checkout))
    try:
        names = [Path(name).stem for name in _FILES]
        return {name: import_module(f"model.{name}") for name in names}
    except ImportError as error:
        raise HarnessError(
            f"the code in {checkout} cannot be imported here ({error}). It needs the SpikingJelly "
            "of its README: `pip install spikingjelly==0.0.0.0.14`."
        ) from error


def _neuron(bench: Bench) -> dict[str, Any]:
    """The neuron's settings as the checkout's networks take them."""
    found = {(n.decay, n.threshold, n.reset) for n in bench.neurons}
    if len(found) != 1:
        raise HarnessError(f"the published networks have one kind of neuron, ours {found}")
    ((decay, threshold, reset),) = found
    return {
        # Through a sigmoid there; in float64, so that it comes back as it was.
        "decay": torch.tensor(math.log(decay / (1 - decay)), dtype=torch.float64),
        "thresh": threshold,
        "v_reset": None if reset == "soft" else 0.0,
        "detach_reset": True,
    }


if __name__ == "__main__":
    peer = Peer(__doc__ or "", "benchmarks.peers.rate_bp", METHODS, ("resnet18",), OPTIONS, True)
    sys.exit(main(peer))
