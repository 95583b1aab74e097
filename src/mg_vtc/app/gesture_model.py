"""Predictions of the demo page: scores and a Grad-CAM map for an image and optional names."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer

from ..data.decoding import find_middle, find_resizing, to_rgb
from ..data.image_formats import HEIF
from ..data.labels import split_names
from ..data.prompts import check_known
from ..hub.handler import FORMATS, MAX_PIXELS, MAX_SIDE
from ..inference.grad_cam import heat_map
from ..inference.loading import read_config
from ..models.modeling_mg_vtc import MgVtcModel

MOST_NAMES = 100
SHOWN_SIDE = 768  # pixels, longer side of the image under the map
HEAT_COLOUR = (225, 29, 72)


class NamedScores(NamedTuple):
    """Prediction of an image.

    Attributes:
        scores: Probability of each name, in the given order.
        heat: Grad-CAM map of the best name, `(h, w)` from 0 to 1; `None` if the tower has no spatial positions.
    """

    scores: dict[str, float]
    heat: np.ndarray | None


class GestureModel:
    """A model with its processors.

    Args:
        model_id: Folder or Hub id of a model of this package.

    Raises:
        OSError: The model is not found.
        ValueError: The model type is not mg_vtc, or its weights are damaged.
    """

    def __init__(self, model_id: str) -> None:
        config = read_config(model_id)
        self.model, loading_info = MgVtcModel.from_pretrained(
            model_id, config=config, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
        self.model.eval().requires_grad_(False).check_weights(loading_info)
        self.image_processor = AutoImageProcessor.from_pretrained(model_id, backend="pil")
        self.tokenizer = None if config.vision_only else AutoTokenizer.from_pretrained(model_id)
        self.class_names: list[str] = [config.id2label[label] for label in range(config.num_labels)]

    def predict(self, image: Image.Image, names: list[str]) -> NamedScores:
        """Compare an image with gesture names or, if there are none, with the training classes.

        Args:
            image: RGB image.
            names: Distinct names; must be empty for a vision-only model.

        Raises:
            ValueError: The model is vision-only, or a name is too long, unknown or equal to another one for the model.
        """
        texts = self._tokenize(names) if names else {}
        if find_resizing(self.image_processor).shortest_edge is not None:
            image = image.crop(find_middle(*image.size))  # as `resize` does
        pixel_values = self.image_processor(image, return_tensors="pt").pixel_values  # (1, 3, height, width)
        pixel_values.requires_grad_(True)  # the weights have none
        outputs = self.model(pixel_values=pixel_values, output_hidden_states=True, **texts)
        logits = outputs.logits_per_image[0]  # (num_names * num_templates,)
        num_templates = len(self.model.config.name_templates)
        if names and num_templates > 1:
            embeds = outputs.text_embeds.unflatten(0, (-1, num_templates))  # (num_names, num_templates, D)
            embeds = self.model.average_texts(embeds, torch.ones(embeds.shape[:2]))  # (num_names, projection_dim)
            logits = self.model.compare(outputs.image_embeds, embeds)[0]  # (num_names,)
        seen = outputs.vision_model_output
        try:
            heat = heat_map([*(seen.hidden_states or ()), seen.last_hidden_state], logits.max()).numpy()
        except ValueError:  # no spatial positions in the tower
            heat = None
        scores = logits.detach().softmax(dim=0).tolist()
        return NamedScores(dict(zip(names or self.class_names, scores, strict=True)), heat)

    def _tokenize(self, names: list[str]) -> dict[str, torch.Tensor]:
        if self.tokenizer is None:
            raise ValueError(
                "This model is vision-only: it predicts its own classes only and does not accept other names."
            )
        check_known(names, self.tokenizer)
        templates = self.model.config.name_templates
        prompts = [template.format(name) for name in names for template in templates]
        texts = self.tokenizer(prompts, padding=True, return_tensors="pt")
        positions = getattr(self.model.config.text_config, "max_position_embeddings", math.inf)
        most = min(positions, self.tokenizer.model_max_length)
        if texts.input_ids.shape[1] > most:
            raise ValueError(
                f"The name “{max(names, key=len)[:40]}…” is too long: the limit of this model is {most} tokens."
            )
        first_with: dict[tuple[int, ...], str] = {}
        for name, ids in zip(names, texts.input_ids[:: len(templates)].tolist(), strict=True):
            other = first_with.setdefault(tuple(ids), name)
            if other != name:
                raise ValueError(
                    f"“{other}” and “{name}” are the same to this model: it ignores case, and some words and scripts "
                    "are unknown to it. Use other words for one of them."
                )
        return dict(texts)


def crop_to_model(image: Image.Image, image_processor: Any) -> Image.Image:
    """Return the part of an image that the model sees: all of it, or the central square."""
    resizing = find_resizing(image_processor)
    if resizing.shortest_edge is None:
        return image
    side = min(image.size) * resizing.image_size / resizing.shortest_edge
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.crop((round(left), round(top), round(left + side), round(top + side)))


def read_names(text: str) -> list[str]:
    """Split typed gesture names with `split_names`; return an empty list for empty text.

    Raises:
        ValueError: There is only one name, there are too many, or `split_names` refuses the text.
    """
    if not text.strip():
        return []
    names = split_names(text.rstrip(" \t\r\n;,"))
    if len(names) == 1:
        raise ValueError(
            f"“{names[0]}” alone would always score 100 %. Write two or more names, or leave the field empty."
        )
    if len(names) > MOST_NAMES:
        raise ValueError(f"There are {len(names)} names; the limit is {MOST_NAMES}.")
    return names


def open_image(path: Path) -> Image.Image:
    """Open an uploaded file as an upright RGB image.

    Raises:
        ValueError: The file is not an image, is corrupt, or is too large.
    """
    try:
        with Image.open(path, formats=(*FORMATS, *HEIF)) as image:
            if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                raise Image.DecompressionBombError
            return to_rgb(image)
    except Image.DecompressionBombError as error:  # Pillow's own limit is higher
        most = f"{MAX_PIXELS // 1_000_000} million pixels, or {MAX_SIDE:,} on a side"
        raise ValueError(f"The image exceeds the limit of {most}. Make it smaller.") from error
    except Exception as error:  # Pillow's decoders raise many types
        raise ValueError("This file cannot be read as an image. Use JPEG, PNG or WebP.") from error


def paint_heat(image: Image.Image, heat: np.ndarray) -> Image.Image:
    """Overlay an image with a map in red.

    Args:
        image: RGB image; scaled down to 768 pixels.
        heat: Map of the whole image, `(h, w)` from 0 to 1.
    """
    shown = image.copy()
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    strength = Image.fromarray(heat.astype(np.float32)).resize(shown.size, Image.Resampling.BICUBIC)
    mask = Image.fromarray((np.asarray(strength).clip(0, 1) * 190).astype(np.uint8))  # (height, width)
    return Image.composite(Image.new("RGB", shown.size, HEAT_COLOUR), shown, mask)
