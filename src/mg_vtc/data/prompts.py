"""Tokenise the class prompts once, and select those of a batch."""

import copy
import warnings
from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from .labels import shorten

NUM_COMPARED = 1024  # rows of the distance matrix in memory at once


def check_known(names: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse names that consist of unknown tokens, and warn about names with some unknown tokens.

    Raises:
        ValueError: All tokens of a name are unknown.
    """
    unknown = tokenizer.unk_token_id
    if unknown is None:
        return
    partly: list[str] = []
    for name in names:
        ids = tokenizer(name, add_special_tokens=False).input_ids
        if all(token == unknown for token in ids):
            raise ValueError(
                f"The tokenizer knows no word of the name {name!r}, so the model cannot distinguish it from others: "
                "use other words, or a text tower of that language."
            )
        if unknown in ids:
            partly.append(name)
    if partly:
        warnings.warn(
            f"The tokenizer does not know all words of {shorten(partly)}: the model reads only the other words.",
            stacklevel=3,
        )


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
        """Return the inputs of the classes `labels`, each `(len(labels), length)`, padded to the longest."""
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
