"""Reading the library's catalogue from a child process."""

from __future__ import annotations

import sys

import fake_catalogue
import pytest
from fakes import CATALOGUE

from harness.errors import CatalogueError
from harness.sweep.catalogue import COMMAND, load, parse


def test_the_canned_catalogue() -> None:
    offered = load(CATALOGUE)
    assert offered.methods["fine"].options["grad_scale"].choices == ("one", "inverse_t")
    assert offered.methods["fine"].options["window"].choices is None
    assert offered.models["other"].options.keys() == {"width"}
    assert offered.broken[0].source == "mine.py"


def test_the_real_catalogue() -> None:
    offered = load(COMMAND)
    assert {"bptt_m", "bptt_s", "rate_m", "rate_s", "sltt", "ottt_a"} <= set(offered.methods)
    assert "placement" in offered.methods["ottt_a"].options
    assert "tiny_resnet" in offered.models
    assert "sigmoid" in offered.surrogates


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; print('deep trouble', file=sys.stderr); sys.exit(3)", "code 3(.|\n)*deep"),
        ("print('hello')", "is not JSON"),
        ("print('{}')", "lacks 'methods'"),
    ],
)
def test_a_child_that_fails(code: str, words: str) -> None:
    with pytest.raises(CatalogueError, match=words):
        load([sys.executable, "-c", code])


def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(CatalogueError, match="cannot read the catalogue"):
        load(["/nonexistent/python"])


def test_newer_keys_are_ignored() -> None:
    assert parse(fake_catalogue.CATALOGUE | {"news": 1}).version == "9.9.9"
