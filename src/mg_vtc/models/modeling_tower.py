"""Parts of the model: encoders of images and texts, projection heads and the output class."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput

from .configuration_mg_vtc import MgVtcConfig
from .modeling_alexnet import AlexNetModel


@dataclass
class MgVtcOutput(ModelOutput):
    """Output of `MgVtcModel` for B images and T texts or, without texts, the T classes.

    Args:
        logits_per_image: Scaled similarities of images and texts, `(B, T)`.
        logits_per_text: Their transpose, `(T, B)`.
        text_embeds: Embeddings of the texts, `(T, projection_dim)`, of L2 norm 1 if `config.normalize`.
        image_embeds: Embeddings of the images, `(B, projection_dim)`, likewise.
        text_model_output: Output of `MgVtcModel.get_text_features`, if texts were given.
        vision_model_output: Output of `MgVtcModel.get_image_features`.
    """

    logits_per_image: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    image_embeds: torch.Tensor | None = None
    text_model_output: BaseModelOutputWithPooling | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in self.values())


def build_tower(config: PretrainedConfig, input_name: str) -> PreTrainedModel:
    """Build the encoder of a configuration with random weights.

    Args:
        config: Configuration of any `AutoModel` encoder, or of AlexNet.
        input_name: Its required input, "pixel_values" or "input_ids".

    Raises:
        ValueError: It takes another input.
    """
    # `AutoModel` does not know our AlexNet without the package
    tower = AlexNetModel._from_config(config) if config.model_type == "alexnet" else AutoModel.from_config(config)
    if tower.main_input_name != input_name:
        raise ValueError(
            f"{type(tower).__name__} takes {tower.main_input_name!r}, but this tower must take {input_name!r}: "
            "the first tower is for images, the second for texts."
        )
    return tower


class MgVtcProjectionHead(nn.Module):
    """Projection head of the method: Linear -> GELU -> Linear -> Dropout, plus the first Linear, LayerNorm."""

    def __init__(self, input_dim: int, config: MgVtcConfig):
        super().__init__()
        self.projection = nn.Linear(input_dim, config.projection_dim)
        self.activation = nn.GELU()
        self.linear = nn.Linear(config.projection_dim, config.projection_dim)
        self.dropout = nn.Dropout(config.projection_dropout)
        self.layer_norm = nn.LayerNorm(config.projection_dim)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        projected = self.projection(pooled)  # (batch_size, projection_dim)
        residual = self.dropout(self.linear(self.activation(projected)))
        return self.layer_norm(projected + residual)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put all modules into evaluation mode for a block, then restore the mode of each."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def encode_texts(tower: PreTrainedModel, chunk_size: int | None, **inputs: Any) -> BaseModelOutputWithPooling:
    """Return the output of a text tower; a tower without a pooled state (DistilBERT) is pooled by its first token.

    Args:
        tower: Text encoder.
        chunk_size: Number of texts that are encoded at a time. Activations are recomputed in the backward pass, and
            only pooled states are returned. `None` encodes all texts at once.
        inputs: `input_ids` and `attention_mask`, both `(batch_size, sequence_length)`, and others that it takes.

    Returns:
        Output with `pooler_output` `(batch_size, width)`.
    """
    if chunk_size is None or len(inputs["input_ids"]) <= chunk_size:
        return _encode_texts(tower, **inputs)
    num_texts, pooled = len(inputs["input_ids"]), []
    for start in range(0, num_texts, chunk_size):
        chunk = {
            name: value[start : start + chunk_size] if torch.is_tensor(value) and len(value) == num_texts else value
            for name, value in inputs.items()
        }
        outputs = checkpoint(functools.partial(_encode_texts, tower, **chunk), use_reentrant=False)
        pooled.append(outputs.pooler_output)  # (chunk_size, width)
    return BaseModelOutputWithPooling(pooler_output=torch.cat(pooled))


def _encode_texts(tower: PreTrainedModel, **inputs: Any) -> BaseModelOutputWithPooling:
    outputs = tower(return_dict=True, **inputs)
    pooled = outputs.get("pooler_output")
    return BaseModelOutputWithPooling(
        last_hidden_state=outputs.last_hidden_state,
        pooler_output=outputs.last_hidden_state[:, 0] if pooled is None else pooled,
        hidden_states=outputs.get("hidden_states"),
        attentions=outputs.get("attentions"),
    )


def project(outputs: ModelOutput, head: MgVtcProjectionHead) -> BaseModelOutputWithPooling:
    """Return the output of a tower with its pooled state projected.

    Args:
        outputs: Output of a tower, with `pooler_output` `(batch_size, width)` or, as ResNet's,
            `(batch_size, width, 1, 1)`.
        head: Its projection head.

    Returns:
        Output with `pooler_output` `(batch_size, projection_dim)`; fields that the tower lacks are `None`.
    """
    return BaseModelOutputWithPooling(
        last_hidden_state=outputs.last_hidden_state,
        pooler_output=head(outputs.pooler_output.flatten(1)),  # (batch_size, projection_dim)
        hidden_states=outputs.get("hidden_states"),
        attentions=outputs.get("attentions"),
    )
