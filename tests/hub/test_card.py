"""The card says what was measured, how to open the model, and what it must not be used for."""

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from mg_vtc import MgVtcConfig
from mg_vtc.hub.card import write_model_card
from mg_vtc.recipe import parse_recipe

TEMPLATE = Path(__file__).parents[2] / "model_card.md"
RESULTS = {
    "eval_top1_accuracy": 0.8113,
    "eval_top5_accuracy": 0.9433,
    "baseline_majority_class_top1_accuracy": 0.25,
    "baseline_five_commonest_top5_accuracy": 0.5,
    "eval_samples": 20,
}


@pytest.fixture
def write_card(tmp_path, config):
    def write(config=config, recipe=None, split=None, results=RESULTS):
        config.save_pretrained(tmp_path)
        split = split or {"split_by": "frame", "seed": 7, "train": ["a"] * 80, "validation": ["b"] * 20}
        (tmp_path / "split.json").write_text(json.dumps(split))
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe or {"loss_type": "kl"}))
        (tmp_path / "all_results.json").write_text(json.dumps(results))
        write_model_card(TEMPLATE, tmp_path)
        return ModelCard.load(tmp_path / "README.md")

    return write


def test_scores_stand_beside_constant_answers_and_their_conditions(write_card):
    text = write_card().text
    for score in ("81.1 %", "94.3 %", "25.0 %", "50.0 %"):
        assert f"| {score} |" in text
    assert "20 pictures of 100, pictures held out at random: leaky by design" in text
    assert "(seed 7)" in text
    assert "say little about clips that the model has not seen" in text


@pytest.mark.parametrize(("split_by", "words"), [("clip", "held out by clip"), ("subject", "held out by subject")])
def test_only_a_split_of_frames_is_called_leaky(write_card, split_by, words):
    split = {"split_by": split_by, "seed": 7, "num_folds": 5, "fold": 2, "train": ["a"] * 80, "validation": ["b"] * 20}
    text = write_card(split=split).text
    assert words in text
    assert "(seed 7, fold 2 of 5, counted from 0)" in text
    assert "leaky" not in text


def test_choosing_the_checkpoint_on_the_same_pictures_is_told_where_it_was_done(write_card):
    assert "same pictures" not in write_card().text
    assert "on these same pictures was kept" in write_card(results=RESULTS | {"best_step": 70}).text


def test_a_given_split_is_not_called_random(write_card):
    text = write_card(split={"split_by": "given", "train": ["a"] * 80, "validation": ["b"] * 20}).text
    assert "20 validation pictures that came with the data" in text
    assert "at random" not in text


def test_what_a_stream_does_not_know_is_absent(write_card):
    results = {name: value for name, value in RESULTS.items() if not name.startswith("baseline")}
    text = write_card(split={"split_by": "given"}, results=results).text
    assert "Measured on the 20 validation pictures that came with the data." in text
    assert "answering" not in text
    assert "| top-5 accuracy | 94.3 % |\n\nMeasured" in text


def test_responsible_use_is_in_plain_words(write_card):
    text = write_card().text
    for words in ("A gesture is not an emotion", "Article 5(1)(f)", "may not be redistributed", "must not be used"):
        assert " ".join(words.split()) in " ".join(text.split())


def test_metadata_drive_the_page(write_card):
    data = write_card(recipe={"vision_model_name_or_path": "microsoft/resnet-50"}).data
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "zero-shot-image-classification"
    assert "custom_code" in data.tags
    assert data.base_model == ["microsoft/resnet-50"]


def test_towers_are_those_of_the_recipe_also_where_it_leaves_them_out(write_card, tmp_path):
    card = write_card(recipe=parse_recipe(["--train_dir", "x", "--output_dir", str(tmp_path / "run")]).settings)
    assert card.data.base_model == ["microsoft/resnet-50", "distilbert/distilbert-base-uncased"]
    assert "from random weights" not in card.text


def test_folders_of_this_machine_are_not_named(write_card, tmp_path):
    card = write_card(recipe={"vision_model_name_or_path": str(tmp_path)})
    assert str(tmp_path) not in card.content
    assert "from weights in a local folder" in card.text
    assert card.data.base_model is None


def test_towers_from_random_weights_have_no_base_model(write_card):
    assert write_card().data.base_model is None


def test_vision_only_is_an_image_classifier_without_texts(write_card, config):
    config = MgVtcConfig(vision_config=config.vision_config, vision_only=True, id2label=config.id2label)
    card = write_card(config)
    assert card.data.pipeline_tag == "image-classification"
    assert "Text tower" not in card.text
    assert "zero-shot" not in card.text


def test_nothing_of_the_template_is_left_open(write_card, tmp_path):
    write_card()
    text = (tmp_path / "README.md").read_text()
    assert not [mark for mark in ("{{", "{%", "TBD", "None") if mark in text]


def test_all_classes_are_listed(write_card, config):
    text = write_card().text
    assert all(name in text for name in config.id2label.values())
