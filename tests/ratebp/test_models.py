"""The networks have the papers' structure: counts, map sizes, biases, wiring, initialisation."""

from __future__ import annotations

import math
from itertools import groupby

import pytest
import torch
from torch import Tensor, fx, nn

from ratebp import models
from ratebp.neurons import LIF
from ratebp.norms import ScaledWSConv2d

EVERY = [
    name
    for name in models.names()
    if "width" in models.get(name).options and "hidden" not in models.get(name).options
]

# Parameters, neurons and batch norms at the default options.
COUNTS = {
    "tiny_resnet": (78_042, 7, 9),
    "resnet18": (11_173_962, 17, 20),
    "resnet19": (12_697_994, 18, 19),
    "vgg11": (11_001_354, 8, 8),
    "vgg13": (9_416_010, 10, 10),
    "vggsnn": (9_271_498, 8, 8),
    "sew_resnet34": (21_806_184, 36, 36),
    "preact_resnet34": (21_806_184, 32, 36),
    "nf_resnet34": (21_797_688, 32, 0),
    "ottt_vgg11": (9_228_362, 8, 0),
    "sltt_resnet18": (11_176_906, 17, 17),
    "sltt_vgg11": (9_476_298, 8, 8),
    "os_resnet19": (14_669_834, 17, 19),
    "ms_resnet18": (11_693_736, 17, 21),
    "ms_resnet34": (21_801_896, 33, 37),
    "ms_resnet104": (77_350_504, 103, 107),
}


def meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return models.build(name, **options)


def swap(model: nn.Module) -> dict[str, nn.Module]:
    """Put a stand-in that runs where each neuron was; give the stand-ins by path."""
    paths = [path for path, module in model.named_modules() if isinstance(module, LIF)]
    for path in paths:
        model.set_submodule(path, nn.Identity())
    return {path: model.get_submodule(path) for path in paths}


def of_type(model: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, kind)]


class LeafTracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return isinstance(module, LIF | ScaledWSConv2d) or super().is_leaf_module(module, path)


