"""The controls against plain networks written out: one spiking step, and no spikes at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.errors import OptionError
from ratebp.ops import spike
from ratebp.testing import Problem, problem, seeded_step


class Same(nn.Module):
    """The test network's forward with any activation in the neurons' places."""

    def __init__(self, model: Any, activation: Any) -> None:
        super().__init__()
        self.model, self.activation = model, activation

    def forward(self, x: Tensor) -> Tensor:
        m, f = self.model, self.activation
        a = f(m.norm0(m.stem(x)))
        p = m.norm2(m.conv2(f(m.norm1(m.conv1(a)))))
        out: Tensor = m.head(f(p + m.norm3(m.shortcut(a))))
        return out


def surrogate_spike(u: Tensor) -> Tensor:
    d = ratebp.LIF().dynamics
    return spike(u, d.threshold, d.surrogate)


def differs(case: Problem, result: ratebp.Result, logits: Tensor) -> float:
    """Compare loss, logits and all gradients with those of `logits`; return the gradients' norm."""
    got = [p.grad for p in case.model.parameters()]
    loss = F.cross_entropy(logits, case.y)
    want = torch.autograd.grad(loss, list(case.model.parameters()))
    torch.testing.assert_close(result.logits, logits.detach(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(result.loss, loss.detach(), rtol=1e-12, atol=1e-13)
    for a, b in zip(got, want, strict=True):
        assert a is not None
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)
    return float(torch.cat([g.flatten() for g in want]).norm())


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(("name", "activation"), [("ann", torch.relu), ("t1", surrogate_spike)])
def test_a_control_is_one_forward_of_the_mean_frame(name: str, activation: Any, norm: str) -> None:
    case = problem(norm=norm, timesteps=4)
    result = seeded_step(ratebp.methods.get(name).bind(case.model, 4), case.x, case.y)
    logits = Same(case.model, activation)(case.x.mean(0))
    assert differs(case, result, logits) > 1e-2


def test_ann_may_see_each_frame() -> None:
    case = problem(norm="batch", timesteps=4)
    method = ratebp.methods.get("ann", frames_seen="each")
    result = seeded_step(method.bind(case.model, 4), case.x, case.y)
    logits = Same(case.model, torch.relu)(case.x.flatten(0, 1)).unflatten(0, (4, -1)).mean(0)
    assert differs(case, result, logits) > 1e-2


@pytest.mark.parametrize("name", ["ann", "t1"])
def test_plain_is_the_controls_own_forward(name: str) -> None:
    case = problem(norm="frozen", timesteps=3)
    bound = ratebp.methods.get(name).bind(case.model, 3)
    before = {n: b.clone() for n, b in case.model.named_buffers()}
    activation = torch.relu if name == "ann" else surrogate_spike
    want = Same(case.model, activation)(case.x.mean(0)).detach()
    got = bound.plain(case.x)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    assert not got.requires_grad
    for buffer_name, buffer in case.model.named_buffers():
        assert torch.equal(buffer, before[buffer_name])
    with pytest.raises(OptionError, match="bound to timesteps=3"):
        bound.plain(case.x[:2])


@pytest.mark.parametrize("frames", ["mean", "each"])
def test_ann_predicts_with_rectifiers_and_running_statistics(frames: str) -> None:
    case = problem(norm="batch", timesteps=3)
    bound = ratebp.methods.get("ann", frames_seen=frames).bind(case.model, 3)
    got = bound.infer(case.x)
    assert case.model.training
    case.model.eval()
    net = Same(case.model, torch.relu)
    want = (
        net(case.x.mean(0)) if frames == "mean" else torch.stack([net(f) for f in case.x]).mean(0)
    )
    torch.testing.assert_close(got, want.detach(), rtol=1e-12, atol=1e-13)
    assert not torch.allclose(got, ratebp.infer(case.model, case.x))


def test_what_t1_trains_can_run_for_any_number_of_steps() -> None:
    """At one step, inference is the trained forward; more steps are the same weights over time."""
    case = problem(norm="none", timesteps=4)
    bound = ratebp.methods.get("t1").bind(case.model, 4)
    one = ratebp.infer(case.model, case.x.mean(0, keepdim=True))
    torch.testing.assert_close(bound.plain(case.x), one, rtol=1e-12, atol=1e-13)
    four = bound.infer(ratebp.direct(case.x.mean(0), 4))
    assert not torch.allclose(one, four)
