"""Custom handler of an Inference Endpoint: image classification with the model in the same folder.

This file is uploaded with the weights and imports no other file of the project. Exceptions are returned to the sender
of the request with status 400, so their messages are written for that person.
"""

import base64
import csv
import functools
import io
import re
import reprlib
import unicodedata
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # Pillow reads more, some through external programs
TRANSPOSES = {  # by EXIF orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MAX_IMAGES, MAX_LABELS = 64, 1000  # per request
MAX_PIXELS, MAX_SIDE = 50_000_000, 20_000  # per image; a tiny file can decode to gigabytes
MAX_PIXELS_OF_REQUEST = 200_000_000  # bounds the decoding time
LONGEST = 8  # times the shorter side: more of the longer one is cut before a central square is resized and cropped
MAX_CHARACTERS = 100_000  # of all texts of a request; bounds the time of the text tower
TEXTS_AT_ONCE = 64  # of like length, through the text tower
NUM_CACHED_TEXTS = 32  # sets of texts with cached states
NONE_OF_THESE = "none of these"  # as in the package
PARAMETERS: dict[str, tuple[Any, str]] = {
    "candidate_labels": (list | str, "a list of strings, or one comma-separated string"),
    "hypothesis_template": (str, "a string"),
    "top_k": (int, "an integer"),
    "threshold": (int | float, "a number"),
}


class EndpointHandler:
    """Classifier of images into the model's classes or, if a request has `candidate_labels`, into these (zero-shot).

    Args:
        path: Folder of the model.
    """

    def __init__(self, path: str) -> None:
        # the code comes from the same repository as this file
        local: dict[str, Any] = {"trust_remote_code": True, "local_files_only": True}
        device = "cuda" if torch.cuda.is_available() else "cpu"
        checked: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, loading_info = AutoModel.from_pretrained(path, **checked, **local)
        model.check_weights(loading_info)
        self.model = model.eval().to(device)
        self.image_processor = AutoImageProcessor.from_pretrained(path, backend="pil", **local)
        self.tokenizer: Any = None  # for a vision-only model
        if not self.model.config.vision_only:
            self.tokenizer = AutoTokenizer.from_pretrained(path, **local)
        self._cached_text_states = functools.lru_cache(NUM_CACHED_TEXTS)(self._get_text_states)

    @torch.inference_mode()
    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        """Handle a request.

        Args:
            data: Request with two fields. `inputs` is an image, a list of images, or a mapping with them as `image`
                and with parameters. An image is the bytes of a file, their base64, a `data:` URL or a PIL
                image. `parameters` are optional: `candidate_labels` (a list or a
                comma-separated string), `hypothesis_template` (by default those of the model,
                averaged), `top_k` (by default 5 classes, or all candidate labels), `threshold` (in [0, 1]; by default
                that of the configuration, which holds for the model's classes).

        Returns:
            For an image, rows `{"label": str, "score": float}`, best first; the scores of all labels sum to 1. For a
            list of images, one such list per image. If the best score is below the threshold, "none of these" is
            the first row. Its score is 1 minus the best score, and not part of the sum.

        Raises:
            ValueError: The request is invalid; the message says how to fix it.
        """
        inputs, parameters = _read_request(data)
        images = inputs if isinstance(inputs, list) else [inputs]
        if not 1 <= len(images) <= MAX_IMAGES:
            raise ValueError(f"'inputs' has {len(images)} images; send 1 to {MAX_IMAGES} per request.")
        labels, text_states = self._read_labels(parameters)
        pixel_values = self._prepare(images)
        pixel_values = pixel_values.to(self.model.device, self.model.dtype)  # (num_images, 3, height, width)
        outputs = self.model(pixel_values=pixel_values, text_states=text_states)
        logits = outputs.logits_per_image  # (num_images, num_texts)
        if text_states is not None and len(text_states) > len(labels):  # several texts of each label
            embeds = outputs.text_embeds.unflatten(0, (len(labels), -1))  # (num_labels, num_templates, projection_dim)
            mask = torch.ones(embeds.shape[:2], device=embeds.device)  # (num_labels, num_templates)
            logits = self.model.compare(outputs.image_embeds, self.model.average_texts(embeds, mask))
        top_k = parameters.get("top_k", 5 if text_states is None else len(labels))
        best = logits.float().softmax(dim=-1).topk(min(top_k, len(labels)))  # each (num_images, top_k)
        predictions = [
            [{"label": labels[index], "score": score} for score, index in zip(*rows, strict=True)]
            for rows in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        stored = getattr(self.model.config, "threshold", None) if text_states is None else None
        for rows in predictions:
            if rows[0]["score"] < (parameters.get("threshold", stored) or 0):
                rows.insert(0, {"label": NONE_OF_THESE, "score": 1 - rows[0]["score"]})
        return predictions if isinstance(inputs, list) else predictions[0]

    def _read_labels(self, parameters: dict[str, Any]) -> tuple[list[str], torch.Tensor | None]:
        """Return the labels and the states of their texts `(num_labels * num_templates, width)`.

        The states are `None` for the model's classes.
        """
        config = self.model.config
        labels = parameters.get("candidate_labels")
        if labels is None:
            if "hypothesis_template" in parameters:
                raise ValueError("'hypothesis_template' requires 'candidate_labels', which are missing.")
            return [config.id2label[i] for i in range(config.num_labels)], None
        if self.tokenizer is None:
            raise ValueError(
                "This model is vision-only and cannot compare images with 'candidate_labels'. Omit them to use its "
                f"own {config.num_labels} classes."
            )
        if isinstance(labels, str):
            labels = _split_labels(labels)
        if not 1 <= len(labels) <= MAX_LABELS:
            raise ValueError(f"'candidate_labels' has {len(labels)} labels; send 1 to {MAX_LABELS}.")
        labels = _normalize_labels(labels)
        if "hypothesis_template" in parameters:
            templates = [_check_template(parameters["hypothesis_template"])]
        else:  # configurations of earlier versions have one
            templates = getattr(config, "prompt_templates", None) or [config.prompt_template]
        num_characters = sum(len(template) + len(label) for label in labels for template in templates)
        if num_characters > MAX_CHARACTERS:
            raise ValueError(
                f"'candidate_labels' and 'hypothesis_template' make texts of {num_characters:,} characters; send at "
                f"most {MAX_CHARACTERS:,}."
            )
        for label in labels:
            ids = self.tokenizer(label, add_special_tokens=False).input_ids
            if self.tokenizer.unk_token_id is not None and set(ids) <= {self.tokenizer.unk_token_id}:
                raise ValueError(
                    f"All words of the label {_shorten(label)} are unknown to the model: use other words."
                )
        texts = tuple(template.replace("{}", label) for label in labels for template in templates)
        return labels, self._cached_text_states(texts)

    def _get_text_states(self, texts: tuple[str, ...]) -> torch.Tensor:
        """Return the text tower's states of texts, `(num_texts, width)`; in parts, which bounds the memory."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        parts = [order[start : start + TEXTS_AT_ONCE] for start in range(0, len(order), TEXTS_AT_ONCE)]
        states = torch.cat([self._encode([texts[place] for place in part]) for part in parts])
        return states[torch.tensor(order).argsort()]

    def _encode(self, texts: list[str]) -> torch.Tensor:
        """Return the text tower's states of a few texts, `(num_texts, width)`."""
        tokens = self.tokenizer(texts, padding=True, return_tensors="pt").to(self.model.device)
        length = tokens["input_ids"].shape[1]
        positions = getattr(self.model.config.text_config, "max_position_embeddings", length)
        if length > min(positions, self.tokenizer.model_max_length):
            longest = max(texts, key=len)
            raise ValueError(f"The text {_shorten(longest)} is too long for this model: shorten the candidate label.")
        return self.model.get_text_states(**tokens)

    def _prepare(self, inputs: list[Any]) -> torch.Tensor:
        """Return the pixel values of images `(num_images, 3, height, width)`, decoded one at a time to save memory."""
        prepared, num_pixels = [], 0
        for place, data in enumerate(inputs):
            try:
                image = _open_image(data)
                num_pixels += image.width * image.height
                if num_pixels > MAX_PIXELS_OF_REQUEST:
                    raise ValueError(f"the request has more than {MAX_PIXELS_OF_REQUEST:,} pixels; send fewer.")
                image = _to_rgb(image)
            except Exception as error:  # Pillow's decoders raise many types
                raise ValueError(f"Image {place} of 'inputs' cannot be read: {error}") from error
            if getattr(self.image_processor, "do_center_crop", False):
                image = image.crop(_find_middle(*image.size))
            prepared.append(self.image_processor(images=image, return_tensors="pt")["pixel_values"])
        return torch.cat(prepared)


def _find_middle(width: int, height: int) -> tuple[int, int, int, int]:
    """Return the box of the middle of an image, whose longer side is at most `LONGEST` times the shorter one."""
    most = LONGEST * min(width, height)
    left, top = (max(length - most, 0) // 2 for length in (width, height))
    return left, top, min(left + most, width), min(top + most, height)


def _split_labels(text: str) -> list[str]:
    """Split comma-separated labels; labels with commas are in double quotes."""
    try:
        return [label for row in csv.reader([text], skipinitialspace=True, strict=True) for label in row]
    except csv.Error as error:
        raise ValueError(
            f"'candidate_labels' has {_shorten(text)} ({error}): send a list, or one comma-separated string."
        ) from error


def _check_template(template: str) -> str:
    """Return a template that has one place for the label."""
    if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
        raise ValueError(
            f"'hypothesis_template' needs one '{{}}' for the label and no other braces, got {_shorten(template)}."
        )
    if template.encode(errors="ignore").decode() != template:
        raise ValueError(f"'hypothesis_template' has half of a surrogate pair, got {_shorten(template)}.")
    return template


def _normalize_labels(labels: list[Any]) -> list[str]:
    """Normalize labels like class names of the package: Unicode form C, single spaces, no duplicates."""
    names: dict[str, str] = {}
    for label in labels:
        name = " ".join(unicodedata.normalize("NFC", label).split()) if isinstance(label, str) else ""
        kinds = [unicodedata.category(character) for character in name]
        if all(kind in ("Cf", "Zs") for kind in kinds) or "Cc" in kinds or "Cs" in kinds:
            raise ValueError(
                f"'candidate_labels' has {_shorten(label)}; each must be a non-empty string of visible characters."
            )
        visible = "".join(one for one, kind in zip(name, kinds, strict=True) if kind != "Cf")
        key = " ".join(unicodedata.normalize("NFC", visible.casefold()).split())
        if key in names:
            raise ValueError(f"'candidate_labels' has {_shorten(name)} twice: labels must be different.")
        names[key] = name
    return list(names.values())


def _read_request(data: Any) -> tuple[Any, dict[str, Any]]:
    """Return the validated image or images of a request, and its parameters that are not null."""
    if not isinstance(data, dict):
        raise ValueError(f"A request is an object with 'inputs' (images) and 'parameters', not {_shorten(data)}.")
    unknown = set(data) - {"inputs", "parameters", "options"}  # options are for the service, not for the model
    if unknown or data.get("inputs") is None:
        raise ValueError(
            f"A request has the fields 'inputs' (images) and 'parameters', this one has {_shorten(list(data))}. "
            "Put everything except images into 'parameters'."
        )
    inputs, given = data["inputs"], {} if data.get("parameters") is None else data["parameters"]
    if not isinstance(given, dict):
        raise ValueError(f"'parameters' must map names to values, got {_shorten(given)}.")
    if isinstance(inputs, dict):
        inside = {name: value for name, value in inputs.items() if name != "image"}
        if "image" not in inputs or inside.keys() & given.keys():
            raise ValueError(
                f"'inputs' as a mapping must have an 'image', and no parameter that 'parameters' repeats; its fields "
                f"are {_shorten(list(inputs))}, those of 'parameters' are {_shorten(list(given))}."
            )
        inputs, given = inputs["image"], inside | given
    for name, value in given.items():
        if name not in PARAMETERS:
            raise ValueError(f"Unknown parameter {_shorten(name)}; use {', '.join(map(repr, PARAMETERS))}.")
        kind, words = PARAMETERS[name]
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise ValueError(f"{name!r} must be {words}, got {_shorten(value)}.")
    parameters = {name: value for name, value in given.items() if value is not None}
    if parameters.get("top_k", 1) < 1:
        raise ValueError(f"'top_k' must be at least 1, got {parameters['top_k']}.")
    if not 0 <= parameters.get("threshold", 0) <= 1:
        raise ValueError(f"'threshold' must be in [0, 1], got {parameters['threshold']}.")
    return inputs, parameters


def _open_image(image: Any) -> Image.Image:
    """Open an image in any form of a request; check its size before it is decoded."""
    if isinstance(image, str):
        image = _decode_base64(image)
    if isinstance(image, bytes):
        if not image:
            raise ValueError("it is empty.")
        try:
            image = Image.open(io.BytesIO(image), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise ValueError(f"it is not a file of the formats {', '.join(FORMATS)}.") from error
    if not isinstance(image, Image.Image):
        raise ValueError(f"send the base64 of a file, not {_shorten(image)}.")
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise ValueError(
            f"it has {image.width} x {image.height} pixels; send at most {MAX_PIXELS:,}, {MAX_SIDE:,} per side."
        )
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return the image upright and in RGB, as in training: scale 16-bit grey, ignore transparency."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF
        orientation = 1
    if orientation in TRANSPOSES:
        image = image.transpose(TRANSPOSES[orientation])
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_scale_grey(np.asarray(image), image.mode))
    if image.mode == "P":
        image = image.convert("RGBA")  # same pixels; direct conversion to RGB warns about transparent palettes
    image = image.convert("RGB")
    image.info.pop("transparency", None)  # the image processor would replace this colour by white
    return image


def _scale_grey(grey: np.ndarray, mode: str) -> np.ndarray:
    """Return grey values `(height, width)` as uint8: from 16 bits, int32 up to 255, floats in 0..1 or 0..255."""
    if mode == "F":
        is_share = grey.min() >= 0 and grey.max() <= 1
        return np.nan_to_num((grey * 255).round() if is_share else np.clip(grey, 0, 255)).astype(np.uint8)
    if mode == "I" and grey.max() <= 255:
        return np.clip(grey, 0, 255).astype(np.uint8)
    return (np.clip(grey, 0, 65535) / 257).round().astype(np.uint8)  # 65535 / 257 = 255


def _decode_base64(text: str) -> bytes:
    """Decode base64 or a `data:` URL; never open a file path or download a URL."""
    if re.match(r"\w+://", text):
        raise ValueError(f"the endpoint does not download URLs, got {_shorten(text)}: send the base64 of the file.")
    encoded = text
    if text.startswith("data:"):
        kind, _, encoded = text.partition(",")
        if not kind.endswith(";base64"):
            raise ValueError(f"a data: URL must be base64, got {_shorten(text)}.")
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError as error:
        raise ValueError(f"a string must be the base64 of a file, got {_shorten(text)} ({error}).") from error


def _shorten(value: Any) -> str:
    """Return the repr of a value, shortened for messages; of large values, only the beginning is read."""
    if isinstance(value, str) and len(value) > 60:
        return f"{value[:50]!r}... ({len(value)} characters)"
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxstring, brief.maxother = 3, 60, 60
    text = brief.repr(value)
    return text if len(text) <= 60 else f"{text[:50]}..."
