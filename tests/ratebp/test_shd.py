"""The networks for spoken digits: counts, neurons and loss against loops written by hand."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp import losses, models
from ratebp.errors import BindError, OptionError
from ratebp.neurons import LI, HeterogeneousLIF, Recurrent

STEPS, BATCH = 4, 5
EXACT = ("bptt_m", "bptt_s", "tbptt")


@pytest.mark.parametrize(
    ("size", "forward", "recurrent"),
    [("128", 109_372, 142_140), ("512", 633_916, 1_158_204), ("1024", 1_792_060, 3_889_212)],
)
def test_parameters_are_the_published_ones(size: str, forward: int, recurrent: int) -> None:
    for flag, count in ((False, forward), (True, recurrent)):
        with torch.device("meta"):
            model = models.build("shd_net", size=size, recurrent=flag)
        assert sum(p.numel() for p in model.parameters()) == count


def boxcar(u: Tensor) -> Tensor:
    """Heaviside with a derivative of 1 within half a unit of the threshold 1."""
    near = (u - 1).abs() <= 0.5
    slope = torch.where(near, u - u.detach(), torch.zeros_like(u))
    return (u >= 1).to(u) + slope


def loop(model: nn.Module, x: Tensor, *, joint: bool) -> list[Tensor]:
    """Run the network by hand; norms over all steps if `joint`, else of each."""
    now: list[Tensor] = list(x)
    for layer in model:
        if isinstance(layer, nn.BatchNorm1d) and joint:
            now = list(layer(torch.cat(now)).chunk(len(now)))
        elif isinstance(layer, Recurrent | HeterogeneousLIF | LI):
            now = run(layer, now)
        else:
            now = [layer(each) for each in now]
    return now


def run(layer: nn.Module, currents: list[Tensor]) -> list[Tensor]:
    neuron = layer.neuron if isinstance(layer, Recurrent) else layer
    decay = neuron.decay.clamp(neuron.fastest, neuron.slowest)
    u = s = torch.zeros_like(currents[0])
    out = []
    for current in currents:
        if isinstance(neuron, LI):
            u = decay * u + (1 - decay) * current
            out.append(u)
            continue
        heard = s @ layer.synapse.weight.T if isinstance(layer, Recurrent) else 0
        u = decay * (u - s) + (1 - decay) * (current + heard)
        s = boxcar(u)
        out.append(s)
    return out


def case(*, recurrent: bool) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    options = {"in_channels": 12, "num_classes": 6, "recurrent": recurrent}
    model = models.build("shd_net", size="tiny", **options).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 2, 6)
        if hasattr(module, "decay"):
            with torch.no_grad():
                module.decay[0] = 0.1  # below the fastest, which has no gradient
    return model, torch.randn(STEPS, BATCH, 12, dtype=torch.float64), torch.arange(BATCH)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("method", EXACT)
def test_exact_methods_equal_a_loop_by_hand(method: str, recurrent: bool) -> None:
    model, x, y = case(recurrent=recurrent)
    by_hand = copy.deepcopy(model)
    steps = loop(by_hand, x, joint=method == "bptt_m")
    if method == "tbptt":
        want = torch.stack([F.cross_entropy(o, y) for o in steps]).mean()
    else:
        want = F.cross_entropy(torch.stack(steps).sum(0), y)
    want.backward()
    options = {"window": STEPS} if method == "tbptt" else {}
    loss = F.cross_entropy if method == "tbptt" else losses.get("sum_output", timesteps=STEPS)
    bound = ratebp.methods.get(method, **options).bind(model, STEPS)
    result = bound.step(x, y, loss=loss)
    torch.testing.assert_close(result.loss, want.detach(), rtol=1e-12, atol=0)
    for (name, got), wanted in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        assert got.grad is not None, name
        assert float(wanted.grad.norm()) > 0, name
        torch.testing.assert_close(got.grad, wanted.grad, rtol=1e-9, atol=1e-13, msg=name)
    for got, wanted in zip(model.buffers(), by_hand.buffers(), strict=True):
        if method != "tbptt":
            torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("method", ratebp.methods.names())
def test_every_other_method_names_what_it_cannot_train(method: str) -> None:
    model, _, _ = case(recurrent=False)
    if method in EXACT:
        ratebp.methods.get(method).bind(model, STEPS)
        return
    with pytest.raises(BindError, match=r"HeterogeneousLIF|LI|Softmax|softmax"):
        ratebp.methods.get(method).bind(model, STEPS)


def test_inference_runs_the_integrator() -> None:
    model, x, _ = case(recurrent=True)
    got = ratebp.infer(model, x)
    want = torch.stack(loop(model.eval(), x, joint=False)).mean(0)
    torch.testing.assert_close(got, want)


def test_the_sum_needs_a_number_of_steps_and_a_method_that_sees_them_all() -> None:
    with pytest.raises(OptionError, match="timesteps"):
        losses.get("sum_output", timesteps=0)
    model, x, y = case(recurrent=False)
    with pytest.raises(OptionError, match="mean"):
        ratebp.methods.get("tbptt").bind(model, STEPS).step(
            x, y, loss=losses.get("sum_output", timesteps=STEPS)
        )


def test_decays_of_another_number_of_features_are_refused_by_size() -> None:
    model = nn.Sequential(nn.Linear(3, 4), HeterogeneousLIF(5), nn.Linear(4, 2))
    with pytest.raises(OptionError, match=r"decays for 5 features, but gets \(2, 4\)"):
        ratebp.methods.get("bptt_s").bind(model, 2).step(torch.randn(2, 2, 3), torch.arange(2))
    with pytest.raises(OptionError, match=r"fastest=0\.9 is above slowest=0\.5"):
        LI(3, 0.9, 0.5)
