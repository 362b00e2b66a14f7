"""GPUs as the driver sees them, through NVML: light, and never an exception.

A missing module, driver or permission is a fact to record: whatever cannot be read is an `Absent`
with its reason, and the figures beside it stay. `device` opens the one device that a trial uses;
`usage`, `state` and `energy` read it.
"""

from harness.machine.gpu.device import Device, device
from harness.machine.gpu.energy import energy
from harness.machine.gpu.inventory import Inventory, TrialDevice, inventory, present
from harness.machine.gpu.lock import exclusive
from harness.machine.gpu.nvml import Absent
from harness.machine.gpu.state import State, state
from harness.machine.gpu.usage import Usage, usage

__all__ = [
    "Absent",
    "Device",
    "Inventory",
    "State",
    "TrialDevice",
    "Usage",
    "device",
    "energy",
    "exclusive",
    "inventory",
    "present",
    "state",
    "usage",
]
