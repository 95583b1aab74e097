"""What a model answered about labelled pictures: scores, tables and reports are made of it alone."""

from typing import NamedTuple

import numpy as np


class Answers(NamedTuple):
    """Answers about `num_rows` labelled pictures, and the pictures' and classes' embeddings.

    Attributes:
        logits: float32 (num_rows, num_classes), scaled similarities; their softmax is the model's confidence.
        labels: int64 (num_rows,), class ids in the order of `class_names`.
        class_names: Names of the classes, in id order; some may have no picture here.
        file_names: What identifies each row, (num_rows,).
        clips: The clip that each row is a frame of, (num_rows,); None where clips are not known.
        image_embeds: float32 (num_rows, projection_dim).
        text_embeds: float32 (num_classes, projection_dim), of the class prompts.
    """

    logits: np.ndarray
    labels: np.ndarray
    class_names: list[str]
    file_names: list[str]
    clips: list[str] | None
    image_embeds: np.ndarray
    text_embeds: np.ndarray
