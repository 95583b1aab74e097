"""A loss that is not finite ends a training before its weights are saved."""

from pathlib import Path
from typing import NamedTuple

import torch
from transformers import TrainerState

from .distributed import gather_rows


class _Batch(NamedTuple):
    loss: torch.Tensor  # 0-d
    rows: torch.Tensor | None  # training rows of this process, (batch_size,)
    step: int
    epoch: float


class FiniteLosses:
    """Losses of the batches since the last check.

    They stay on the device until then, as reading one at each step would make the host wait for the device.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._batches: list[_Batch] = []

    def add(self, loss: torch.Tensor, rows: torch.Tensor | None, state: TrainerState) -> None:
        """Add the loss of a batch, 0-d, and the numbers of its training rows `(batch_size,)`, if they are known."""
        self._batches.append(_Batch(loss.detach(), rows, state.global_step + 1, state.epoch or 0))

    def check(self) -> None:
        """Check the losses that were added since the last check.

        Raises:
            FloatingPointError: One is not finite.
        """
        batches, self._batches = self._batches, []
        if not batches or bool(torch.isfinite(torch.stack([batch.loss for batch in batches])).all()):
            return
        loss, rows, step, epoch = next(batch for batch in batches if not batch.loss.isfinite())
        numbers = "unknown" if rows is None else gather_rows(rows).tolist()
        raise FloatingPointError(
            f"The loss is {loss.item()} at step {step} (epoch {epoch:.2f}), in the batch of training rows {numbers}, "
            "numbered as in split.json (for a stream, the CRC-32 of its encoded images). The weights were not saved, "
            f"and the checkpoints in {self._folder} were kept. Look at these images; if they are fine, lower the "
            "learning rate."
        )
