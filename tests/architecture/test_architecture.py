"""The layout's rules: import directions, budgets, plain facts about names."""

from __future__ import annotations

import ast
import importlib
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

import ratebp

ROOT = Path(__file__).parents[2]
PACKAGES = ("ratebp", "harness", "benchmarks", "tests", "scripts", "examples")
MODULE, FUNCTION, METHOD = 300, 40, 80


def sources() -> list[Path]:
    found = [f for package in PACKAGES for f in (ROOT / package).rglob("*.py")]
    assert len(found) > 80
    return found


def test_import_rules_hold() -> None:
    # Without pytest's own plug-ins; from the root, where benchmarks can be imported.
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    done = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " 0 broken" in done.stdout


def test_a_method_is_imported_by_nothing_and_a_familys_own_modules_by_the_family() -> None:
    methods, folder = "ratebp.methods", ROOT / "ratebp" / "methods"
    graph = grimp.build_graph("ratebp")
    found = {entry.cls.__module__ for entry in ratebp.methods.entries().values()}
    imported = {m: graph.find_modules_that_directly_import(m) for m in found & graph.modules}
    assert {m: by for m, by in imported.items() if by} == {}
    assert len(imported) >= 25
    private = [f for f in folder.glob("*/_*.py") if f.name != "__init__.py"]
    assert len(private) >= 1
    for file in private:
        family = f"{methods}.{file.parent.name}"
        importers = graph.find_modules_that_directly_import(f"{family}.{file.stem}")
        assert importers, f"{file} serves nobody"
        assert {m.rpartition(".")[0] for m in importers} == {family}, file


def code_lines(text: str) -> set[int]:
    """Return the lines that hold code: no comments, no docstrings, no blanks."""
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skip and token.type != tokenize.ENDMARKER:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            first = node.body[0]
            lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node


def test_no_module_is_longer_than_300_lines() -> None:
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in sources()}
    assert {f: n for f, n in lengths.items() if n > MODULE} == {}


def test_no_function_is_longer_than_40_code_lines() -> None:
    long = {}
    for file in sources():
        text = file.read_text()
        lines = code_lines(text)
        for function in functions(ast.parse(text)):
            size = sum(function.lineno <= n <= (function.end_lineno or 0) for n in lines)
            if size > FUNCTION:
                long[f"{file.relative_to(ROOT)}:{function.name}"] = size
    assert long == {}


def test_no_method_is_longer_than_80_code_lines() -> None:
    files = [*(ROOT / "ratebp" / "methods").rglob("[!_]*.py"), *(ROOT / "examples").glob("*.py")]
    assert len(files) >= 7
    sizes = {f.name: len(code_lines(f.read_text())) for f in files}
    assert {f: n for f, n in sizes.items() if n > METHOD} == {}


VERSIONS = {"__init__.py", "naive.py", "torch.py", "fused.py", "triton.py", "cpp.py", "kernels.cpp"}


def test_every_operator_has_a_readable_version_an_equation_and_a_test() -> None:
    """And all versions have the same names in every folder; so have those of a folder's parts."""
    folders = [f for f in (ROOT / "ratebp" / "ops").iterdir() if f.is_dir() and f.name[0] != "_"]
    assert len(folders) >= 8
    tests = [f.read_text() for f in (ROOT / "tests" / "ratebp").rglob("*.py")]
    for folder in folders:
        assert (folder / "naive.py").is_file(), folder
        assert "\n    " in (folder / "README.md").read_text(), folder
        files = {f for f in folder.rglob("*") if f.is_file() and f.suffix != ".pyc"}
        assert {f.name for f in files - {folder / "README.md"}} <= VERSIONS, folder
        public = set(importlib.import_module(f"ratebp.ops.{folder.name}").__all__)
        named = [name for name in public if name.startswith("naive_")] or [folder.name]
        for name in named:
            assert any(re.search(rf"\b{name}\b", text) for text in tests), f"no test of {name}"


def test_operators_import_each_other_one_way() -> None:
    graph = grimp.build_graph("ratebp")
    for package in ("ratebp.ops", "ratebp.ops.lif"):
        parts = {p for p in graph.find_children(package) if graph.find_children(p)}
        uses = {
            (a, b)
            for a in parts
            for b in parts - {a}
            if graph.direct_import_exists(importer=a, imported=b, as_packages=True)
        }
        assert uses, package
        assert {(b, a) for a, b in uses} & uses == set()


@pytest.mark.parametrize("package", ["ratebp", "harness"])
def test_no_dispatch_on_attributes(package: str) -> None:
    """No `hasattr` dispatch: what an object can do is said by its class."""
    found = []
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id == "hasattr":
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from harness.cli import app; "
        "r = CliRunner().invoke(app, ['--help']); assert r.exit_code == 0, r.output; "
        "print(sorted({'torch', 'plotly', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_two_classes_have_one_name() -> None:
    # The reference step is frozen and imports the instrument's `Neuron`, so that name stays twice.
    found: dict[str, list[str]] = {}
    for package in ("ratebp", "harness"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name.lstrip("_"), []).append(f"{file}:{node.lineno}")
    assert len(found) > 400
    twice = {name: places for name, places in found.items() if len(places) > 1}
    assert twice.keys() == {"Neuron"}, twice


def test_docstrings_are_in_google_style() -> None:
    underlined = re.compile(
        r"^ *(Args|Arguments|Parameters|Attributes|Raises|Returns|Yields)\n *--"
    )
    docstrings = [
        (file, ast.get_docstring(node) or "")
        for file in sources()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(docstrings) > 1000
    found = [file for file, text in docstrings if re.search(underlined.pattern, text, re.MULTILINE)]
    assert found == []
