"""How many bytes autograd keeps for the backward."""

from __future__ import annotations

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ratebp.method import Bound, Method
from ratebp.testing.problems import Problem, seeded_step


def kept_bytes(method: Method, case: Problem) -> int:
    """Return the most bytes that autograd holds at once, parameters and inputs left out."""
    given = [*case.model.parameters(), *case.model.buffers(), case.x, case.y]
    known = {t.untyped_storage().data_ptr() for t in given}
    held: dict[int, int] = {}
    most = 0

    class CountedTensor:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            self.key = tensor.untyped_storage().data_ptr()
            held[self.key] = held.get(self.key, 0) + 1

        def __del__(self) -> None:
            held[self.key] -= 1

    def pack(tensor: Tensor) -> CountedTensor:
        nonlocal most
        handle = CountedTensor(tensor)
        size = tensor.untyped_storage().nbytes()
        sizes[handle.key] = 0 if handle.key in known else size
        most = max(most, sum(sizes[k] for k, count in held.items() if count > 0))
        return handle

    sizes: dict[int, int] = {}
    bound: Bound = method.bind(case.model, case.timesteps)
    with saved_tensors_hooks(pack, lambda handle: handle.tensor):
        seeded_step(bound, case.x, case.y)
    assert most > 0
    return most
