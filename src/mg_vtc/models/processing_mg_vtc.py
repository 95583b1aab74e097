"""The processor of the model, of transformers' own classes: a saved folder needs no code to prepare its inputs."""

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
    """Read the mean and standard deviation of a pretrained vision tower, ImageNet's where it has no image processor.

    A warning names what else its image processor does and this package does not: another filter, a crop, a size of its
    own. Images here are resized to a square by a bilinear filter.

    Args:
        tower: Hub id or folder of the tower.
    """
    try:
        processor: Any = AutoImageProcessor.from_pretrained(tower, backend="pil")
    except OSError:  # a tower without an image processor, as `save_pretrained` of a model alone leaves it
        return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    except ValueError as error:
        warnings.warn(
            f"The image processor of {tower} cannot be read ({str(error).splitlines()[0]}): images are normalised "
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
            f"The image processor of {tower} has {', '.join(named)}, and images are resized to a square by a bilinear "
            "filter here: its mean and standard deviation are kept, the rest is not.",
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
    """Make what prepares the inputs of a model: pictures and, where it has a text tower, texts.

    Pictures are turned to RGB, resized without keeping the aspect ratio (as the method does), and normalised.

    Args:
        image_size: Side of the square picture, in pixels.
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


def build_tokenizer(texts: Sequence[str]) -> DistilBertTokenizer:
    """Make a lower-case WordPiece tokenizer of the class prompts, for a text tower from random weights.

    Its tokens are the words of the texts and, so that other names can be written too, single characters. It is a
    function of the texts alone: the trainer of the `tokenizers` library gives equally frequent pieces other ids in
    each process, and a run could not be repeated or resumed.

    Args:
        texts: Texts whose words become tokens.
    """
    normalizer, pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    words = {word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))}
    characters = sorted({*string.ascii_lowercase, *string.digits, *"".join(words)})
    # in this order the special tokens have the ids that BERT's and DistilBERT's configurations expect, [PAD] = 0 first
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{letter}" for letter in characters)]
    tokens += sorted(words - set(characters))
    return DistilBertTokenizer(vocab={token: index for index, token in enumerate(tokens)})
