"""Processor and tokenizer of the model, from transformers' own classes: saved folders need no code for them."""

import string
import warnings
from collections.abc import Sequence
from typing import Any

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import (
    AutoImageProcessor,
    CLIPProcessor,
    DistilBertTokenizer,
    PreTrainedTokenizerBase,
    ViTImageProcessorPil,
)
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, PILImageResampling


def read_normalization(tower: str) -> tuple[Sequence[float], Sequence[float]]:
    """Read the mean and standard deviation of a pretrained vision tower; without an image processor, ImageNet's.

    Images are resized to a square by a bilinear filter. A warning names steps of the tower's image processor that are
    not followed, such as a crop.

    Args:
        tower: Hub id or folder of the tower.
    """
    try:
        processor: Any = AutoImageProcessor.from_pretrained(tower, backend="pil")
    except OSError:  # a tower without an image processor
        return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    except ValueError as error:
        warnings.warn(
            f"The image processor of {tower} cannot be read ({str(error).splitlines()[0]}): images are normalized "
            "with ImageNet's mean and standard deviation.",
            stacklevel=3,
        )
        return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    others = {
        "resample": getattr(processor, "resample", None) not in (None, PILImageResampling.BILINEAR),
        "do_center_crop": getattr(processor, "do_center_crop", None) is True,
        "crop_pct": getattr(processor, "crop_pct", None) is not None,
        "rescale_factor": abs(255 * getattr(processor, "rescale_factor", 1 / 255) - 1) > 1e-6,
    }
    if named := [f"{name} {getattr(processor, name)}" for name, is_other in others.items() if is_other]:
        warnings.warn(
            f"The image processor of {tower} has {', '.join(named)}, but images are resized to a square by a "
            "bilinear filter here: only its mean and standard deviation are used.",
            stacklevel=3,
        )
    if not getattr(processor, "do_normalize", True):
        return [0.0] * 3, [1.0] * 3
    return list(processor.image_mean), list(processor.image_std)


def build_processor(
    image_size: int,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    image_mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
    image_std: Sequence[float] = IMAGENET_DEFAULT_STD,
) -> CLIPProcessor | ViTImageProcessorPil:
    """Build the processor of a model, for images and, with a text tower, texts.

    Images are converted to RGB, resized to a square without keeping the aspect ratio, and normalized.

    Args:
        image_size: Side of the square image, in pixels.
        tokenizer: Tokenizer of the text tower; `None` for a vision-only model.
        image_mean: Mean of each channel, of pixels in 0..1; by default that of ImageNet.
        image_std: Standard deviation of the same.
    """
    image_processor = ViTImageProcessorPil(
        do_convert_rgb=True,
        size={"height": image_size, "width": image_size},
        resample=PILImageResampling.BILINEAR,
        image_mean=list(image_mean),
        image_std=list(image_std),
    )
    return image_processor if tokenizer is None else CLIPProcessor(image_processor, tokenizer)


def build_tower_processor(
    image_size: int, tokenizer: PreTrainedTokenizerBase | None, vision: str | None, text_config: Any
) -> CLIPProcessor | ViTImageProcessorPil:
    """Build the processor of two towers, with the normalization of the one and the text length of the other.

    Args:
        image_size: Side of the square image, in pixels.
        tokenizer: Tokenizer of the text tower; `None` for a vision-only model.
        vision: Hub id or folder of a pretrained vision tower; `None` for one with random weights.
        text_config: Configuration of the text tower.
    """
    if tokenizer is not None:
        longest = getattr(text_config, "max_position_embeddings", tokenizer.model_max_length)
        tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
    if vision is None:
        return build_processor(image_size, tokenizer)
    mean, std = read_normalization(vision)
    return build_processor(image_size, tokenizer, image_mean=mean, image_std=std)


def build_tokenizer(texts: Sequence[str]) -> DistilBertTokenizer:
    """Build a lower-case WordPiece tokenizer for a text tower with random weights.

    Its tokens are the words of the texts and single characters, for other names. It depends on the texts alone; the
    trainer of the `tokenizers` library numbers equally frequent pieces differently in each process.

    Args:
        texts: Texts whose words become tokens.
    """
    normalizer, pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    words = {word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))}
    characters = sorted({*string.ascii_lowercase, *string.digits, *"".join(words)})
    # in the order that the configurations of BERT and DistilBERT expect: [PAD] is 0
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{letter}" for letter in characters)]
    tokens += sorted(words - set(characters))
    return DistilBertTokenizer(vocab={token: index for index, token in enumerate(tokens)})
