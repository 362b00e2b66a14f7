"""Is a method's gradient on this network what the method says it is? One step of each answers.

::

    print(ratebp.verify(model, "rate_m", x, y))
"""

from ratebp.verification.check import OUTCOMES, Check, verify

__all__ = ["OUTCOMES", "Check", "verify"]
