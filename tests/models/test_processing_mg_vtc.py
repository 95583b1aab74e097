"""The processor: what the images and the texts become, and that it is made of transformers' own classes."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, CLIPProcessor, DistilBertTokenizer, ViTImageProcessorPil

from mg_vtc.data.decoding import normalize, resize
from mg_vtc.models.processing_mg_vtc import build_processor, build_tokenizer

NAMES = ["Covering face", "Touching or scratching neck"]


def test_training_and_pipelines_see_the_same_pixels_within_one_grey_level():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 90, 3), dtype=np.uint8))
    image_processor = build_processor(32)
    pixels = torch.from_numpy(resize(image, 32)).permute(2, 0, 1)[None]  # (1, 3, 32, 32)
    expected = image_processor(image, return_tensors="pt")["pixel_values"]
    grey_level = 1 / 255 / min(image_processor.image_std)
    given = normalize(pixels, image_processor.image_mean, image_processor.image_std)
    torch.testing.assert_close(given, expected, rtol=0, atol=1.001 * grey_level)
    assert ((given - expected).abs() > 1e-5).float().mean() < 0.01


def test_grey_images_have_three_channels():
    assert build_processor(32)(Image.new("L", (8, 8)), return_tensors="pt")["pixel_values"].shape == (1, 3, 32, 32)


def test_without_texts_it_is_an_image_processor():
    assert type(build_processor(32)) is ViTImageProcessorPil


def test_it_is_made_of_transformers_own_classes_and_opens_again(tmp_path):
    processor = build_processor(48, build_tokenizer(NAMES))
    assert (type(processor), type(processor.tokenizer)) == (CLIPProcessor, DistilBertTokenizer)
    processor.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    loaded = AutoProcessor.from_pretrained(tmp_path)
    image = Image.new("RGB", (60, 40), "red")
    for name, tensor in processor(text=NAMES, images=image, padding=True, return_tensors="pt").items():
        assert torch.equal(loaded(text=NAMES, images=image, padding=True, return_tensors="pt")[name], tensor), name


def test_special_tokens_have_the_ids_that_configurations_expect():
    tokenizer = build_tokenizer(NAMES)
    assert [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id] == [
        0,
        1,
        2,
        3,
    ]


def test_words_of_the_texts_are_tokens_and_case_does_not_matter():
    tokenizer = build_tokenizer(NAMES)
    assert tokenizer.tokenize("Covering FACE") == ["covering", "face"]


@pytest.mark.parametrize("word", ["hat", "zigzag", "4", "x4q"])
def test_other_words_can_be_written_too(word):
    tokenizer = build_tokenizer(NAMES)
    assert tokenizer.unk_token_id not in tokenizer(word)["input_ids"]


def test_vocabulary_is_the_same_in_another_process():
    code = f"import mg_vtc; print(sorted(mg_vtc.build_tokenizer({NAMES}).get_vocab().items()))"
    process = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert process.stdout.strip() == str(sorted(build_tokenizer(NAMES).get_vocab().items()))
