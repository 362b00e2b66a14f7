from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from report_sample import write

from harness import report
from harness.errors import ReportError
from harness.report import still

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
needs_exporter = pytest.mark.skipif(
    importlib.util.find_spec("kaleido") is None or not any(map(shutil.which, BROWSERS)),
    reason="kaleido or a Chrome is not installed",
)


@needs_exporter
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_main_figures_are_written_as_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(still, "MAIN", ("memory",))  # each figure starts a browser
    write(tmp_path, repeats=1)
    png, svg = report.write(tmp_path, pictures=("png", "svg")).pictures
    assert png == tmp_path / "figures" / "memory.png"
    assert png.read_bytes().startswith(b"\x89PNG")
    drawing = svg.read_text(encoding="utf-8")
    assert drawing.startswith("<svg")
    assert "rate_m" in drawing


def test_without_the_exporter_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, repeats=1)
    monkeypatch.setattr(still, "EXPORTER", "no_such_exporter")
    with pytest.raises(ReportError, match=r"pip install 'ratebp\[pictures\]'"):
        report.write(tmp_path, pictures=("svg",))
    assert (tmp_path / report.NAME).is_file()


def test_a_failing_browser_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import plotly.io

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no Chrome")

    write(tmp_path, repeats=1)
    monkeypatch.setattr(plotly.io, "write_image", fail)
    monkeypatch.setattr(still, "EXPORTER", "json")
    with pytest.raises(ReportError, match="RuntimeError: no Chrome; kaleido needs a Chrome"):
        report.write(tmp_path, pictures=("png",))
