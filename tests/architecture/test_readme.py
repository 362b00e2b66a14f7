"""The README is true: its code runs, its example is the file, its paths and methods exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import ratebp

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_training_example_runs() -> None:
    first = blocks("python")[0]
    assert "bound.step" in first
    names: dict[str, object] = {}
    exec(first.replace('"resnet18", ', '"resnet18", width=0.125, '), names)
    assert names["logits"].shape == (8, 10)  # type: ignore[attr-defined]


def test_the_method_example_is_the_file() -> None:
    assert (ROOT / "examples" / "last_step.py").read_text() in blocks("python")


def test_the_sweep_example_is_a_legal_sweep(tmp_path: Path) -> None:
    from harness.sweep import catalogue
    from harness.sweep.expand import ask
    from harness.sweep.file import read

    (text,) = blocks("toml")
    assert tomllib.loads(text)["name"] == "mine"
    file = tmp_path / "mine.toml"
    file.write_text(text)
    questions = ask(read(file), catalogue.load())
    # 2 probes x (bptt_m, rate_m, ottt_a twice) x 2 models x 4 T x 2 batch sizes
    assert len(questions) == 2 * 4 * 2 * 4 * 2


def test_every_path_named_exists() -> None:
    named = set(
        re.findall(r"`((?:ratebp|harness|benchmarks|tests|docs|examples)/[\w./-]+)`", README)
    )
    named |= set(re.findall(r"\]\((docs/[\w.-]+|CHANGELOG\.md)\)", README))
    assert len(named) > 6
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_method_is_in_the_table() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))
    builtin = {n for n, entry in ratebp.methods.entries().items() if entry.source == "builtin"}
    assert rows == builtin
