"""The processor of the model, of transformers' own classes: a saved folder needs no code to prepare its inputs."""

import string
from collections.abc import Sequence

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import CLIPProcessor, DistilBertTokenizer, PreTrainedTokenizerBase, ViTImageProcessorPil
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, PILImageResampling


def build_processor(
    image_size: int, tokenizer: PreTrainedTokenizerBase | None = None
) -> CLIPProcessor | ViTImageProcessorPil:
    """Make what prepares the inputs of a model: pictures and, where it has a text tower, texts.

    Pictures are turned to RGB, resized without keeping the aspect ratio (as the method does), and normalised with the
    mean and standard deviation of ImageNet.

    Args:
        image_size: Side of the square picture, in pixels.
        tokenizer: Tokenizer of the text tower; `None` for a vision-only model.
    """
    image_processor = ViTImageProcessorPil(
        do_convert_rgb=True,
        size={"height": image_size, "width": image_size},
        resample=PILImageResampling.BILINEAR,
        image_mean=IMAGENET_DEFAULT_MEAN,
        image_std=IMAGENET_DEFAULT_STD,
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
