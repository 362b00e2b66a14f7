"""Identities that need an oracle of their own; those between methods are in the contract tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import ratebp
from ratebp.dynamics import Dynamics
from ratebp.ops import lif_scan, naive_lif_scan, norm_replay, spike
from ratebp.testing import problem, seeded_step
from ratebp.testing.gradients import gradients_of

SIZES = (7, 11, 9, 8, 5)


def mlp(**neuron: object) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(SIZES[:-1]):
        layers += [nn.Linear(n_in, n_out), ratebp.LIF(**neuron)]  # type: ignore[arg-type]
    model = nn.Sequential(*layers, nn.Linear(SIZES[-2], SIZES[-1])).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)  # so that every layer spikes
    return model


def data(timesteps: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 2 * torch.randn(timesteps, 6, 7, dtype=torch.float64), torch.arange(6) % 5


def oracle(
    model: nn.Sequential, x: Tensor, y: Tensor, *, cut: bool, per_step: bool
) -> list[Tensor]:
    """Plain autograd through an unrolled loop, written without any of the library's operators."""
    potentials: dict[int, Tensor] = {}
    outputs = []
    for now in x.unbind(0):
        h = now
        for index, layer in enumerate(model):
            if isinstance(layer, nn.Linear):
                h = h @ layer.weight.T + layer.bias
                continue
            d: Dynamics = layer.dynamics
            before = potentials.get(index, torch.zeros_like(h))
            u = (before.detach() if cut else before) + h
            s = spike(u, d.threshold, d.surrogate)
            reset = s.detach() if d.detach_reset else s
            soft = d.decay * (u - d.threshold * reset)
            potentials[index] = soft if d.reset == "soft" else d.decay * u * (1 - reset)
            h = s
        outputs.append(h)
    if per_step:
        loss = torch.stack([F.cross_entropy(o, y) for o in outputs]).mean()
    else:
        loss = F.cross_entropy(torch.stack(outputs).mean(0), y)
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize(
    ("name", "options", "cut", "per_step"),
    [
        ("bptt_m", {"loss_mode": "mean"}, False, False),
        ("bptt_s", {"loss_mode": "per_step"}, False, True),
        ("sltt", {}, True, True),  # E3
    ],
)
def test_e3_bptt_and_sltt_equal_an_unrolled_loop(
    name: str, options: dict[str, str], cut: bool, per_step: bool, reset: str, detach_reset: bool
) -> None:
    model = mlp(decay=0.6, threshold=0.9, reset=reset, detach_reset=detach_reset)
    x, y = data(5)
    got = gradients_of(name, model, x, y, **options)
    for a, b in zip(got, oracle(model, x, y, cut=cut, per_step=per_step), strict=True):
        assert float(b.norm()) > 0
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def traced_loop(model: nn.Sequential, x: Tensor, y: Tensor, after_step: Callable[[], None]) -> None:
    """OTTT by autograd: a term of value zero carries each weight's gradient at its trace."""
    potentials: dict[int, Tensor] = {}
    traces: dict[int, Tensor] = {}
    ones = 0.0
    for now in x.unbind(0):
        h, ones = now, 0.5 * ones + 1
        for index, layer in enumerate(model):
            if isinstance(layer, nn.Linear):
                traces[index] = 0.5 * traces.get(index, torch.zeros_like(h)) + h.detach()
                weight, bias = layer.weight, layer.bias
                zero = traces[index] @ (weight - weight.detach()).T + ones * (bias - bias.detach())
                h = h @ weight.detach().T + bias.detach() + zero
                continue
            u = potentials.get(index, torch.zeros_like(h)) + h
            h = spike(u, layer.dynamics.threshold, layer.dynamics.surrogate)
            potentials[index] = (0.5 * (u - layer.dynamics.threshold * h)).detach()
        (F.cross_entropy(h, y) / x.shape[0]).backward()
        after_step()


