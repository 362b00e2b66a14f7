"""Torch's batch norms as the library runs them, against the modules themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp.rules.norms.temporal import norm_rule

PLAIN = {
    "2d": (nn.BatchNorm2d, (4, 3, 5, 2)),
    "1d": (nn.BatchNorm1d, (6, 3)),
    "1d in rows": (nn.BatchNorm1d, (2, 3, 7)),
    "3d": (nn.BatchNorm3d, (1, 3, 1, 2, 5)),
}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"momentum": None},
    {"affine": False},
    {"track_running_stats": False},
]


@pytest.mark.parametrize("layout", ["as it is", "channels last"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", PLAIN)
def test_value_gradients_and_running_statistics(
    kind: str, settings: dict[str, Any], training: bool, layout: str
) -> None:
    """At the first step and later; without a graph, too."""
    cls, shape = PLAIN[kind]
    torch.manual_seed(0)
    steps = 50 + 3 * torch.randn(3, *shape, dtype=torch.float64)
    upstream = torch.randn_like(steps[0])
    found = []
    for wrapped in (False, True):
        torch.manual_seed(1)
        norm = cls(3, **settings).double().train(training)
        for p in norm.parameters():
            nn.init.uniform_(p, 0.5, 2)
        leaf = norm_rule("single", 3)(norm, "here") if wrapped else norm
        assert (type(leaf) is not cls) == wrapped
        results: list[Tensor] = []
        for step in steps:
            turned = step.transpose(1, -1).contiguous().transpose(1, -1)
            now = step if layout == "as it is" else turned
            x = now.clone(memory_format=torch.preserve_format).requires_grad_()
            out = leaf(x)
            grads = torch.autograd.grad((out * upstream).sum(), [x, *norm.parameters()])
            results += [out, *grads, *(b.clone() for b in norm.buffers())]
            with torch.no_grad():
                torch.testing.assert_close(leaf(x), out.detach())
        found.append(results)
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


def test_a_single_value_a_channel_is_refused() -> None:
    leaf = norm_rule("single", 3)(nn.BatchNorm1d(3), "here")
    with pytest.raises(ratebp.OptionError, match="gets a single value a channel"):
        leaf(torch.randn(1, 3))
