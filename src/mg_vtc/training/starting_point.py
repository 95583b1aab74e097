"""Starting points of a training: two towers, a dual encoder such as CLIP, or a model of this package."""

import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    CLIPImageProcessorPil,
    CLIPProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, PILImageResampling
from transformers.utils import CONFIG_NAME, cached_file, is_timm_available

from ..data.decoding import Resizing, find_resizing, normalize, resize
from ..data.sources import check_source
from ..inference.loading import open_model, open_tokenizer
from ..models.configuration_mg_vtc import MgVtcConfig, check_prompt_template
from ..models.modeling_mg_vtc import MgVtcModel
from ..models.processing_mg_vtc import build_processor, build_tokenizer
from .recipe import DEFAULT_IMAGE_SIZE, ModelArguments
from .text_pooling import read_text_pooling

TIMM_CROP = 0.875  # where a timm model does not state the share of the image that it sees
GREY_LEVELS = 4  # by which resized pixels may differ from those of an image processor


def describe_classes(
    class_names: Sequence[str], templates: Sequence[str] | None, descriptions: Sequence[list[str]] | None = None
) -> dict[str, Any]:
    """Return the fields of `MgVtcConfig` for the texts of classes.

    Args:
        class_names: In id order.
        templates: One or more prompts with `{}` for the name; by default that of the configuration.
        descriptions: Further texts of each class.

    Raises:
        ValueError: A template has no `{}`.
    """
    templates = templates or [MgVtcConfig.prompt_template]
    fields = {
        "id2label": dict(enumerate(class_names)),
        "prompt_template": templates[0],
        "prompt_templates": list(templates) if len(templates) > 1 else None,
        "label_texts": None,
    }
    if descriptions is None and len(templates) == 1:
        return fields
    for template in templates:
        check_prompt_template(template)
    texts = [[template.replace("{}", name) for template in templates] for name in class_names]
    for own, further in zip(texts, descriptions or [[]] * len(texts), strict=True):
        own.extend(text for text in further if text not in own)
    return fields | {"label_texts": texts}


def build_model(
    arguments: ModelArguments,
    image_size: int | None,
    class_names: list[str],
    frozen: Sequence[str] = (),
    descriptions: Sequence[list[str]] | None = None,
) -> tuple[MgVtcModel, Any]:
    """Build the model of a recipe and its processor.

    Args:
        arguments: Starting point.
        image_size: Side of the square images, in pixels; by default that of the starting point, else 224.
        class_names: In id order.
        frozen: Towers that are not trained, "vision" or "text".
        descriptions: Further texts of each class.

    Raises:
        OSError: A model is not found.
        ValueError: A model cannot be taken over, or cannot take images of this size.
    """
    if arguments.model_name_or_path is not None:
        template = arguments.prompt_template
        return take_over(arguments.model_name_or_path, class_names, image_size, template, descriptions)
    classes = describe_classes(class_names, arguments.prompt_template, descriptions)
    for tower in frozen:
        if getattr(arguments, f"{tower}_config") is not None:
            warnings.warn(
                f"The {tower} tower is frozen and has random weights ({tower}_config): its features stay random. "
                f"Give a pretrained one, or leave freeze_{tower}_model out.",
                stacklevel=2,
            )
    config = arguments.config_fields | classes
    text_tower, tokenizer = None, None
    if isinstance(arguments.text_config, dict):
        prompts = [classes["prompt_template"].replace("{}", name) for name in class_names]
        tokenizer = build_tokenizer(prompts + [text for own in classes["label_texts"] or () for text in own])
        vocabulary = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        text_tower = load_tower(None, arguments.text_config | vocabulary, "text")
    elif arguments.text_model_name_or_path is not None:
        text_tower = load_tower(arguments.text_model_name_or_path, None, "text")
        tokenizer = AutoTokenizer.from_pretrained(arguments.text_model_name_or_path)
        if arguments.text_pooling == "auto":
            config["text_pooling"] = read_text_pooling(arguments.text_model_name_or_path)
    vision_tower = load_tower(arguments.vision_model_name_or_path, arguments.vision_config, "vision")
    model = MgVtcModel.from_vision_text_pretrained(vision_tower, text_tower, **config)
    processor = build_tower_processor(
        image_size, tokenizer, arguments.vision_model_name_or_path, getattr(text_tower, "config", None)
    )
    check_image_size(model, processor)
    return model, processor