def test_ottt_a_equals_an_unrolled_loop_with_traces() -> None:
    x, y = data(4)
    model = mlp(decay=0.5)
    got = gradients_of("ottt_a", model, x, y)
    model.zero_grad()
    traced_loop(model, x, y, lambda: None)
    for a, p in zip(got, model.parameters(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(a, p.grad, rtol=1e-12, atol=1e-14)


def test_ottt_o_equals_an_unrolled_loop_with_an_update_after_each_step() -> None:
    x, y = data(4)
    model, twin = mlp(decay=0.5), mlp(decay=0.5)
    start = [p.detach().clone() for p in model.parameters()]
    context = ratebp.StepContext(torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9))
    ratebp.methods.get("ottt_o").bind(model, 4).step(x, y, context=context)
    other = ratebp.StepContext(torch.optim.SGD(twin.parameters(), lr=0.3, momentum=0.9))
    traced_loop(twin, x, y, other.update)
    for before, a, b in zip(start, model.parameters(), twin.parameters(), strict=True):
        assert not torch.equal(a, before)
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def cosine(a: list[Tensor], b: list[Tensor]) -> float:
    flat = [torch.cat([g.flatten() for g in gs]) for gs in (a, b)]
    return float(F.cosine_similarity(flat[0], flat[1], dim=0))


def test_rate_gradients_approach_bptt_as_t_grows_without_norm() -> None:
    """The independence assumptions hold better with more steps (A1 and A2 of the paper)."""
    cosines = []
    for timesteps in (2, 4, 8):
        x, y = data(1)
        x = x.expand(timesteps, -1, -1)
        model = mlp()
        rate = gradients_of("rate_m", model, x, y)
        cosines.append(cosine(rate, gradients_of("bptt_m", model, x, y)))
    assert 0.9 < cosines[0] < cosines[1] < cosines[2] < 1


def test_online_gradients_point_along_bptt_but_are_not_equal() -> None:
    x, y = data(4)
    model = mlp(decay=0.5)
    exact = gradients_of("bptt_s", model, x, y, loss_mode="per_step")
    for name in ("sltt", "ottt_a"):
        assert 0.7 < cosine(gradients_of(name, model, x, y), exact) < 1 - 1e-6


@pytest.mark.parametrize("name", ["rate_m", "rate_s"])
def test_e15_rate_logits_are_the_mean_of_the_spiking_logits(name: str) -> None:
    """E15, on a residual net with batch norm and an input that changes over time."""
    case = problem(norm="batch", timesteps=5)
    twin = problem(norm="batch", timesteps=5)
    got = ratebp.methods.get(name).bind(case.model, 5).step(case.x, case.y).logits
    exact = "bptt_m" if name == "rate_m" else "bptt_s"
    want = ratebp.methods.get(exact).bind(twin.model, 5).step(twin.x, twin.y).logits
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_e21_the_joint_norms_closed_form_sums_the_true_gradient_over_time() -> None:
    """E21 and E17: upstream gradient constant in time, batch norm over T*B jointly."""
    torch.manual_seed(0)
    timesteps, batch, channels = 4, 5, 3
    c = torch.randn(timesteps, batch, channels, 2, 3, dtype=torch.float64, requires_grad=True)
    norm = nn.BatchNorm2d(channels).double()
    nn.init.uniform_(norm.weight, 0.5, 2)
    upstream = torch.randn(batch, channels, 2, 3, dtype=torch.float64)
    mean_out = norm(c.flatten(0, 1)).unflatten(0, (timesteps, batch)).mean(0)
    true = torch.autograd.grad((mean_out * upstream).sum(), [c, norm.weight, norm.bias])

    flat = c.detach().flatten(0, 1)
    variance, mean = torch.var_mean(flat, (0, 2, 3), correction=0)
    inv_std = torch.rsqrt(variance + norm.eps)
    rates = c.detach().mean(0).requires_grad_()
    view = (1, channels, 1, 1)
    xhat = (rates.detach() - mean.view(view)) * inv_std.view(view)
    assert float(xhat.mean((0, 2, 3)).abs().max()) < 1e-14  # E17: mu_c = mu
    assert (xhat.pow(2).mean((0, 2, 3)) <= 1).all()  # E17: sigma_c <= sigma
    out = norm_replay(rates, norm.weight, norm.bias, xhat, inv_std)
    torch.testing.assert_close(out, mean_out)
    got = torch.autograd.grad((out * upstream).sum(), [rates, norm.weight, norm.bias])
    torch.testing.assert_close(got[0], true[0].sum(0), rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(got[1], true[1], rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(got[2], true[2], rtol=1e-11, atol=1e-14)
    assert float(got[0].sum((0, 2, 3)).abs().max()) < 1e-13  # E17: dc sums to zero


@pytest.mark.parametrize("name", ["rate_m", "rate_s"])
@pytest.mark.parametrize("timesteps", [1, 4])
def test_rate_needs_t_plus_2_network_forwards(name: str, timesteps: int) -> None:
    model = ratebp.models.build("tiny_resnet", in_channels=1)
    x, y = ratebp.direct(torch.randn(2, 1, 28, 28), timesteps), torch.tensor([1, 2])
    bound = ratebp.methods.get(name).bind(model, timesteps)

    def flops(run: Callable[[], object]) -> int:
        with FlopCounterMode(display=False) as counter:
            run()
        return counter.get_total_flops()

    forward = flops(lambda: ratebp.infer(model, x[:1]))
    first = flops(lambda: next(m for m in model.modules() if isinstance(m, nn.Conv2d))(x[0]))
    # The backward is two forwards of arithmetic, less the first layer's gradient by its input.
    # Layer by layer, the first layer convolves a constant input once.
    again = timesteps - 1 if name == "rate_m" else 0
    assert flops(lambda: bound.step(x, y)) == (timesteps + 2) * forward - (1 + again) * first
    assert flops(lambda: bound.step(x.contiguous(), y)) == (timesteps + 2) * forward - first


class WrittenElements(TorchDispatchMode):
    """Counts the elements that operators write."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and not func.is_view:
            self.total += out.numel()
        return out


@pytest.mark.parametrize("scan", [lif_scan, naive_lif_scan])
def test_the_scans_backward_is_linear_in_t(scan: object) -> None:
    """Indexing current[t] would write T full-length gradients: quadratic."""
    written = {}
    for timesteps in (8, 16, 32):
        current = torch.randn(timesteps, 4, requires_grad=True)
        out = scan(current, Dynamics()).sum()  # type: ignore[operator]
        with WrittenElements() as counter:
            out.backward()
        written[timesteps] = counter.total
    assert written[32] - written[16] == 2 * (written[16] - written[8])


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("name", ratebp.methods.names())
def test_a_methods_step_is_linear_in_t(name: str) -> None:
    written = {}
    for timesteps in (4, 8, 16):
        case = problem(timesteps=timesteps)
        bound = ratebp.methods.get(name).bind(case.model, timesteps)
        with WrittenElements() as counter:
            seeded_step(bound, case.x, case.y)
        written[timesteps] = counter.total
    assert written[16] - written[8] == 2 * (written[8] - written[4]), written
