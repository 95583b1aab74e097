"""Checks of a model and its arguments before a training."""

import copy
from typing import Any

import torch

from ..models.configuration_mg_vtc import MgVtcConfig
from ..models.modeling_mg_vtc import MgVtcModel
from .arguments import PAIRED_LOSS_TYPES, MgVtcTrainingArguments


def check_texts(config: MgVtcConfig, args: MgVtcTrainingArguments) -> None:
    """Refuse settings that need texts which a model does not have.

    Raises:
        ValueError: One is set.
    """
    if not config.vision_only:
        if args.class_texts is not None and all(len(texts) == 1 for texts in config.class_texts):
            raise ValueError(
                f"class_texts is {args.class_texts!r}, but each class has one text: give descriptions_file, columns "
                "of texts in labels_file, several prompt_template, or leave class_texts out."
            )
        return
    if args.loss_type in PAIRED_LOSS_TYPES:
        raise ValueError(f"loss_type {args.loss_type!r} needs texts: a vision-only model takes js, kl or ce.")
    if args.class_texts is not None or config.label_texts is not None:
        raise ValueError("A vision-only model reads no texts: leave class_texts and descriptions of classes out.")
    if args.freeze_text_model:
        raise ValueError("freeze_text_model is set, but a vision-only model has no text tower: leave it out.")


def check_batch_of_one(
    model: MgVtcModel, pixel_values: torch.Tensor, args: MgVtcTrainingArguments, rows: Any, batch_size: int
) -> None:
    """Refuse a batch of one image where the vision tower cannot train on it.

    Args:
        model: Model before the training.
        pixel_values: The image, (3, height, width).
        args: Of the training.
        rows: Training rows.
        batch_size: Of all processes together.

    Raises:
        ValueError: It cannot, because of batch norm.
    """
    if args.freeze_vision_model:
        return
    tower = copy.deepcopy(model.vision_model).cpu().float().train()  # keeps the statistics of the model
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            tower(pixel_values.cpu().float()[None])
    except ValueError as error:  # of batch norm: "Expected more than 1 value per channel when training"
        raise ValueError(
            f"{len(rows)} training images in batches of {batch_size} leave one for a process or for a chunk of "
            f"gradient_cache, and the vision tower cannot train on a single image ({error}): choose another "
            "per_device_train_batch_size or gradient_cache, or dataloader_drop_last."
        ) from error


def contrasts_within_batches(args: MgVtcTrainingArguments, *, vision_only: bool) -> bool:
    """Return whether an image is compared only with the texts of its batch."""
    return args.text_batch != "classes" and not vision_only


def smallest_chunk(num_rows: int, args: MgVtcTrainingArguments) -> int:
    """Return the smallest number of images of an epoch that are encoded together: of a process, and a chunk of it."""
    batch_size = args.train_batch_size * args.world_size
    leftover = 0 if args.dataloader_drop_last else num_rows % batch_size
    shares = {size // args.world_size for size in (batch_size, leftover) if size > 0}
    return min(share // -(-share // (args.gradient_cache or share)) for share in shares)


def check_batches(num_rows: int, args: MgVtcTrainingArguments, *, contrasts_within: bool) -> None:
    """Refuse batch sizes that leave a batch without images for a process, or an image without any contrast.

    Args:
        num_rows: Number of training images.
        args: Batch size, number of processes, and whether the last batch is dropped.
        contrasts_within: Whether an image is compared only with its batch.

    Raises:
        ValueError: There is such a batch.
    """
    batch_size = args.train_batch_size * args.world_size
    if args.dataloader_drop_last and num_rows < batch_size:
        raise ValueError(
            f"{num_rows} training images do not fill a batch of {batch_size}, and dataloader_drop_last is set."
        )
    leftover = 0 if args.dataloader_drop_last else num_rows % batch_size
    if 0 < leftover < args.world_size:
        raise ValueError(
            f"{num_rows} training images in batches of {batch_size} leave {leftover} for {args.world_size} "
            "processes: choose another per_device_train_batch_size, or dataloader_drop_last."
        )
    if contrasts_within and (batch_size == 1 or leftover == 1):
        raise ValueError(
            f"{num_rows} training images in batches of {batch_size} leave a single image, with nothing to "
            "contrast it with: choose another per_device_train_batch_size, or text_batch 'classes'."
        )
