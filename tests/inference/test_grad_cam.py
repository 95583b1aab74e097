"""Claims about the map of where a model looked: closed forms, then towers of every kind."""

import pytest
import torch
from conftest import TINY_RESNET, TINY_VIT
from torch import nn

from mg_vtc import MgVtcConfig, MgVtcModel, grad_cam, heat_map
from mg_vtc.inference.grad_cam import to_feature_maps

SWIN = {"model_type": "swin", "image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
DINOV2 = TINY_VIT | {"model_type": "dinov2", "num_hidden_layers": 2}
ALEXNET = {"model_type": "alexnet", "hidden_sizes": [8] * 5, "hidden_size": 32}


@pytest.fixture
def maps():
    return torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.fixture
def weight():
    return torch.randn(5, generator=torch.Generator().manual_seed(1))


def test_of_a_logit_linear_in_the_pooled_maps_it_is_the_class_activation_map(maps, weight):
    logits = maps.mean(dim=(2, 3)) @ weight  # (2,)
    (gradients,) = torch.autograd.grad(logits.sum(), maps)
    class_activation_map = torch.einsum("c,bchw->bhw", weight, maps)
    expected = class_activation_map.clamp(min=0) / (4 * 6)
    torch.testing.assert_close(grad_cam(maps, gradients), expected)
    assert 0 < (expected == 0).sum() < expected.numel()


def test_heat_map_is_the_class_activation_map_from_0_to_1(maps, weight):
    one = maps.detach()[:1].requires_grad_(True)
    expected = torch.einsum("c,chw->hw", weight, one[0]).clamp(min=0).detach()
    torch.testing.assert_close(heat_map([one], one.mean(dim=(2, 3))[0] @ weight), expected / expected.max())


def test_heat_map_of_a_score_that_nothing_speaks_for_is_all_0():
    maps = torch.ones(1, 1, 4, 4, requires_grad=True)
    assert heat_map([maps], -maps.mean()).eq(0).all()


def test_map_lies_where_the_score_comes_from():
    image = torch.zeros(1, 3, 32, 32)
    image[:, 0, 4:8, 20:24] = 1
    image.requires_grad_(True)
    stage = nn.functional.avg_pool2d(image, 4)  # (1, 3, 8, 8)
    heat = heat_map([image, stage], stage[:, 0].mean())
    assert heat.shape == (8, 8)
    assert heat.nonzero().tolist() == [[1, 5]]


@pytest.mark.parametrize(("coarsest", "expected"), [(8, 8), (4, 4), (2, 4), (1, 4)])
def test_last_stage_of_4_positions_a_side_is_taken(coarsest, expected):
    states = [torch.ones(1, 2, 16, 16, requires_grad=True)]
    while states[-1].shape[-1] > coarsest:
        states.append(nn.functional.avg_pool2d(states[-1], 2))
    assert heat_map(states, states[-1].sum()).shape == (expected, expected)


def test_coarser_map_is_better_than_none_and_one_position_is_none():
    maps = torch.ones(1, 2, 2, 2, requires_grad=True)
    assert heat_map([maps], maps.sum()).shape == (2, 2)
    pooled = nn.functional.avg_pool2d(maps, 2)  # (1, 2, 1, 1)
    with pytest.raises(ValueError, match="no layer with spatial positions"):
        heat_map([pooled], pooled.sum())


def test_state_that_the_score_is_not_computed_from_is_passed_over():
    maps = torch.ones(1, 2, 8, 8, requires_grad=True)
    behind = nn.functional.avg_pool2d(maps, 2)  # (1, 2, 4, 4)
    assert heat_map([maps, behind], maps.mean() + 0 * behind.sum()).shape == (8, 8)
    maps = torch.ones(1, 2, 8, 8, requires_grad=True)
    assert heat_map([maps], 0 * maps.sum()).eq(0).all()


def test_patches_of_tokens_stand_in_rows_behind_the_class_token():
    tokens = torch.arange(10.0).view(1, 10, 1)
    assert to_feature_maps(tokens)[0, 0].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize(
    ("vision_config", "side", "shape"),
    [
        (TINY_RESNET, 32, (4, 4)),
        (TINY_VIT, 32, (4, 4)),
        (DINOV2, 32, (4, 4)),
        (SWIN, 32, (8, 8)),
        (ALEXNET, 160, (4, 4)),
    ],
    ids=["resnet", "vit", "dinov2", "swin", "alexnet"],
)
def test_towers_of_every_kind_have_a_map(vision_config, side, shape):
    torch.manual_seed(0)
    model = MgVtcModel(MgVtcConfig(vision_config=vision_config, vision_only=True, projection_dim=12))
    model.eval().requires_grad_(False)
    pixel_values = torch.randn(1, 3, side, side).requires_grad_(True)
    heats = []
    for label in range(2):
        outputs = model(pixel_values=pixel_values, output_hidden_states=True)
        states = [*outputs.vision_model_output.hidden_states, outputs.vision_model_output.last_hidden_state]
        heats.append(heat_map(states, outputs.logits_per_image[0, label]))
    assert heats[0].shape == heats[1].shape == shape
    assert heats[0].max() == heats[1].max() == 1
    assert not torch.equal(*heats)  # each class has its own
