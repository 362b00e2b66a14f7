"""What decides a figure decides its id: computed from imports, for each method and probe."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ratebp
from harness.errors import CatalogueError
from harness.machine.start import PACKAGES, ROOT
from harness.run import imports
from harness.run.imports import Imports
from harness.run.sources import Sources
from harness.spec import PROBES, TRAINED, Cell, Choice, Training, TrialSpec
from harness.sweep import catalogue
from harness.trial.bench import build
from harness.trial.probes import get

EXAMPLE = ROOT / "examples" / "last_step.py"
MODEL = Choice.make("tiny_resnet", {"width": 0.125})


LOADED = """
import pkgutil, sys
from harness.trial import worker
*files, names = sys.argv[1], sys.argv[2], sys.argv[3:]
modules = pkgutil.iter_modules
pkgutil.iter_modules = lambda path, prefix="": (
    m
    for m in modules(path, prefix)
    if m.ispkg or m.name in names or "ratebp" not in str(path)
)
worker.main(files)
print(*(file for m in list(sys.modules.values()) if (file := getattr(m, "__file__", None))))
"""
"""Runs a trial in a library that has a few methods alone, and prints which files that took."""


def methods(root: Path = ROOT) -> dict[str, Path]:
    found = ratebp.methods.entries()
    return {name: root / entry.file.relative_to(ROOT) for name, entry in found.items()}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    return tmp_path


def everything(root: Path) -> dict[str, Path]:
    found = (file for name in PACKAGES for file in (root / name).rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): file for file in found}


@pytest.mark.deep
def test_one_byte_of_any_file_of_the_closure_changes_the_id_and_no_other_does(copy: Path) -> None:
    def code() -> str:
        return Sources(methods(copy), root=copy).code("rate_m", "memory")

    within = Sources(methods(copy), root=copy).files("rate_m", "memory")
    before, unseen = code(), []
    for name, file in within.items():
        text = file.read_bytes()
        file.write_bytes(text + b"\n")
        unseen += [name] if code() == before else []
        file.write_bytes(text)
    assert unseen == []
    for name, file in everything(copy).items():
        if name not in within:
            file.write_bytes(file.read_bytes() + b"\n")
    assert code() == before
    missed = ("trial/exact/elementwise", "trial/exact/fakes", "rows", "spec", "errors")
    missed += ("run/executors/settings", "machine/start")
    assert {f"harness/{name}.py" for name in missed} <= within.keys()
    kernels = {"ratebp/ops/kernels.h", "ratebp/ops/bits/kernels.cpp", "ratebp/ops/bits/cpp.py"}
    assert kernels <= within.keys()
    assert "harness/data/digits.npz" in within
    for without in ("report/page", "run/runner", "trial/probes/energy", "trial/probes/time/probe"):
        assert f"harness/{without}.py" not in within
    assert "harness/trial/planner.py" not in within
    assert "ratebp/methods/bptt_m.py" not in within
    assert "ratebp/ops/README.md" not in within


def test_a_probe_or_a_method_voids_its_own_trials_alone(copy: Path) -> None:
    def codes() -> dict[tuple[str, str], str]:
        sources = Sources(methods(copy), root=copy)
        shared.append(sources.shared)
        return {(m, p): sources.code(m, p) for m in asked for p in PROBES}

    asked, shared = ("sltt", "rate_m", "bptt_s", "saf_e", "saf_f"), list[str]()
    before = codes()
    for name, changed in (
        ("harness/trial/probes/energy.py", {(m, "energy") for m in asked}),
        ("harness/trial/training.py", {(m, p) for m, p in before if p in TRAINED}),
        # Fidelity compares with bptt_s, whatever the method.
        ("ratebp/methods/bptt_s.py", {(m, p) for m, p in before if m == "bptt_s" or "fid" in p}),
        ("ratebp/methods/sltt.py", {(m, p) for m, p in before if m == "sltt"}),
        ("ratebp/methods/saf/saf_e.py", {(m, p) for m, p in before if m == "saf_e"}),
        # What a family alone shares is part of its methods.
        ("ratebp/methods/saf/_accumulation.py", {(m, p) for m, p in before if "saf" in m}),
    ):
        text = (copy / name).read_bytes()
        (copy / name).write_bytes(text + b"\n")
        after = codes()
        assert {key for key in before if before[key] != after[key]} == changed
        (copy / name).write_bytes(text)
    (copy / "harness/trial/probes/novel.py").write_text("from harness.trial.probe import Probe\n")
    assert codes() == before
    assert len(set(shared)) == 1


@pytest.mark.deep_but("memory")
@pytest.mark.parametrize("probe", PROBES)
def test_a_trial_loads_nothing_that_is_not_in_its_digest(probe: str, tmp_path: Path) -> None:
    training = Training() if probe in TRAINED else None
    cell = Cell(Choice("ottt_a"), MODEL, "digits", 2, 256, operators="torch", training=training)
    spec = TrialSpec("id", "s", cell, probe, 0, 0, 60.0, "e", "c", 2)
    (tmp_path / "spec.json").write_text(json.dumps(spec.to_json()))
    closure = set(Sources(methods()).files("ottt_a", probe).values())
    named = [name for name, file in methods().items() if file in closure]
    asked = [str(tmp_path / "spec.json"), str(tmp_path / "out.json")]
    command = [sys.executable, "-P", "-c", LOADED, *asked, *named]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    status = json.loads((tmp_path / "out.json").read_text())["status"]
    assert status == "ok" or (probe, status) == ("energy", "skipped")
    places = [ROOT / name for name in PACKAGES]
    loaded = {
        file for file in map(Path, done.stdout.split()) if any(map(file.is_relative_to, places))
    }
    assert loaded - closure == set()
    assert len(loaded) > 100


@pytest.mark.parametrize("probe", TRAINED)
def test_every_method_that_a_probe_runs_is_in_its_digest(
    probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()
    real: Callable[..., Any] = ratebp.methods.get

    def noted(name: str, **options: Any) -> Any:
        asked.add(name)
        return real(name, **options)

    monkeypatch.setattr(ratebp.methods, "get", noted)
    cell = Cell(Choice("sltt"), MODEL, "digits", 2, 256, training=Training())
    get(probe).measure(build(cell))
    files = Sources(methods()).own("sltt", probe).values()
    assert {methods()[name] for name in asked} <= set(files)
    assert len(asked) == (4 if probe == "fidelity" else 1)


def test_files_that_are_edited_meanwhile_are_told(copy: Path) -> None:
    sources = Sources(methods(copy), root=copy)
    sources.code("sltt", "time")
    assert sources.changed() == []
    (copy / "harness/trial/probes/energy.py").write_text("pass\n")  # nobody has looked at it
    (copy / "harness/trial/bench.py").write_text("pass\n")
    (copy / "ratebp/ops/kernels.h").unlink()
    assert set(sources.changed()) == {
        copy / "harness/trial/bench.py",
        copy / "ratebp/ops/kernels.h",
    }


def test_a_module_that_is_not_there_is_named(copy: Path) -> None:
    with pytest.raises(CatalogueError, match=r"no module 'harness\.trial\.probes\.novel'"):
        Sources(methods(copy), root=copy).code("sltt", "novel")
    with pytest.raises(CatalogueError, match=r"cannot read .*gone\.py"):
        Sources({"gone": copy / "gone.py"}, root=copy).code("gone", "time")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import a.b, c as d", {"a.b", "c"}),
        ("from a import b", {"a", "a.b"}),
        ("from . import b\nfrom ..c import d", {".", ".b", "..c", "..c.d"}),
        ("def f():\n    import a", {"a"}),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", {"b"}),
        ("import typing\nif typing.TYPE_CHECKING:\n    import a", {"typing"}),
        ("importlib.import_module('a.b')", {"a.b"}),
        ("no python (", set()),
    ],
)
def test_what_a_file_imports(text: str, names: set[str]) -> None:
    found = imports.read(text.encode())
    assert (found.names, found.computed) == (names, False)


def test_names_that_are_made_up_and_names_with_dots() -> None:
    assert imports.read(b"import_module(f'a.{b}')").computed
    assert imports.read(b"x = ('bptt_m', 1)") == Imports(texts=frozenset({"bptt_m"}))
    absolute = [imports.absolute(name, "a.b") for name in ("c", ".", ".c", "..c")]
    assert absolute == ["c", "a.b", "a.b.c", "a.c"]
    assert imports.absolute(".c", "") == ""


def plug_in(folder: Path, name: str = "mine", imported: str = "import helper") -> Path:
    folder.mkdir(exist_ok=True)
    text = EXAMPLE.read_text().replace("import torch\n", f"import torch\n{imported}\n", 1)
    (folder / f"{name}.py").write_text(text)
    (folder / "helper.py").write_text("SIZE = 1\n")
    return folder / f"{name}.py"


def offered(monkeypatch: pytest.MonkeyPatch, *files: Path) -> catalogue.Catalogue:
    monkeypatch.setenv("RATEBP_PLUGINS", ":".join(map(str, files)))
    return catalogue.load()


def test_what_a_plug_in_imports_is_part_of_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = plug_in(tmp_path / "here")
    (tmp_path / "here" / "deeper").mkdir()
    (tmp_path / "here" / "helper.py").write_text("def f():\n    from deeper import most\n")
    (tmp_path / "here" / "deeper" / "most.py").write_text("x = 1\n")
    (tmp_path / "here" / "beside.py").write_text("x = 1\n")
    known = offered(monkeypatch, file)
    assert known.methods["mine"].source == "path"
    files = {method.name: Path(method.file) for method in known.methods.values()}

    def codes() -> tuple[str, str]:
        sources = Sources(files, known.path)
        return sources.code("mine", "memory"), sources.code("sltt", "memory")

    before = codes()
    for name in ("helper.py", "deeper/most.py", "mine.py"):
        with (tmp_path / "here" / name).open("a") as text:
            text.write("\n")
        after = codes()
        assert (after[0] != before[0], after[1]) == (True, before[1]), name
        before = after
    (tmp_path / "here" / "beside.py").write_text("x = 2\n")
    assert codes() == before


def test_a_plug_in_s_installed_packages_count_by_their_version(tmp_path: Path) -> None:
    here = tmp_path / "site-packages"
    (here / "other").mkdir(parents=True)
    (here / "other" / "__init__.py").write_text("")
    file = plug_in(tmp_path / "here", imported="import other, pydantic, torch")
    known = [Sources({"mine": file}, [str(here), *sys.path]) for _ in range(2)]
    first, second = (each.code("mine", "time") for each in known)
    (here / "other" / "__init__.py").write_text("changed = True\n")  # its version would tell
    third = Sources({"mine": file}, [str(here), *sys.path]).code("mine", "time")
    assert first == second == third


@pytest.mark.deep
@pytest.mark.parametrize("name", ["helper", "random"])
def test_a_plug_in_that_would_get_another_file_than_its_own_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plug_in(tmp_path / "a", "first")
    second = plug_in(tmp_path / "b", "second", f"import {name}")
    (tmp_path / "b" / f"{name}.py").write_text("")
    known = offered(monkeypatch, first, second)
    (broken,) = [each for each in known.broken if each.kind == "methods"]
    assert broken.source == str(second)
    assert f"imports {name!r}, which is " in broken.error
    assert f"not {tmp_path / 'b' / name}.py; rename the latter" in broken.error
    assert "first" in known.methods
