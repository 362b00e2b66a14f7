"""Options, discovery of plug-ins, and what a method refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import ratebp
from ratebp.errors import BindError, OptionError
from ratebp.testing import problem, seeded_step
from ratebp.testing.gradients import differences, gradients

EXAMPLE = Path(__file__).parents[2] / "examples" / "last_step.py"


def test_a_misspelt_name_lists_the_legal_ones() -> None:
    with pytest.raises(OptionError, match=r"'slt'\. Did you mean 'sltt'\? Legal: .*rate_m"):
        ratebp.methods.get("slt")


def test_a_misspelt_option_and_an_illegal_value() -> None:
    with pytest.raises(OptionError, match=r"unknown option of rate_m 'gradscale'.*grad_scale"):
        ratebp.methods.get("rate_m", gradscale="one")
    with pytest.raises(OptionError, match=r"'two'.*Legal: inverse_t, one"):
        ratebp.methods.get("rate_m", grad_scale="two")


@pytest.mark.parametrize("name", ["rate_m", "rate_s"])
def test_rate_refuses_a_norm_without_a_rule_by_name(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), ratebp.LIF(), nn.Flatten(),
                          nn.Linear(4, 2))  # fmt: skip
    with pytest.raises(BindError, match=r"GroupNorm at `1`.*BatchNorm.*bptt_m"):
        ratebp.methods.get(name).bind(model, 2)
    ratebp.methods.get("sltt").bind(model, 2)


class DoubledLinear(nn.Linear):
    """A synapse with arithmetic of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("name", ratebp.methods.names())
def test_third_party_synapses_take_the_general_path(name: str) -> None:
    """Doubling inside the layer equals doubling its weights outside; gradients scale by 2."""
    results = []
    for layer in (DoubledLinear, nn.Linear):
        torch.manual_seed(0)
        model = nn.Sequential(layer(6, 9), ratebp.LIF(), layer(9, 8), ratebp.LIF(), nn.Linear(8, 5))
        if layer is nn.Linear:
            with torch.no_grad():
                for index in (0, 2):
                    for p in model[index].parameters():
                        p.mul_(2)
        x = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        model.double().zero_grad()
        seeded_step(ratebp.methods.get(name).bind(model, 3), 2 * x, torch.tensor([0, 1, 2, 3]))
        results.append({n: p.grad for n, p in model.named_parameters()})
    doubled, plain = results
    halves = {n: g / (2 if n.startswith(("0.", "2.")) else 1) for n, g in doubled.items()}
    assert float(plain["0.weight"].norm()) > 0
    assert differences(halves, plain, 1e-10) == {}


def test_placements_of_ottt_differ_where_they_should() -> None:
    by = {}
    for placement in ("all", "spiking", "published"):
        by[placement] = gradients(ratebp.methods.get("ottt_a", placement=placement), problem())

    def equal(name: str, a: str, b: str) -> bool:
        return torch.equal(by[a][name], by[b][name])

    assert equal("conv1.weight", "all", "spiking")
    assert not equal("head.2.weight", "all", "spiking")
    assert equal("head.2.weight", "all", "published")
    assert not equal("head.2.bias", "all", "published")
    assert not equal("stem.weight", "all", "published")
    assert equal("conv1.weight", "all", "published")


def test_sltt_k_cannot_learn_from_more_steps_than_there_are() -> None:
    with pytest.raises(BindError, match=r"k=5 of timesteps=3; legal: 1 to 3"):
        ratebp.methods.get("sltt_k", k=5).bind(problem().model, 3)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "2"])
def test_counts_are_whole_and_at_least_1(value: object) -> None:
    with pytest.raises(OptionError, match=r"window=.* must be an integer of at least 1"):
        ratebp.methods.get("tbptt", window=value)


@pytest.mark.parametrize(("scale", "factor"), [("published", 1 / 3), ("unbiased", 1.0)])
def test_e14_sltt_k_is_sltt_in_expectation(scale: str, factor: float) -> None:
    """E14: the mean over all draws is K/T of SLTT's gradient, or all of it."""
    want = gradients(ratebp.methods.get("sltt"), problem())
    sums = {name: torch.zeros_like(g) for name, g in want.items()}
    seen: dict[float, dict[str, torch.Tensor]] = {}
    for seed in range(40):
        case = problem()
        torch.manual_seed(seed)
        bound = ratebp.methods.get("sltt_k", k=1, scale=scale).bind(case.model, 3)
        bound.step(case.x, case.y)
        found = {n: p.grad for n, p in case.model.named_parameters() if p.grad is not None}
        seen.setdefault(float(found["stem.weight"].norm()), found)
    assert len(seen) == 3  # each of the three steps was drawn
    for found in seen.values():
        sums = {name: total + found[name] / 3 for name, total in sums.items()}
    assert differences(sums, {n: g * factor for n, g in want.items()}, 1e-10) == {}


def test_an_update_without_an_optimiser_is_refused() -> None:
    case = problem()
    bound = ratebp.methods.get("ottt_o").bind(case.model, case.timesteps)
    with pytest.raises(OptionError, match=r"updates at every time step.*StepContext\(optimizer\)"):
        bound.step(case.x, case.y)


def catalogue(plugins: str) -> dict[str, object]:
    child = subprocess.run(
        [sys.executable, "-m", "ratebp.catalogue"],
        env={**os.environ, "RATEBP_PLUGINS": plugins},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, object] = json.loads(child.stdout)
    return found


def test_plug_ins_by_path_and_broken_ones(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(EXAMPLE.read_text() + "\n\nclass Again(LastStep):\n    pass\n")
    (tmp_path / "syntax.py").write_text("def broken(:\n")
    (tmp_path / "_private.py").write_text("raise RuntimeError\n")
    (tmp_path / "sltt.py").write_text(EXAMPLE.read_text())
    found = catalogue(os.pathsep.join([str(EXAMPLE), str(tmp_path), str(tmp_path / "absent.py")]))
    by_name = {m["name"]: m for m in found["methods"]}  # type: ignore[attr-defined]
    assert by_name["last_step"]["source"] == "path"
    assert by_name["last_step"]["label"] == "last step only"
    assert by_name["sltt"]["source"] == "builtin"
    errors = {Path(b["source"]).name: b["error"] for b in found["broken"]}  # type: ignore[attr-defined]
    assert errors.keys() == {"two.py", "syntax.py", "sltt.py", "absent.py"}
    assert "defines 2 Method classes" in errors["two.py"]
    assert "SyntaxError" in errors["syntax.py"]
    assert "'sltt' is taken" in errors["sltt.py"]
    assert "there is no such file" in errors["absent.py"]


def test_plug_ins_by_entry_point(tmp_path: Path) -> None:
    (tmp_path / "mine_pkg.py").write_text(EXAMPLE.read_text())
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ratebp.methods]\nfrom_afar = mine_pkg:LastStep\n")
    code = (
        "import ratebp; e = ratebp.methods.entries()['from_afar']; print(e.source, e.cls.__name__)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.strip() == "entry point LastStep"
