"""The process of one trial: `python -m harness.trial.worker SPEC.json OUT.json`.

Reads a `TrialSpec`, runs it, writes the answer in one piece. The exit code is 0 whenever the answer
was written, whatever it says. With a GPU, once its memory is at its peak, it prints the line
"measured" and waits for one line on standard input, so that the parent can ask the driver. With
`--turn` it prints "ready" before it does what others would disturb, and waits for a line.

To debug one trial, pipe its specification: `python -m harness.trial.worker - - < SPEC.json`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from harness.spec import TrialSpec

MEASURED: Final = "measured"
READY: Final = "ready"
_PIPE: Final = "-"


def main(arguments: list[str]) -> int:
    """Run the trial that `arguments` (paths of the specification and the answer) name."""
    source, target, in_turn = _asked(arguments)
    text = sys.stdin.read() if source == _PIPE else Path(source).read_text(encoding="utf-8")
    spec = TrialSpec.from_json(json.loads(text))
    handshake = _Handshake(MEASURED, wanted=spec.cell.device == "cuda" and source != _PIPE)
    answer = _loaded().run(spec, handshake, _Handshake(READY, wanted=in_turn))
    handshake()
    _write(answer.to_json(), target)
    return 0


def _asked(arguments: list[str]) -> tuple[str, str, bool]:
    parser = argparse.ArgumentParser(
        prog="python -m harness.trial.worker", description="Run one trial."
    )
    parser.add_argument("spec", help="JSON file with a TrialSpec, or - for standard input")
    parser.add_argument("out", help="JSON file for the answer, or - for standard output")
    parser.add_argument("--turn", action="store_true", help="wait for a line before measuring")
    parsed = parser.parse_args(arguments)
    return parsed.spec, parsed.out, parsed.turn


def _loaded() -> ModuleType:
    """The module `harness.trial.trial`, and with it torch and the library.

    Nothing of what an import makes is garbage: the collector would go through all of it dozens of
    times, a third of the time that imports take, and again with each collection of a probe. The
    compiler is what every optimiser imports when it is made.
    """
    gc.disable()
    trial = import_module("harness.trial.trial")
    import_module("torch._dynamo")
    gc.freeze()
    gc.enable()
    return trial


class _Handshake:
    """Tells the parent one word, once, and waits for its leave to go on."""

    def __init__(self, word: str, *, wanted: bool) -> None:
        self._word = word
        self._wanted = wanted

    def __call__(self) -> None:
        """Say the word, and wait until the parent has done its part."""
        if self._wanted:
            self._wanted = False
            sys.stdout.write(f"{self._word}\n")
            sys.stdout.flush()
            sys.stdin.readline()


def _write(answer: dict[str, Any], target: str) -> None:
    text = json.dumps(answer, indent=1, allow_nan=False)
    if target == _PIPE:
        sys.stdout.write(f"{text}\n")
        return
    part = Path(f"{target}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
