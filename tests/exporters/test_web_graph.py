"""Claims about the graph of the web page: equal to the model and to Grad-CAM, for any image size and any names."""

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import TINY_RESNET, TINY_VIT

from mg_vtc import MgVtcConfig, MgVtcForImageClassification, heat_map
from mg_vtc.exporters.web_graph import ImageGraph
from mg_vtc.models.processing_mg_vtc import build_processor

DEEP_RESNET = TINY_RESNET | {"depths": [1, 1, 1], "hidden_sizes": [8, 8, 16]}  # its map of 4 x 4 is not the last
SWIN = {"model_type": "swin", "image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}


def build(vision_config, image_size=32, **config):
    torch.manual_seed(0)
    settings = MgVtcConfig(vision_config=vision_config, vision_only=True, projection_dim=12, num_labels=5, **config)
    model = MgVtcForImageClassification(settings).eval()
    model.set_attn_implementation("eager")
    return model, build_processor(image_size)


def draw(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 4), dtype=np.uint8)


def explain(model, processor, pixels):
    """Logits and Grad-CAM as the model and the library give them."""
    inputs = processor(PIL.Image.fromarray(pixels[:, :, :3]), return_tensors="pt").pixel_values.requires_grad_()
    outputs = model.get_image_features(inputs, output_hidden_states=True, return_dict=True)
    logits = model.compare(model._embed(outputs.pooler_output), model._embed(model.class_embeds))[0]  # (num_labels,)
    return logits, heat_map([*(outputs.hidden_states or ()), outputs.last_hidden_state], logits.max())


@pytest.mark.parametrize(
    "vision_config", [TINY_RESNET, DEEP_RESNET, TINY_VIT, SWIN], ids=["resnet", "deep", "vit", "swin"]
)
def test_logits_and_heat_map_are_those_of_the_model(vision_config):
    model, processor = build(vision_config)
    graph = ImageGraph(model, processor)
    assert graph.has_heat
    for height, width in ((32, 32), (47, 80)):
        pixels = draw(height, width)
        logits, heat = explain(model, processor, pixels)
        with torch.no_grad():
            found = graph(torch.from_numpy(pixels), model._embed(model.class_embeds))
        exact = (height, width) == (32, 32)  # Pillow's resizing differs by a grey level
        torch.testing.assert_close(found[0], logits, rtol=0, atol=1e-5 if exact else 2e-2)
        torch.testing.assert_close(found[1], heat, rtol=0, atol=1e-5 if exact else 5e-2)


def test_scale_and_bias_are_those_of_the_model():
    model, processor = build(TINY_RESNET, use_logit_bias=True, normalize=False)
    with torch.no_grad():
        model.logit_bias.fill_(-3)
        model.logit_scale.fill_(1)
    logits, _ = explain(model, processor, draw(32, 32))
    found = ImageGraph(model, processor)(torch.from_numpy(draw(32, 32)), model.class_embeds)[0]
    torch.testing.assert_close(found, logits, rtol=1e-5, atol=1e-4)


def test_names_may_be_more_or_fewer_than_classes():
    model, processor = build(TINY_RESNET)
    graph, pixels = ImageGraph(model, processor), torch.from_numpy(draw(20, 30))
    names = torch.nn.functional.normalize(torch.randn(9, 12, generator=torch.Generator().manual_seed(1)), dim=-1)
    with torch.no_grad():
        all_nine, _ = graph(pixels, names)
        two, _ = graph(pixels, names[3:5])
    torch.testing.assert_close(two, all_nine[3:5])


def test_heat_map_is_that_of_the_best_of_the_given_names():
    model, processor = build(TINY_RESNET)
    graph, pixels = ImageGraph(model, processor), draw(32, 32)
    names = torch.nn.functional.normalize(torch.randn(4, 12, generator=torch.Generator().manual_seed(2)), dim=-1)
    inputs = processor(PIL.Image.fromarray(pixels[:, :, :3]), return_tensors="pt").pixel_values.requires_grad_()
    outputs = model.get_image_features(inputs, output_hidden_states=True, return_dict=True)
    scores = model.compare(model._embed(outputs.pooler_output), names)[0]
    expected = heat_map([*outputs.hidden_states, outputs.last_hidden_state], scores.max())
    torch.testing.assert_close(graph(torch.from_numpy(pixels), names)[1], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(40, 90), (90, 40), (33, 33)])
def test_central_square_is_cropped_as_the_processor_of_clip_does(size):
    from transformers import CLIPImageProcessorPil

    model, _ = build(TINY_RESNET)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    pixels = draw(*size)
    with torch.no_grad():
        found = ImageGraph(model, processor)(torch.from_numpy(pixels), model._embed(model.class_embeds))[0]
    logits, _ = explain(model, processor, pixels)
    torch.testing.assert_close(found, logits, rtol=0, atol=3e-2)
