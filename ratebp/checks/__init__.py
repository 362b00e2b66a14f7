"""What is refused around a step, whatever the method: models, inputs, outputs, losses, changes."""

from ratebp.checks.changes import Snapshot, frozen
from ratebp.checks.inputs import refuse_inputs, refuse_untrainable
from ratebp.checks.model import refuse_model, refuse_unfit, single
from ratebp.checks.outputs import CheckedLoss, of_samples, refuse_no_tensor

__all__ = [
    "CheckedLoss",
    "Snapshot",
    "frozen",
    "of_samples",
    "refuse_inputs",
    "refuse_model",
    "refuse_no_tensor",
    "refuse_unfit",
    "refuse_untrainable",
    "single",
]
