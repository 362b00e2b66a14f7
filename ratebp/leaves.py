"""What methods put in the place of a model's leaves."""

from __future__ import annotations

from torch import Tensor, nn

from ratebp.roles import register_role


class Record:
    """What leaves hand each other outside of the model's forward; a leaf holds one, or a list."""

    def drop(self) -> None:
        """Forget what was put and not taken yet."""


class Leaf(nn.Module):
    """A method's variant of one leaf; a stateful one must be called once a time step.

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
    """A leaf that runs T time steps, folded ``[T*B, ...]``, or one in place of T equal ones.

    Attributes:
        timesteps: T.
        batch: B of the sequence that runs, None between sequences.
    """

    takes_one_step = True
    timesteps: int
    batch: int | None = None

    def steps(self, x: Tensor) -> Tensor:
        """Return `x` as ``[T, B, ...]``, or as ``[1, B, ...]`` if it is one step in place of T."""
        steps: Tensor = x.unflatten(0, (1 if len(x) == self.batch else self.timesteps, -1))
        return steps
