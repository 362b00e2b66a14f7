"""BPTT checkpointed over layers: exact (E11), one forward more, pieces as small as one layer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import ratebp
from harness.trial.exact.tracker import LiveBytes
from ratebp.errors import BindError, OptionError
from ratebp.testing import Problem, problem, seeded_step
from ratebp.testing.distributed import gradients_of_two_processes
from ratebp.testing.gradients import differences, gradients

RTOL = 1e-12
RESETS = tuple(itertools.product(("soft", "hard"), (True, False)))
OVER = ({"over": "layers"}, {"over": "both"}, {"over": "both", "segment": 3})


def ckpt(**options: Any) -> Any:
    return ratebp.methods.get("bptt_ckpt", **options)


def bptt(**options: Any) -> Any:
    return ratebp.methods.get("bptt_s", **options)


def after_a_step(method: Any, case: Problem) -> dict[str, Tensor]:
    """Return gradients, buffers, loss and logits after one step."""
    case.model.zero_grad()
    result = seeded_step(method.bind(case.model, case.timesteps), case.x, case.y)
    found = {f"grad {n}": p.grad for n, p in case.model.named_parameters() if p.grad is not None}
    return found | dict(case.model.named_buffers()) | {"loss": result.loss, "logits": result.logits}


def same(method: Any, reference: Any, make: Any) -> list[str]:
    """Return the names of what differs after a step."""
    got, want = after_a_step(method, make()), after_a_step(reference, make())
    assert got.keys() == want.keys()
    return [n for n in want if not torch.allclose(got[n], want[n], RTOL, RTOL)]


@pytest.mark.parametrize("norm", ["none", "batch", "frozen"])
@pytest.mark.parametrize(("reset", "detach"), RESETS)
@pytest.mark.parametrize("options", OVER, ids=str)
def test_e11_gradients_and_buffers_are_those_of_bptt(
    options: dict[str, Any], reset: str, detach: bool, norm: str
) -> None:
    def make() -> Problem:
        return problem(norm=norm, timesteps=5, reset=reset, detach_reset=detach)

    for mode in ("mean", "per_step"):
        assert same(ckpt(loss_mode=mode, **options), bptt(loss_mode=mode), make) == []


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_over_layers_gradients_are_those_of_bptt_to_the_bit(norm: str) -> None:
    got = after_a_step(ckpt(over="layers"), problem(norm=norm, timesteps=4))
    want = after_a_step(bptt(), problem(norm=norm, timesteps=4))
    assert got.keys() == want.keys()
    assert [name for name in want if not torch.equal(got[name], want[name])] == []


@pytest.mark.parametrize("options", OVER, ids=str)
def test_inputs_and_parts_train_as_in_bptt(options: dict[str, Any]) -> None:
    def head_alone() -> Problem:
        case = problem(norm="batch")
        for name, parameter in case.model.named_parameters():
            parameter.requires_grad_(name.startswith("head"))
        return case

    assert same(ckpt(**options), bptt(), head_alone) == []
    found = []
    for method in (ckpt(**options), bptt()):
        case = problem(timesteps=4)
        x = case.x.clone().requires_grad_()
        method.bind(case.model, 4).step(x, case.y)
        assert x.grad is not None
        found.append({"x": x.grad})
    assert differences(*found, rtol=RTOL) == {}


def dropping(timesteps: int) -> Problem:
    case = problem(norm="batch", timesteps=timesteps)
    case.model.lif1 = nn.Sequential(nn.Dropout(0.3), case.model.lif1, nn.Dropout(0.2))  # type: ignore[arg-type]
    return case


@pytest.mark.parametrize("options", OVER, ids=str)
def test_dropout_draws_the_same_masks_again(options: dict[str, Any]) -> None:
    """Over one step the draws come in BPTT's order; over many, in that of the layers."""
    assert same(ckpt(**options), bptt(), lambda: dropping(1)) == []
    assert same(ckpt(**options), ckpt(over="layers"), lambda: dropping(5)) == []
    states = []
    with torch.random.fork_rng(devices=[]):
        for method in (ckpt(**options), bptt()):
            torch.manual_seed(3)
            case = dropping(5)
            method.bind(case.model, 5).step(case.x, case.y)
            states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("options", OVER, ids=str)
