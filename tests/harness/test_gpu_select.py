"""Which device a trial computes on, for every way to say so."""

from __future__ import annotations

import sys

import fake_nvml
import pytest
from fake_nvml import Board, FakeNvml, Instance

from harness.machine import gpu

FIRST, SECOND = "GPU-aaaa1111", "GPU-bbbb2222"


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Two boards, listed against their order on the bus."""
    fake = FakeNvml()
    fake.boards = [Board(SECOND, "00000000:41:00.0"), Board(FIRST, "00000000:01:00.0")]
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


@pytest.fixture
def partitioned(nvml: FakeNvml) -> FakeNvml:
    """The first board has two MIG instances, and an empty slot before them."""
    board = nvml.boards[1]
    board.in_mig_mode = True
    board.instances = [None, Instance(board, "MIG-11", (3, 0)), Instance(board, "MIG-22", (4, 1))]
    return nvml


def chosen(visible: str | None = None, order: str | None = None) -> str:
    """UUID of the device, or the reason why there is none."""
    names = {"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": order}
    with gpu.device({key: value for key, value in names.items() if value is not None}) as device:
        return device.reason if isinstance(device, gpu.Absent) else device.uuid


@pytest.mark.parametrize(
    ("visible", "uuid"),
    [
        (None, FIRST),
        ("0", FIRST),
        ("1", SECOND),
        (" 1 ,0", SECOND),
        (SECOND, SECOND),
        ("GPU-bbbb", SECOND),
        (f"{FIRST},{SECOND}", FIRST),
    ],
)
def test_a_board_by_index_or_uuid(nvml: FakeNvml, visible: str | None, uuid: str) -> None:
    assert chosen(visible) == chosen(visible, "PCI_BUS_ID") == uuid


def test_without_bus_ids_the_drivers_order_stays(nvml: FakeNvml) -> None:
    nvml.failing["nvmlDeviceGetPciInfo"] = fake_nvml.NO_PERMISSION
    assert chosen("0") == SECOND


@pytest.mark.parametrize(
    ("visible", "words"),
    [
        ("", "hides every GPU"),
        ("-1,0", "hides every GPU"),
        ("none", "hides every GPU"),
        ("2", "there is no GPU number 2: the driver lists 2"),
        ("GPU-cccc", "names no GPU that the driver lists; nvidia-smi -L"),
        ("GPU-", "names more than one GPU"),
        ("MIG-99", "names no GPU that the driver lists"),
    ],
)
def test_no_device(nvml: FakeNvml, visible: str, words: str) -> None:
    assert words in chosen(visible)


def test_the_fastest_first_cannot_be_told_from_outside(nvml: FakeNvml) -> None:
    assert "set CUDA_DEVICE_ORDER=PCI_BUS_ID" in chosen("0", "FASTEST_FIRST")
    assert chosen(SECOND, "FASTEST_FIRST") == SECOND
    del nvml.boards[0]
    assert chosen("0", "FASTEST_FIRST") == FIRST


@pytest.mark.parametrize(
    ("visible", "uuid"),
    [
        ("0", "MIG-11"),
        (FIRST, "MIG-11"),
        ("1", SECOND),
        ("MIG-22", "MIG-22"),
        (f"MIG-{FIRST}/3/0", "MIG-11"),
        (f"MIG-{FIRST}/4/1", "MIG-22"),
    ],
)
def test_mig_instances(partitioned: FakeNvml, visible: str, uuid: str) -> None:
    assert chosen(visible) == uuid


def test_mig_without_an_instance(partitioned: FakeNvml) -> None:
    partitioned.boards[1].instances = [None]
    assert "no compute instance; make one, or end MIG" in chosen("0")
    assert "names no GPU" in chosen(f"MIG-{FIRST}/3/0")


def test_boards_that_we_may_not_touch_do_not_count(nvml: FakeNvml) -> None:
    nvml.failing["nvmlDeviceGetHandleByIndex"] = fake_nvml.NO_PERMISSION
    assert "Insufficient Permissions" in chosen("0")
    nvml.failing.clear()
    nvml.boards.clear()
    assert chosen("0") == "the driver lists no device"
