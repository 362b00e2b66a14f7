"""The process that plans: a JSON cell a line in, an answer a line out.

`python -m harness.trial.planner` starts it. Each cell is built on fake tensors and counted by
`exact.tier`: no data files, no memory worth mentioning and no GPU, whatever the size of the cell.
An answer has status, error, rows, facts and seconds; whatever goes wrong with one cell is its
status, and the next cell is read. The process ends when its standard input does.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from typing import Any

from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)

from harness.outcome import Outcome
from harness.spec import Cell
from harness.trial import trial
from harness.trial.answers import private_stdout
from harness.trial.bench import virtual
from harness.trial.exact import tier


def main() -> int:
    """Answer every cell on standard input."""
    answers = private_stdout()
    # What is imported stays; the tracker's collections then need not walk through it.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(predict(Cell.from_json(json.loads(line)))), file=answers, flush=True)
    return 0


def predict(cell: Cell) -> dict[str, Any]:
    """The exact tier of one cell, as plain values; `seconds` is what it took."""
    clock = time.monotonic()
    answer = _count(cell).to_json()
    return answer | {"seconds": round(time.monotonic() - clock, 3)}


def _count(cell: Cell) -> Outcome:
    try:
        with virtual(cell) as bench:
            facts = trial.describe(bench)
            found = tier.measure(bench)
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        return Outcome(
            "skipped",
            f"the step depends on the values of a tensor ({error}), and a plan has none; measure "
            "the cell by `ratebp-bench run`, or draw such values without tensors",
        )
    except Exception as error:
        return Outcome(*trial.judge(error))
    return Outcome("ok", None, found.rows, facts | found.facts)


if __name__ == "__main__":
    sys.exit(main())
