"""Import the networks of SpikingJelly and snnTorch that are installed; print a table for the docs.

python scripts/import_table.py

docs/importing.md holds what it printed. SpikingJelly's networks import torchvision.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ratebp.errors import RatebpError
from ratebp.importers.snntorch import proven as of_snntorch
from ratebp.importers.spikingjelly import proven as of_spikingjelly

Network = tuple[str, Callable[[], nn.Module], tuple[int, ...]]


def jelly(module: str) -> Any:
    """Return a module of SpikingJelly."""
    return importlib.import_module(f"spikingjelly.activation_based.{module}")


def jelly_networks() -> Iterator[Network]:
    """Yield SpikingJelly's networks that its versions have in common, and its examples."""
    neuron, surrogate, functional = map(jelly, ("neuron", "surrogate", "functional"))
    lif = {"surrogate_function": surrogate.ATan(), "detach_reset": True}

    def multi(net: nn.Module) -> nn.Module:
        functional.set_step_mode(net, "m")
        return net

    def of(module: str, name: str, node: str = "LIFNode", **options: Any) -> nn.Module:
        build = getattr(jelly(f"model.{module}"), name)
        return multi(build(spiking_neuron=getattr(neuron, node), **lif, **options))

    image, events = (3, 32, 32), (2, 128, 128)
    for depth in (18, 34, 50):
        name = f"spiking_resnet{depth}"
        yield name, lambda name=name: of("spiking_resnet", name), image
    yield "spiking_resnet18, IF", lambda: of("spiking_resnet", "spiking_resnet18", "IFNode"), image
    for cnf in ("ADD", "AND", "IAND"):
        name = f"sew_resnet18, {cnf}"
        yield name, lambda cnf=cnf: of("sew_resnet", "sew_resnet18", cnf=cnf), image
    yield "spiking_vgg11_bn", lambda: of("spiking_vgg", "spiking_vgg11_bn", num_classes=10), image
    for name, shape in {
        "MNISTNet": (1, 28, 28),
        "CIFAR10Net": image,
        "NMNISTNet": (2, 34, 34),
        "CIFAR10DVSNet": events,
        "DVSGestureNet": events,
    }.items():
        plif = "ParametricLIFNode"
        yield (
            f"{name}, PLIF, 16 channels",
            lambda name=name, plif=plif: of("parametric_lif_net", name, plif, channels=16),
            shape,
        )
    examples = "examples.conv_fashion_mnist", "examples.rsnn_sequential_fmnist"
    yield "example CSNN, T=4", lambda: jelly(examples[0]).CSNN(4, 16), (1, 28, 28)
    for name in ("PlainNet", "StatefulSynapseNet", "FeedBackNet"):
        yield f"example {name}", lambda name=name: multi(getattr(jelly(examples[1]), name)()), (28,)


def newer_networks() -> Iterator[Network]:
    """Yield those that came with SpikingJelly 2.0."""
    image = (3, 32, 32)
    builders = {
        "ms_resnet18": "ms_resnet",
        "spikformer_cifar10": "spikformer",
        "qkformer_10_384": "qkformer",
        "sdt_8_384": "spike_driven_transformer",
        "maxformer_cifar": "maxformer",
        "ottt_spiking_vgg11": "spiking_vggws_ottt",
    }
    for name, module in builders.items():
        shape = (3, 224, 224) if "384" in name else image
        build = getattr(jelly(f"model.{module}"), name)
        yield name, build, shape
    yield (
        "example CIFAR10DVSVGG",
        jelly("examples.memopt.models").CIFAR10DVSVGG,
        (2, 48, 48),
    )


class _Loop(nn.Module):
    """snnTorch's tutorials loop over time steps and return spikes and potentials."""

    steps = 4

    def start(self) -> list[Any]:
        lifs = [child for name, child in self.named_children() if name.startswith("lif")]
        return [lif.reset_mem() for lif in lifs]  # type: ignore[operator]

    def forward(self, x: torch.Tensor) -> Any:
        potentials, spikes, last = self.start(), [], []
        for _ in range(self.steps):
            s, potentials = self.step(x, potentials)
            spikes.append(s)
            last.append(potentials[-1])
        return torch.stack(spikes), torch.stack(last)


