"""The processor's energy counters, as files in a folder of our own."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from harness.errors import AbsentError
from harness.machine import rapl

TURN = 262_143_328_850


def zone(root: Path, folder: str, name: str, count: int = 0) -> Path:
    """One domain, as the kernel shows it; the file of its counter."""
    home = root / folder
    home.mkdir(parents=True)
    (home / "name").write_text(f"{name}\n")
    (home / "max_energy_range_uj").write_text(f"{TURN}\n")
    (home / "energy_uj").write_text(f"{count}\n")
    return home / "energy_uj"


def test_packages_are_summed_and_their_parts_left_out(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    core = zone(tmp_path, "intel-rapl:0:0", "core")
    platform = zone(tmp_path, "intel-rapl:2", "psys")
    twin = zone(tmp_path, "intel-rapl-mmio:0", "package-0")
    found = rapl.packages(tmp_path)
    assert found.names == "package-0, package-1"
    start = found.read()
    first.write_text("3500000")
    second.write_text("6000000")
    for other in (core, platform, twin):
        other.write_text("99000000")
    assert found.joules(start, found.read()) == pytest.approx(3.5)


def test_a_counter_that_starts_again_loses_nothing(tmp_path: Path) -> None:
    count = zone(tmp_path, "intel-rapl:0", "package-0", TURN - 2_000_000)
    found = rapl.packages(tmp_path)
    start = found.read()
    count.write_text("1000000")
    assert found.joules(start, found.read()) == pytest.approx(3.0)
    assert found.longest_s == pytest.approx(TURN / 1e9)


def test_a_machine_without_counters(tmp_path: Path) -> None:
    with pytest.raises(AbsentError, match=r"no package domain .*virtual machine.* drop 'energy'"):
        rapl.packages(tmp_path / "nowhere")
    zone(tmp_path, "intel-rapl:0", "psys")
    with pytest.raises(AbsentError, match="no package domain"):
        rapl.packages(tmp_path)


def test_a_counter_that_is_for_root_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = zone(tmp_path, "intel-rapl:0", "package-0")
    count.chmod(0)
    if os.geteuid() == 0:  # root reads whatever it likes: refuse in its place
        read = Path.read_text

        def refuse(path: Path, *arguments: str, **keywords: str) -> str:
            if path == count:
                raise PermissionError(13, "Permission denied", str(path))
            return read(path, *arguments, **keywords)

        monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(AbsentError, match=re.escape("sudo chmod a+r /sys/class/powercap/intel")):
        rapl.packages(tmp_path)


def test_a_counter_that_is_gone_or_says_nonsense(tmp_path: Path) -> None:
    count = zone(tmp_path, "intel-rapl:0", "package-0")
    found = rapl.packages(tmp_path)
    count.write_text("many")
    with pytest.raises(AbsentError, match="'many', which is no number"):
        found.read()
    count.unlink()
    with pytest.raises(AbsentError, match="cannot be read"):
        found.read()
