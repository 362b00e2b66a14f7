"""Rows on a trial's GPU memory, from readings of the driver and the allocator's own peak."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness.machine import gpu
from harness.rows import Row

_RESERVED = "cuda.reserved_peak"


def figures(
    before: gpu.Usage | None, now: gpu.Usage, own: Collection[int], rows: Sequence[Row]
) -> tuple[tuple[Row, ...], str]:
    """Rows from the readings before the trial and at its peak, and how they were got.

    The driver's figure of the process comes first. Where it is withheld, the growth of the whole
    device stands in, but only if it was idle before. A figure below what torch's allocator holds
    cannot be the trial's, and is refused.

    Args:
        own: ids by which the driver knows the trial's processes.
        rows: the trial's own; `cuda.reserved_peak` among them gives the context's share.
    """
    reserved = max((max(row.values) for row in rows if row.metric == _RESERVED), default=0)
    process = now.of(own)
    if not isinstance(process, gpu.Absent):
        if process < reserved:
            return (), f"absent: {process} B of the process are less than torch's {reserved:g} B"
        found = [_banded("nvml.process_peak", process)]
        if reserved:
            found.append(_banded("cuda.context_overhead", process - reserved))
        return tuple(found), "process"
    why = process.reason
    if before is None or not before.idle or len(now.pids) > 1:
        return (), f"absent: {why}, and nothing says that it was alone on the device"
    if isinstance(before.device, gpu.Absent) or isinstance(now.device, gpu.Absent):
        return (), f"absent: {why}, and the device's memory cannot be read"
    growth = now.device - before.device
    if growth < max(reserved, 1):
        return (), f"absent: {why}, and the device grew by {growth} B, less than torch holds"
    return (_banded("nvml.device_peak", growth),), f"device: {why}"


def _banded(metric: str, value: float) -> Row:
    return Row(metric, "step", "B", "banded", (float(value),))
