"""What a file of Python imports, read and not run, and the versions of what is installed.

Statements count wherever they stand: a function imports later, but it does. So does `import_module`
of a literal name. Imports for type checkers alone are never run, so they do not count.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Final


@dataclass(frozen=True)
class Imports:
    """What a file says.

    Attributes:
        names: what it imports, with the leading dots of relative imports. `from a import b` is
            both `a` and `a.b`, as nobody knows which of them is a module.
        computed: whether it imports by names that it makes up.
        texts: every string literal in it.
    """

    names: frozenset[str] = frozenset()
    computed: bool = False
    texts: frozenset[str] = frozenset()


_IMPORTERS: Final = ("import_module", "__import__", "spec_from_file_location")


@functools.cache
def read(text: bytes) -> Imports:
    """What the text of a file imports; nothing if it is no Python, which then cannot run either."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return Imports()
    reader = _ImportVisitor()
    reader.visit(tree)
    return Imports(frozenset(reader.names), reader.computed, frozenset(reader.texts))


def absolute(name: str, package: str) -> str:
    """A name as it is imported, its leading dots replaced."""
    bare = name.lstrip(".")
    dots = len(name) - len(bare)
    if not dots:
        return name
    if not package:  # a file that is in no package cannot mean any
        return ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - dots + 1], *([bare] if bare else [])])


class _ImportVisitor(ast.NodeVisitor):
    """Collects what a file imports."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.computed = False
        self.texts: set[str] = set()

    def visit_Import(self, node: ast.Import) -> None:
        self.names |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = "." * node.level + (node.module or "")
        joint = "" if base.endswith(".") else "."
        self.names |= {base, *(f"{base}{joint}{alias.name}" for alias in node.names)}

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for each in node.orelse:
                self.visit(each)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in _IMPORTERS and node.args:
            match node.args[0]:
                case ast.Constant(value=str(literal)):
                    self.names.add(literal)
                case _:
                    self.computed = True
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.texts.add(node.value)


@functools.cache
def _providers() -> Mapping[str, Sequence[str]]:
    return metadata.packages_distributions()


def versions(packages: Iterable[str]) -> list[str]:
    """Installed packages as distributions with their versions, sorted."""
    if not (wanted := set(packages)):
        return []
    names = {name for package in wanted for name in _providers().get(package, ())}
    return sorted(f"{name} {metadata.version(name)}" for name in names)
