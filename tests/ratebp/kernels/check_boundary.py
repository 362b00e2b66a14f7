"""What no operator may be handed: refused by name, and no memory is read out of range.

Run under the sanitizers (`tests/sanitize`), a read or write out of range ends the process.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.errors import OperandError, OptionError
from ratebp.ops import (
    Normalised,
    Spikes,
    advance,
    affine,
    at_rest,
    batch_norm,
    lif_scan,
    lif_scan_of,
    lif_step,
    pack,
    rate_scan,
    replay_rate,
    unpack,
    using,
)
from ratebp.ops.batch_norm.fused import batch_norm_backward
from tests.ratebp.kernels.check_operators import CALLS, HERE
from tests.ratebp.kernels.common import BACKEND, DEVICE, currents, dynamics_of

OPS = torch.ops.ratebp
T, B, C, H = 3, 2, 4, 5


def summed(first: tuple[int, ...], second: tuple[int, ...]) -> Callable[[], Any]:
    def run() -> None:
        terms = (
            Normalised(currents(*first), None, None),
            Normalised(currents(*second), None, None),
        )
        spikes = lif_scan_of(currents(T, B, C, H, H).requires_grad_(), Dynamics(), terms)
        spikes.sum().backward()

    return run


def of(*terms: Normalised | Spikes, dtype: torch.dtype = torch.float64) -> Callable[[], Any]:
    return lambda: lif_scan_of(currents(T, B, C, H, H, dtype=dtype), Dynamics(), terms)


def norm(*shape: int, **factors: Tensor) -> Normalised:
    return Normalised(currents(*shape), factors.get("weight"), factors.get("bias"))


def resting(**other: Tensor) -> Callable[[], Any]:
    current = currents(B, C, dtype=torch.float32)
    state = at_rest(current, dynamics_of("hard", True), T)._replace(**other)
    return lambda: advance(current, state, dynamics_of("hard", True))


FULL = (T * B, C, H, H)
MISFITS: dict[str, Callable[[], Any]] = {
    "no time steps": lambda: lif_scan(currents(0, 3), Dynamics()),
    "a number": lambda: lif_scan(currents(1)[0], Dynamics()),
    "no steps to count": lambda: rate_scan(currents(0, 3), Dynamics(), torch.bool),
    "a pooled branch": summed(FULL, (T * B, C, 1, 1)),
    "a pooled branch first": summed((T * B, C, 1, 1), FULL),
    "one channel": summed(FULL, (T * B, 1, H, H)),
    "one image": summed((1, C, H, H), FULL),
    "two steps": summed(FULL, (2 * B, C, H, H)),
    "no terms": of(),
    "three terms": of(norm(*FULL), norm(*FULL), norm(*FULL)),
    "too few bits": of(Spikes(pack(currents(B, C, H, H) > 0))),
    "bits of one step beside a norm": of(norm(*FULL), Spikes(pack(currents(B, C, H, H) > 0))),
    "bits that are floats": of(Spikes(currents(75))),
    "half as wide": of(norm(*FULL), dtype=torch.float32),
    "a weight too short": of(norm(*FULL, weight=currents(C - 1))),
    "a bias of pixels": of(norm(*FULL, bias=currents(1, 1, H, H))),
    "complex spikes": lambda: pack(currents(9).to(torch.complex64)),
    "bits of another shape": lambda: unpack(pack(currents(9) > 0), torch.Size((3,)), torch.bool),
    "bits of more": lambda: unpack(pack(currents(9) > 0), torch.Size((17,)), torch.bool),
    "a last potential of one image": lambda: lif_step(currents(B, C), currents(1, C), Dynamics()),
    "a state of one image": resting(carry=torch.zeros(1, C, device=DEVICE)),
    "a count of one channel": resting(spikes=torch.zeros(B, 1, device=DEVICE)),
    "an eligibility too large": resting(eligibility=torch.zeros(B, C, 2, device=DEVICE)),
    "a rho of one image": resting(rho=torch.ones(1, C, device=DEVICE)),
    "a rho that is a number": resting(rho=torch.ones((), device=DEVICE)),
    "a rate of one image": lambda: replay_rate(currents(B, C), currents(1, C), currents(B, C), T),
    "an eligibility of one": lambda: replay_rate(currents(B, C), currents(B, C), currents(C), T),
    "a weight for another norm": lambda: affine(currents(B, C, H), currents(C + 1), None),
    "a weight for each pixel": lambda: affine(currents(B, C, H), currents(1, C, H), None),
    "a bias of one": lambda: batch_norm(currents(B, C), None, currents(1), 0.1, in_place=False),
    "no channels": lambda: affine(currents(3), None, None),
    "a gradient of one image": lambda: batch_norm_backward(
        currents(1, C, H), currents(B, C, H), None, None, None
    ),
    "a mean of pixels": lambda: batch_norm_backward(
        currents(B, C, H), currents(B, C, H), None, currents(H), None
    ),
}


@pytest.mark.parametrize("each", ["torch", BACKEND])
@pytest.mark.parametrize("name", MISFITS)
def test_misfits_are_refused_by_name(name: str, each: str) -> None:
    """The readable operators refuse what the kernels refuse, before they compute anything."""
    with using(each), pytest.raises(OperandError, match=r"^ratebp\.ops\.\w+: .*Legal: "):
        MISFITS[name]()


def hostile(x: Tensor) -> dict[str, Tensor]:
    """Return tensors in the place of `x` that have another shape, type or layout."""
    wide = x.double() if x.dtype == torch.float32 else x.float()
    found = {
        "shorter": x.flatten()[: max(0, x.numel() - 1)],
        "empty": x.flatten()[:0],
        "a dimension more": x.unsqueeze(0),
        "of another type": wide,
        "of integers": x.to(torch.int64),
        "complex": x.to(torch.complex64),
        "every other": torch.stack([x, x], -1)[..., 0],
        "of stride 0": x.flatten()[:1].reshape([1] * x.dim()).expand(x.shape),
    }
    if x.dim() > 1:
        found["transposed"] = x.transpose(0, -1).contiguous().transpose(0, -1)
        found["one step"] = x[:1]
        found["one step of many"] = x[:1].expand(x.shape)
    return found


@pytest.mark.parametrize("name", HERE)
def test_registered_operators_take_only_what_fits(name: str) -> None:
    """Called past the public operators, with one operand wrong: refused, or as long as it was.

    What is checked is that nothing else happens: no crash, no memory out of range.
    """
    operator, tried, refused = getattr(OPS, name).default, 0, 0
    for place, given in enumerate(CALLS[name]()):
        if not isinstance(given, Tensor):
            continue
        for wrong in hostile(given.detach()).values():
            args = [x.clone() if isinstance(x, Tensor) else x for x in CALLS[name]()]
            args[place] = wrong
            tried += 1
            try:
                with torch.no_grad():
                    operator(*args)
            except (OperandError, ValueError):
                refused += 1
    assert tried >= 8
    assert refused >= 3, (tried, refused)


@pytest.mark.parametrize("name", [n for n in HERE if any(isinstance(x, str) for x in CALLS[n]())])
@pytest.mark.parametrize(
    "equation",
    ["", "1 2 3", "nan 1.0 soft detached sigmoid 4.0", "2.0 1.0 soft detached sigmoid 4.0",
     "0.5 -1.0 soft detached sigmoid 4.0", "0.5 inf soft detached sigmoid 4.0",
     "0.5 1.0 medium detached sigmoid 4.0", "0.5 1.0 soft loose sigmoid 4.0",
     "0.5 1.0 soft detached step 4.0", "0.5 1.0 soft detached sigmoid 0.0"],
)  # fmt: skip
def test_constants_that_are_no_lifs_are_refused(name: str, equation: str) -> None:
    args = [x.detach() if isinstance(x, Tensor) else x for x in CALLS[name]()]
    places = [i for i, x in enumerate(args) if isinstance(x, str)]
    args[places[0]] = equation
    with pytest.raises(OptionError):
        getattr(OPS, name).default(*args)


@pytest.mark.skipif(BACKEND != "cpp", reason="these are the C++ kernels' own checks (RATEBP_OPS)")
def test_the_cpp_side_trusts_no_number() -> None:
    """Whatever sizes, steps and types a kernel is told, it reads what is there or refuses."""
    from ratebp.ops.cpp import call

    equation, huge = "0.5 1.0 soft detached sigmoid 4.0", 1 << 62
    numbers = (-huge, -1, 0, 1, 4, 5, 12, 13, huge, (1 << 63) - 1)
    x, byte, half = currents(12, dtype=torch.float32), pack(currents(96) > 0), currents(12).half()
    tensors = (x, x.double(), byte, half, None, x[:0])
    fits = 0
    for a, b in itertools.product(numbers, repeat=2):
        for first, second in itertools.product(tensors, repeat=2):
            calls: dict[str, tuple[Any, ...]] = {
                "pack": (first, second, a, b),
                "unpack": (first, second, a, b),
                "affine": (first, second, None, first, 1, a, b),
                "lif_scan": (equation, first, a, x.clone(), second, b, 4),
                "lif_scan_backward": (equation, first, second, a, x.clone(), 3, b),
                "rate_scan": (equation, first, a, x.clone(), second, x.clone(), b, 4),
                "rate_advance": (equation, first, second, byte, x, x[:1], 1, x.clone(), a),
                "lif_spikes_of": (
                    equation, first, None, None, 4, second, None, None, a,
                    1, b, 0, 2, 3, 4, x.clone(),
                ),
            }  # fmt: skip
            for name, args in calls.items():
                copies = [v.clone() if isinstance(v, Tensor) else v for v in args]
                try:
                    call(name, *copies)
                    fits += 1
                except OperandError:
                    pass
    assert fits > 0


@pytest.mark.skipif(BACKEND != "cpp", reason="these are the C++ kernels' own checks (RATEBP_OPS)")
def test_memory_that_was_taken_away_is_refused() -> None:
    """A tensor whose storage was emptied, as sharded parameters are, has a shape and no memory."""
    x = currents(3, 4, dtype=torch.float32)
    x.untyped_storage().resize_(0)
    with using("cpp"), pytest.raises(OperandError, match=r"needs `x\.wide\(\) && x\.holds"):
        OPS.affine(x, None, None)
