"""The texts of the classes, tokenised once: which of them a batch is compared with."""

import copy
import warnings
from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from .labels import shorten

NUM_COMPARED = 1024  # rows of the matrix of distances that are in memory at a time


def check_known(names: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse names of which the tokenizer knows no word, and warn of those of which it knows some.

    Raises:
        ValueError: A name is nothing but unknown tokens.
    """
    unknown = tokenizer.unk_token_id
    if unknown is None:
        return
    partly: list[str] = []
    for name in names:
        ids = tokenizer(name, add_special_tokens=False).input_ids
        if all(token == unknown for token in ids):
            raise ValueError(
                f"The tokenizer knows no word of the name {name!r}, so the model cannot tell it from others: use "
                "other words, or a text tower of that language."
            )
        if unknown in ids:
            partly.append(name)
    if partly:
        warnings.warn(
            f"The tokenizer does not know all words of {shorten(partly)}: the model reads the rest of them.",
            stacklevel=3,
        )


class ClassTexts:
    """Token ids of the class prompts.

    Args:
        prompts: A text a class, in id order.
        tokenizer: Tokenizer of the text tower.
        device: Where the ids are kept.

    Attributes:
        inputs: Inputs of the text tower for all classes, each `(num_labels, length)`.
    """

    def __init__(self, prompts: list[str], tokenizer: PreTrainedTokenizerBase, device: torch.device) -> None:
        self.prompts = prompts
        tokenizer = copy.deepcopy(tokenizer)  # a call sets its truncation, which would be saved with it
        texts = tokenizer(prompts, padding=True, truncation=True, return_tensors="pt")
        self.inputs: dict[str, torch.Tensor] = texts.to(device).data

    def select(self, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Inputs of the text tower for the classes `labels`, padded to their longest: each `(len(labels), length)`."""
        mask = self.inputs["attention_mask"][labels].any(dim=0)  # (length,), False where all is padding
        return {name: tensor[labels][:, mask] for name, tensor in self.inputs.items()}

    def check_apart(self, embeds: torch.Tensor) -> None:
        """Refuse texts that the model can not tell apart: unknown words, cut ends, a tower that reads one token.

        Args:
            embeds: Embeddings of the class prompts, `(num_labels, projection_dim)`.

        Raises:
            ValueError: Two of them are equal.
        """
        for start in range(0, len(embeds), NUM_COMPARED):
            rows = embeds[start : start + NUM_COMPARED]
            near = torch.cdist(rows, embeds) < 1e-2 * embeds.norm(dim=-1)  # (rows, num_labels), exact to 1e-3 or so
            firsts, seconds = near.triu(diagonal=start + 1).nonzero(as_tuple=True)  # each (num_near,)
            alike = (rows[firsts] - embeds[seconds]).norm(dim=-1) < 1e-5 * embeds[seconds].norm(dim=-1)
            if alike.any():
                row, second = firsts[alike][0].item(), seconds[alike][0].item()
                raise ValueError(
                    f"{self.prompts[start + row]!r} and {self.prompts[second]!r} are one text to this text tower and "
                    "tokenizer. Either the tokenizer does not know their words (does the folder of the tower hold its "
                    "tokenizer?), or they are cut before they differ, or the tower is a decoder, whose first token "
                    "sees no other: choose an encoder such as BERT."
                )