def load_tower(name: str | None, config: Any, kind: str) -> PreTrainedModel:
    """Load a pretrained encoder by name, or build one with random weights from a configuration."""
    if name is None:
        return AutoModel.from_config(AutoConfig.for_model(**config))
    try:
        check_source(name, "model")
        tower = AutoModel.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise _not_loaded(kind, name, error) from error
    except ImportError as error:
        if is_timm_available():
            raise
        raise OSError(f"The {kind} tower {name!r} is a model of timm: pip install 'mg-vtc[timm]'.") from error
    if Path(name).exists():
        tower.config.name_or_path = ""  # the model names no path of this machine
    return tower


def _not_loaded(kind: str, name: str, error: Exception) -> OSError:
    """Return the error of a tower that cannot be loaded."""
    return OSError(
        f"The {kind} tower {name!r} cannot be loaded: {str(error).splitlines()[0]} Without a network, "
        f"`{kind}_model_name_or_path` takes a local folder and `{kind}_config` a tower from random weights."
    )


def take_over(
    name: str,
    class_names: list[str],
    image_size: int | None = None,
    prompt_template: Sequence[str] | None = None,
    descriptions: Sequence[list[str]] | None = None,
) -> tuple[MgVtcModel, Any]:
    """Take over a dual encoder such as CLIP, or a model of this package, with its processor and new classes.

    Args:
        name: Folder or Hub id.
        class_names: In id order.
        image_size: Side of the square images, in pixels; by default that of the model.
        prompt_template: One or more texts of a class, with `{}` for its name; by default that of the model.
        descriptions: Further texts of each class.

    Raises:
        OSError: The model is not found.
        ValueError: It is neither a known dual encoder nor of this package, its weights are damaged, or it cannot
            take images of this size.
    """
    check_source(name, "model")
    if AutoConfig.from_pretrained(name).model_type == "mg_vtc":
        source = open_model(name, dtype=torch.float32)[0]
        templates = prompt_template or source.config.name_templates
        classes = describe_classes(class_names, templates, descriptions)
        if prompt_template is None and descriptions is None and [*source.config.id2label.values()] == class_names:
            classes["label_texts"] = source.config.label_texts
        model = _change_classes(source, classes)
        tokenizer = None if model.config.vision_only else open_tokenizer(name)
    else:
        model = MgVtcModel.from_dual_encoder(name, **describe_classes(class_names, prompt_template, descriptions))
        tokenizer = AutoTokenizer.from_pretrained(name)
        text_config: Any = model.config.text_config
        tokenizer.model_max_length = min(tokenizer.model_max_length, text_config.max_position_embeddings)
        if model.config.text_length is not None:  # as the tokenizer would pad
            model.config.text_padding_side, text_config.pad_token_id = tokenizer.padding_side, tokenizer.pad_token_id
    configs: tuple[Any, ...] = (model.config, model.config.vision_config, model.config.text_config)
    for config in configs:
        if config is not None:
            config.name_or_path = "" if Path(name).exists() or config is model.config else name
    image_processor = load_image_processor(name, image_size)
    processor = image_processor if tokenizer is None else CLIPProcessor(image_processor, tokenizer)
    check_image_size(model, processor)
    return model, processor


def _change_classes(source: MgVtcModel, settings: dict[str, Any]) -> MgVtcModel:
    """Return a model with the weights of another one and new classes, whose embeddings are random."""
    fields = source.config.to_dict() | settings | {"label2id": None}
    model = MgVtcModel(type(source.config).from_dict(fields))
    model.config.reset_calibration()
    weights = {name: tensor for name, tensor in source.state_dict().items() if name != "class_embeds"}
    model.load_state_dict(weights, strict=False)
    return model


def read_image_processor(arguments: ModelArguments, image_size: int | None) -> Any:
    """Return the image processor that the model of a recipe will have."""
    name = arguments.model_name_or_path or arguments.vision_model_name_or_path
    if name is None:
        return build_processor(image_size or DEFAULT_IMAGE_SIZE)
    try:
        check_source(name, "model")
    except OSError as error:
        raise error if arguments.model_name_or_path else _not_loaded("vision", name, error) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `build_model` warns
        return load_image_processor(name, image_size)


