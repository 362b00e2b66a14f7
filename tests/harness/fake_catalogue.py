"""A small catalogue of methods that do not train but end in known ways; see fake_worker.py."""

import json
import sys


def method(name, family="exact", memory="linear", options=None):
    return {
        "name": name,
        "label": name.upper(),
        "family": family,
        "memory": memory,
        "layout": "multi",
        "loss": "mean",
        "papers": ["Somebody 2024"],
        "summary": f"The method {name}.",
        "options": options or {},
        "identities": [],
        "source": "builtin",
        "file": __file__,
        "digest": f"digest of {name}",
    }


GRAD_SCALE = {"default": "one", "choices": ["one", "inverse_t"], "type": "str"}
WINDOW = {"default": 4, "choices": None, "type": "int"}
NAMES = ("fine", "wide", "third")
ENDS = ("raises", "segfaults", "hangs", "oom", "torn", "measures", "badrow", "flaky", "outlives")
ENDS += ("disturbed", "diverges")

CATALOGUE = {
    "version": "9.9.9",
    "digest": "digest of the library",
    "methods": [
        method("fine", options={"grad_scale": GRAD_SCALE, "window": WINDOW}),
        *(method(name, "rate", "constant") for name in NAMES[1:] + ENDS),
    ],
    "broken": [{"source": "mine.py", "error": "SyntaxError: line 3"}],
    "models": [
        {"name": "tiny", "summary": "A net.", "options": ["width", "neuron"]},
        {"name": "other", "summary": "Another net.", "options": ["width"]},
    ],
    "surrogates": ["sigmoid", "atan"],
    "operators": {name: {"eager": "torch", "compiled": "torch"} for name in ("cpu", "cuda")},
    "path": [],
}

if __name__ == "__main__":
    json.dump(CATALOGUE, sys.stdout)
