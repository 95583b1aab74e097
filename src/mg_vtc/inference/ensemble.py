"""Ensembles: the weighted mean of the class probabilities of several models."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import BaseImageProcessor

from ..data.dataset import ImageDataset
from ..data.decoding import Resizing, collate_images, find_resizing
from ..data.labels import fold_names, normalize_names, shorten
from ..models.modeling_mg_vtc import MgVtcModel
from ..runs.records import RunRecords, read_records
from .embedding import compare_images, embed_classes, embed_names
from .loading import Model, name_model, open_model
from .samples import Decoding
from .views import make_views


class Member(NamedTuple):
    """A loaded model of an ensemble.

    Attributes:
        source: Folder, Hub id or loaded model that it came from.
        network: The model, in evaluation mode.
        image_processor: Its image processor.
        processor: Processor that was passed with a loaded model, or None.
        decoding: Way from an image file to its pixels.
        records: Records of its run.
    """

    source: Model
    network: MgVtcModel
    image_processor: BaseImageProcessor
    processor: Any
    decoding: Decoding
    records: RunRecords

    @property
    def class_names(self) -> list[str]:
        """Names of its classes, in id order."""
        return [*self.network.config.id2label.values()]


def open_members(
    models: Model | Sequence[Model], device: torch.device | str, *, processor: Any = None
) -> list[Member]:
    """Load one or several models.

    Args:
        models: Folders or Hub ids of models of this package, or loaded ones, which stay on their device.
        device: Device for the others.
        processor: Processor of a single loaded model; see `open_model`.

    Raises:
        OSError: A model is not found.
        ValueError: There is no model, one is invalid, or there is a `processor` for several.
    """
    sources = list_models(models)
    if processor is not None and len(sources) > 1:
        raise ValueError(
            f"A processor belongs to one model, but there are {len(sources)}: save each model with its processor, and "
            "pass their folders."
        )
    return [_open(source, device, processor) for source in sources]


def list_models(models: Model | Sequence[Model]) -> list[Model]:
    """Return one or several models as a list.

    Raises:
        ValueError: There is none.
    """
    listed = [models] if isinstance(models, (str, Path, MgVtcModel)) else list(models)
    if not listed:
        raise ValueError("There is no model: give one or several.")
    return listed


def _open(source: Model, device: torch.device | str, processor: Any) -> Member:
    network, image_processor = open_model(source, dtype=torch.float32, processor=processor)
    records = read_records(network.config.name_or_path)
    decoding = Decoding(find_resizing(image_processor), records.recipe.get("jpeg_draft", False))
    network = network if isinstance(source, MgVtcModel) else network.to(device)
    # channels last as in the Trainer: other convolution kernels differ in the last digits
    network.vision_model.to(memory_format=torch.channels_last)
    return Member(source, network, image_processor, processor, decoding, records)


class Ensemble:
    """Models whose class probabilities are averaged; a single model is an ensemble of one.

    Args:
        members: Models with the same classes.
        weights: Weight of each model, positive; by default all are equal.
        candidate_labels: Class names for the text towers to choose from; by default the models' classes.
        prompt_template: Prompt of a candidate label, with `{}` for its name; by default those of each model.
        tta: Whether the probabilities of a model are the mean over views of the image (see `make_views`).

    Attributes:
        members: The models.
        weights: Their weights, whose sum is 1.
        tta: Whether probabilities are the mean over views.
        class_names: Names of the classes to choose from; of the models' classes, in the order of the first model.
        decodings: Ways from a file to pixels, each one once.
        text_embeds: For each model the embeddings of the classes (num_classes, projection_dim).

    Raises:
        ValueError: The weights do not fit the models, the models have different classes, or there are candidate labels
            and a model has no text tower.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        weights: Sequence[float] | None = None,
        candidate_labels: Sequence[str] | None = None,
        prompt_template: str | Sequence[str] | None = None,
        tta: bool = False,
    ) -> None:
        self.members, self.weights, self.tta = members, normalize_weights(weights, len(members)), tta
        self.decodings = list(dict.fromkeys(member.decoding for member in members))
        if candidate_labels is None:
            self.class_names = members[0].class_names
            self.text_embeds = [embed_classes(member.network, _match(members[0], member)) for member in members]
        else:
            self.class_names = normalize_names(candidate_labels)
            self.text_embeds = [
                embed_names(
                    member.network,
                    member.source,
                    self.class_names,
                    prompt_template or member.network.config.name_templates,
                    processor=member.processor,
                )
                for member in members
            ]
        if tta:
            _warn_of_missing_mirrors(members)

    @property
    def name(self) -> str:
        """Name in results: that of the single model, or those of all with their weights."""
        names = [name_model(member.source) for member in self.members]
        if len(names) == 1:
            return names[0]
        parts = [f"{name} ({100 * weight:.0f} %)" for name, weight in zip(names, self.weights, strict=True)]
        return f"an ensemble of {', '.join(parts[:-1])} and {parts[-1]}"

    def score(self, pixel_values: Sequence[torch.Tensor]) -> np.ndarray:
        """Return the class probabilities of a batch of images, float64 (batch_size, num_classes).

        Args:
            pixel_values: For each of `decodings` uint8 (batch_size, 3, height, width), channels last in memory.
        """
        probabilities: list[torch.Tensor] = []  # (batch_size, num_classes) each
        for member, text_embeds, weight in zip(self.members, self.text_embeds, self.weights, strict=True):
            pixels = pixel_values[self.decodings.index(member.decoding)]
            views = make_views(pixels, mirror=may_mirror(member)) if self.tta else [pixels]
            for view in views:
                logits, _ = compare_images(member.network, member.image_processor, view, text_embeds)
                # in float32, those of unlikely classes would be 0, and their order lost
                probabilities.append(logits.double().softmax(dim=-1) * (weight / len(views)))
        return torch.stack(probabilities).sum(dim=0).numpy()

    def score_rows(self, rows: Dataset, batch_size: int) -> np.ndarray:
        """Return the class probabilities of labelled images, float64 (num_rows, num_classes).

        Args:
            rows: Columns `image` and `label`.
            batch_size: Images per batch.

        Raises:
            ValueError: An image cannot be decoded.
        """
        loaders = [
            DataLoader(
                ImageDataset(rows, Resizing.of(resizing), pixels=None, jpeg_draft=jpeg_draft),
                batch_size,
                collate_fn=collate_images,
            )
            for resizing, jpeg_draft in self.decodings
        ]
        batches = tqdm(zip(*loaders, strict=True), "scoring", len(loaders[0]), unit=" batches", disable=None)
        return np.concatenate([self.score([batch["pixel_values"] for batch in of_all]) for of_all in batches])


