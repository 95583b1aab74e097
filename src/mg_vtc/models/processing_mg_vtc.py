"""Processor and tokenizer of the model, from transformers' own classes: saved folders need no code for them."""

import string
from collections.abc import Sequence

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import (
    CLIPProcessor,
    DistilBertTokenizer,
    PreTrainedTokenizerBase,
    ViTImageProcessorPil,
)
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, PILImageResampling


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
