"""The conformance suite on every method that is found: a new file is tested without an edit."""

from ratebp import methods
from ratebp.testing import MethodContract

for _name in methods.names():
    _title = f"Test_{_name}"
    globals()[_title] = type(_title, (MethodContract,), {"name": _name, "__module__": __name__})


def test_no_plug_in_is_broken() -> None:
    assert methods.broken() == ()


def test_the_six_methods_of_the_foundation_are_found() -> None:
    wanted = {"bptt_m", "bptt_s", "rate_m", "rate_s", "sltt", "ottt_a"}
    assert wanted <= set(methods.names())
