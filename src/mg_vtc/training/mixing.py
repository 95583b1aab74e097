"""Mixed images and targets: mixup, cutmix and label smoothing for images with several positives.

The target of an image is its row of positives, divided by its sum. Mixed images mix these rows, and smoothing mixes a
row with the uniform one. Both directions of a loss then normalize the same matrix, as UniCL does with its labels
(Yang et al., "Unified Contrastive Learning in Image-Text-Label Space", CVPR 2022).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .arguments import MgVtcTrainingArguments
from .distributed import gather_rows


class MixedLabels(NamedTuple):
    """Class ids of the images of a batch, of the images that are mixed in, and the weights of the first.

    Each is `(batch_size,)`; a weight is in [0, 1].
    """

    own: Tensor
    others: Tensor
    weights: Tensor

    def gather(self) -> "MixedLabels":
        """Return the labels of the global batch."""
        return MixedLabels(*map(gather_rows, self))


def mix_batch(pixel_values: Tensor, labels: Tensor, args: MgVtcTrainingArguments) -> tuple[Tensor, MixedLabels]:
    """Mix the images of a batch, if the arguments say so; see `mix_images`."""
    if args.mixup_alpha == 0 and args.cutmix_alpha == 0:
        return pixel_values, MixedLabels(labels, labels, torch.ones_like(labels, dtype=torch.float32))
    pixel_values, weight = mix_images(pixel_values, args.mixup_alpha, args.cutmix_alpha)
    weights = torch.full_like(labels, weight, dtype=torch.float32)  # (batch_size,)
    return pixel_values, MixedLabels(labels, labels.flip(0), weights)


def mix_images(pixel_values: Tensor, mixup_alpha: float, cutmix_alpha: float) -> tuple[Tensor, float]:
    """Mix each image of a batch with the image at the same place from the end.

    Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; Yun et al., "CutMix", ICCV 2019.

    Args:
        pixel_values: Normalized images, `(batch_size, 3, height, width)`.
        mixup_alpha: The weight of an image is drawn from Beta(alpha, alpha), once a batch; 0 does not mix so.
        cutmix_alpha: The same for the area that a rectangle of the other image leaves. If both are positive, each is
            used for half of the batches.

    Returns:
        The mixed images and the weight of their own class, in [0, 1].
    """
    cuts = cutmix_alpha > 0 and (mixup_alpha == 0 or torch.rand(()).item() < 0.5)
    alpha = cutmix_alpha if cuts else mixup_alpha
    weight = torch.distributions.Beta(alpha, alpha).sample().item()
    others = pixel_values.flip(0)
    if not cuts:
        return weight * pixel_values + (1 - weight) * others, weight
    height, width = pixel_values.shape[2:]
    side = math.sqrt(1 - weight)  # fraction of the height and of the width
    (top, bottom), (left, right) = _draw_range(height, side), _draw_range(width, side)
    mixed = pixel_values.clone()
    mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _draw_range(length: int, fraction: float) -> tuple[int, int]:
    """Draw a range of about `fraction * length` pixels whose centre is anywhere, cut at the borders."""
    centre, half = int(torch.randint(length, ())), round(length * fraction) // 2
    return max(centre - half, 0), min(centre + half, length)


def mix_targets(
    positives: Tensor,
    other_positives: Tensor,
    weights: Tensor,
    label_smoothing: float = 0.0,
    text_counts: Tensor | None = None,
) -> Tensor:
    """Return the targets of mixed images, which `contrastive_loss` takes as its positives.

    Args:
        positives: Whether a text describes an image before it is mixed, `(B, U)`, bool.
        other_positives: Whether it describes the image that is mixed in, `(B, U)`, bool.
        weights: Weight of the first, `(B,)`, in [0, 1].
        label_smoothing: Fraction of each target that is spread over all texts, in [0, 1).
        text_counts: How often each text occurs in the batch, `(U,)`; `None`: once.

    Returns:
        `(B, U)`, float32. A row, times `text_counts`, sums to 1.
    """
    counts = torch.ones_like(positives[0], dtype=torch.float32) if text_counts is None else text_counts.float()  # (U,)
    own, other = (part / (part * counts).sum(dim=1, keepdim=True) for part in (positives, other_positives))
    mixed = weights[:, None] * own + (1 - weights[:, None]) * other
    return (1 - label_smoothing) * mixed + label_smoothing / counts.sum()
