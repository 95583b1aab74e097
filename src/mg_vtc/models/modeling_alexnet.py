"""AlexNet as a vision tower: five convolutions and two fully connected layers."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.generic import can_return_tuple

from .configuration_alexnet import AlexNetConfig


class AlexNetModel(PreTrainedModel):
    """AlexNet of Krizhevsky (2014, arXiv 1404.5997) without its classifier: (B, 3, H, W) -> (B, hidden_size).

    Inputs have 63 x 63 pixels or more; the last feature map is pooled to 6 x 6, its size for 224 x 224 pixels.
    """

    config: AlexNetConfig
    base_model_prefix = "alexnet"
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def __init__(self, config: AlexNetConfig):
        super().__init__(config)
        c1, c2, c3, c4, c5 = config.hidden_sizes
        self.features = nn.Sequential(
            nn.Conv2d(config.num_channels, c1, kernel_size=11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(c1, c2, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(c2, c3, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c3, c4, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c4, c5, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.pooler = nn.Sequential(
            nn.AdaptiveAvgPool2d((6, 6)),
            nn.Flatten(),
            nn.Dropout(config.dropout),
            nn.Linear(c5 * 6 * 6, config.hidden_size),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden_size, config.hidden_size),
            nn.ReLU(),
        )
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            init.zeros_(module.bias)

    @can_return_tuple
    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Encode images.

        Args:
            pixel_values: Normalized images of shape `(batch_size, num_channels, height, width)`.
            kwargs: `output_hidden_states=True` adds the feature maps after each of the five convolutions.

        Returns:
            `last_hidden_state` `(batch_size, hidden_sizes[-1], h, w)` and `pooler_output` `(batch_size, hidden_size)`.

        Raises:
            ValueError: The images are smaller than 63 x 63 pixels.
        """
        if min(pixel_values.shape[-2:]) < 63:
            raise ValueError(f"AlexNet needs images of 63 x 63 pixels or more, got {tuple(pixel_values.shape[-2:])}.")
        keep_all = kwargs.get("output_hidden_states") or self.config.output_hidden_states
        hidden_state, hidden_states = pixel_values, []
        for layer in self.features:
            hidden_state = layer(hidden_state)  # (batch_size, channels, h, w)
            if isinstance(layer, nn.ReLU):
                hidden_states.append(hidden_state)
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden_state,
            pooler_output=self.pooler(hidden_state),  # (batch_size, hidden_size)
            hidden_states=tuple(hidden_states) if keep_all else None,
        )


__all__ = ["AlexNetModel"]
