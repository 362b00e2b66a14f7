"""The packages whose models are imported; tests without them say which is missing."""

import importlib
import warnings

import pytest


def package(name):
    """Return the module `name`, or skip the tests that ask for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            pytest.skip(
                f"needs {name.partition('.')[0]} ({error}); `tox -e peers` installs it",
                allow_module_level=True,
            )
