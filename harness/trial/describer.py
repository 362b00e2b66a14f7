"""The process that looks at what a sweep names by its place: a JSON line in, an answer line out.

`python -m harness.trial.describer` starts it. A request has "kind" ("model", "data" or "facts"),
"name", "folder", and for facts "options". An answer has what is there, or "error".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from harness.spec import Choice
from harness.trial import parts
from harness.trial.answers import private_stdout


def main() -> int:
    """Answer every request on standard input."""
    answers = private_stdout()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
    return 0


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What is at a place, as plain values; whatever goes wrong there is an answer, too."""
    folder = Path(request["folder"])
    try:
        if request["kind"] != "facts":
            return dict(parts.described(request["kind"], request["name"], folder))
        choice = Choice.make(request["name"], request["options"])
        return {"facts": vars(parts.own_dataset(choice, folder).facts)}
    except Exception as error:
        return {"error": str(error) or type(error).__name__}


if __name__ == "__main__":
    sys.exit(main())
