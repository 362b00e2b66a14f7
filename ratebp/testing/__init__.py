"""The conformance suite that every method passes, and that plug-in authors run on theirs.

::

    from ratebp.testing import MethodContract

    class TestMine(MethodContract):
        name = "mine"          # found through an entry point or RATEBP_PLUGINS
"""

import pytest

# So that failures show their values.
pytest.register_assert_rewrite("ratebp.testing.contracts", "ratebp.testing.gradients")

from ratebp.testing.contracts import MethodContract  # noqa: E402
from ratebp.testing.problems import Problem, fitting, problem, seeded_step  # noqa: E402

__all__ = ["MethodContract", "Problem", "fitting", "problem", "seeded_step"]
