"""One side of the model: an encoder of pictures or texts, its pooled state, and the head that projects it."""

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput

from .configuration_mg_vtc import MgVtcConfig
from .modeling_alexnet import AlexNetModel


def build_tower(config: PretrainedConfig, input_name: str) -> PreTrainedModel:
    """Make the encoder of a configuration, with random weights.

    Args:
        config: Configuration of any `AutoModel` encoder, or of AlexNet.
        input_name: What it has to read, "pixel_values" or "input_ids".

    Raises:
        ValueError: It reads something else.
    """
    # AlexNet is ours, so `AutoModel` does not know it where the package is not installed
    tower = AlexNetModel._from_config(config) if config.model_type == "alexnet" else AutoModel.from_config(config)
    if tower.main_input_name != input_name:
        raise ValueError(
            f"{type(tower).__name__} reads {tower.main_input_name!r}, this tower must read {input_name!r}: "
            "the first tower is for pictures, the second for texts."
        )
    return tower


class MgVtcProjectionHead(nn.Module):
    """Linear -> GELU -> Linear -> Dropout, plus the first Linear's output, then LayerNorm: the method's head."""

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


def project(outputs: ModelOutput, pooled: torch.Tensor, head: MgVtcProjectionHead) -> BaseModelOutputWithPooling:
    """A tower's output with its pooled state projected; fields that a tower does not have are `None`.

    Args:
        outputs: Output of a tower.
        pooled: Its pooled state, `(batch_size, width)`.
        head: Its projection head.

    Returns:
        `last_hidden_state` as it was, and `pooler_output` `(batch_size, projection_dim)`.
    """
    return BaseModelOutputWithPooling(
        last_hidden_state=outputs.last_hidden_state,
        pooler_output=head(pooled),  # (batch_size, projection_dim)
        hidden_states=outputs.get("hidden_states"),
        attentions=outputs.get("attentions"),
    )
