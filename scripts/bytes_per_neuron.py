"""Print what methods keep for the backward, in bytes a neuron and time step, network by network.

python scripts/bytes_per_neuron.py [NETWORK ...]

Counted on real tensors: storages that autograd saves, parameters, buffers and inputs left out.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

import ratebp
from ratebp.errors import RatebpError
from ratebp.roles import Role
from ratebp.rules.neurons.exact import step_neuron
from ratebp.views import view

METHODS = ("bptt_m", "bptt_s", "rate_m", "sltt")
T, B = 4, 2
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18": {},
    "sew_resnet34": {"width": 0.5},
    "ms_resnet18": {},
    "vgg11": {},
    "spikformer": {"size": "4-384"},
    "sdt": {"size": "2-512"},
    "qkformer": {"size": "4-384"},
}


def neurons(model: nn.Module, x: Tensor) -> int:
    """Return how many neurons run in one time step of ``x [T, B, ...]``."""
    count = 0

    def counted(neuron: nn.Module, path: str) -> nn.Module:
        def add(leaf: nn.Module, inputs: Any, spikes: Tensor) -> None:
            nonlocal count
            count += spikes.numel()

        leaf = step_neuron(neuron)
        leaf.register_forward_hook(add)
        return leaf

    plain = view(model, {Role.NEURON: counted}, builds_graph=False)
    with torch.no_grad(), plain.sequence():
        plain(x[0])
    return count


def kept(model: nn.Module, method: str, x: Tensor, y: Tensor) -> int:
    """Return the bytes of all storages that autograd saves in one step, alive at once."""
    bound = ratebp.methods.get(method).bind(model, len(x))
    bound.views(x)
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers(), x, y)}
    held: dict[int, tuple[int, int]] = {}
    most = now = 0

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal most, now
            self.tensor = tensor
            storage = tensor.untyped_storage()
            self.key = storage.data_ptr()
            size, times = held.get(self.key, (0 if self.key in own else storage.nbytes(), 0))
            held[self.key] = size, times + 1
            now += 0 if times else size
            most = max(most, now)

        def __del__(self) -> None:
            nonlocal now
            size, times = held[self.key]
            now -= size if times == 1 else 0
            held[self.key] = size, times - 1
            if times == 1:
                del held[self.key]

    with saved_tensors_hooks(Kept, lambda each: each.tensor):
        bound.step(x, y)
    return most


def main() -> None:
    """Print the table."""
    say = sys.stdout.write
    say(f"| network | {' | '.join(f'`{m}`' for m in METHODS)} |\n|---|{'---|' * len(METHODS)}\n")
    for name in sys.argv[1:] or NETWORKS:
        torch.manual_seed(0)
        model = ratebp.models.build(name, num_classes=10, in_channels=3, **NETWORKS.get(name, {}))
        x, y = ratebp.direct(torch.rand(B, 3, 32, 32), T), torch.zeros(B, dtype=torch.long)
        steps, cells = T * neurons(model, x), []
        for method in METHODS:
            try:
                cells.append(f"{kept(model, method, x, y) / steps:.2f}")
            except RatebpError:
                cells.append("refused")
        say(f"| `{name}` | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
