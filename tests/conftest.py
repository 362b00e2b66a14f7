"""Which tests are long: they carry the mark `deep` and run in `tox -e deep`.

A test of many methods says `@pytest.mark.deep_but("bptt_m", "rate_m")`: those two run always, the
others in the deep run. The conformance suite is shipped, so what is long in it is said here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ratebp.testing import zoo

USUAL = ("bptt_m", "rate_m")
EVERY = 12
"""Every so many networks of the zoo are run with all methods; the usual two run on each."""
CONTRACT = frozenset(["test_two_processes_equal_one", "test_compiles_as_one_graph"])


def _long(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    networks = {*zoo.entries()} - {*sorted(zoo.entries())[::EVERY]}
    for item in items:
        words = {*re.split(r"[\[\]-]", item.name)}
        if any(words.isdisjoint(mark.args) for mark in item.iter_markers("deep_but")):
            yield item
        method = getattr(getattr(item, "cls", None), "name", None)
        if method is None or method in USUAL or not item.nodeid.startswith("tests/contracts"):
            continue
        if words & CONTRACT or ("test_every_network_of_the_zoo" in item.name and words & networks):
            yield item


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is long, before `-m` selects."""
    for item in _long(items):
        item.add_marker("deep")
