"""Images of the first batch of a training, as the model sees them: augmented and mixed."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer

from ..runs.directory import FIRST_BATCH
from ..runs.first_batch import MOST_SHOWN, write_first_batch
from .mixing import MixedLabels


class FirstBatch:
    """Writer of `train_batch.jpg` in the folder of a run, which draws no random numbers.

    A run that is resumed keeps the file of its start.

    Args:
        trainer: Trainer of the run.
        image_processor: Image processor of the model.
    """

    def __init__(self, trainer: Trainer, image_processor: Any) -> None:
        self._trainer: Any = trainer
        self._image_processor = image_processor
        self._is_written = False

    def write(self, pixel_values: torch.Tensor, labels: MixedLabels) -> None:
        """Write the first batch that the first process trains on; later ones are left out.

        Args:
            pixel_values: Normalized images, `(batch_size, 3, height, width)`.
            labels: Their classes.
        """
        trainer = self._trainer
        if self._is_written or not trainer.is_in_train or trainer.state.global_step > 0:
            return
        if not trainer.is_world_process_zero():
            return
        self._is_written = True
        folder = Path(trainer.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        names = trainer.model.config.id2label
        rows = zip(*(values[:MOST_SHOWN].tolist() for values in labels), strict=True)
        shares = [
            [(names[own], weight), (names[other], 1 - weight)] if own != other and weight < 1 else [(names[own], 1.0)]
            for own, other, weight in rows
        ]
        write_first_batch(folder / FIRST_BATCH, self._to_images(pixel_values[:MOST_SHOWN]), shares)

    def _to_images(self, pixel_values: torch.Tensor) -> np.ndarray:
        """Return uint8 images `(batch_size, height, width, 3)` of normalized ones."""
        mean, std = (
            torch.tensor(values).view(3, 1, 1)  # (3, 1, 1)
            for values in (self._image_processor.image_mean, self._image_processor.image_std)
        )
        pixels = (pixel_values.detach().float().cpu() * std + mean).clamp(0, 1).nan_to_num()
        return (255 * pixels).round().byte().permute(0, 2, 3, 1).numpy()
