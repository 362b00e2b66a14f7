"""What methods put in the place of a model's leaves."""

from __future__ import annotations

from torch import Tensor, nn

from ratebp.roles import register_role


class Record:
    """What leaves hand each other beside the model; a leaf holds it, or a list of such."""

    def drop(self) -> None:
        """Forget what is on its way."""


class Leaf(nn.Module):
    """A method's variant of one leaf. `stateful` ones must run once a time step.

    Attributes:
        stateful: whether it keeps something from call to call.
        takes_one_step: whether, in place of T equal time steps ``[T*B, ...]``, it also takes one of
            them ``[B, ...]`` (`View.over_time`).
    """

    stateful = False
    takes_one_step = False

    def reset(self) -> None:
        """Forget what was kept from an earlier sequence."""

    def detach(self) -> None:
        """Cut the graph to earlier time steps, keeping the values."""


register_role(Leaf, None)  # whatever layer it stands for


class Folded(Leaf):
    """A leaf of T time steps at once, folded ``[T*B, ...]``, or of one that stands for all.

    Attributes:
        timesteps: T.
        batch: B of the sequence that runs, None between sequences.
    """

    takes_one_step = True
    timesteps: int
    batch: int | None = None

    def steps(self, x: Tensor) -> Tensor:
        """Return `x` as ``[T, B, ...]``, or as ``[1, B, ...]`` where one step stands for all."""
        steps: Tensor = x.unflatten(0, (1 if len(x) == self.batch else self.timesteps, -1))
        return steps
