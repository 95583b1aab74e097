"""A model is asked as in training: same pixels, same embeddings, same similarities."""

import pytest
import torch
from conftest import CLASS_NAMES, TINY_RESNET
from PIL import Image
from saved_models import save_model
from transformers import AutoModelForImageClassification, AutoProcessor

from mg_vtc import load_image_folder
from mg_vtc.inference.embedding import embed_classes, embed_names, predict_images
from mg_vtc.inference.loading import open_model


@pytest.fixture(scope="module")
def folder(processor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer, prompt_template="a photo of {}")
    return folder


@pytest.fixture
def opened(folder):
    return open_model(str(folder), dtype=torch.float32)


@pytest.mark.parametrize("batch_size", [5, 32])
def test_predictions_equal_those_of_the_model_on_what_its_processor_makes(folder, opened, images_dir, batch_size):
    rows = load_image_folder(images_dir)["train"]
    model, image_processor = opened
    ids = torch.arange(6).numpy()
    logits, embeds = predict_images(model, image_processor, rows, embed_classes(model, ids), batch_size=batch_size)
    images = [Image.open(images_dir / name) for name in rows["file_name"]]
    inputs = AutoProcessor.from_pretrained(folder)(images=images, return_tensors="pt")
    reference = AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), reference(**inputs).logits, atol=1e-4, rtol=1e-4)
    assert embeds.shape == (32, 12)
    assert torch.from_numpy(embeds).norm(dim=1).sub(1).abs().max() < 1e-5


def test_classes_come_in_the_order_that_is_asked_for(opened):
    model, _ = opened
    order = torch.tensor([3, 0, 5])
    torch.testing.assert_close(embed_classes(model, order.numpy()), model.class_embeds[order])


def test_names_in_the_models_template_have_the_embeddings_of_its_classes(folder, opened):
    model, _ = opened
    embeds = embed_names(model, str(folder), list(CLASS_NAMES), "a photo of {}")
    torch.testing.assert_close(embeds, model.class_embeds, atol=1e-5, rtol=1e-4)
    assert (embed_names(model, str(folder), list(CLASS_NAMES), "{}") - model.class_embeds).abs().max() > 1e-4


def test_names_that_are_one_text_are_refused(folder, opened):
    with pytest.raises(ValueError, match="the same embedding in this text tower"):
        embed_names(opened[0], str(folder), ["folding arms", "Folding Arms"], "{}")


@pytest.mark.parametrize("template", ["", "a {} of {}"])
def test_template_without_one_place_for_the_name_is_refused(folder, opened, template):
    with pytest.raises(ValueError, match="needs one"):
        embed_names(opened[0], str(folder), list(CLASS_NAMES), template)


def test_vision_only_model_cannot_read_names(tmp_path):
    save_model(tmp_path, TINY_RESNET)
    model, _ = open_model(str(tmp_path))
    with pytest.raises(ValueError, match=r"vision-only.*cannot be compared with other names"):
        embed_names(model, str(tmp_path), ["waving", "nodding"], "{}")