class _Dense(_Loop):
    def __init__(self, snn: Any, **settings: Any) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(784, 1000), snn.Leaky(**settings)
        self.fc2, self.lif2 = nn.Linear(1000, 10), snn.Leaky(**settings)

    def step(self, x: torch.Tensor, potentials: list[Any]) -> Any:
        spk1, mem1 = self.lif1(self.fc1(x.flatten(1)), potentials[0])
        spk2, mem2 = self.lif2(self.fc2(spk1), potentials[1])
        return spk2, [mem1, mem2]


class _Convolutions(_Loop):
    def __init__(self, snn: Any, **settings: Any) -> None:
        super().__init__()
        self.conv1, self.lif1 = nn.Conv2d(1, 12, 5), snn.Leaky(**settings)
        self.conv2, self.lif2 = nn.Conv2d(12, 64, 5), snn.Leaky(**settings)
        self.fc1, self.lif3 = nn.Linear(64 * 4 * 4, 10), snn.Leaky(**settings)

    def step(self, x: torch.Tensor, potentials: list[Any]) -> Any:
        spk1, mem1 = self.lif1(F.max_pool2d(self.conv1(x), 2), potentials[0])
        spk2, mem2 = self.lif2(F.max_pool2d(self.conv2(spk1), 2), potentials[1])
        spk3, mem3 = self.lif3(self.fc1(spk2.flatten(1)), potentials[2])
        return spk3, [mem1, mem2, mem3]


def snntorch_networks() -> Iterator[Network]:
    """Yield the networks of snnTorch's tutorials, and neurons that it has besides."""
    snn = importlib.import_module("snntorch")
    image = (1, 28, 28)
    for words, settings in {
        "default reset": {},
        "reset zero": {"reset_mechanism": "zero"},
        "reset none": {"reset_mechanism": "none"},
        "learn_beta": {"learn_beta": True},
    }.items():
        for name, cls in {"dense": _Dense, "convolutions": _Convolutions}.items():
            yield (
                f"tutorial {name}, {words}",
                lambda cls=cls, given=settings: cls(snn, beta=0.95, **given),
                image,
            )
    hidden = {"beta": 0.5, "init_hidden": True}
    yield (
        "tutorial N-MNIST, nn.Sequential",
        lambda: nn.Sequential(
            nn.Conv2d(2, 12, 5),
            nn.MaxPool2d(2),
            snn.Leaky(**hidden),
            nn.Conv2d(12, 32, 5),
            nn.MaxPool2d(2),
            snn.Leaky(**hidden),
            nn.Flatten(),
            nn.Linear(32 * 5 * 5, 10),
            snn.Leaky(**hidden, output=True),
        ),
        (2, 34, 34),
    )
    yield (
        "Synaptic",
        lambda: nn.Sequential(nn.Linear(784, 10), snn.Synaptic(0.9, 0.8, init_hidden=True)),
        (784,),
    )


def row(package: str, network: Network, prove: Callable[..., Any]) -> str:
    """Return one line of the table."""
    name, build, shape = network
    torch.manual_seed(0)
    try:
        proof = prove(build(), input_shape=shape)[1]
    except ImportError as error:
        return f"| {package} | {name} | not tried | {error} |"
    except RatebpError as error:
        return f"| {package} | {name} | refused | {str(error).partition('. ')[0]} |"
    cells = sum(each.cells for each in proof.rows)
    least = min(each.driven_rate for each in proof.rows)
    how = [note for note in proof.notes if "its forward" in note or "not returned" in note]
    words = f"{len(proof.rows)} neurons, {cells:,} spikes equal; driven rate at least {least:.2f}"
    return f"| {package} | {name} | imported | {'; '.join([words, *how])} |"


def main() -> None:
    """Print the rows of what is installed."""
    warnings.simplefilter("ignore")
    out = sys.stdout.write
    try:
        package = f"SpikingJelly {version('spikingjelly')}"
    except ImportError:
        package = ""
    networks = [] if not package else [*jelly_networks()]
    if package.partition(" ")[2].startswith("2"):
        networks += newer_networks()
    for each in networks:
        out(row(package, each, of_spikingjelly) + "\n")
    try:
        package = f"snnTorch {version('snntorch')}"
    except ImportError:
        return
    for each in snntorch_networks():
        out(row(package, each, of_snntorch) + "\n")


if __name__ == "__main__":
    main()
