"""The checks that every training method must pass; see `ratebp/method.py` for the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import pytest
import torch

from ratebp import methods
from ratebp.encoding import direct
from ratebp.errors import BindError, InputError, OptionError
from ratebp.inference import infer
from ratebp.method import Method
from ratebp.phases import StepContext
from ratebp.roles import Role, role_of
from ratebp.testing import zoo
from ratebp.testing.compare import fingerprint, settings, with_grad
from ratebp.testing.distributed import gradients_of_two_processes
from ratebp.testing.gradients import differences, gradients
from ratebp.testing.identities import identity_differences
from ratebp.testing.kept import kept_bytes
from ratebp.testing.path import same
from ratebp.testing.problems import Problem, problem, seeded_step
from ratebp.verification import verify

RTOL = 1e-10


class MethodContract:
    """Subclass it, set `name`, and pytest runs every check on that method."""

    name: ClassVar[str]

    @classmethod
    def problem(cls, **settings: Any) -> Problem:
        """Return what the checks run on; override it, with the settings of `testing.problem`."""
        return problem(**settings)

    @classmethod
    def fitting(cls, method: Method, *, norm: str, **settings: Any) -> Problem:
        """Return the problem with `norm`, or without any if `method` refuses norms."""
        return cls.problem(norm=norm if method.info.norms else "none", **settings)

    @pytest.fixture
    def method(self) -> Method:
        """Return the method with its default options."""
        return methods.get(self.name)

    @pytest.mark.parametrize("norm", ["none", "batch", "frozen"])
    def test_gradients_are_complete_finite_and_of_the_parameters_type(
        self, method: Method, norm: str
    ) -> None:
        """Every parameter gets a finite gradient of its shape and type, and not all are zero."""
        case = self.fitting(method, norm=norm)
        got = gradients(method, case)
        for name, parameter in case.model.named_parameters():
            assert got[name].shape == parameter.shape, name
            assert got[name].dtype == parameter.dtype, name
            assert torch.isfinite(got[name]).all(), name
        assert all(float(got[n].norm()) > 0 for n in got if n.endswith("weight")), got

    @pytest.mark.parametrize("norm", ["batch", "frozen"])
    def test_norms_are_trained_or_refused_as_declared(self, method: Method, norm: str) -> None:
        """A method that takes no norms says at bind which one it met, and where."""
        case = self.problem(norm=norm)
        if method.info.norms:
            method.bind(case.model, case.timesteps)
        else:
            path = next(p for p, m in case.model.named_modules() if role_of(m) is Role.NORM)
            kind = type(case.model.get_submodule(path)).__name__
            with pytest.raises(BindError, match=f"{kind} at `{path}`"):
                method.bind(case.model, case.timesteps)

    def test_gradients_are_added(self, method: Method) -> None:
        """Two steps without clearing give twice the gradient of one."""
        case = self.problem()
        once = gradients(method, case)
        bound = method.bind(case.model, case.timesteps)
        seeded_step(bound, case.x, case.y)
        twice = {n: p.grad / 2 for n, p in case.model.named_parameters() if p.grad is not None}
        assert differences(twice, once, RTOL) == {}

    def test_state_is_reset_between_steps(self, method: Method) -> None:
        """A bound method gives the same gradients to the bit when it sees the same batch again."""
        case = self.fitting(method, norm="batch")
        bound = method.bind(case.model, case.timesteps)
        seen = []
        start = {n: b.clone() for n, b in case.model.named_buffers()}
        for _ in range(2):
            for name, buffer in case.model.named_buffers():
                buffer.copy_(start[name])  # a forward may read the running statistics
            case.model.zero_grad()
            result = seeded_step(bound, case.x, case.y)
            seen.append([result.logits] + [p.grad.clone() for p in with_grad(case.model)])
        for first, second in zip(*seen, strict=True):
            assert torch.equal(first, second)

    def test_the_result_is_detached_and_shaped(self, method: Method) -> None:
        """The loss is a detached scalar, the logits are [B, K]."""
        case = self.problem()
        result = seeded_step(method.bind(case.model, case.timesteps), case.x, case.y)
        assert result.loss.shape == ()
        assert result.logits.shape == infer(case.model, case.x).shape
        assert not any(each.requires_grad for each in (result.loss, result.logits))

    def test_the_model_is_untouched(self, method: Method) -> None:
        """Types, keys, attributes, hooks, modes and parameter values stay as they were."""
        case = self.fitting(method, norm="batch")
        before = fingerprint(case.model)
        values = {n: p.detach().clone() for n, p in case.model.named_parameters()}
        seeded_step(method.bind(case.model, case.timesteps), case.x, case.y)
        assert fingerprint(case.model) == before
        assert torch.is_grad_enabled()
        for name, parameter in case.model.named_parameters():
            assert torch.equal(parameter, values[name]), name

    def test_updates_come_as_often_as_declared(self, method: Method) -> None:
        """A method leaves the update to the caller, or asks for one after every time step."""
        case = self.problem()
        calls = []

        class Counted(StepContext):
            def update(self) -> None:
                calls.append(any(p.grad is not None for p in case.model.parameters()))

        method.bind(case.model, case.timesteps).step(case.x, case.y, context=Counted())
        times = case.timesteps if method.info.updates == "time step" else 0
        assert calls == [True] * times

    def test_work_happens_in_phases(self, method: Method) -> None:
        """Forward and backward are entered, in pairs and never nested: that is what is measured."""
        case = self.fitting(method, norm="batch")
        entered: list[str] = []

        class Watched(StepContext):
            @contextmanager
            def phase(self, name: str) -> Iterator[None]:
                assert entered[-1:] != ["inside"], "phases are nested"
                entered.extend((name, "inside"))
                yield
                entered.pop()

            def update(self) -> None:
                assert entered[-1] == "backward"

        with torch.random.fork_rng(devices=[]):
            method.bind(case.model, case.timesteps).step(case.x, case.y, context=Watched())
        assert (set(entered), entered[0]) == ({"forward", "backward"}, "forward")
        assert entered.count("backward") <= entered.count("forward")

    def test_frozen_parameters_get_no_gradient_and_change_no_other(self, method: Method) -> None:
        """Parameters that need no gradient get none; the others' gradients stay the same."""
        case, whole = (self.fitting(method, norm="batch") for _ in range(2))
        names = [*dict(case.model.named_parameters())]
        frozen = {*names[:1], *names[3::4]}
        complete = gradients(method, whole)
        for name in frozen:
            case.model.get_parameter(name).requires_grad_(False)
        seeded_step(method.bind(case.model, case.timesteps), case.x, case.y)
        found = {n: p.grad for n, p in case.model.named_parameters() if p.grad is not None}
        want = {n: g for n, g in complete.items() if n not in frozen}
        assert differences(found, want, RTOL) == {}

    def test_views_share_all_tensors_and_add_none(self, method: Method) -> None:
        """Each view's parameters and buffers are the model's own objects."""
        case = self.fitting(method, norm="batch")
        own = {id(t) for t in [*case.model.parameters(), *case.model.buffers()]}
        for view in method.bind(case.model, case.timesteps).views(case.x).values():
            held = [*view.module.parameters(), *view.module.buffers()]
            assert held
            assert {id(t) for t in held} <= own

    def test_buffers_change_exactly_as_declared(self, method: Method) -> None:
        """Running statistics move once a batch or once a pass, as declared, and as in `plain`."""
        stepped, plain = self.fitting(method, norm="batch"), self.fitting(method, norm="batch")
        seeded_step(method.bind(stepped.model, stepped.timesteps), stepped.x, stepped.y)
        method.bind(plain.model, plain.timesteps).plain(plain.x)
        once = method.info.layout == "multi" or method.info.statistics == "batch"
        times = 1 if once else stepped.timesteps
        for name, buffer in stepped.model.named_buffers():
            want = plain.model.get_buffer(name)
            torch.testing.assert_close(buffer, want, rtol=RTOL, atol=RTOL, msg=name)
            if name.endswith("num_batches_tracked"):
                assert int(buffer) == times, name

    def test_frozen_norms_stay_frozen(self, method: Method) -> None:
        """A norm in eval mode keeps its running statistics."""
        case = self.fitting(method, norm="frozen")
        before = {n: b.clone() for n, b in case.model.named_buffers()}
        seeded_step(method.bind(case.model, case.timesteps), case.x, case.y)
        for name, buffer in case.model.named_buffers():
            assert torch.equal(buffer, before[name]), name

    def test_loss_and_logits_are_those_of_the_spiking_network(self, method: Method) -> None:
        """The logits equal the plain forward's mean logits, whatever the backward approximates."""
        case, alike = self.fitting(method, norm="batch"), self.fitting(method, norm="batch")
        got = seeded_step(method.bind(case.model, case.timesteps), case.x, case.y).logits
        want = method.bind(alike.model, alike.timesteps).plain(alike.x)
        torch.testing.assert_close(got, want, rtol=RTOL, atol=RTOL)

    def test_memory_class(self, method: Method) -> None:
        """Bytes that autograd keeps for the backward grow in T as declared."""
        kept = {
            t: kept_bytes(method, self.fitting(method, norm="batch", timesteps=t))
            for t in (2, 4, 8)
        }
        if method.info.memory == "constant":
            assert kept[2] == kept[4] == kept[8], kept
        else:
            assert kept[8] - kept[4] == 2 * (kept[4] - kept[2]) > 0, kept

    def test_runs_under_autocast(self, method: Method) -> None:
        """bfloat16 autocast gives finite float32 gradients."""
        case = self.fitting(method, norm="batch", dtype=torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            got = gradients(method, case)
        assert all(g.dtype == torch.float32 and torch.isfinite(g).all() for g in got.values())

    def test_compiles_as_one_graph(self, method: Method) -> None:
        """torch.compile(fullgraph=True) with aot_eager gives the eager gradients."""
        eager = gradients(method, self.fitting(method, norm="batch"))
        torch.compiler.reset()
        compiled = gradients(
            method,
            self.fitting(method, norm="batch"),
            wrap=lambda m, _: torch.compile(m, fullgraph=True, backend="aot_eager"),
        )
        assert differences(compiled, eager, RTOL) == {}

    def test_two_processes_equal_one(self, method: Method, tmp_path: Any) -> None:
        """DistributedDataParallel over gloo averages to the gradient of the whole batch."""
        alone = gradients(method, self.problem(batch=4))
        together = gradients_of_two_processes(self.name, tmp_path, self.problem)
        assert differences(together, alone, RTOL) == {}

    def test_constant_input_may_be_an_expanded_view(self, method: Method) -> None:
        """Direct coding's stride-0 input gives the gradients of the same images copied T times."""
        images = self.fitting(method, norm="batch").x[0]
        got = []
        for x in (direct(images, 3), direct(images, 3).contiguous()):
            case = self.fitting(method, norm="batch")
            got.append(gradients(method, Problem(case.model, x, case.y)))
        assert differences(got[0], got[1], RTOL) == {}

    @pytest.mark.parametrize("network", sorted(zoo.entries()))
    def test_every_network_of_the_zoo_is_right_or_refused(
        self, method: Method, network: str
    ) -> None:
        """Beside a plain loop: exact, equal at T=1, approximate as declared, or refused."""
        for timesteps in (3, 1):
            case = zoo.entries()[network].case(timesteps)
            try:
                found = verify(case.model, method, case.x, case.y, loss=case.loss)
            except InputError:
                return  # no method takes such an input
            assert found.ok, str(found)
            if found.outcome == "equal at T=1":
                return  # one time step was compared, too

    def test_an_input_that_asks_has_its_gradient_or_is_refused(self, method: Method) -> None:
        """Inputs get a finite gradient where the method declares that it defines one."""
        case = self.problem()
        asked = case.x.clone().requires_grad_()
        bound = method.bind(case.model, case.timesteps)
        if not method.info.inputs:
            with pytest.raises(OptionError, match="x requires a gradient"):
                bound.step(asked, case.y)
            return
        seeded_step(bound, asked, case.y)
        assert asked.grad is not None
        assert torch.isfinite(asked.grad).all()
        assert float(asked.grad.norm()) > 0

    def test_identities(self, method: Method) -> None:
        """Every declared identity holds, for every setting that it does not name."""
        assert method.identities
        failed = {
            f"{identity} at {setting}": wrong
            for identity in method.identities
            for setting in settings(identity)
            if (wrong := identity_differences(self.name, identity, setting, self.problem))
        }
        assert failed == {}

    def test_identities_compare_two_ways(self, method: Method) -> None:
        """Options of an identity with the same method change, at some setting, what runs."""

        def run(options: Mapping[str, Any], setting: dict[str, Any]) -> object:
            return gradients(methods.get(self.name, **options), self.problem(**setting))

        for each in (i for i in method.identities if i.other == self.name):
            ways = each.options, each.other_options
            alike = [same(*(partial(run, way, s) for way in ways)) for s in settings(each)]
            said = f"'{each}' compares {self.name} with itself: the same operators run either way"
            assert not all(alike), said
