"""One side of the model: the head in closed form, and which encoders fit."""

import pytest
import torch
import torch.nn.functional as F
from transformers import BertConfig, CLIPConfig, ConvNextConfig, ConvNextModel

from mg_vtc import AlexNetConfig, AlexNetModel
from mg_vtc.models.modeling_tower import MgVtcProjectionHead, build_tower


def test_projection_head_is_the_methods(config):
    head = MgVtcProjectionHead(16, config).eval()
    pooled = torch.randn(2, 16)
    projected = pooled @ head.projection.weight.T + head.projection.bias
    residual = F.gelu(projected) @ head.linear.weight.T + head.linear.bias
    expected = F.layer_norm(projected + residual, (config.projection_dim,))
    torch.testing.assert_close(head(pooled), expected)


def test_head_dropout_is_before_the_residual(config):
    config.projection_dropout = 0.999999
    head = MgVtcProjectionHead(16, config).train()
    pooled = torch.randn(2, 16)
    expected = F.layer_norm(head.projection(pooled), (config.projection_dim,))
    torch.testing.assert_close(head(pooled), expected)


@pytest.mark.parametrize("config", [BertConfig(hidden_size=12), CLIPConfig()], ids=["bert", "clip"])
def test_an_encoder_of_texts_is_refused_as_the_tower_of_images(config):
    with (
        torch.device("meta"),
        pytest.raises(ValueError, match="takes 'input_ids', but this tower must take 'pixel_values'"),
    ):
        build_tower(config, "pixel_values")


def test_an_encoder_of_images_is_refused_as_the_tower_of_texts():
    with torch.device("meta"), pytest.raises(ValueError, match="ConvNextModel takes 'pixel_values'"):
        build_tower(ConvNextConfig(), "input_ids")


def test_alexnet_and_encoders_of_automodel_are_towers():
    with torch.device("meta"):
        assert type(build_tower(AlexNetConfig(), "pixel_values")) is AlexNetModel
        assert type(build_tower(ConvNextConfig(), "pixel_values")) is ConvNextModel
