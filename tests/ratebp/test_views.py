"""Views share tensors, follow training flags, and refuse what would go wrong silently."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp.errors import BindError, StaleViewError
from ratebp.roles import Role, register_role, role_of
from ratebp.rules import ScanLIF, StepLIF
from ratebp.testing import fitting, problem, seeded_step
from ratebp.views import view

STEP = {Role.NEURON: lambda lif, _: StepLIF(lif)}


def bind(model: nn.Module, name: str = "bptt_s", timesteps: int = 2) -> ratebp.Bound:
    return ratebp.methods.get(name).bind(model, timesteps)


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), ratebp.LIF(), nn.Linear(4, 2))


def test_structure_is_copied_and_tensors_are_shared() -> None:
    model = problem(norm="batch").model
    made = view(model, STEP)
    assert type(made.module) is type(model)
    assert made.module is not model
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        assert (
            made.module.get_parameter(name) is tensor
            if isinstance(tensor, nn.Parameter)
            else made.module.get_buffer(name) is tensor
        )
    assert isinstance(model.get_submodule("lif0"), ratebp.LIF)
    assert isinstance(made.module.get_submodule("lif0"), StepLIF)


def test_a_model_that_is_one_leaf() -> None:
    made = view(ratebp.LIF(), {Role.NEURON: lambda lif, _: ScanLIF(lif, 2)})
    assert isinstance(made.module, ScanLIF)


def test_a_leaf_inside_a_swapped_leaf_is_left_alone() -> None:
    class Gated(ratebp.LIF):
        def __init__(self) -> None:
            super().__init__()
            self.gate = ratebp.LIF()

    made = view(nn.Sequential(Gated()), STEP)
    assert isinstance(made.module[0], StepLIF)  # type: ignore[index]


def test_moving_the_model_after_bind_is_refused() -> None:
    model = problem(norm="batch", dtype=torch.float32).model
    bound = bind(model)
    model.double()
    with pytest.raises(StaleViewError, match=r"`norm0.running_mean` was replaced.*Call bind again"):
        bound.step(torch.zeros(2, 1, 2, 7, 7), torch.zeros(1, dtype=torch.long))


def test_replacing_a_parameter_after_bind_is_refused() -> None:
    model = small()
    bound = bind(model)
    model[0].weight = nn.Parameter(torch.zeros(4, 3))
    with pytest.raises(StaleViewError, match=r"`0\.weight`"):
        bound.step(torch.zeros(2, 1, 3), torch.zeros(1, dtype=torch.long))


def test_hooks_are_refused_by_place() -> None:
    model = small()
    model[0].register_forward_hook(lambda *_: None)
    with pytest.raises(BindError, match=r"`0` carries hooks.*Remove them before bind"):
        bind(model)


@pytest.mark.parametrize(
    "name", [name for name in ratebp.methods.names() if ratebp.methods.get(name).info.norms]
)
def test_eval_of_a_part_reaches_the_views(name: str) -> None:
    case = problem(norm="batch")
    bound = bind(case.model, name, case.timesteps)
    seeded_step(bound, case.x, case.y)
    case.model.get_submodule("norm1").eval()
    before = {n: b.clone() for n, b in case.model.named_buffers()}
    seeded_step(bound, case.x, case.y)
    changed = {n for n, b in case.model.named_buffers() if not torch.equal(b, before[n])}
    assert changed
    assert not any(n.startswith("norm1.") for n in changed)


def test_a_neuron_used_twice_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.lif = nn.Linear(3, 3), nn.Linear(3, 3), ratebp.LIF()

        def forward(self, x: Tensor) -> Tensor:
            return self.lif(self.b(self.lif(self.a(x))))  # type: ignore[no-any-return]

    with pytest.raises(BindError, match=r"`lif` is called 2 times.*its own module"):
        bind(Twice())
    with pytest.raises(BindError, match="called 2 times"):
        bind(Twice(), "bptt_m")


def test_a_model_without_neurons_is_refused() -> None:
    with pytest.raises(BindError, match=r"no spiking neuron.*ratebp.LIF"):
        bind(nn.Sequential(nn.Linear(2, 2)))


def test_a_model_that_cannot_be_traced_says_what_to_do() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = ratebp.LIF()

        def forward(self, x: Tensor) -> Tensor:
            return self.lif(x) if x.sum() > 0 else x  # type: ignore[no-any-return]

    with pytest.raises(BindError, match=r"Branches cannot be followed.*wiring=ratebp.Wiring"):
        bind(Branches())
    wiring = ratebp.Wiring({"lif": 1}, {"lif": frozenset()}, {"lif": frozenset()}, frozenset())
    given = ratebp.methods.get("sltt").bind(Branches(), 2, wiring=wiring)
    assert given.plain(torch.ones(2, 3, 4)).shape == (3, 4)


@pytest.mark.parametrize("timesteps", [0, -1, 2.0, True, "4"])
def test_an_illegal_number_of_steps_is_refused(timesteps: object) -> None:
    with pytest.raises(ratebp.OptionError, match="must be an integer of at least 1"):
        ratebp.methods.get("sltt").bind(small(), timesteps)  # type: ignore[arg-type]


def test_a_sequence_of_another_length_is_refused() -> None:
    with pytest.raises(ratebp.OptionError, match=r"\(3, 1, 3\).*timesteps=2.*ratebp.direct"):
        bind(small()).step(torch.zeros(3, 1, 3), torch.zeros(1, dtype=torch.long))


def test_roles_follow_the_class_and_its_bases() -> None:
    class MyConv(nn.Conv2d):
        pass

    class Mine(nn.Module):
        pass

    assert role_of(MyConv(1, 1, 1)) is Role.SYNAPSE
    assert role_of(nn.BatchNorm2d(1)) is Role.NORM
    assert role_of(nn.InstanceNorm1d(1)) is Role.NORM
    assert role_of(nn.AvgPool2d(2)) is None
    assert role_of(Mine()) is None
    register_role(Mine, Role.SYNAPSE)
    assert role_of(Mine()) is Role.SYNAPSE


def test_nothing_is_left_allocated_in_the_leaves_after_a_step() -> None:
    for name in ratebp.methods.names():
        case = fitting(ratebp.methods.get(name), norm="batch")
        bound = bind(case.model, name, case.timesteps)
        seeded_step(bound, case.x, case.y)
        own = {id(t) for t in [*case.model.parameters(), *case.model.buffers()]}
        for made in bound.views(case.x).values():
            for module in made.module.modules():
                state = [v for v in vars(module).values() if isinstance(v, Tensor)]
                assert not [t for t in state if id(t) not in own], (name, type(module))
                record = getattr(module, "record", None)
                assert record is None or record.take() == ()


class AddsInPlace(nn.Module):
    """Changes spikes and a residual stream in place, or computes the same out of place."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.lif0, self.lif1, self.lif2 = (ratebp.LIF(decay=0.5) for _ in range(3))
        self.head = nn.Linear(6, 3)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        if self.in_place:
            x += y
            return x
        return x + y

    def forward(self, x: Tensor) -> Tensor:
        stream = self.a(x)
        first = self.lif0(stream)
        stream = self.add(stream, self.b(first))  # the neuron's input, after it fired
        second = self.lif1(stream)
        second = self.add(second, self.lif2(self.c(first)))  # spikes, as in SEW
        out: Tensor = self.head(second)
        return out


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("name", ratebp.methods.names())
def test_a_model_may_change_its_tensors_in_place(name: str) -> None:
    found = []
    for in_place in (False, True):
        torch.manual_seed(0)
        model = AddsInPlace(in_place).double()
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(2)
        x = 2 * torch.randn(
            4, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64
        )
        result = seeded_step(bind(model, name, 4), x, torch.tensor([0, 1, 2, 0, 1]))
        logits = [result.logits, ratebp.infer(model, x), bind(model, name, 4).plain(x)]
        found.append(logits + [p.grad for p in model.parameters()])
    for apart, together in zip(*found, strict=True):
        assert float(apart.norm()) > 0
        torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-14)
