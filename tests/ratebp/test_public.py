"""The contract that users rely on, as the README writes it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ratebp


def test_the_readmes_five_lines() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(2, 3, 16, 16), torch.tensor([1, 7])
    model = ratebp.models.build("resnet18", num_classes=10, in_channels=3, width=0.25)
    method = ratebp.methods.get("rate_m")
    bound = method.bind(model, timesteps=4)
    result = bound.step(ratebp.direct(x, 4), y, loss=F.cross_entropy)
    assert all(p.grad is not None for p in model.parameters())
    assert result.logits.shape == (2, 10)
    torch.testing.assert_close(result.loss, F.cross_entropy(result.logits, y))
    logits = ratebp.infer(model, ratebp.direct(x, 4))
    assert logits.shape == (2, 10)
    assert not logits.requires_grad


def test_all_names_exist_and_are_sorted_by_kind() -> None:
    assert len(set(ratebp.__all__)) == len(ratebp.__all__)
    for name in ratebp.__all__:
        assert getattr(ratebp, name) is not None


def test_direct_is_a_view_of_stride_0() -> None:
    image = torch.rand(2, 3, 4, 5)
    x = ratebp.direct(image, 6)
    assert x.shape == (6, 2, 3, 4, 5)
    assert x.stride(0) == 0
    assert x.data_ptr() == image.data_ptr()
    with pytest.raises(ratebp.OptionError, match="timesteps=0"):
        ratebp.direct(image, 0)


def test_infer_is_eval_mode_and_leaves_the_model_alone() -> None:
    torch.manual_seed(0)
    model = ratebp.models.build("tiny_resnet", in_channels=1).train()
    before = {n: b.clone() for n, b in model.named_buffers()}
    x = ratebp.direct(torch.rand(3, 1, 28, 28), 4)
    together = ratebp.infer(model, x)
    assert model.training
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())
    alone = torch.cat([ratebp.infer(model, x[:, i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone)  # no batch statistics


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("name", ratebp.methods.names())
def test_gradients_drive_an_optimiser(name: str) -> None:
    """A few updates lower the loss on one batch."""
    method = ratebp.methods.get(name)
    torch.manual_seed(0)
    model: nn.Module = ratebp.models.build("tiny_resnet", in_channels=1, width=0.5)
    if not method.info.norms:
        hidden = nn.Linear(64, 48), ratebp.LIF(), nn.Linear(48, 48), ratebp.LIF()
        model = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(48, 10))
    bound = method.bind(model, timesteps=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    x, y = ratebp.direct(3 * torch.randn(16, 1, 8, 8), 2), torch.arange(16) % 10
    losses = []
    for _ in range(40):
        losses.append(float(bound.step(x, y, context=ratebp.StepContext(optimizer)).loss))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # after "time step" updates, step() had nothing
    assert losses[-1] < 0.8 * losses[0], losses
