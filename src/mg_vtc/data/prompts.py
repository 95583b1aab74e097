"""Tokenise the class prompts once, and select those of a batch."""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from .labels import shorten

NUM_COMPARED = 1024  # rows of the distance matrix in memory at once


def check_known(names: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse names without a known word, and warn about names with some unknown words or in single letters.

    Raises:
        ValueError: All words of a name are unknown.
    """
    partly: list[str] = []
    spelled: list[str] = []
    for name in names:
        words = _split_words(name, tokenizer)
        unknown = [tokenizer.unk_token in word for word in words]
        if all(unknown):
            raise ValueError(
                f"The tokenizer knows no word of the name {name!r}, so the model cannot distinguish it from others: "
                "use other words, or a text tower of that language."
            )
        if any(unknown):
            partly.append(name)
        elif all(map(_is_spelled, words)):
            spelled.append(name)
    if partly:
        warnings.warn(
            f"The tokenizer does not know all words of {shorten(partly)}: the model reads only the other words.",
            stacklevel=3,
        )
    if spelled:
        warnings.warn(
            f"The tokenizer spells {shorten(spelled)} letter by letter, because no word of it was in the training: "
            "expect scores near chance.",
            stacklevel=3,
        )


def _split_words(name: str, tokenizer: PreTrainedTokenizerBase) -> list[list[str]]:
    """Return the tokens of each word of a name."""
    encoded = tokenizer(name, add_special_tokens=False)
    tokens = tokenizer.convert_ids_to_tokens(encoded.input_ids)
    numbers = encoded.word_ids() if tokenizer.is_fast else range(len(tokens))
    words: dict[Any, list[str]] = {}
    for number, token in zip(numbers, tokens, strict=True):
        words.setdefault(number, []).append(token)
    return list(words.values())


def _is_spelled(word: list[str]) -> bool:
    """Return whether a word is in single letters, as a tokenizer of few words splits others."""
    letters = [token.removeprefix("##") for token in word]
    return len(word) > 2 and all(len(letter) == 1 and letter.isascii() for letter in letters)


class ClassTexts:
    """Token ids of the class prompts.

    Args:
        prompts: One text per class, in id order.
        tokenizer: Tokenizer of the text tower.
        device: Device of the ids.

    Attributes:
        inputs: Inputs of the text tower for all classes, each `(num_labels, length)`.
    """

    def __init__(self, prompts: list[str], tokenizer: PreTrainedTokenizerBase, device: torch.device) -> None:
        self.prompts = prompts
        tokenizer = copy.deepcopy(tokenizer)  # calling it sets truncation, which would be saved with it
        texts = tokenizer(prompts, padding=True, truncation=True, return_tensors="pt")
        self.inputs: dict[str, torch.Tensor] = texts.to(device).data

    def select(self, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the inputs of the classes `labels`, each `(len(labels), length)`, padded to the longest.

        Without a mask, all of the padding is kept.
        """
        if "attention_mask" not in self.inputs:
            return {name: tensor[labels] for name, tensor in self.inputs.items()}
        mask = self.inputs["attention_mask"][labels].any(dim=0)  # (length,), False where all is padding
        return {name: tensor[labels][:, mask] for name, tensor in self.inputs.items()}

    def check_apart(self, embeds: torch.Tensor) -> None:
        """Refuse texts with equal embeddings, caused by unknown words, truncation or a tower that reads one token.

        Args:
            embeds: Embeddings of the class prompts, `(num_labels, projection_dim)`.

        Raises:
            ValueError: Two embeddings are equal.
        """
        for start in range(0, len(embeds), NUM_COMPARED):
            rows = embeds[start : start + NUM_COMPARED]
            near = torch.cdist(rows, embeds) < 1e-2 * embeds.norm(dim=-1)  # (rows, num_labels), accurate to about 1e-3
            firsts, seconds = near.triu(diagonal=start + 1).nonzero(as_tuple=True)  # each (num_near,)
            alike = (rows[firsts] - embeds[seconds]).norm(dim=-1) < 1e-5 * embeds[seconds].norm(dim=-1)
            if alike.any():
                row, second = firsts[alike][0].item(), seconds[alike][0].item()
                raise ValueError(
                    f"{self.prompts[start + row]!r} and {self.prompts[second]!r} have the same embedding in this text "
                    "tower. Either the tokenizer does not know their words (does the folder of the tower contain its "
                    "tokenizer?), or they are truncated before they differ, or the tower is a decoder, whose first "
                    "token does not see the others: choose an encoder such as BERT."
                )
