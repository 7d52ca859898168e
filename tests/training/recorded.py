"""Graphs without a GPU: a recorder that keeps the operations of a step and makes them again, on the same tensors.

As in a CUDA graph, numbers that Python passes to an operation are part of the recording, an operation reads its tensors
where they were, and recording changes nothing.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def storages(values):
    """The memory behind the tensors among these values, by address."""
    tensors = [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
    parts = (getattr(tensor, "held", tensor).untyped_storage() for tensor in tensors)
    return {part.data_ptr(): part for part in parts if part.nbytes()}


class Operations(TorchDispatchMode):
    """While entered, keeps every operation with what it gave, and what memory that is not of these held before."""

    def __init__(self):
        super().__init__()
        self.calls, self.own, self.before = [], set(), {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = storages((args, kwargs))
        if operation._schema.is_mutable:
            for address, part in given.items():
                if address not in self.own and address not in self.before:
                    self.before[address] = (part, part.clone())
        results = operation(*args, **kwargs)
        self.own |= storages(results).keys() - given.keys()
        self.calls.append((operation, args, kwargs, results))
        return results


class Recorder:
    """The recorder: ``captures`` counts its recordings."""

    def __init__(self):
        self.captures = 0

    def warm_up(self, work):
        work()

    def capture(self, work):
        self.captures += 1
        with Operations() as made:
            work()
        for part, held in made.before.values():
            part.copy_(held)
        return lambda: replay(made.calls)


@torch.no_grad()
def replay(calls):
    """Make operations again; results that are new memory go where the first ones were."""
    for operation, args, kwargs, results in calls:
        again = operation(*args, **kwargs)
        given = storages((args, kwargs))
        for old, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
            if isinstance(old, torch.Tensor) and not storages(old).keys() & given.keys():
                old.copy_(new)
