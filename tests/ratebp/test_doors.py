"""What comes in by a place, an entry point or a plug-in, and what is said of what cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from torch import nn

from ratebp import loading, models
from ratebp.doors.signature import Signature
from ratebp.errors import AbsentPackageError, OptionError

NETS = """
import torch, ratebp
from torch import nn

class Net(nn.Module):
    '''A line.'''
    def __init__(self, num_classes, width=8):
        super().__init__()
        self.fc = nn.Linear(width, num_classes)

class _Hidden(nn.Module):
    pass

def load(size: int = 3):
    '''Nothing.'''
"""


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_options_are_read_off_signatures() -> None:
    def made(
        a: int,
        b: float = 1.0,
        c: Literal["x", "y"] = "x",
        d: Mapping[str, Any] | None = None,
        e: int | str = 1,
        f=2,  # type: ignore[no-untyped-def]
        *,
        g: nn.Module | None = None,
        **more: Any,
    ) -> None: ...

    found = Signature.of(made)
    assert found.open
    assert found.options["a"].required
    assert found.options["c"].choices == ("x", "y")
    types = {name: option.types for name, option in found.options.items()}
    expected = {"a": ("int",), "b": ("float",), "c": (), "d": ("table",), "e": ("int", "str")}
    assert types == expected | {"f": ("int", "float"), "g": ()}
    assert json.dumps(found.described())


class Bare(nn.Module):
    """Nothing of its own."""


class Inherits(nn.Linear):
    """Everything of its base."""


def test_a_class_without_a_constructor_takes_nothing() -> None:
    assert Signature.of(Bare) == Signature({})
    assert "in_features" in Signature.of(Inherits).options


def test_a_place_is_built_with_what_it_takes(tmp_path: Path) -> None:
    write(tmp_path, own_nets=NETS)
    entry = loading.network("own_nets.py:Net", tmp_path)
    made = loading.build(entry, {"width": 5}, {"num_classes": 3, "in_channels": 1})
    assert made.fc.weight.shape == (3, 5)  # type: ignore[union-attr]
    assert entry.summary == "A line."
    assert entry.file == tmp_path / "own_nets.py"
    with pytest.raises(OptionError, match=r"option of model 'own_nets.py:Net', 'widht'.*'width'"):
        loading.build(entry, {"widht": 5}, {"num_classes": 3})
    with pytest.raises(OptionError, match="without 'num_classes'"):
        loading.build(entry, {}, {})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken.py:Net", r"cannot be loaded: SyntaxError: .*broken\.py, line 1"),
        ("leaves.py:Net", r"SystemExit: 3 \(leaves\.py, line 1\)"),
        ("lacks.py:Net", r"No module named 'no_such_thing'.*lacks\.py, line 1"),
        ("lacks.py", "names nothing in a file"),
        ("absent.py:Net", "there is no file 'absent.py' in "),
        ("fine.py:Nett", "Did you mean 'Net'"),
        ("fine.py:number", "is of type int, which is no model"),
        ("no.such.module:Net", "No module named 'no'"),
        ("resnet_18", r"unknown model 'resnet_18'.*file\.py:name"),
    ],
)
def test_what_cannot_be_loaded_is_named(tmp_path: Path, name: str, words: str) -> None:
    broken, leaves = "def f(:", "import sys; sys.exit(3)"
    fine = NETS + "\nnumber = 3\n"
    write(tmp_path, broken=broken, leaves=leaves, lacks="import no_such_thing", fine=fine)
    with pytest.raises(OptionError, match=words):
        loading.network(name, tmp_path)


def test_a_package_that_is_absent_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spikingjelly", None)
    write(tmp_path, sj_nets="from spikingjelly.activation_based import neuron\ndef net(): ...\n")
    for place in ("sj_nets.py:net", "spikingjelly.activation_based.model:net"):
        with pytest.raises(AbsentPackageError, match="pip install spikingjelly"):
            loading.network(f"spikingjelly:{place}", tmp_path)


def test_what_builds_no_network_of_spikingjelly_is_refused(tmp_path: Path) -> None:
    write(tmp_path, plain_nets=NETS)
    entry = loading.network("spikingjelly:plain_nets.py:Net", tmp_path)
    with pytest.raises(Exception, match="has no neuron of SpikingJelly"):
        loading.build(entry, {}, {"num_classes": 3}, (8,))


CATALOGUE = (
    "import json, sys; from ratebp import catalogue; "
    "json.dump(catalogue.describe(), sys.stdout, default=str)"
)


def test_plug_ins_and_entry_points_are_described_and_broken_ones_are_rows(tmp_path: Path) -> None:
    plugs = write(
        tmp_path / "plugs",
        listed=NETS + "\nMODELS = (Net,)\nDATA = (load,)\nprint('hello')\n",
        public=NETS.replace("Net(", "Public("),
        taken="from torch import nn\nclass resnet18(nn.Module): ...\n",
        leaves="import sys; sys.exit(3)",
    )
    write(tmp_path, a_package=NETS)
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    groups = "[ratebp.models]\nafar = a_package:Net\nnone = a_package:Absent\n"
    (info / "entry_points.txt").write_text(groups + "[ratebp.data]\nfar = a_package:load\n")
    settings = {"RATEBP_PLUGINS": str(plugs), "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    command = [sys.executable, "-m", "ratebp.catalogue"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=True)
    said = json.loads(done.stdout)
    by_name = {model["name"]: model for model in said["models"]}
    assert {n for n, m in by_name.items() if m["source"] != "builtin"} == {"Net", "Public", "afar"}
    assert by_name["Net"]["options"]["num_classes"]["required"]
    assert {each["name"]: each["source"] for each in said["data"]} == {
        "load": "path",
        "far": "entry point",
    }
    broken = {(each["kind"], Path(each["source"]).name): each["error"] for each in said["broken"]}
    assert "'resnet18' is taken" in broken["models", "taken.py"]
    assert "Absent" in broken["models", "entry point none"]
    for kind in ("methods", "models", "data"):
        assert "SystemExit: 3" in broken[kind, "leaves.py"]
    assert b"hello" in done.stderr


def test_builtin_networks_come_first_and_have_types() -> None:
    assert models.names()[0] == "tiny_resnet"
    assert models.get("resnet18").signature.options["neuron"].types == ("table",)
