"""Render a report to a PNG with headless Chromium, to look at it or to keep it in `docs/`.

python scripts/report_picture.py results/runs/quick/report.html docs/report.png
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def main() -> int:
    """Parse the command line, render, and say where the picture is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("report", type=Path, help="the report.html to render")
    parser.add_argument("picture", type=Path, help="the PNG file to write")
    parser.add_argument("--width", type=int, default=1280, help="window width in px")
    parser.add_argument("--height", type=int, default=1600, help="window height in px")
    parser.add_argument("--dark", action="store_true", help="render the dark theme")
    options = parser.parse_args()
    try:
        render(options.report, options.picture, options.width, options.height, options.dark)
    except (OSError, RuntimeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{options.picture}\n")
    return 0


def render(report: Path, picture: Path, width: int, height: int, dark: bool = False) -> None:
    """Write a screenshot of `report` to `picture`, both as wide and as high as the window.

    Raises:
        RuntimeError: if there is no browser or it draws nothing.
        FileNotFoundError: if there is no report.
    """
    if not report.is_file():
        raise FileNotFoundError(f"{report} does not exist; write it with `ratebp-bench report`")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise RuntimeError(
            f"no browser on PATH (looked for {', '.join(BROWSERS)}); install one, for example "
            "with `apt-get install chromium`"
        )
    picture = picture.resolve()
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *QUIET, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        command += ["--virtual-time-budget=10000", f"--screenshot={picture}"]
        if dark:
            command.append("--blink-settings=preferredColorScheme=0")
        done = subprocess.run(
            [*command, report.resolve().as_uri()], capture_output=True, text=True, check=False
        )
    if done.returncode or not picture.is_file():
        raise RuntimeError(f"{browser} drew nothing:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    raise SystemExit(main())
