"""What autograd packs for backward, as a diagnostic beside the count of live bytes.

`torch.autograd.graph.saved_tensors_hooks` see what operators and `ctx.save_for_backward` store.
They do not see attributes of `ctx`, state on modules, what inner hooks pack, or the interior of a
checkpoint: there `mem.live_after_forward` tells what a method stores, and this figure does not.

Hooks keep tensors alive that autograd would hold as they are, so this is a pass of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from harness.trial.exact.dispatch import storage_or_none


class _Held:
    """One packed tensor; says so when the graph lets go of it."""

    __slots__ = ("_key", "_owner", "tensor")

    def __init__(self, owner: Saved, key: int, tensor: Tensor) -> None:
        self._owner, self._key, self.tensor = owner, key, tensor

    def __del__(self) -> None:
        self._owner._released(self._key)


class Saved:
    """Unique storages that autograd holds for backward, persistent ones left out.

    ::

        saved = Saved([*model.parameters(), *model.buffers(), x, y])
        with saved.phase("forward"):
            loss = model(x).sum()
        saved.nbytes, saved.count

    Args:
        persistent: tensors that would be there anyway; their storages are kept alive, so that an
            address that is reused is not mistaken for one of them.

    Attributes:
        nbytes: int: most bytes held at any one time: a method that runs backward at every time step
            holds those of one step.
        count: int: most storages held at any one time.
    """

    def __init__(self, persistent: Iterable[Tensor] = ()) -> None:
        """Note what is not to be counted."""
        storages = [storage_or_none(tensor) for tensor in persistent]
        self._persistent = {id(each): each for each in storages if each is not None}
        self.nbytes = 0
        self.count = 0
        self._live = 0
        self._holders: dict[int, int] = {}
        self._sizes: dict[int, int] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Watch what is packed inside, if the phase is "forward"."""
        if name != "forward":
            yield
            return
        with saved_tensors_hooks(self._pack, _unpack):
            yield

    def _pack(self, tensor: Tensor) -> _Held | Tensor:
        storage = storage_or_none(tensor)
        if storage is None or id(storage) in self._persistent:
            return tensor
        self._hold(storage)
        return _Held(self, id(storage), tensor)

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        self._holders[key] = self._holders.get(key, 0) + 1
        if self._holders[key] == 1:
            self._sizes[key] = storage.nbytes()
            self._live += storage.nbytes()
            self.nbytes = max(self.nbytes, self._live)
            self.count = max(self.count, len(self._sizes))

    def _released(self, key: int) -> None:
        self._holders[key] -= 1
        if self._holders[key] == 0:
            del self._holders[key]
            self._live -= self._sizes.pop(key)


def _unpack(packed: _Held | Tensor) -> Tensor:
    return packed.tensor if isinstance(packed, _Held) else packed
