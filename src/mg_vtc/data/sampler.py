"""Batches as a function of seed and epoch, independent of the number of processes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler


class GlobalBatchSampler(Sampler[list[int]]):
    """Shuffle the rows of each epoch, cut them into batches and yield the share of one process of each batch.

    Each row is in one batch of an epoch and on one process. The global batches do not depend on the
    number of processes. Shares of a smaller last batch differ by at most one row. With `labels`, `balance_classes`
    draws the rows of an epoch; their number stays the same.

    Args:
        num_rows: Number of rows in the data set.
        batch_size: Rows per batch, over all processes.
        labels: Class ids of the rows, (num_rows,), to draw all classes equally often. With None, each row occurs once.
        num_processes: Number of processes that share a batch.
        process_index: Index of this process.
        seed: Seed of the order.
        drop_last: Whether to drop a smaller last batch.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        *,
        labels: np.ndarray | None = None,
        num_processes: int = 1,
        process_index: int = 0,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.num_rows = num_rows
        self.batch_size = batch_size
        self.labels = labels
        self.num_processes = num_processes
        self.process_index = process_index
        self.seed = seed
        self.drop_last = drop_last
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.num_rows // self.batch_size if self.drop_last else -(-self.num_rows // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rows: Any = self.num_rows if self.labels is None else balance_classes(self.labels, self.seed, self._epoch)
        order = np.random.default_rng([self.seed, self._epoch]).permutation(rows)  # (num_rows,)
        for number in range(len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield batch[self.process_index :: self.num_processes].tolist()


def balance_classes(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Draw the rows of an epoch so that all classes that occur are equally frequent.

    All epochs form one sequence of draws that cycles through the classes. Each class cycles through its own rows, in a
    new order every cycle. Over any number of epochs, the draws per class differ by at most one, and so do the draws
    per row of a class.

    Args:
        labels: Class ids of the rows, (num_rows,).
        seed: The draws are a function of `seed`, `epoch` and `labels`.
        epoch: Number of the epoch, from 0.

    Returns:
        Row numbers, (num_rows,), with repetitions; shuffle them before use.
    """
    num_rows = len(labels)
    classes, sizes = np.unique(labels, return_counts=True)  # (num_classes,) both
    rows_by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    begin = epoch * num_rows  # draws in earlier epochs
    drawn = np.empty(num_rows, dtype=np.int64)
    for turn, number in enumerate(np.random.default_rng(seed).permutation(len(classes))):
        places = np.arange((turn - begin) % len(classes), num_rows, len(classes))  # draws of this class in this epoch
        first = (begin + places[0]) // len(classes)  # earlier draws of this class
        drawn[places] = _go_round(rows_by_class[number], first, len(places), [seed, int(classes[number])])
    return drawn


def _go_round(rows: np.ndarray, first: int, count: int, seed: list[int]) -> np.ndarray:
    """Return draws `first` to `first + count - 1` of endless permutations of the rows, (count,)."""
    rounds = range(first // len(rows), (first + count - 1) // len(rows) + 1)
    permuted = [np.random.default_rng([*seed, number]).permutation(rows) for number in rounds]
    return np.concatenate(permuted)[first % len(rows) :][:count]
