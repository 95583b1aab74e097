"""Tokenise the texts of the classes once, and select those of a batch."""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from ..messages import abridge
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


def _warn_of_truncation(texts: list[list[str]], tokenizer: PreTrainedTokenizerBase) -> None:
    """Warn about texts that are longer than the tokenizer allows."""
    room = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
    too_long = [
        f"{abridge(text, 60)} of class {label}"
        for label, own in enumerate(texts)
        for text in own
        if len(tokenizer.tokenize(text)) > room
    ]
    if too_long:
        others = f", and {len(too_long) - 1} more texts are," if len(too_long) > 1 else ""
        warnings.warn(
            f"The text {too_long[0]} is longer than the limit of the tokenizer{others}: the words after "
            f"{tokenizer.model_max_length} tokens are not read. Shorten it.",
            stacklevel=1,  # the same place for all of a run, which says it once
        )


class ClassTexts:
    """Token ids of the class texts.

    Args:
        texts: One or more texts of each class, in id order.
        tokenizer: Tokenizer of the text tower.
        device: Device of the ids.

    Attributes:
        inputs: Inputs of the text tower, each `(num_labels * K, length)`: K texts of the first class, of the second
            and so on. K is the largest number of texts; classes with fewer repeat their last.
        mask: True for texts, False for repetitions, `(num_labels, K)`; `None` where each class has one text.
    """

    def __init__(self, texts: list[list[str]], tokenizer: PreTrainedTokenizerBase, device: torch.device) -> None:
        self.names = [own[0] for own in texts]
        counts = torch.tensor([len(own) for own in texts])
        self._most = int(counts.max())
        flat = [text for own in texts for text in own + own[-1:] * (self._most - len(own))]
        tokenizer = copy.deepcopy(tokenizer)  # calling it sets truncation, which would be saved with it
        encoded = tokenizer(flat, padding=True, truncation=True, return_tensors="pt")
        if encoded.input_ids.shape[1] == tokenizer.model_max_length:
            _warn_of_truncation(texts, tokenizer)
        self.inputs: dict[str, torch.Tensor] = encoded.to(device).data
        self._counts = counts.to(device)
        mask = torch.arange(self._most, device=device) < self._counts[:, None]
        self.mask: torch.Tensor | None = mask if self._most > 1 else None

    def choose(self, labels: torch.Tensor, fractions: torch.Tensor) -> torch.Tensor:
        """Return one text of each of the classes `labels`, as rows `(len(labels),)` of `inputs`.

        Args:
            labels: Class ids, `(num_texts,)`.
            fractions: Numbers in [0, 1), `(num_texts,)`, on the device of the labels: 0 is the first text of a class,
                and just below 1 the last.
        """
        return labels * self._most + (fractions * self._counts[labels]).long()

    def list_all(self, labels: torch.Tensor) -> torch.Tensor:
        """Return all K texts of the classes `labels`, as rows `(len(labels) * K,)` of `inputs`."""
        return (labels[:, None] * self._most + torch.arange(self._most, device=labels.device)).flatten()

    def select(self, rows: torch.Tensor, *, keep_padding: bool = False) -> dict[str, torch.Tensor]:
        """Return rows of the inputs, each `(len(rows), length)`, padded to the longest of them.

        Without a mask of the tokens, or with `keep_padding`, they are padded to the longest of all. This does not wait
        for the device.
        """
        if keep_padding or "attention_mask" not in self.inputs:
            return {name: tensor[rows] for name, tensor in self.inputs.items()}
        mask = self.inputs["attention_mask"][rows].any(dim=0)  # (length,), False where all is padding
        return {name: tensor[rows][:, mask] for name, tensor in self.inputs.items()}

    def check_apart(self, embeds: torch.Tensor) -> None:
        """Refuse texts with equal embeddings, caused by unknown words, truncation or a tower that reads one token.

        Args:
            embeds: Embeddings of the classes, `(num_labels, projection_dim)`.

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
                    f"{self.names[start + row]!r} and {self.names[second]!r} have the same embedding in this text "
                    "tower. Either the tokenizer does not know their words (does the folder of the tower contain its "
                    "tokenizer?), or they are truncated before they differ, or the tower is a decoder, whose first "
                    "token does not see the others: choose an encoder such as BERT."
                )