def normalize_weights(weights: Sequence[float] | None, num_models: int) -> list[float]:
    """Return weights whose sum is 1.

    Raises:
        ValueError: A weight is not positive, or there are not as many weights as models.
    """
    given = [1.0] * num_models if weights is None else [float(weight) for weight in weights]
    if len(given) != num_models:
        raise ValueError(f"`weights` must have one number a model, got {len(given)} for {num_models}.")
    if odd := [weight for weight in given if not (weight > 0 and math.isfinite(weight))]:
        raise ValueError(f"`weights` must be positive, got {odd[0]:g}: leave out a model that is not to count.")
    return [weight / math.fsum(given) for weight in given]


def _match(first: Member, other: Member) -> np.ndarray:
    """Return the class id in `other` of each class of `first` (num_classes,).

    Raises:
        ValueError: The models have different classes.
    """
    if other is first:
        return np.arange(len(first.class_names))
    names, other_names = (fold_names(member.class_names, name_model(member.source)) for member in (first, other))
    lacking = [
        f"{name_model(member.source)} lacks {shorten(missing)}"
        for member, own, theirs in ((other, other_names, names), (first, names, other_names))
        if (missing := [theirs[key] for key in theirs if key not in own])
    ]
    if lacking:
        raise ValueError(f"The models have different classes, so their scores have no mean: {'; '.join(lacking)}.")
    ids = {key: class_id for class_id, key in enumerate(other_names)}
    return np.array([ids[key] for key in names])


def may_mirror(member: Member) -> bool:
    """Return whether a model was trained with mirror images, so that left and right are not different classes."""
    return bool(member.records.recipe.get("horizontal_flip", False))


def _warn_of_missing_mirrors(members: Sequence[Member]) -> None:
    names = [name_model(member.source) for member in members if not may_mirror(member)]
    if names:
        warnings.warn(
            f"The views of `tta` have no mirror images for {shorten(names)}, since no record says that the model was "
            "trained with `horizontal_flip`: left and right may be different classes.",
            stacklevel=4,
        )
