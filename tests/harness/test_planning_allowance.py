"""What a process needs beyond its tensors: the default, and calibration from published runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.planning.allowance import DEFAULT, Allowance, calibrate, load
from harness.planning.cards import CARDS

PAIRS = st.lists(st.tuples(st.integers(1, 10**11), st.integers(1, 2 * 10**11)), max_size=8)


@settings(deadline=None)  # a busy machine is no fault
@given(st.integers(0, 2**30), st.floats(0, 2), st.integers(0, 2**38))
def test_room_is_the_largest_count_whose_need_fits(fixed: int, share: float, usable: int) -> None:
    allowance = Allowance(fixed, share, 0, "")
    room = allowance.room(usable)
    assert allowance.need(room) <= usable < allowance.need(room + 1)


@settings(deadline=None)  # a busy machine is no fault
@given(PAIRS)
def test_no_published_run_needs_more_than_the_calibration_says(
    pairs: list[tuple[int, int]],
) -> None:
    found = calibrate(pairs)
    assert found.share >= 0
    assert found.fixed >= 0
    if len({exact for exact, _ in pairs}) < 3:
        assert found is DEFAULT
    else:
        assert all(process <= found.need(exact) + 1 for exact, process in pairs)
        assert found.runs == len(pairs)


def test_an_affine_need_is_found() -> None:
    found = calibrate([(exact, exact + exact // 4 + 1000) for exact in (4_000, 8_000, 80_000)])
    assert found.share == pytest.approx(0.25)
    assert found.fixed == 1000
    assert "3 published GPU runs" in found.words


def _publish(folder: Path, device: str, points: list[tuple[int, int, int]]) -> None:
    folder.mkdir(parents=True)
    trials, rows = ["trial,device,status"], ["trial,metric,phase,value"]
    for number, (persistent, live, process) in enumerate(points):
        trials.append(f"t{number},{device},ok")
        rows.append(f"t{number},mem.persistent,step,{persistent}")
        rows.append(f"t{number},mem.live_peak,step,{live}")
        rows.append(f"t{number},mem.live_peak,forward,1")
        rows.append(f"t{number},nvml.process_peak,step,{process}")
    trials.append(f"t9,{device},oom_cuda")
    (folder / "trials.csv").write_text("\n".join(trials))
    (folder / "measurements.csv").write_text("\n".join(rows))


def test_published_runs_are_read_and_those_of_a_cpu_are_not(tmp_path: Path) -> None:
    points = [(10, 90, 300), (10, 190, 400), (10, 390, 600)]
    _publish(tmp_path / "a", "cpu", points)
    assert load(tmp_path) is DEFAULT
    assert load(tmp_path / "nowhere") is DEFAULT
    _publish(tmp_path / "b", "cuda", points)
    found = load(tmp_path)
    assert (found.share, found.fixed, found.runs) == (0.0, 200, 3)


def test_what_is_not_calibrated_says_so() -> None:
    assert "not calibrated: no GPU run published" in DEFAULT.words


def test_cards_offer_less_than_they_have() -> None:
    assert [card.name for card in CARDS] == ["8 GB", "16 GB", "24 GB", "40 GB", "80 GB", "141 GB"]
    for card in CARDS:
        assert 0.95 * card.total < card.usable < card.total
        assert abs(card.total / float(card.name.split()[0]) / 1e9 - 1) < 0.1
        assert card.source
