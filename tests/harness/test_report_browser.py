"""The report in a real browser: drawn, and every control does what it says."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from report_sample import write

from harness import report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,1600 --virtual-time-budget=8000"
)
SCRIPT = Path(__file__).parents[2] / "scripts" / "report_picture.py"
needs_browser = pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")

PROBE = """
<script>
addEventListener("error", (event) => { seen.errors.push(String(event.message)); });
const seen = { errors: [] };
const panel = (name) => document.getElementById("g0-" + name);
const plot = (name) => panel(name).querySelector(".plot");
const press = (name, value) => panel(name).querySelector(`.choice [value="${value}"]`).click();
const choose = (select, value) => {
  select.value = value;
  select.dispatchEvent(new Event("change", { bubbles: true }));
};
const table = (name) => panel(name).querySelector(".sheet:not([hidden]) table");
const column = (name, index) =>
  [...table(name).tBodies[0].rows].map((row) => row.cells[index].textContent);
const lines = (name) => plot(name).data.map((trace) => trace.meta ?? trace.name);
addEventListener("load", () => {
  try {
    look();
  } catch (error) {
    seen.errors.push(String(error));
  }
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  document.body.append(out);
});
function look() {
  seen.drawn = document.querySelectorAll(".plot .main-svg").length;
  seen.paths = plot("memory").querySelectorAll(".scatterlayer .trace").length;
  seen.log = plot("memory").layout.yaxis.type;
  press("memory", "linear");
  seen.linear = plot("memory").layout.yaxis.type;
  press("memory", "ratio");
  seen.ratio = plot("memory").data.find((trace) => trace.meta === "rate_m").y.at(-1);
  seen.pressed = panel("memory").querySelector('[value="ratio"]').getAttribute("aria-pressed");
  seen.label = plot("memory").getAttribute("aria-label");
  seen.cell = column("memory", 5)[4];
  choose(panel("time").querySelector("select"), "backward");
  seen.axis = plot("time").layout.yaxis.title.text;
  choose(panel("phases").querySelector("select"), "2");
  seen.bars = plot("phases").data[0].customdata.length;
  const heads = table("memory").tHead.rows[0].cells;
  heads[1].querySelector("button").click();
  seen.sorted = [column("memory", 1), heads[1].getAttribute("aria-sort")];
  heads[1].querySelector("button").click();
  seen.reversed = column("memory", 1);
  const before = lines("memory").length;
  document.querySelector('#methods [value="sltt"]').click();
  seen.without = [before, lines("memory"), plot("phases").data[0].customdata];
  URL.createObjectURL = (blob) => { seen.type = blob.type; return "data:,"; };
  seen.csv = csv(panel("time").querySelector(".sheet:not([hidden]) table"));
  HTMLAnchorElement.prototype.click = function () { seen.file = this.download; };
  panel("time").querySelector(".sheet:not([hidden]) .download").click();
}
</script>
"""


def browse(page: Path, profile: Path) -> str:
    assert BROWSER is not None
    command = [BROWSER, *FLAGS.split(), f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the probing script has found in the page after using its controls."""
    folder = tmp_path_factory.mktemp("sample")
    write(folder)
    page = report.write(folder).path
    page.write_text(
        page.read_text(encoding="utf-8").replace("</head>", f"{PROBE}</head>", 1), encoding="utf-8"
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', browse(page, folder / "profile"), re.S)
    assert found
    return dict(json.loads(html.unescape(found[1])))


@needs_browser
def test_figures_are_drawn_without_an_error(seen: dict[str, Any]) -> None:
    assert seen["errors"] == []
    assert seen["drawn"] >= 4
    assert seen["paths"] == 7  # six lines and the open marker of the lost cell


@needs_browser
def test_buttons_switch_scale_and_ratio(seen: dict[str, Any]) -> None:
    assert (seen["log"], seen["linear"]) == ("log", "linear")
    assert seen["ratio"] == pytest.approx(4 / 64)
    assert seen["pressed"] == "true"
    assert "× bptt_m" in seen["label"]
    assert seen["cell"] == "0.0625"


@needs_browser
def test_selects_switch_quantity_and_steps(seen: dict[str, Any]) -> None:
    assert seen["axis"] == "Backward (ms)"
    assert seen["bars"] == 6


@needs_browser
def test_a_click_on_a_heading_sorts_by_number(seen: dict[str, Any]) -> None:
    numbers, order = seen["sorted"]
    assert order == "ascending"
    assert list(map(float, numbers)) == sorted(map(float, numbers))
    assert seen["reversed"] == sorted(numbers, key=float, reverse=True)


@needs_browser
def test_a_method_can_be_switched_off_everywhere(seen: dict[str, Any]) -> None:
    before, lines, bars = seen["without"]
    assert before == len(lines) + 1
    assert "sltt" not in lines
    assert "sltt" not in bars
    assert "sltt" not in seen["csv"]


@needs_browser
def test_the_download_is_the_table_with_its_intervals(seen: dict[str, Any]) -> None:
    assert (seen["type"], seen["file"]) == ("text/csv", "g0-time-backward-absolute.csv")
    heads, first, *_ = seen["csv"].splitlines()
    assert heads.startswith("method,T=1,T=1 low,T=1 high,T=2")
    assert first.startswith("bptt_m,")
    name, value, low, high = first.split(",")[:4]
    assert name == "bptt_m"
    assert float(low) <= float(value) <= float(high)


@needs_browser
def test_the_picture_script_writes_a_png(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><title>x</title><h1>x</h1>", encoding="utf-8")
    picture = tmp_path / "page.png"
    command = [sys.executable, str(SCRIPT), str(page), str(picture), "--width=640", "--height=400"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_picture_script_names_the_browsers_that_it_looked_for(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.touch()
    command = [sys.executable, str(SCRIPT), str(page), str(tmp_path / "page.png")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={"PATH": ""}
    )
    assert done.returncode == 2
    assert "no browser on PATH (looked for chromium" in done.stderr
    assert "Traceback" not in done.stderr
