"""The self-check: it finds what is wrong, where, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp.method import Binding
from ratebp.methods.bptt_m import BpttM
from ratebp.methods.bptt_s import BpttS
from ratebp.methods.ottt_a import OtttA
from ratebp.methods.ottt_o import OtttO
from ratebp.methods.rate_m import RateM
from ratebp.roles import Role
from ratebp.rules.neurons.exact import step_neuron
from ratebp.schedules import Result
from ratebp.testing import problem
from ratebp.testing.compare import fingerprint


def check(method: Any, norm: str = "batch", **more: Any) -> ratebp.Check:
    case = problem(norm=norm, **more)
    return ratebp.verify(case.model, method, case.x, case.y)


def weight_grad(views: Any, leaf: str) -> Tensor:
    named = views["net"].module.named_parameters()  # a leaf's variant may hold it one level down
    grad = next(p for n, p in named if n.startswith(f"{leaf}.") and n.endswith("weight")).grad
    assert grad is not None
    return grad


class TooLarge(BpttS):
    def step(self, views: Any, *rest: Any) -> Result:
        result = super().step(views, *rest)
        weight_grad(views, "conv2").mul_(1 + 1e-6)
        return result


class Missing(BpttS):
    def step(self, views: Any, *rest: Any) -> Result:
        result = super().step(views, *rest)
        views["net"].module.get_submodule("conv1").zero_grad(set_to_none=True)
        return result


class NotFinite(OtttA):
    def step(self, views: Any, *rest: Any) -> Result:
        result = super().step(views, *rest)
        weight_grad(views, "conv1")[0] = torch.nan
        return result


class Lost(OtttA):
    def step(self, views: Any, *rest: Any) -> Result:
        result = super().step(views, *rest)
        if len(rest[0]) > 1:  # at one time step all is well
            weight_grad(views, "conv1").zero_()
        return result


class OtherLoss(OtttA):
    def step(self, views: Any, *rest: Any) -> Result:
        result = super().step(views, *rest)
        return Result(result.loss * len(rest[0]), result.logits)


class MovesStatisticsTwice(BpttS):
    def step(self, views: Any, x: Tensor, *rest: Any) -> Result:
        with torch.no_grad():
            views["net"](x[0])
        return super().step(views, x, *rest)


class OtherNeurons(BpttS):
    def build(self, binding: Binding) -> Any:
        def other(neuron: Any, path: str) -> nn.Module:
            if path == "lif1":
                neuron.dynamics = replace(neuron.dynamics, decay=0.49)
            return step_neuron(neuron)

        return {"net": binding.view({Role.NEURON: other})}


class Fails(BpttS):
    def step(self, *_: Any) -> Result:
        raise TypeError("a word of torch's")


class Refuses(BpttS):
    def build(self, binding: Binding) -> Any:
        raise ratebp.BindError("not this one; train with sltt")


class WrongAtOneStep(OtttA):
    def step(self, views: Any, x: Tensor, *rest: Any) -> Result:
        result = super().step(views, x, *rest)
        if len(x) == 1:
            weight_grad(views, "conv2").mul_(2)
        return result


def _scaled(views: Any, factor: float) -> None:
    for view in views.values():
        for name, parameter in view.module.named_parameters():
            if name.startswith("conv2.") and name.endswith("weight") and parameter.grad is not None:
                parameter.grad.mul_(factor)
                return


class OffOverTime(RateM):
    def step(self, views: Any, x: Tensor, *rest: Any) -> Result:
        result = super().step(views, x, *rest)
        _scaled(views, 1.5 if len(x) > 1 else 1.0)
        return result


class OtherTraces(OtttO):
    def step(self, views: Any, x: Tensor, *rest: Any) -> Result:
        result = super().step(views, x, *rest)
        _scaled(views, 1.5 if len(x) > 1 else 1.0)
        return result


@pytest.mark.parametrize(
    ("method", "leaf", "words"),
    [
        (TooLarge(), "conv2", "gradient of `conv2.weight` is off by 1e-06"),
        (Missing(), "conv1", "gradient of `conv1.weight` is missing"),
        (NotFinite(), "conv1", "gradient of `conv1.weight` is missing or not finite"),
        (Lost(), "conv1", "gradient of `conv1.weight`, exactly zero"),
        (OtherLoss(), None, "the loss is off by 2"),
        (MovesStatisticsTwice(), "norm0", "the buffer `norm0.running_mean`"),
        (OtherNeurons(), "lif1", "At T=3 the output of `lif1`"),
        (Fails(), None, "It fails with TypeError: a word of torch's"),
    ],
)
def test_what_is_wrong_is_found_where_it_begins(method: Any, leaf: str | None, words: str) -> None:
    found = check(method)
    assert found.outcome == "wrong"
    assert not found.ok
    assert found.leaf == leaf
    assert words in found.reason


def test_one_time_step_of_an_approximation_is_compared() -> None:
    found = check(WrongAtOneStep())
    assert (found.outcome, found.leaf) == ("wrong", "conv2")
    assert "At T=1 the gradient of `conv2.weight` is off by 1" in found.reason


def test_more_than_one_time_step_is_compared_with_what_the_method_says_it_equals() -> None:
    """By hand for `rate_m`, which has an oracle; `ottt_o` says that it is `ottt_a`."""
    found = check(OffOverTime())
    assert (found.outcome, found.leaf) == ("wrong", "conv2")
    assert "`conv2.weight`, beside that of the gradients of a network of mean" in found.reason
    found = check(OtherTraces())
    assert (found.outcome, found.leaf) == ("wrong", "conv2")
    assert "`conv2.weight`, beside that of ottt_a" in found.reason


def test_a_refusal_is_no_fault() -> None:
    found = check(Refuses())
    assert found.outcome == "refused"
    assert found.ok
    assert found.reason == "not this one; train with sltt"


@pytest.mark.parametrize(
    ("name", "norm", "outcome"),
    [
        ("bptt_m", "batch", "exact"),
        ("bptt_s", "batch", "exact"),
        ("bptt_ckpt", "batch", "exact"),
        ("rate_m", "batch", "equal at T=1"),
        ("sltt", "batch", "equal at T=1"),
        ("tbptt", "none", "equal at T=1"),
        ("os", "none", "equal at T=1"),
        ("os", "batch", "approximate"),
        ("dsr", "none", "approximate"),
        ("ann", "none", "approximate"),
        ("saf_e", "none", "equal at T=1"),
        ("saf_e", "batch", "refused"),
    ],
)
def test_outcomes(name: str, norm: str, outcome: str) -> None:
    found = check(name, norm)
    assert found.outcome == outcome
    assert str(found).startswith(f"{name}: {outcome}")


def test_without_memory_sltt_is_exact() -> None:
    assert check("sltt", "none", decay=0.0).outcome == "exact"


def test_layouts_have_batch_norms_of_their_own() -> None:
    """`bptt_m` and `bptt_s` train different networks, and both are exact."""
    case = problem(norm="batch")
    grads = []
    for method in (BpttM(), BpttS()):
        assert ratebp.verify(case.model, method, case.x, case.y).outcome == "exact"
        case.model.zero_grad()
        method.bind(case.model, 3).step(case.x, case.y)
        weight = case.model.get_parameter("conv2.weight").grad
        assert weight is not None
        grads.append(weight)
    assert not torch.allclose(*grads)


def test_cosines_are_those_with_bptt() -> None:
    found = check("rate_m", "none")
    assert set(found.cosines) == {n for n, _ in problem().model.named_parameters()}
    assert found.cosines["head.2.bias"] == pytest.approx(1)
    assert min(found.cosines.values()) < 0.9
    assert "cosine" in str(found)


def test_options_and_losses_are_followed() -> None:
    case = problem()
    method = ratebp.methods.get("bptt_s", loss_mode="per_step")
    assert str(ratebp.verify(case.model, method, case.x, case.y)) == (
        "bptt_s(loss_mode=per_step): exact."
    )
    tet = ratebp.losses.get("tet")
    assert ratebp.verify(case.model, "bptt_m", case.x, case.y, loss=tet).outcome == "exact"
    found = ratebp.verify(case.model, "rate_m", case.x, case.y, loss=tet)
    assert found.outcome == "refused"
    assert "Rate-BP (multi-step) minimises that of the mean output" in found.reason


def test_the_model_and_the_random_state_are_left_alone() -> None:
    case = problem(norm="batch", dtype=torch.float32)
    before, state = fingerprint(case.model), torch.get_rng_state()
    values = {n: t.clone() for n, t in case.model.state_dict().items()}
    found = ratebp.verify(case.model, "rate_m", case.x, case.y)
    assert found.outcome == "equal at T=1"
    assert fingerprint(case.model) == before
    assert all(torch.equal(t, values[n]) for n, t in case.model.state_dict().items())
    assert all(p.grad is None and p.dtype == torch.float32 for p in case.model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_that_fails_by_itself_is_no_methods_fault() -> None:
    case: Any = problem()
    case.model.head[2] = nn.Linear(23, 5, dtype=torch.float64)
    with pytest.raises(ratebp.OracleError, match="without any method"):
        ratebp.verify(case.model, "bptt_s", case.x, case.y)


def test_a_neuron_without_an_equation_here_is_named() -> None:
    class Mine(ratebp.LIF):
        pass

    case = problem()
    case.model.lif1 = Mine()
    with pytest.raises(ratebp.OracleError, match="no oracle for the neuron Mine at `lif1`"):
        ratebp.verify(case.model, "bptt_s", case.x, case.y)


def test_an_unknown_method_is_refused_by_name() -> None:
    case = problem()
    with pytest.raises(ratebp.OptionError, match="bptt_m"):
        ratebp.verify(case.model, "bptt_n", case.x, case.y)
    with pytest.raises(ratebp.OptionError, match="call it once for each"):
        ratebp.verify(case.model, ["bptt_m", "sltt"], case.x, case.y)  # type: ignore[arg-type]


def test_labels_that_do_not_fit_are_no_fault_of_the_network_alone() -> None:
    case = problem()
    with pytest.raises(ratebp.OptionError, match=r"targets y have shape \(2,\) for 3 samples"):
        ratebp.verify(case.model, "bptt_m", case.x, case.y[:-1])
