"""Online spiking renormalisation of one norm, against its equations written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.methods.os._renorm import RenormStep

KINDS = [(nn.BatchNorm1d, (6, 3)), (nn.BatchNorm1d, (5, 3, 7)), (nn.BatchNorm2d, (3, 3, 1, 5))]


def norm_of(kind: type[nn.BatchNorm1d | nn.BatchNorm2d], **options: Any) -> Any:
    torch.manual_seed(3)
    norm = kind(3, **options).double()
    norm.num_batches_tracked.fill_(3)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    if norm.affine:
        nn.init.uniform_(norm.weight, -2, 2)
        nn.init.normal_(norm.bias)
    return norm


def currents(shape: tuple[int, ...], timesteps: int = 1) -> list[Tensor]:
    torch.manual_seed(4)
    made = [torch.randn(shape, dtype=torch.float64) * (t + 1) + t for t in range(timesteps)]
    return [c.requires_grad_() for c in made]


def statistics(c: Tensor) -> tuple[Tensor, Tensor]:
    dims = [d for d in range(c.dim()) if d != 1]
    return c.detach().mean(dims), c.detach().var(dims, correction=0)


def grads_of(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(5)
    return list(torch.autograd.grad((out * torch.randn_like(out)).sum(), inputs))


def same(got: list[Tensor], want: list[Tensor]) -> None:
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kind", "shape"), KINDS)
@pytest.mark.parametrize("affine", [True, False])
def test_e18_renormalisation_is_batch_norm_where_the_statistics_agree(
    kind: Any, shape: tuple[int, ...], affine: bool
) -> None:
    norm, (c,) = norm_of(kind, affine=affine), currents(shape)
    for buffer, value in zip((norm.running_mean, norm.running_var), statistics(c), strict=True):
        buffer.copy_(value)
    wanted = [c, *norm.parameters()]
    plain = F.batch_norm(c, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
    got = RenormStep(norm, 20, "plain", "published")(c)
    same([got, *grads_of(got, wanted)], [plain, *grads_of(plain, wanted)])


@pytest.mark.parametrize(("kind", "shape"), KINDS)
def test_the_value_takes_running_statistics_and_the_gradient_those_of_the_step(
    kind: Any, shape: tuple[int, ...]
) -> None:
    """Equations 8 to 12, every gradient."""
    norm, (c,) = norm_of(kind), currents(shape)
    run_mean, run_var = norm.running_mean.clone(), norm.running_var.clone()
    mean, var = statistics(c)
    view = [1, 3] + [1] * (c.dim() - 2)
    dims = [d for d in range(c.dim()) if d != 1]
    sigma, sigma_run = ((v + norm.eps).sqrt().view(view) for v in (var, run_var))
    out = RenormStep(norm, 20, "plain", "published")(c)
    centred = (c.detach() - run_mean.view(view)) / sigma_run
    value = norm.weight.view(view) * centred + norm.bias.view(view)
    torch.testing.assert_close(out, value, rtol=1e-12, atol=1e-12)

    torch.manual_seed(5)
    d = torch.randn_like(out)
    xhat = (c.detach() - mean.view(view)) / sigma
    along = (d * xhat).mean(dims, keepdim=True)
    batch_backward = (d - d.mean(dims, keepdim=True) - xhat * along) / sigma
    dc = norm.weight.view(view) * sigma / sigma_run * batch_backward
    want = [dc, (d * centred).sum(dims), d.sum(dims)]
    same(grads_of(out, [c, norm.weight, norm.bias]), want)


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
def test_running_statistics_move_once_by_the_average_over_the_sequence(
    momentum: float | None,
) -> None:
    norm = norm_of(nn.BatchNorm2d, momentum=momentum)
    steps = currents((3, 3, 1, 5), 4)
    start = [norm.running_mean.clone(), norm.running_var.clone()]
    leaf = RenormStep(norm, 20, "plain", "published")
    outs = [leaf(c) for c in steps]
    fixed = norm_of(nn.BatchNorm2d).eval()
    for c, out in zip(steps, outs, strict=True):
        torch.testing.assert_close(out, fixed(c), rtol=1e-11, atol=1e-11)
    means, variances = (torch.stack(s).detach() for s in zip(*map(statistics, steps), strict=True))
    new_mean = means.mean(0)
    new = [new_mean, (variances + means**2).mean(0) - new_mean**2]
    share = 1 / 4 if momentum is None else momentum
    want = [s + share * (n - s) for s, n in zip(start, new, strict=True)]
    same([norm.running_mean, norm.running_var], want)
    assert int(norm.num_batches_tracked) == 4

    leaf.reset()
    again = leaf(steps[0])
    moved = F.batch_norm(
        steps[0], want[0], want[1], norm.weight, norm.bias, training=False, eps=norm.eps
    )
    torch.testing.assert_close(again, moved, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("ratio", [19.0, 21.0, 1 / 19, 1 / 21])
@pytest.mark.parametrize("fallback", ["plain", "published"])
def test_one_channel_far_off_makes_the_whole_step_fall_back(ratio: float, fallback: str) -> None:
    norm, (c,) = norm_of(nn.BatchNorm2d), currents((3, 3, 2, 5))
    norm.running_var[1] = (statistics(c)[1][1] + norm.eps) / ratio**2 - norm.eps
    beyond = ratio > 20 or ratio < 1 / 20
    wanted = [c, norm.weight, norm.bias]
    generous = RenormStep(norm_of(nn.BatchNorm2d), 1000, "plain", "published")
    generous.norm.running_var.copy_(norm.running_var)
    renormalised = generous(c)
    plain = F.batch_norm(c, None, None, norm.weight, norm.bias, training=True)
    renormalised_grads = grads_of(renormalised, [c, generous.norm.weight, generous.norm.bias])
    plain_grads = grads_of(plain, wanted)
    out = RenormStep(norm, 20, fallback, "first_batch")(c)
    torch.testing.assert_close(out, plain if beyond else renormalised, rtol=1e-10, atol=1e-10)
    takes_plain = beyond and fallback == "plain"
    same(grads_of(out, wanted), plain_grads if takes_plain else renormalised_grads)
    assert not torch.allclose(plain_grads[0], renormalised_grads[0])


def test_a_fallen_back_step_still_counts_for_the_running_statistics() -> None:
    norms = [norm_of(nn.BatchNorm2d) for _ in range(2)]
    (c,) = currents((3, 3, 2, 5))
    for norm, safety in zip(norms, (1, 1000), strict=True):
        RenormStep(norm, safety, "plain", "published")(c)
    same(*([n.running_mean, n.running_var] for n in norms))


@pytest.mark.parametrize("start", ["first_batch", "published"])
def test_the_first_batch_of_all(start: str) -> None:
    """Either its own statistics, which become the running ones, or mean 0 and variance 1."""
    norm = norm_of(nn.BatchNorm2d)
    norm.reset_running_stats()
    leaf, steps = RenormStep(norm, 1000, "published", start), currents((3, 3, 1, 5), 3)
    zeros, ones = torch.zeros(3).double(), torch.ones(3).double()
    for c in steps:
        own = statistics(c) if start == "first_batch" else (zeros, ones)
        want = F.batch_norm(c, *own, norm.weight, norm.bias, training=False, eps=norm.eps)
        torch.testing.assert_close(leaf(c), want, rtol=1e-11, atol=1e-11)
    means, variances = (torch.stack(s) for s in zip(*map(statistics, steps), strict=True))
    new = [means.mean(0), (variances + means**2).mean(0) - means.mean(0) ** 2]
    share = 1.0 if start == "first_batch" else 0.1
    old = [zeros, ones]
    want_run = [o + share * (n - o) for o, n in zip(old, new, strict=True)]
    same([norm.running_mean, norm.running_var], want_run)
    leaf.reset()
    fixed = norm_of(nn.BatchNorm2d).eval()
    fixed.running_mean.copy_(want_run[0])
    fixed.running_var.copy_(want_run[1])
    torch.testing.assert_close(leaf(steps[1]), fixed(steps[1]), rtol=1e-11, atol=1e-11)
