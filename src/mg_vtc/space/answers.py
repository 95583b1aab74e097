"""What the page answers: a picture and names in, scores and a map of where the model looked out."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer

from ..data.image_formats import HEIF
from ..data.labels import split_names
from ..data.pixels import to_rgb
from ..data.prompts import check_known
from ..hub.handler import FORMATS, MAX_PIXELS, MAX_SIDE
from ..inference.grad_cam import heat_map
from ..inference.loading import read_config
from ..models.modeling_mg_vtc import MgVtcModel

MOST_NAMES = 100
SHOWN_SIDE = 768  # pixels, of the picture under the map
HEAT_COLOUR = (225, 29, 72)


class Answer(NamedTuple):
    """What a model says about a picture.

    Attributes:
        scores: Probability of each name among all of them, in their order.
        heat: Where the picture spoke for the likeliest name, `(h, w)` from 0 to 1; `None` where the tower keeps no
            positions.
    """

    scores: dict[str, float]
    heat: np.ndarray | None


class GestureModel:
    """A model and what prepares its inputs.

    Args:
        model_id: Folder or Hub id of a model of this package.

    Raises:
        OSError: There is no such model within reach.
        ValueError: It is a model of another kind, or its weights are damaged.
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

    def answer(self, picture: Image.Image, names: list[str]) -> Answer:
        """Compare a picture with names of gestures or, where there are none, with the classes of the training.

        Args:
            picture: RGB.
            names: Different ones; none for a vision-only model.

        Raises:
            ValueError: Two names are the same to the model.
        """
        texts = self._tokenize(names) if names else {}
        pixel_values = self.image_processor(picture, return_tensors="pt").pixel_values  # (1, 3, height, width)
        pixel_values.requires_grad_(True)  # the weights have none
        outputs = self.model(pixel_values=pixel_values, output_hidden_states=True, **texts)
        logits = outputs.logits_per_image[0]  # (num_names,)
        seen = outputs.vision_model_output
        try:
            heat = heat_map([*(seen.hidden_states or ()), seen.last_hidden_state], logits.max()).numpy()
        except ValueError:  # the tower keeps no positions, which is no fault of the picture
            heat = None
        scores = logits.detach().softmax(dim=0).tolist()
        return Answer(dict(zip(names or self.class_names, scores, strict=True)), heat)

    def _tokenize(self, names: list[str]) -> dict[str, torch.Tensor]:
        if self.tokenizer is None:
            raise ValueError("This model is vision-only: it knows its own classes alone, and no other names.")
        check_known(names, self.tokenizer)
        prompts = [self.model.config.prompt_template.format(name) for name in names]
        texts = self.tokenizer(prompts, padding=True, return_tensors="pt")
        positions = getattr(self.model.config.text_config, "max_position_embeddings", math.inf)
        most = min(positions, self.tokenizer.model_max_length)
        if texts.input_ids.shape[1] > most:
            raise ValueError(
                f"“{max(names, key=len)[:40]}…” is too long a name: this model reads {most} pieces of words."
            )
        first_with: dict[tuple[int, ...], str] = {}
        for name, ids in zip(names, texts.input_ids.tolist(), strict=True):
            other = first_with.setdefault(tuple(ids), name)
            if other != name:
                raise ValueError(
                    f"“{other}” and “{name}” are the same to this model: it ignores case, and does not know all words "
                    "and scripts. Choose other words for one of them."
                )
        return dict(texts)


def read_names(text: str) -> list[str]:
    """Read the names of gestures that were typed, by the rule of `split_names`; none from nothing.

    Raises:
        ValueError: There is one name alone, or there are too many, or for a reason of `split_names`.
    """
    if not text.strip():
        return []
    names = split_names(text.rstrip(" \t\r\n;,"))
    if len(names) == 1:
        raise ValueError(
            f"“{names[0]}” alone would always get 100 %. Write two names or more, so that the model can choose, "
            "or leave the field empty."
        )
    if len(names) > MOST_NAMES:
        raise ValueError(f"These are {len(names)} names; {MOST_NAMES} are the most that are compared here.")
    return names


def open_picture(path: Path) -> Image.Image:
    """Open a file of a user as an upright RGB picture.

    Raises:
        ValueError: It is no picture, a damaged one, or too large.
    """
    try:
        with Image.open(path, formats=(*FORMATS, *HEIF)) as picture:
            if picture.width * picture.height > MAX_PIXELS or max(picture.size) > MAX_SIDE:
                raise Image.DecompressionBombError
            return to_rgb(picture)
    except Image.DecompressionBombError as error:  # Pillow's own bound is higher
        most = f"{MAX_PIXELS // 1_000_000} million pixels, or {MAX_SIDE:,} on a side"
        raise ValueError(f"The picture has more than {most}, the most that are read here. Make it smaller.") from error
    except Exception as error:  # the decoders of Pillow raise what they like
        raise ValueError("This file can not be read as a picture. JPEG, PNG and WebP can.") from error


def paint_heat(picture: Image.Image, heat: np.ndarray) -> Image.Image:
    """Lay a map over a picture, the stronger the redder.

    Args:
        picture: RGB; what is larger than 768 pixels is made smaller.
        heat: `(h, w)` from 0 to 1, which covers the whole picture.
    """
    shown = picture.copy()
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    strength = Image.fromarray(heat.astype(np.float32)).resize(shown.size, Image.Resampling.BICUBIC)
    mask = Image.fromarray((np.asarray(strength).clip(0, 1) * 190).astype(np.uint8))  # (height, width)
    return Image.composite(Image.new("RGB", shown.size, HEAT_COLOUR), shown, mask)
