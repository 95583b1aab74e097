"""Texts that a batch is compared with in training."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..data.prompts import ClassTexts, check_known
from ..models.modeling_mg_vtc import MgVtcModel
from .arguments import MgVtcTrainingArguments
from .text_draws import TextDraws

EXPANDED = ("bert", "distilbert", "roberta", "xlm-roberta")  # model types that read in both directions


class TextLabels(NamedTuple):
    """Classes that a batch is compared with.

    Attributes:
        labels: Class ids, `(num_texts,)`.
        counts: How often each occurs in the batch, `(num_texts,)`, positive; `None` where that is not counted.
    """

    labels: Tensor
    counts: Tensor | None = None


def find_unique(labels: Tensor, num_classes: int) -> TextLabels:
    """Return the distinct class ids of a batch in a fixed number, without waiting for the device.

    There are `min(num_classes, batch_size)` of them. Those that are missing repeat the first class, whose count is
    divided among them: a loss that takes counts has the same value and gradient.

    Args:
        labels: Class ids of the batch, `(batch_size,)`.
        num_classes: Number of classes.
    """
    classes = torch.arange(num_classes, device=labels.device)
    counts = (labels[:, None] == classes).sum(dim=0)  # (num_classes,)
    order = (counts == 0).byte().argsort(stable=True)[: min(num_classes, len(labels))]  # (num_texts,), by id
    counts = counts[order]  # (num_texts,)
    repeats = (counts == 0) | (order == order[0])  # (num_texts,)
    return TextLabels(
        torch.where(repeats, order[0], order), torch.where(repeats, counts[0] / repeats.sum(), counts.float())
    )


def copy_without_waiting(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the host to a device, whose earlier work need not be finished for it."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def expand_mask(attention_mask: Tensor) -> Tensor:
    """Return a mask of tokens `(num_texts, length)` as one of pairs of tokens, `(num_texts, 1, length, length)`."""
    length = attention_mask.shape[1]
    return attention_mask[:, None, None, :].bool().expand(-1, 1, length, length)


def keep_from_waiting(tower: PreTrainedModel) -> bool:
    """Let a text tower make its mask without waiting for the device, if its model type is one of `EXPANDED`.

    From a mask of tokens `create_bidirectional_mask` of transformers makes that of `expand_mask`, but first it asks
    whether any token is masked. It returns a mask of pairs as it is.
    """
    if tower.config.model_type not in EXPANDED or tower.config._attn_implementation != "sdpa":
        return False
    if getattr(tower.config, "is_decoder", False):
        return False

    if _expand_mask_of_call not in tower._forward_pre_hooks.values():  # of an earlier trainer of the same model
        tower.register_forward_pre_hook(_expand_mask_of_call, with_kwargs=True)
    return True


def _expand_mask_of_call(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    mask = kwargs.get("attention_mask")
    return args, kwargs | {"attention_mask": expand_mask(mask)} if mask is not None and mask.ndim == 2 else kwargs


class BatchTexts:
    """Class texts of a training, from which each batch takes those that it is compared with.

    Args:
        model: Model that is trained, with a text tower.
        tokenizer: Tokenizer of the text tower.
        args: Of the training.
        fixed_shapes: Give batches of one size texts of one shape, without waiting for the device. This encodes texts
            that a batch does not need.
    """

    def __init__(
        self,
        model: MgVtcModel,
        tokenizer: PreTrainedTokenizerBase,
        args: MgVtcTrainingArguments,
        *,
        fixed_shapes: bool,
    ) -> None:
        check_known(list(model.config.id2label.values()), tokenizer)
        self.class_texts = ClassTexts(model.config.class_texts, tokenizer, args.device)
        self._model, self._fixed_shapes = model, fixed_shapes
        self._mask = self.class_texts.mask if args.class_texts == "mean" else None  # (num_labels, K)
        self._draws = TextDraws(args.seed)
        if fixed_shapes:
            keep_from_waiting(model.text_model)
        self._is_frozen = args.freeze_text_model
        self._states: Tensor | None = None
        self.encode_frozen()
        self.refresh_class_embeds()
        self.class_texts.check_apart(model.class_embeds)

    def encode_frozen(self) -> None:
        """Encode each text once with a frozen text tower: states are `(num_texts, width)`."""
        if self._is_frozen:
            self._states = self._model.get_text_states(**self.class_texts.inputs)

    def refresh_class_embeds(self) -> None:
        """Encode the class texts with the present weights."""
        texts = self.class_texts.inputs if self._states is None else {"text_states": self._states}
        self._model.set_class_embeds(text_mask=self.class_texts.mask, **texts)

    def select(self, labels: Tensor, step: int) -> dict[str, Tensor]:
        """Return inputs of the model for the texts of classes.

        Args:
            labels: Class ids, `(num_texts,)`.
            step: Number of steps taken so far, for the draws of one text of each class.
        """
        if self._mask is not None:
            rows = self.class_texts.list_all(labels)
        elif self.class_texts.mask is not None:
            fractions = self._draws.draw(len(labels), step)  # (num_texts,)
            rows = self.class_texts.choose(labels, copy_without_waiting(fractions, labels.device))
        else:  # one text of each class
            rows = labels
        if self._states is not None:
            return {"text_states": self._states[rows]}
        return self.class_texts.select(rows, keep_padding=self._fixed_shapes)

    def average(self, text_embeds: Tensor, labels: Tensor) -> Tensor:
        """Return an embedding for each of the classes `labels`: `(num_texts, projection_dim)`."""
        if self._mask is None:
            return text_embeds
        mask = self._mask[labels]  # (num_texts, K)
        return self._model.average_texts(text_embeds.view(*mask.shape, -1), mask)
