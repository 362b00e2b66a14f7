"""GPUs as the driver sees them, through NVML: light, and never an exception.

A missing module, driver or permission is a fact to record: whatever cannot be read is an `Absent`
with its reason, and the figures beside it stay. `device` opens the one device that a trial uses;
`usage`, `state` and `energy` read it.
"""

from harness.gpu.device import Device, device
from harness.gpu.energy import energy
from harness.gpu.inventory import Inventory, TrialDevice, inventory, present
from harness.gpu.lock import exclusive
from harness.gpu.nvml import Absent
from harness.gpu.state import State, state
from harness.gpu.usage import Usage, usage

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
