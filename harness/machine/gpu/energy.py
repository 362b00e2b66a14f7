"""The energy counter of a board."""

from __future__ import annotations

from harness.machine.gpu.device import Device
from harness.machine.gpu.nvml import Absent


def energy(device: Device) -> int | Absent:
    """Millijoules since the driver was loaded (Volta and newer boards).

    The counter belongs to the board; on a superchip (GH200) it covers CPU and memory too.
    """
    if device.mig:
        return Absent("the counter is the whole board's, which the MIG instances share")
    counted = device.ask_board("nvmlDeviceGetTotalEnergyConsumption")
    return counted if isinstance(counted, Absent) else int(counted)