def test_the_list_of_counts_covers_every_network() -> None:
    assert set(COUNTS) == set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_counts_of_parameters_neurons_and_norms(name: str) -> None:
    parameters, neurons, norms = COUNTS[name]
    model = meta(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert len(of_type(model, LIF)) == neurons
    assert len(of_type(model, nn.BatchNorm2d)) == norms


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("size", [(16, 16), (28, 28), (32, 32), (48, 48), (33, 47)])
def test_any_image_size_gives_one_row_of_logits_an_image(name: str, size: tuple[int, int]) -> None:
    if name == "sltt_vgg11" and min(size) < 32:
        pytest.skip("sltt_vgg11 halves the map five times")
    model = meta(name, num_classes=7, in_channels=2)
    swap(model)
    assert model(torch.empty(3, 2, *size, device="meta")).shape == (3, 7)


# Side of the input; side and channels of the maps at the neurons, and how many share them.
MAPS = {
    "tiny_resnet": (32, [(32, 16, 3), (16, 32, 2), (8, 64, 2)]),
    "resnet18": (32, [(32, 64, 5), (16, 128, 4), (8, 256, 4), (4, 512, 4)]),
    "resnet19": (32, [(32, 128, 7), (16, 256, 6), (8, 512, 4)]),
    "vgg11": (32, [(32, 64, 1), (16, 128, 1), (16, 256, 1), (8, 512, 2), (4, 512, 1), (2, 512, 2)]),
    "vgg13": (32, [(32, 64, 2), (16, 128, 2), (8, 256, 2), (4, 512, 3), (2, 512, 1)]),
    "vggsnn": (48, [(48, 64, 1), (48, 128, 1), (24, 256, 2), (12, 512, 2), (6, 512, 2)]),
    "sew_resnet34": (224, [(112, 64, 1), (56, 64, 6), (28, 128, 9), (14, 256, 13), (7, 512, 7)]),
    "preact_resnet34": (224, [(56, 64, 7), (28, 128, 8), (14, 256, 12), (7, 512, 5)]),
    "nf_resnet34": (224, [(56, 64, 7), (28, 128, 8), (14, 256, 12), (7, 512, 5)]),
    "ottt_vgg11": (32, [(32, 64, 1), (32, 128, 1), (16, 256, 2), (8, 512, 2), (4, 512, 2)]),
    "sltt_resnet18": (32, [(32, 64, 5), (16, 128, 4), (8, 256, 4), (4, 512, 4)]),
    "sltt_vgg11": (48, [(48, 64, 1), (24, 128, 1), (12, 256, 2), (6, 512, 2), (3, 512, 2)]),
    "os_resnet19": (32, [(32, 128, 7), (16, 256, 6), (8, 512, 4)]),
    "ms_resnet18": (
        224,
        [(112, 64, 1), (56, 64, 4), (28, 128, 4), (14, 256, 4), (7, 512, 4)],
    ),
    "ms_resnet34": (
        224,
        [(112, 64, 1), (56, 64, 6), (28, 128, 8), (14, 256, 12), (7, 512, 6)],
    ),
    "ms_resnet104": (
        224,
        [(112, 64, 1), (56, 64, 6), (28, 128, 16), (14, 256, 64), (7, 512, 16)],
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_map_sizes_at_the_neurons_and_one_call_of_each(name: str) -> None:
    side, expected = MAPS[name]
    channels = models.get(name).defaults["in_channels"]
    model = meta(name, in_channels=channels)
    calls: dict[str, list[torch.Size]] = {path: [] for path in swap(model)}
    for path, seen in calls.items():
        module = model.get_submodule(path)
        module.register_forward_hook(lambda _m, _x, out, seen=seen: seen.append(out.shape))
    model(torch.empty(2, channels, side, side, device="meta"))
    assert {path: len(seen) for path, seen in calls.items()} == dict.fromkeys(calls, 1)
    maps = [(seen[0][2], seen[0][1]) for seen in calls.values() if len(seen[0]) == 4]
    assert [(*here, len(list(run))) for here, run in groupby(maps)] == expected


def test_resnet19_has_a_spiking_hidden_layer() -> None:
    head = meta("resnet19", num_classes=10).get_submodule("head")
    assert [type(layer) for layer in head] == [nn.Linear, LIF, nn.Linear]
    assert (head[0].in_features, head[0].out_features) == (512, 256)


def test_the_norms_of_os_come_after_the_additions_and_in_its_silent_head() -> None:
    nodes, modules = graph("os_resnet19")
    blocks = [n for n in nodes.nodes if str(n.target).endswith("lif") and "first" not in n.target]
    norms = [n.args[0] for n in blocks if n.target.startswith("stages")]
    assert [kind(norm.args[0], modules) for norm in norms] == ["add"] * 8
    head = meta("os_resnet19").get_submodule("head")
    assert [type(layer) for layer in head] == [nn.Linear, nn.BatchNorm1d, nn.Linear]
    assert (head[0].in_features, head[0].out_features) == (8192, 256)


def test_vggsnn_equals_its_event_form_on_48_by_48() -> None:
    model = models.build("vggsnn", width=0.05)
    swap(model)
    x = torch.rand(2, 2, 48, 48, generator=torch.Generator().manual_seed(0))
    adaptive = model(x)
    model.pool = nn.AvgPool2d(2)
    torch.testing.assert_close(model(x), adaptive)
    assert model.head.in_features == 9 * round(512 * 0.05)


def graph(name: str) -> tuple[fx.Graph, dict[str, nn.Module]]:
    model = meta(name)
    return LeafTracer().trace(model), dict(model.named_modules())


def kind(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    return type(modules[node.target]).__name__ if node.op == "call_module" else node.name[:3]


def before_neurons(name: str) -> dict[str, int]:
    """What feeds the neurons, counted by kind, seen through torch.fx."""
    nodes, modules = graph(name)
    found: dict[str, int] = {}
    for node in nodes.nodes:
        if kind(node, modules) == "LIF":
            source = kind(node.args[0], modules)
            found[source] = found.get(source, 0) + 1
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny_resnet", {"BatchNorm2d": 4, "add": 3}),
        ("resnet18", {"BatchNorm2d": 9, "add": 8}),
        ("resnet19", {"BatchNorm2d": 9, "add": 8, "Linear": 1}),
        ("vgg11", {"BatchNorm2d": 8}),
        ("vgg13", {"BatchNorm2d": 10}),
        ("vggsnn", {"BatchNorm2d": 8}),
        ("sew_resnet34", {"BatchNorm2d": 36}),
        ("preact_resnet34", {"BatchNorm2d": 16, "add": 15, "MaxPool2d": 1}),
        ("nf_resnet34", {"ScaledWSConv2d": 16, "tru": 16}),
        ("ottt_vgg11", {"Identity": 8}),
        ("sltt_resnet18", {"BatchNorm2d": 17}),
        ("sltt_vgg11", {"BatchNorm2d": 8}),
        ("os_resnet19", {"BatchNorm2d": 17}),
        ("ms_resnet18", {"BatchNorm2d": 9, "add": 8}),
    ],
)
def test_what_feeds_the_neurons(name: str, expected: dict[str, int]) -> None:
    assert before_neurons(name) == expected


@pytest.mark.parametrize(
    ("name", "source"),
    [("resnet18", "LIF"), ("vgg11", "LIF"), ("sew_resnet34", "add"), ("preact_resnet34", "add")],
)
def test_what_the_last_pool_averages(name: str, source: str) -> None:
    nodes, modules = graph(name)
    pool = next(node for node in nodes.nodes if kind(node, modules) == "AdaptiveAvgPool2d")
    assert kind(pool.args[0], modules) == source


def test_shortcuts_take_the_raw_input_of_the_block() -> None:
    nodes, modules = graph("preact_resnet34")
    shortcuts = [n for n in nodes.nodes if str(n.target).endswith("shortcut.conv")]
    assert len(shortcuts) == 3
    assert {kind(node.args[0], modules) for node in shortcuts} == {"add"}
    for node in shortcuts:
        assert any(kind(user, modules) == "LIF" for user in node.args[0].users)


@pytest.mark.parametrize("name", EVERY)
def test_convolution_biases(name: str) -> None:
    first, *others = [conv.bias is not None for conv in of_type(meta(name), nn.Conv2d)]
    plain = name in ("tiny_resnet", "resnet18", "resnet19", "ms_resnet18", "ms_resnet34")
    if name == "ms_resnet104":  # the stem of three alone
        assert [first, *others[:2]] == [True] * 3
        first, others, plain = False, others[2:], True
    assert set(others) == {not plain}
    assert first == (not plain and name != "sltt_resnet18")
    assert all(linear.bias is not None for linear in of_type(meta(name), nn.Linear))


@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vggsnn"])
def test_vgg_weights_are_drawn_with_a_standard_deviation_of_one_half(name: str) -> None:
    torch.manual_seed(0)
    model = models.build(name, width=0.25, num_classes=1000)
    for layer in of_type(model, nn.Conv2d)[1:] + of_type(model, nn.Linear):
        assert layer.weight.std().item() == pytest.approx(0.5, rel=0.02)
        assert layer.weight.mean().item() == pytest.approx(0, abs=0.02)
        assert not layer.bias.any()


@pytest.mark.parametrize("name", ["sew_resnet34", "preact_resnet34"])
def test_residual_34_weights_are_drawn_by_fan_out(name: str) -> None:
    torch.manual_seed(0)
    convs = of_type(models.build(name, width=0.5), nn.Conv2d)
    for conv in (conv for conv in convs if conv.weight.numel() > 20_000):
        fan_out = conv.out_channels * conv.kernel_size[0] ** 2
        assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)


@pytest.mark.parametrize("name", ["tiny_resnet", "vgg11", "sew_resnet34", "preact_resnet34"])
def test_one_graph_under_compile_and_inputs_left_alone(name: str) -> None:
    model = models.build(name, width=0.05, in_channels=1, num_classes=5).eval()
    swap(model)
    x = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    kept = x.clone()
    with torch.no_grad():
        expected: Tensor = model(x)
        compiled: Tensor = torch.compile(model, fullgraph=True, backend="eager")(x)
    torch.testing.assert_close(compiled, expected)
    assert torch.equal(x, kept)
