"""The processor of the model, of transformers' own classes: a saved folder needs no code to prepare its inputs."""

import string
from collections.abc import Sequence

from tokenizers import BertWordPieceTokenizer
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


def train_tokenizer(texts: Sequence[str]) -> DistilBertTokenizer:
    """Learn a lower-case WordPiece vocabulary from the class prompts, for a text tower from random weights.

    Every letter and digit is in it, so that names which were not among the texts can be written with it too.

    Args:
        texts: Texts to learn from.
    """
    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(
        texts,
        vocab_size=30_522,
        min_frequency=1,
        # in this order their ids are those that BERT's and DistilBERT's configurations expect, [PAD] = 0 first
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        initial_alphabet=[*string.ascii_lowercase, *string.digits],
        show_progress=False,
    )
    return DistilBertTokenizer(vocab=trainer.get_vocab(with_added_tokens=True))
