"""Draws of one text of each class in a training step, for `class_texts` "sample"."""

import numpy as np
import torch
import torch.distributed as dist

from ..data.augmentation import mix_bits

NUM_POSITIONS = 1 << 32  # more than texts in a batch


class TextDraws:
    """Uniform numbers that depend only on the seed, the step, the batch in this step and the position of a text.

    So a resumed training draws the same texts, and several processes draw those of one process.

    Args:
        seed: Seed of the training, 0 or more.
    """

    def __init__(self, seed: int) -> None:
        self._seed, self._step, self._batch = seed, -1, 0

    def draw(self, num_texts: int, step: int) -> torch.Tensor:
        """Return numbers in [0, 1) for this process's share of the texts of the next batch, `(num_texts,)`.

        Args:
            num_texts: Number of texts of this process.
            step: Number of steps taken so far. With accumulated gradients a step has several batches.
        """
        self._batch = self._batch + 1 if step == self._step else 0
        self._step = step
        rank = dist.get_rank() if dist.is_initialized() else 0
        positions = np.arange(num_texts) + rank * num_texts + self._batch * NUM_POSITIONS
        bits = mix_bits(self._seed, step, positions)  # (num_texts,)
        return torch.from_numpy((bits >> np.uint64(11)).astype(np.float64) / 2**53)
