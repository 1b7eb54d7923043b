"""Training batches built by worker processes, so that the GPU never waits for them.

Batches come round robin from the workers, each with a seed of its own: the order is the same for a seed and
a number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from rhea.compress.packing import PackedBatch

__all__ = ["parallel"]

_STRIDE = 1_000_003


class _Batches(IterableDataset[PackedBatch]):
    def __init__(self, make: Callable[[int], Iterator[PackedBatch]], seed: int) -> None:
        self._make, self._seed = make, seed

    def __iter__(self) -> Iterator[PackedBatch]:
        worker = get_worker_info()
        return self._make(self._seed + _STRIDE * (worker.id if worker else 0))


def parallel(make: Callable[[int], Iterator[PackedBatch]], *, workers: int, seed: int) -> Iterator[PackedBatch]:
    """Endless batches from forked ``workers``, each running ``make`` with its own seed."""
    loader = DataLoader(
        _Batches(make, seed), batch_size=None, num_workers=workers, prefetch_factor=4, multiprocessing_context="fork"
    )
    return iter(loader)
