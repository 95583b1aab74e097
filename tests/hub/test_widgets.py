"""Examples of the page: drawings that training has not seen, and what the saved model itself predicts for
them."""

import shutil

import pytest
from conftest import CLASS_NAMES, TINY_RESNET
from PIL import Image
from saved_models import save_model
from transformers import pipeline

from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.data.demo.dataset import render_frame
from mg_vtc.hub.widgets import write_samples


def test_outputs_are_those_of_the_pipeline_on_the_images_in_the_folder(two_class_run, tmp_path):
    folder = shutil.copytree(two_class_run, tmp_path / "run")
    examples = write_samples(folder)
    ask = pipeline("zero-shot-image-classification", str(folder), device="cpu")
    assert [example["example_title"] for example in examples] == [f"Drawing: {name}" for name in CLASS_NAMES[:2]]
    for example in examples:
        labels = example["candidate_labels"].split(", ")
        predictions = ask(Image.open(folder / example["src"]), candidate_labels=labels, hypothesis_template="{}")
        assert [answer["label"] for answer in example["output"]] == [answer["label"] for answer in predictions]
        for told, answer in zip(example["output"], predictions, strict=True):
            assert told["score"] == pytest.approx(answer["score"], abs=1e-4)
        assert sum(answer["score"] for answer in example["output"]) == pytest.approx(1, abs=1e-3)


def test_images_are_the_packages_own_drawings_and_no_others(two_class_run, tmp_path):
    folder = shutil.copytree(two_class_run, tmp_path / "run")
    write_samples(folder)
    images = sorted((folder / "samples").iterdir())
    assert [path.name for path in images] == ["drawn-covering-face.png", "drawn-folding-arms.png"]
    drawn = render_frame(IMIGUE_CLASS_NAMES.index("Folding arms"), 1000, 0, 256)
    assert Image.open(images[1]).tobytes() == drawn.tobytes()


def test_vision_only_models_prediction_with_their_classes(tmp_path):
    save_model(tmp_path, TINY_RESNET)
    examples = write_samples(tmp_path)
    predictions = pipeline("image-classification", str(tmp_path), top_k=5)(str(tmp_path / examples[0]["src"]))
    assert len(examples) == 3
    assert "candidate_labels" not in examples[0]
    assert [answer["label"] for answer in examples[0]["output"]] == [answer["label"] for answer in predictions]


def test_names_with_a_comma_are_no_candidates_as_the_page_divides_them_there(processor, tmp_path):
    names = ["Buckle button, pulling shirt collar, adjusting tie", "Covering face", "Folding arms"]
    save_model(tmp_path, TINY_RESNET, tokenizer=processor.tokenizer, id2label=dict(enumerate(names)))
    assert {example["candidate_labels"] for example in write_samples(tmp_path)} == {"Covering face, Folding arms"}


def test_classes_that_the_package_cannot_draw_have_no_examples(processor, tmp_path):
    save_model(tmp_path, TINY_RESNET, tokenizer=processor.tokenizer, id2label={0: "Covering face", 1: "waving"})
    assert write_samples(tmp_path) == []
    assert not (tmp_path / "samples").exists()
