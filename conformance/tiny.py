"""Tiny configurations of our models, in the form in which transformers' common tests ask for them."""

import copy
from typing import Any

import torch
from transformers import BertConfig, DistilBertConfig, PreTrainedConfig, ResNetConfig, ViTConfig

from mg_vtc import AlexNetConfig, MgVtcConfig

RESNET = ResNetConfig(embedding_size=10, hidden_sizes=[10, 20], depths=[1, 1])
VIT = ViTConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37, image_size=32, patch_size=8
)
ALEXNET = AlexNetConfig(hidden_sizes=[8, 8, 8, 8, 8], hidden_size=16)
DISTILBERT = DistilBertConfig(vocab_size=99, dim=32, n_layers=2, n_heads=4, hidden_dim=37)
BERT = BertConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37)

RESNET_DISTILBERT = MgVtcConfig(vision_config=RESNET, text_config=DISTILBERT, projection_dim=16)
VIT_BERT = MgVtcConfig(vision_config=VIT, text_config=BERT, projection_dim=16)
VISION_ONLY_ALEXNET = MgVtcConfig(vision_config=ALEXNET, vision_only=True, projection_dim=16)


class TinyModel:
    """What the common tests call a `model_tester`.

    Args:
        config: Configuration of the model.
        inputs: Inputs of the model, for a batch of 3.
        expected: What the tests read of it, such as `num_hidden_layers`.
    """

    batch_size = 3
    is_training = True

    def __init__(self, config: PreTrainedConfig, inputs: dict[str, torch.Tensor], **expected: Any):
        self.config = config
        self.inputs = inputs
        vars(self).update(expected)

    def get_config(self) -> PreTrainedConfig:
        return copy.deepcopy(self.config)

    def prepare_config_and_inputs_for_common(self) -> tuple[PreTrainedConfig, dict[str, torch.Tensor]]:
        return self.get_config(), dict(self.inputs)
