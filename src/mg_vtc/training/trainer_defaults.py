"""Defaults of a trainer in Python: a processor for its towers, and pixel values of a `datasets.Dataset`."""

from typing import Any

import datasets
from transformers import AutoProcessor, AutoTokenizer

from ..data.dataset import ImageDataset
from ..data.decoding import Resizing
from ..data.hub import select_labelled
from ..data.labels import shorten
from ..models.configuration_mg_vtc import MgVtcConfig
from ..models.modeling_mg_vtc import MgVtcModel
from ..models.processing_mg_vtc import build_tokenizer
from .starting_point import build_tower_processor, take_over


def find_origin(config: MgVtcConfig, tower: str) -> str | None:
    """Return the Hub id or folder of the pretrained tower "vision" or "text"; None for one from random weights."""
    return getattr(getattr(config, f"{tower}_config"), "name_or_path", None) or None


def find_processor(model: Any) -> Any:
    """Return the processor of a model, from its folder or built for its towers.

    Images are normalized like those of the vision tower, and resized to the `image_size` of its configuration or to
    224 pixels. Texts get the tokenizer of the text tower or, if it has random weights, `build_tokenizer`.

    Raises:
        ValueError: The text tower has random weights and a vocabulary that `build_tokenizer` does not make.
    """
    config = model.config
    if config.name_or_path:
        return AutoProcessor.from_pretrained(config.name_or_path)
    stated = getattr(config.vision_config, "image_size", None)
    vision, text = (find_origin(config, tower) for tower in ("vision", "text"))
    tokenizer = None
    if text is not None:
        tokenizer = AutoTokenizer.from_pretrained(text)
    elif not config.vision_only:
        tokenizer = build_tokenizer([text for texts in config.class_texts for text in texts])
        if len(tokenizer) != config.text_config.vocab_size:
            raise ValueError(
                f"The text tower has random weights and {config.text_config.vocab_size} tokens, where "
                f"build_tokenizer of config.class_texts makes {len(tokenizer)}: give processing_class."
            )
    image_size = stated if isinstance(stated, int) else None
    return build_tower_processor(image_size, tokenizer, vision, config.text_config)


def take_over_for(name: str, rows: Any, processor: Any) -> tuple[MgVtcModel, Any]:
    """Take over a model for the classes of a `datasets.Dataset`; its processor is the one given or its own.

    Raises:
        ValueError: The rows have no class names.
    """
    names = getattr(getattr(rows, "features", {}).get("label"), "names", None)
    if names is None:
        raise ValueError(
            f"{name} is taken over with the classes of train_dataset, but its column label has no names: give a "
            "datasets.Dataset with a ClassLabel, or a model."
        )
    model, own = take_over(name, names)
    return model, own if processor is None else processor


def wrap_rows(rows: Any, config: MgVtcConfig, resizing: Resizing | int, seed: int) -> Any:
    """Return pixel values and labels of a `datasets.Dataset`; other data sets are returned unchanged.

    Args:
        rows: `datasets.Dataset` with the columns `image` and `label`.
        config: Configuration of the model, whose classes are those of the rows.
        resizing: Size of the pixel values, and the way to it.
        seed: Seed of the augmentation.

    Raises:
        ValueError: A column is missing, or the classes of the rows are not those of the model, in their order.
    """
    if not isinstance(rows, datasets.Dataset):
        return rows
    if missing := {"image", "label"}.difference(rows.column_names):
        raise ValueError(
            f"The data set has no column {' and '.join(sorted(missing))}, only {shorten(rows.column_names)}: rename "
            'them, as by rows.rename_column("img", "image").'
        )
    rows = select_labelled(rows, "the data set")
    if not len(rows):
        raise ValueError("No row of the data set has a label.")
    names, own = getattr(rows.features["label"], "names", None), [*config.id2label.values()]
    if names is None or names != own:
        found = "whole numbers without names" if names is None else shorten(names)
        raise ValueError(
            f"The labels of the data set are {found}, and the classes of the model {shorten(own)}: they must be the "
            "same names in the same order. Give the model id2label=dict(enumerate(names)), or cast the column to a "
            "ClassLabel."
        )
    return ImageDataset(rows, resizing, pixels=None, seed=seed)
