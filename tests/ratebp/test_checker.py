"""The process behind `ratebp-bench check`, and how it reads a user's model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from ratebp import checker, loading
from ratebp.errors import OptionError

NETS = """
from dataclasses import dataclass
import torch, ratebp, sizes
from torch import nn

print("printed while it is imported")

class Net(nn.Module):
    def __init__(self, num_classes=10, in_channels=3):
        super().__init__()
        self.conv, self.lif = nn.Conv2d(in_channels, sizes.WIDTH, 3), ratebp.LIF(decay=0.5)
        self.head = nn.Linear(sizes.WIDTH, num_classes)
    def forward(self, x):
        return self.head(self.lif(self.conv(x)).mean((2, 3)))

class Mixes(Net):
    def forward(self, x):
        current = self.conv(x)
        return self.head(self.lif(current + 2 * current.roll(1, 0)).mean((2, 3)))

class Pixels(Net):
    def __init__(self):
        super().__init__()
        self.out = nn.Conv2d(sizes.WIDTH, 5, 1)
    def forward(self, x):
        return self.out(self.lif(self.conv(x)))

built = Net()
number = 3

def needs(width): return Net()
def fails(): raise KeyError("no weights")
"""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")  # one: a process takes `sizes` from one folder
    (folder / "sizes.py").write_text("WIDTH = 4\n")
    (folder / "nets.py").write_text(NETS)
    return folder / "nets.py"


def load(place: str, **offered: Any) -> nn.Module:
    return loading.build(loading.network(place), {}, offered)


def ask(model: object, method: str = "bptt_m", **more: Any) -> dict[str, Any]:
    default = {"T": 3, "batch": 4, "input": [3, 8, 8], "classes": 10}
    return checker.answer({"model": str(model), "method": method, **default, **more})


def test_a_class_a_function_or_a_module_is_loaded(nets: Path) -> None:
    assert load(f"{nets}:Net", num_classes=7, unheard_of=1).head.out_features == 7  # type: ignore[union-attr]
    assert isinstance(load(f"{nets}:built", num_classes=7), nn.Module)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere.py:Net", "no file 'nowhere.py' in "),
        ("nowhere.py", "names nothing in a file"),
        ("{nets}:Nett", "Did you mean 'Net'"),
        ("{nets}:number", "is of type int"),
        ("{nets}:needs", "cannot be built without 'width'"),
        ("{nets}:fails", "cannot be built: KeyError: 'no weights'"),
    ],
)
def test_what_cannot_be_loaded_is_named(nets: Path, place: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        load(place.format(nets=nets), num_classes=3)


def test_answers(nets: Path) -> None:
    assert ask(f"{nets}:Net")["outcome"] == "exact"
    wrong = ask(f"{nets}:Mixes")
    assert (wrong["outcome"] == "refused") or (wrong["outcome"], wrong["leaf"]) == ("wrong", "lif")
    assert ask(f"{nets}:Mixes", "bptt_s")["outcome"] == "exact"
    assert ask(f"{nets}:Pixels", "rate_m")["outcome"] == "equal at T=1"
    assert ask("tiny_resnet", "rate_m")["outcome"] == "equal at T=1"
    assert ask("zoo:mlp", "saf_e")["outcome"] == "equal at T=1"


@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        ("{nets}:Net", {"input": [8, 8]}, "fails on inputs of 8x8"),
        ("zoo:mpl", {}, "Did you mean 'mlp'"),
        ("tiny_resnt", {}, "Did you mean 'tiny_resnet'"),
        ("{nets}:Net", {"method": "bptt"}, "unknown method"),
    ],
)
def test_questions_that_make_no_sense(
    nets: Path, model: str, more: dict[str, Any], words: str
) -> None:
    answer = ask(model.format(nets=nets), **more)
    assert answer["outcome"] == "invalid"
    assert words in answer["reason"]


def test_what_a_model_prints_is_no_answer(nets: Path) -> None:
    request = {"model": f"{nets}:Net", "method": "sltt", "T": 2, "batch": 4}
    line = json.dumps(request | {"input": [3, 8, 8], "classes": 5})
    command = [sys.executable, "-m", "ratebp.checker"]
    done = subprocess.run(command, input=line, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["outcome"] == "equal at T=1"
    assert "printed while it is imported" in done.stderr
