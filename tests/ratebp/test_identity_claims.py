"""An identity that proves nothing is refused: by itself, at discovery, or by the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ratebp
from ratebp import Identity
from ratebp.errors import OptionError
from ratebp.oracles import rectifiers
from ratebp.testing.path import no_method, same
from tests.ratebp.test_methods import EXAMPLE, catalogue

ROOT = Path(__file__).parents[2]
DECLARED = '(Identity("bptt_s", {"timesteps": 1}),)'
FIELDS = "    identities: ClassVar ="
OPTION = f'    way: str = option("one", "one", "other")\n{FIELDS}'


def plug_in(folder: Path, name: str, identities: str, *more: tuple[str, str]) -> Path:
    """Write the example with other identities, and an option that changes nothing."""
    text = EXAMPLE.read_text()
    changes = (DECLARED, f"({identities},)"), (FIELDS, OPTION), ("Method, R", "Method, option, R")
    for before, after in (*changes, *more):
        assert before in text
        text = text.replace(before, after)
    file = folder / f"{name}.py"
    file.write_text(text)
    return file


def contract(file: Path, check: str) -> subprocess.CompletedProcess[str]:
    tests = ["-m", "pytest", "tests/contracts", "-k", f"{file.stem} and {check}"]
    return subprocess.run(
        [sys.executable, *tests, "-p", "no:cacheprovider"],
        env={**os.environ, "RATEBP_PLUGINS": str(file)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.deep
def test_itself_under_the_same_options_is_refused_at_discovery(tmp_path: Path) -> None:
    cases = {
        "bare": 'Identity("bare")',
        "at_one": 'Identity("at_one", {"timesteps": 1})',
        "filled_in": 'Identity("filled_in", options={"way": "one"})',
        "alike": 'Identity("alike", options={"way": "other"}, other_options={"way": "other"})',
        "beside": 'Identity("bptt_s", {"timesteps": 1}), Identity("beside")',
        "unknown": 'Identity("unknown", options={"wya": "other"})',
        "both": 'Identity("bptt_s", oracle=print)',
        "neither": "Identity()",
        "sound": 'Identity("bptt_s", {"timesteps": 1})',
    }
    for name, identities in cases.items():
        plug_in(tmp_path, name, identities)
    found = catalogue(str(tmp_path))
    errors = {Path(b["source"]).stem: b["error"] for b in found["broken"]}  # type: ignore[attr-defined]
    assert errors.keys() == cases.keys() - {"sound"}
    for name in ("bare", "at_one", "filled_in", "alike", "beside"):
        assert f"compares {name} with itself under the same options" in errors[name]
        assert "an oracle (ratebp.oracles)" in errors[name]
    assert "Did you mean 'way'?" in errors["unknown"]
    for name in ("both", "neither"):
        assert "names another method or an oracle, one of them" in errors[name]


@pytest.mark.deep
def test_options_that_change_nothing_are_refused_by_the_contract(tmp_path: Path) -> None:
    file = plug_in(tmp_path, "idle", 'Identity("idle", options={"way": "other"})')
    done = contract(file, "two_ways")
    assert done.returncode == 1
    assert "'way=other: idle' compares idle with itself: the same operators" in done.stdout
    assert contract(file, "test_identities and not two_ways").returncode == 0  # it holds, of course


@pytest.mark.deep
def test_an_oracle_that_runs_a_method_is_refused_by_the_contract(tmp_path: Path) -> None:
    oracle = '''

def asks(model, x, y, loss):
    """Return the gradients of the method itself."""
    import ratebp
    ratebp.methods.get("bptt_s").bind(model, len(x)).step(x, y)
    return {n: p.grad for n, p in model.named_parameters()}


@dataclass'''
    file = plug_in(
        tmp_path,
        "asking",
        'Identity(oracle=asks, when={"timesteps": 1})',
        ("\n\n@dataclass", oracle),
    )
    done = contract(file, "test_identities and not two_ways")
    assert done.returncode == 1
    assert "an oracle binds the method BpttS" in done.stdout


def test_every_method_of_ours_is_compared_with_something_else() -> None:
    for name, entry in ratebp.methods.entries().items():
        assert any(i.oracle is not None or i.other != name for i in entry.cls.identities), name


def bare(model: nn.Module, x: Tensor, y: Tensor, loss: Callable[..., Tensor]) -> Any:
    return {}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Identity(oracle=bare), "says in its docstring whose gradients"),
        (lambda: Identity(oracle=rectifiers, other_options={"a": 1}), "takes no options"),
        (lambda: Identity("sltt", over="most"), "Legal: all, last_spiking"),
        (lambda: Identity("sltt", scale="two"), "Legal: inverse_t, one"),
    ],
)
def test_statements_that_cannot_be_measured(made: Callable[[], Identity], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        made()


def test_an_oracle_is_said_in_words() -> None:
    words = str(Identity(oracle=rectifiers, when={"timesteps": 2}))
    network = "a network of torch's ReLU on the mean of the input's steps"
    assert words == f"the gradients of {network}, by hand, where T=2"


def test_paths_differ_by_operator_shape_and_number_alone() -> None:
    x = torch.randn(3, 4)
    assert same(lambda: x * 2, lambda: x.neg() * 2 if x.dim() == 0 else x * 2)
    assert same(lambda: x * 2, lambda: torch.randn(3, 4).mul(2)) is False
    assert same(lambda: x + x, lambda: x + torch.ones(3, 4, dtype=x.dtype)) is False
    assert not same(lambda: x * 2, lambda: x * 3)
    assert not same(lambda: x * 2, lambda: x[:2] * 2)
    assert not same(lambda: x * 2, lambda: x.double() * 2)


def test_methods_bind_again_after_an_oracle() -> None:
    model = nn.Sequential(nn.Linear(2, 3), ratebp.LIF(), nn.Linear(3, 2))
    with no_method(), pytest.raises(OptionError, match="an oracle binds the method BpttM"):
        ratebp.methods.get("bptt_m").bind(model, 2)
    ratebp.methods.get("bptt_m").bind(model, 2)
