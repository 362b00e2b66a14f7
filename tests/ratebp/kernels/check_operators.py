"""What torch, torch.compile and the harness see of the kernels: registered operators."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, library

from harness.trial.exact.counters import Operations
from harness.trial.exact.tracker import LiveBytes
from ratebp.dynamics import Dynamics
from ratebp.ops import (
    Normalised,
    advance,
    at_rest,
    backend,
    fused,
    lif_scan,
    lif_scan_of,
    lif_step,
    naive_lif_scan,
    pack,
    rate_scan,
    replay_rate,
    unpack,
    using,
)
from ratebp.ops.backends import KERNELS
from ratebp.ops.batch_norm import fused as norm
from ratebp.ops.bits import fused as bits
from ratebp.ops.lif.rate import fused as rate
from ratebp.ops.lif.scan import fused as scan
from ratebp.ops.lif.scan_of import fused as scan_of
from ratebp.ops.lif.step import fused as step
from ratebp.surrogates import Surrogate, names
from tests.ratebp.kernels.common import BACKEND, DEVICE, currents, dynamics_of, poisoned_memory

__all__ = ["poisoned_memory"]  # applied to every check here

EQUATION = "0.7 0.8 hard attached sigmoid 1.3"
OPS = torch.ops.ratebp
MODULES = (bits, norm, scan, scan_of, step, rate)


def x(*shape: int, wants: bool = False) -> Tensor:
    return currents(*(shape or (3, 2, 5)), dtype=torch.float32).requires_grad_(wants)


def count() -> Tensor:
    return torch.zeros(2, 5, dtype=torch.uint8, device=DEVICE)


CALLS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "pack": lambda: (x() > 0, 30),
    "unpack": lambda: (pack(x() > 0), (3, 2, 5), torch.float32),
    "lif_spikes": lambda: (x(), EQUATION),
    "lif_scan": lambda: (x(wants=True), EQUATION),
    "lif_scan_backward": lambda: (x(), x(), EQUATION),
    "lif_spikes_of": lambda: (x(), x(5), None, pack(x() > 0), None, None, 5, False, EQUATION),
    "lif_recomputed_backward": lambda: (
        x(), x(), x(5), None, pack(x() > 0), None, None, 5, False, EQUATION,
    ),
    "lif_step": lambda: (x(wants=True), x(wants=True), EQUATION),
    "lif_step_backward": lambda: (x(), x(), x(), None, torch.float32, True, EQUATION),
    "rate_scan": lambda: (x(), EQUATION, torch.uint8),
    "rate_advance": lambda: (x(2, 5), x(2, 5), count(), x(2, 5), x(1)[0], EQUATION),
    "rate_advance_rho": lambda: (x(2, 5), x(2, 5), count(), x(2, 5), x(2, 5), EQUATION),
    "replay_rate_backward": lambda: (x(), x(), 3),
    "batch_norm": lambda: (x(), x(2)[:2], None, 1e-5),
    "batch_norm_": lambda: (x(), None, x(2)[:2], 1e-5),
    "batch_norm_backward": lambda: (x(), x(), x(2)[:2], x(2)[:2], None, None, False),
    "affine": lambda: (x(), x(2)[:2], None),
    "affine_": lambda: (x(), x(2)[:2], x(2)[:2]),
}  # fmt: skip
HERE = sorted(name for name in CALLS if BACKEND in KERNELS[name])


def test_every_operator_is_here() -> None:
    found = {
        value._name.removeprefix("ratebp::")
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, torch._library.custom_ops.CustomOpDef)
    }
    assert found == set(CALLS) == set(KERNELS)
    named = {module for served in KERNELS.values() for module in served.values()}
    folders = {module.__name__.rpartition(".")[0] for module in MODULES}
    assert {module.rpartition(".")[0] for module in named} == folders


@pytest.mark.parametrize("name", HERE)
def test_registration(name: str) -> None:
    """Schema, autograd and fake rule agree with what the operator does."""
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    library.opcheck(getattr(OPS, name).default, CALLS[name](), test_utils=checks)


def pipeline(current: Tensor) -> Tensor:
    """Use every operator once, forward and backward where there is one."""
    dynamics = dynamics_of("soft", True)
    spikes = lif_scan(current, dynamics)
    first, u = lif_step(current[0], None, dynamics)
    second, _ = lif_step(current[1], u, dynamics)
    _, total, eligibility = rate_scan(current.detach(), dynamics, torch.uint8)
    state = at_rest(current[0], dynamics, 3)
    fired = advance(current[0].detach(), state, dynamics)
    rate = replay_rate(current[0], total / 3, eligibility, 3)
    back = unpack(pack(spikes), spikes.shape, spikes.dtype)
    norm = (Normalised(current.detach().flatten(0, 1), None, None),)
    again = lif_scan_of(current, dynamics, norm)
    return spikes + back + again + (first + second + rate + fired + state.eligibility)


def value_and_gradient(f: Callable[[Tensor], Tensor], current: Tensor) -> tuple[Tensor, Tensor]:
    leaf = current.detach().clone().requires_grad_()
    out = f(leaf)
    return out.detach(), torch.autograd.grad(out.square().sum(), leaf)[0]


def test_compiled_whole() -> None:
    current = x()
    with using(BACKEND):
        want = value_and_gradient(pipeline, current)
        compiled = torch.compile(pipeline, fullgraph=True, backend="aot_eager")
        for got, expected in zip(value_and_gradient(compiled, current), want, strict=True):
            torch.testing.assert_close(got, expected)
    with using("torch"):
        for got, expected in zip(value_and_gradient(pipeline, current), want, strict=True):
            torch.testing.assert_close(got, expected)


def test_the_harness_counts_them() -> None:
    """One operator a kernel; every argument read once, every result written once."""
    current = x(4, 2, 5, wants=True)
    size = current.nbytes
    with using(BACKEND), Operations() as operations:
        with operations.phase("forward"):
            spikes = lif_scan(current, Dynamics())
        with operations.phase("backward"):
            torch.autograd.grad(spikes, current, torch.ones_like(spikes))
    forward, backward = operations.total("forward"), operations.total("backward")
    assert (forward.count, forward.flops, forward.elem_bytes) == (1, 0, 3 * size)
    ones = size  # written by ones_like
    assert (backward.count, backward.flops, backward.elem_bytes) == (2, 0, ones + 3 * size)


def test_the_tracker_sees_what_is_kept() -> None:
    current = x(4, 2, 5, wants=True)
    with using(BACKEND), LiveBytes(persistent=[current]) as tracker:
        spikes = lif_scan(current, Dynamics())
        assert tracker.live == 2 * current.nbytes
        xhat = current.detach().flatten(0, 1)
        again = lif_scan_of(current, Dynamics(), (Normalised(xhat, None, None),))
        assert tracker.live == 3 * current.nbytes
        del spikes, again
        gc.collect()  # the interpreter leaves reference cycles behind
        assert tracker.live == 0


@pytest.mark.parametrize(("wants", "reset", "number"), [(False, "hard", 1), (True, "soft", 1),
                                                        (True, "hard", 2)])  # fmt: skip
def test_a_step_keeps_the_last_potential_only_for_its_jacobian(
    wants: bool, reset: str, number: int
) -> None:
    current, last = x(2, 5, wants=True), x(2, 5, wants=wants)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    with using(BACKEND), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _, u = lif_step(current, last, dynamics_of(reset, True))
    assert kept == [u.data_ptr(), last.data_ptr()][:number]


def test_the_backend_is_told() -> None:
    with using(BACKEND):
        assert backend(DEVICE) == backend(torch.device(DEVICE)) == BACKEND
    with using("torch"):
        assert backend(DEVICE) == "torch"


def test_kernels_know_every_surrogate() -> None:
    assert set(fused.SURROGATES) == set(names())


def test_what_no_kernel_covers_runs_on_torch_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "SURROGATES", ("sigmoid",))
    current = x()
    dynamics = Dynamics(surrogate=Surrogate("atan", 2.0))
    with using(BACKEND), pytest.warns(RuntimeWarning, match="lif_scan: no kernel for the"):
        spikes = lif_scan(current, dynamics)
    with using("torch"):
        assert torch.equal(spikes, naive_lif_scan(current, dynamics))
    with (
        using(BACKEND),
        pytest.warns(RuntimeWarning, match=r"rate_scan: no kernel for currents of torch\.int"),
    ):
        rate_scan(torch.ones(2, 3, dtype=torch.int32, device=DEVICE), Dynamics(), torch.uint8)
