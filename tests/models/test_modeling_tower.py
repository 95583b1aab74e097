"""One side of the model: the head in closed form, and which encoders fit."""

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoModel,
    BertConfig,
    CLIPConfig,
    ConvNextConfig,
    ConvNextModel,
    EfficientNetConfig,
    MobileNetV1Config,
    MobileNetV2Config,
    ResNetConfig,
)

from mg_vtc import AlexNetConfig, AlexNetModel, MgVtcModel
from mg_vtc.models.modeling_tower import MgVtcProjectionHead, build_tower


def test_projection_head_is_the_methods(config):
    head = MgVtcProjectionHead(16, config).eval()
    pooled = torch.randn(2, 16)
    projected = pooled @ head.projection.weight.T + head.projection.bias
    residual = F.gelu(projected) @ head.linear.weight.T + head.linear.bias
    expected = F.layer_norm(projected + residual, (config.projection_dim,))
    torch.testing.assert_close(head(pooled), expected)


def test_head_dropout_is_before_the_residual(config):
    torch.manual_seed(0)
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


EFFICIENTNET = EfficientNetConfig(
    image_size=32,
    width_coefficient=0.25,
    depth_coefficient=0.1,
    hidden_dim=320,
    kernel_sizes=[3],
    in_channels=[32],
    out_channels=[16],
    strides=[1],
    num_block_repeats=[1],
    expand_ratios=[1],
)
BATCH_NORM = [
    EFFICIENTNET,
    MobileNetV1Config(depth_multiplier=0.1, image_size=32),
    MobileNetV2Config(depth_multiplier=0.1, image_size=32),
    ResNetConfig(depths=[1], hidden_sizes=[8], embedding_size=8),
]


def momenta(model):
    return {round(module.momentum, 6) for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)}


@pytest.mark.parametrize("config", BATCH_NORM, ids=lambda config: config.model_type)
def test_batch_norm_has_the_momentum_of_pytorch(config):
    assert momenta(build_tower(config, "pixel_values")) == {torch.nn.BatchNorm2d(1).momentum}


def test_statistics_of_a_trained_tower_are_not_those_of_its_last_batch(tmp_path):
    tower = AutoModel.from_config(EFFICIENTNET)
    assert momenta(tower) == {0.99}  # transformers passes on the momentum of TensorFlow
    model = MgVtcModel.from_vision_text_pretrained(
        tower, vision_only=True, projection_dim=4, id2label={0: "nodding", 1: "waving"}
    )
    norm = next(module for module in model.vision_model.modules() if isinstance(module, torch.nn.BatchNorm2d))
    before = norm.running_mean.clone()
    model.train()
    seen = []
    hook = norm.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].mean(dim=(0, 2, 3)).detach()))
    model.vision_model(torch.randn(4, 3, 32, 32))
    hook.remove()
    torch.testing.assert_close(norm.running_mean, 0.9 * before + 0.1 * seen[0])
    with torch.no_grad():
        model.class_embeds.copy_(torch.randn(2, 4))
    model.save_pretrained(tmp_path)
    assert momenta(MgVtcModel.from_pretrained(tmp_path)) == {0.1}
