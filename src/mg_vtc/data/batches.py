"""Which rows make a batch: a function of seed and epoch, whatever the number of processes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler


class GlobalBatchSampler(Sampler[list[int]]):
    """Shuffles the rows of each epoch, cuts them into batches, and gives each process its share of each batch.

    So every row is in one batch of an epoch and on one process, and a run of two processes sees the batches of a run
    of one whose batch size is the sum. Shares of a last, smaller batch differ by one row at most. With `labels`, an
    epoch has as many rows, but those that `balance_classes` draws.

    Args:
        num_rows: Rows of the data set.
        batch_size: Rows of a batch, over all processes.
        labels: Class ids of the rows, (num_rows,), so that all classes come equally often; None: each row comes once.
        num_processes: How many share a batch.
        process_index: Which of them this is.
        seed: Seed of the order.
        drop_last: Whether a last, smaller batch is left out.
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
        """Choose the order of this epoch."""
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
    """Draw the rows of an epoch so that all classes that occur come equally often.

    All epochs are one sequence of draws that goes round the classes, and each class goes round its own rows, in
    another order every time. So in any number of epochs the classes differ by one draw at most, and the rows of a
    class by one draw at most: none comes again before all rows of its class have come.

    Args:
        labels: Class ids of the rows, (num_rows,).
        seed: The draws are a function of this number, of `epoch` and of `labels`.
        epoch: Number of the epoch, from 0.

    Returns:
        Row numbers, (num_rows,), some of them several times, in an order that still has to be shuffled.
    """
    num_rows = len(labels)
    classes, sizes = np.unique(labels, return_counts=True)  # (num_classes,) both
    rows_by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    begin = epoch * num_rows  # draws of the epochs before
    drawn = np.empty(num_rows, dtype=np.int64)
    for turn, number in enumerate(np.random.default_rng(seed).permutation(len(classes))):
        places = np.arange((turn - begin) % len(classes), num_rows, len(classes))  # of this class in this epoch
        first = (begin + places[0]) // len(classes)  # draws of this class before
        drawn[places] = _go_round(rows_by_class[number], first, len(places), [seed, int(classes[number])])
    return drawn


def _go_round(rows: np.ndarray, first: int, count: int, seed: list[int]) -> np.ndarray:
    """Draws `first` to `first + count - 1`, of which every `len(rows)` are a permutation of the rows, (count,)."""
    rounds = range(first // len(rows), (first + count - 1) // len(rows) + 1)
    permuted = [np.random.default_rng([*seed, number]).permutation(rows) for number in rounds]
    return np.concatenate(permuted)[first % len(rows) :][:count]