def test_autocast_holds_in_the_recomputation(options: dict[str, Any]) -> None:
    class Outside(ratebp.StepContext):
        def backward(self, loss: Tensor) -> None:
            with torch.autocast("cpu", enabled=False):
                super().backward(loss)

    found = []
    for method in (ckpt(**options), bptt()):
        case = problem(norm="batch", timesteps=4, dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            method.bind(case.model, 4).step(case.x, case.y, context=Outside())
        found.append({n: p.grad for n, p in case.model.named_parameters()})
    assert all(g is not None and g.dtype == torch.float32 for g in found[0].values())
    assert differences(*found, rtol=1e-2) == {}  # type: ignore[arg-type]


class Watched(ratebp.StepContext):
    def __init__(self, watch: Any) -> None:
        super().__init__()
        self.watch = watch

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        with self.watch(name):
            yield


def tracked(method: Any, case: Problem) -> LiveBytes:
    bound = method.bind(case.model, case.timesteps)
    bound.step(case.x, case.y)
    grads = [p.grad for p in case.model.parameters() if p.grad is not None]
    tracker = LiveBytes([*case.model.parameters(), *case.model.buffers(), *grads, case.x, case.y])
    with tracker:
        bound.step(case.x, case.y, context=Watched(tracker.phase))
    return tracker


def test_what_is_kept_are_layer_inputs_and_potentials_at_borders() -> None:
    neurons = [3 * 4 * 7 * 7, 3 * 6 * 4 * 4, 3 * 6 * 4 * 4]  # batch 3
    potentials = 8 * sum(neurons)  # float64
    spikes = sum(-(-n // 8) for n in neurons)  # at one bit each
    logits = 8 * 3 * 5

    def kept(timesteps: int, **options: Any) -> int:
        case = problem(norm="batch", timesteps=timesteps)
        return tracked(ckpt(**options), case).at_entry("backward")

    layers, both = {"over": "layers"}, {"over": "both", "segment": 2}
    assert kept(8, **layers) - kept(4, **layers) == 4 * (spikes + logits)
    assert kept(8, **both) - kept(8, **layers) == 3 * potentials
    assert kept(8, over="both", segment=8) == kept(8, **layers)


def deep(timesteps: int, neurons: int = 8, convolutions: int = 1) -> Problem:
    """A chain of layers, each of some convolutions with norms in front of one neuron."""
    layers: list[nn.Module] = [nn.Conv2d(2, 8, 1, bias=False)]
    for _ in range(neurons):
        for _ in range(convolutions):
            layers += [nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)]
        layers.append(ratebp.LIF())
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.randn(timesteps, 2, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    return Problem(net, x, torch.tensor([0, 1]))


def test_peaks_and_pieces_are_ordered_as_the_docstring_says() -> None:
    """A deep net at T=4: what a piece adds shrinks with it, and short pieces beat keeping all."""
    ways: dict[str, dict[str, Any]] = {
        "time": {"over": "time"},
        "layers": {"over": "layers"},
        "both": {"over": "both"},
    }
    seen = {name: tracked(ckpt(**way), deep(4)) for name, way in ways.items()}
    peak = {name: each.peak() for name, each in seen.items()}
    added = {name: peak[name] - each.at_entry("backward") for name, each in seen.items()}
    assert added["both"] < added["layers"] < added["time"]
    assert peak["layers"] == min(peak.values())
    assert max(peak["layers"], peak["both"]) < tracked(bptt(), deep(4)).peak()


def test_both_pays_where_a_layer_outweighs_the_potentials_at_the_borders() -> None:
    def peak(**options: Any) -> int:
        return tracked(ckpt(**options), deep(8, neurons=2, convolutions=5)).peak()

    assert peak(over="both", segment=4) < min(peak(over="layers"), peak(over="time", segment=4))


@pytest.mark.parametrize("options", OVER, ids=str)
def test_the_cost_is_one_forward_more_and_all_of_it_in_the_backward(
    options: dict[str, Any],
) -> None:
    flops: dict[tuple[str, str], int] = {}
    for label, method in (("ckpt", ckpt(**options)), ("bptt", bptt())):
        case = problem(norm="batch", timesteps=5)

        @contextmanager
        def counted(phase: str, label: str = label) -> Iterator[None]:
            with FlopCounterMode(display=False) as counter:
                yield
            flops[label, phase] = counter.get_total_flops()

        method.bind(case.model, 5).step(case.x, case.y, context=Watched(counted))
    assert flops["ckpt", "forward"] == flops["bptt", "forward"] > 0
    assert flops["ckpt", "backward"] == flops["bptt", "backward"] + flops["bptt", "forward"]


@pytest.mark.deep
def test_two_processes_equal_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DDP around the chain of layers, each of which is recomputed in three segments."""
    source = (
        "from dataclasses import dataclass\n"
        "from ratebp.methods.ckpt.bptt_ckpt import BpttCkpt\n\n"
        "@dataclass(frozen=True)\n"
        "class Both(BpttCkpt):\n"
        "    over: str = 'both'\n"
    )
    (tmp_path / "ckpt_both.py").write_text(source)
    monkeypatch.setenv("RATEBP_PLUGINS", str(tmp_path / "ckpt_both.py"))
    alone = gradients(ckpt(over="both"), problem(batch=4))
    assert differences(gradients_of_two_processes("ckpt_both", tmp_path), alone, 1e-10) == {}


def changed(forward: Any) -> Problem:
    class Changed(type(problem().model)):  # type: ignore[misc]
        pass

    Changed.forward = forward
    case = problem()
    case.model.__class__ = Changed
    return case


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (
            lambda m, x: m.head(m.lif0(m.stem(x)) if x.sum() > 0 else x),
            r"cannot be cut into pieces",
        ),
        (
            lambda m, x: m.head(m.conv1(nn.functional.dropout(m.lif0(m.stem(x)), 0.1, m.training))),
            r"self\.training.*nn\.Dropout",
        ),
    ],
)
def test_forwards_that_cannot_be_cut_are_refused(forward: Any, message: str) -> None:
    case = changed(forward)
    wiring = ratebp.wiring.trace(problem().model)
    with pytest.raises(BindError, match=message):
        ckpt(over="layers").bind(case.model, 3, wiring=wiring)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_change_in_place_across_layers_is_refused(frozen: bool) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        current = m.stem(x)
        spikes = m.lif0(current)
        current.add_(spikes)  # in the layer after that of `current`
        out: Tensor = m.head(m.conv1(current))
        return out

    case = changed(forward)
    case.model.stem.requires_grad_(not frozen)  # type: ignore[union-attr]
    with pytest.raises(BindError, match=r"tensor of an earlier layer.*over='time'"):
        ckpt(over="layers").bind(case.model, 3).step(case.x, case.y)
    assert same(ckpt(over="time"), bptt(), lambda: changed(forward)) == []


def test_a_size_may_cross_layers() -> None:
    """A layer behind a neuron reads it from a tensor that it is handed, whose shape is known."""

    def forward(m: Any, x: Tensor) -> Tensor:
        a = m.stem(x)
        size, wide = x.shape[0], a.shape[-1] * a.size(2)
        b = m.conv1(m.lif0(a))
        out: Tensor = m.head(
            m.conv2(m.lif1(b.view(size, -1, b.shape[2], b.shape[3]) * (wide / 49)))
        )
        return out.view(size, -1)

    for over in ("layers", "both"):
        assert same(ckpt(over=over), bptt(), lambda: changed(forward)) == []


def test_a_segment_over_layers_alone_is_refused() -> None:
    with pytest.raises(OptionError, match="over='layers' has no segment=2"):
        ckpt(over="layers", segment=2)