def load_image_processor(name: str, image_size: int | None = None) -> Any:
    """Load the image processor of a pretrained model; without one, images are normalized as for ImageNet.

    A processor that does more than resize, crop and normalize is replaced with a warning, apart from its mean and
    standard deviation.

    Args:
        name: Folder or Hub id.
        image_size: Side of the square images, in pixels; by default that of the processor, else 224.
    """
    try:
        processor: Any = _read_timm_processor(name) or AutoImageProcessor.from_pretrained(name, backend="pil")
    except OSError as error:
        if not Path(name).exists():  # else it is a folder without an image processor
            reason = str(error).strip().splitlines()[0]
            warnings.warn(
                f"{name} has no image processor that can be loaded ({reason}): ImageNet's is used.", stacklevel=3
            )
        return build_processor(image_size or DEFAULT_IMAGE_SIZE)
    except ValueError as error:
        warnings.warn(
            f"The image processor of {name} cannot be read ({str(error).splitlines()[0]}): images are normalized "
            "with ImageNet's mean and standard deviation.",
            stacklevel=3,
        )
        return build_processor(image_size or DEFAULT_IMAGE_SIZE)
    try:
        resizing = find_resizing(processor)
        if not getattr(processor, "do_normalize", True):
            processor.do_normalize, processor.image_mean, processor.image_std = True, [0.0] * 3, [1.0] * 3
        _check_pixels(processor, resizing)
    except ValueError as error:
        warnings.warn(
            f"{error} The images of {name} are resized to a square by a bilinear filter instead.", stacklevel=3
        )
        mean = getattr(processor, "image_mean", None) or IMAGENET_DEFAULT_MEAN
        std = getattr(processor, "image_std", None) or IMAGENET_DEFAULT_STD
        return build_processor(image_size or DEFAULT_IMAGE_SIZE, image_mean=mean, image_std=std)
    side = {"height": image_size, "width": image_size}
    if image_size is None:
        return processor
    if resizing.shortest_edge is None:
        processor.size = side
    else:
        processor.size = {"shortest_edge": round(resizing.shortest_edge * image_size / resizing.image_size)}
        processor.crop_size = side
    return processor


def _read_timm_processor(name: str) -> CLIPImageProcessorPil | None:
    """Return the image processor of a timm model, as its configuration describes it; `None` for other models.

    Images are resized and cropped as by `timm.data.create_transform(..., is_training=False)`.
    """
    path = cached_file(name, CONFIG_NAME, _raise_exceptions_for_missing_entries=False)
    about = {} if path is None else json.loads(Path(path).read_text(encoding="utf-8")).get("pretrained_cfg") or {}
    if "input_size" not in about:
        return None
    side = about["input_size"][-1]
    return CLIPImageProcessorPil(
        size={"shortest_edge": math.floor(side / about.get("crop_pct", TIMM_CROP))},
        crop_size={"height": side, "width": side},
        resample=PILImageResampling[about.get("interpolation", "bicubic").upper()],
        image_mean=list(about.get("mean", IMAGENET_DEFAULT_MEAN)),
        image_std=list(about.get("std", IMAGENET_DEFAULT_STD)),
    )


def _check_pixels(processor: Any, resizing: Resizing) -> None:
    """Refuse an image processor whose pixels are not those that training makes, apart from rounding.

    Raises:
        ValueError: They differ.
    """
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)).resize((260, 180))
    own = processor(image, return_tensors="np")["pixel_values"][0]  # (3, height, width)
    pixels = torch.from_numpy(resize(image, resizing)).permute(2, 0, 1)[None]  # (1, 3, height, width)
    made = normalize(pixels, processor.image_mean, processor.image_std)[0].numpy()
    if own.shape != made.shape or np.abs(own - made).max() * min(processor.image_std) > GREY_LEVELS / 255:
        raise ValueError(f"The image processor {type(processor).__name__} does more than resize, crop and normalize.")


def build_tower_processor(
    image_size: int | None, tokenizer: PreTrainedTokenizerBase | None, vision: str | None, text_config: Any
) -> Any:
    """Build the processor of two towers: the image processor of the one and the tokenizer of the other.

    Args:
        image_size: Side of the square images, in pixels; by default that of the vision tower, else 224.
        tokenizer: Tokenizer of the text tower; `None` for a vision-only model.
        vision: Hub id or folder of a pretrained vision tower; `None` for one with random weights.
        text_config: Configuration of the text tower.
    """
    if vision is None:
        image_processor: Any = build_processor(image_size or DEFAULT_IMAGE_SIZE)
    else:
        image_processor = load_image_processor(vision, image_size)
    if tokenizer is None:
        return image_processor
    longest = getattr(text_config, "max_position_embeddings", tokenizer.model_max_length)
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
    return CLIPProcessor(image_processor, tokenizer)


def check_image_size(model: MgVtcModel, processor: Any) -> None:
    """Refuse an image size that the vision tower cannot take."""
    image_size = find_resizing(getattr(processor, "image_processor", processor)).image_size
    try:
        with torch.no_grad():
            model.eval().get_image_features(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, ValueError) as error:
        own = getattr(model.config.vision_config, "image_size", None)
        way_out = f"set image_size {own}, the tower's own" if isinstance(own, int) else "set another image_size"
        raise ValueError(
            f"The vision tower cannot take images of {image_size} x {image_size} ({' '.join(str(error).split())}): "
            f"{way_out}, or image_size in vision_config."
        ) from error
