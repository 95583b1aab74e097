"""Which rows make a batch: a function of seed and epoch, whatever the number of processes."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class GlobalBatchSampler(Sampler[list[int]]):
    """Shuffles all rows each epoch, cuts them into batches, and gives each process its share of each batch.

    So every row is in one batch of an epoch and on one process, and a run of two processes sees the batches of a run
    of one whose batch size is the sum. Shares of a last, smaller batch differ by one row at most.

    Args:
        num_rows: Rows of the data set.
        batch_size: Rows of a batch, over all processes.
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
        num_processes: int = 1,
        process_index: int = 0,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.num_rows = num_rows
        self.batch_size = batch_size
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
        order = np.random.default_rng([self.seed, self._epoch]).permutation(self.num_rows)
        for number in range(len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield batch[self.process_index :: self.num_processes].tolist()
