"""A git repository whose packages only pretend: its workers answer with the ratios of a table."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import fake_catalogue

from harness.outcome import Outcome
from harness.rows import Row
from harness.spec import TrialSpec

WORKER = """
import json, sys
from pathlib import Path
import ratebp
spec = json.loads(Path(sys.argv[1]).read_text())
speed = json.loads((Path(ratebp.__file__).parent / "speed.json").read_text())
ratio = speed[spec["cell"]["method"]["name"]]
answer = {"status": "ok", "error": None, "rows": [], "facts": {}}
if isinstance(ratio, str):
    answer |= {"status": ratio, "error": "because of the table"}
else:
    wobble = 1 + (spec["repeat"] * 7 % 5 - 2) / 1000
    row = {"metric": "ratio.step", "phase": "step", "unit": "1", "kind": "noisy"}
    answer["rows"] = [row | {"values": [ratio * wobble, ratio * wobble, 9.0]}]
Path(sys.argv[2]).write_text(json.dumps(answer))
"""
CATALOGUE = """
import json
from pathlib import Path
print((Path(__file__).parent / "catalogue.json").read_text())
"""
SWEEP = """
timeout_s = 30
[[grid]]
probes = ["time", "memory"]
method = ["wide", "all"]
model = "tiny"
data = "digits"
T = 2
batch = 4
device = "cpu"
"""
NAMES = ("fine", "wide", "third")


class Project:
    """A checkout with one commit; `change` edits it, `commit` commits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("harness/__init__.py", "")
        self.write("harness/trial/worker.py", WORKER)
        self.write("ratebp/__init__.py", "")
        self.write("ratebp/catalogue.py", CATALOGUE)
        self.write(".gitignore", "*.secret\n")
        self.change()
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit("first")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def change(self, *, reference: int = 1, library: str = "one", **speed: float | str) -> None:
        """Write everything that depends on the version; `speed` is by method, 1 if not given."""
        entries: list[dict[str, Any]] = []
        for entry in fake_catalogue.CATALOGUE["methods"]:
            if entry["name"] in NAMES:
                digest = f"{entry['name']} at {speed.get(entry['name'], 1.0)}"
                entries.append(entry | {"digest": digest})
        plain = fake_catalogue.CATALOGUE | {"methods": entries, "digest": library, "broken": []}
        self.write("ratebp/catalogue.json", json.dumps(plain))
        self.write("ratebp/speed.json", json.dumps(dict.fromkeys(NAMES, 1.0) | speed))
        self.write("harness/trial/reference.py", f"REFERENCE_VERSION: Final = {reference}\n")
        self.write("harness/rows.py", "MEASUREMENT_VERSION: Final = 2\nSCHEMA_VERSION: Final = 2\n")

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        who = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
        self.git(*who, "commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.folder), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


class InProcess:
    """Answers as the project's worker does, without a process."""

    def __init__(self, command: tuple[str, ...]) -> None:
        (path,) = (word for word in command if word.startswith("PYTHONPATH="))
        folder = Path(path.removeprefix("PYTHONPATH=").split(":")[0])
        self._speed = json.loads((folder / "ratebp" / "speed.json").read_text())

    def run(self, spec: TrialSpec, folder: Path, turn: object = None) -> Outcome:
        ratio = self._speed[spec.cell.method.name]
        if isinstance(ratio, str):
            return Outcome(ratio, "because of the table")
        wobble = ratio * (1 + (spec.repeat * 7 % 5 - 2) / 1000)
        row = Row("ratio.step", "step", "1", "noisy", (wobble, wobble, 9.0))
        return Outcome("ok", rows=(row,))

    def stop(self) -> None:
        """Nothing runs."""
