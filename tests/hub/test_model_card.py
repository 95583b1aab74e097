"""The card says what was measured, how to open the model, and what it must not be used for."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import CLASS_NAMES, TINY_RESNET
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from made_runs import SPLIT, write_run
from node_scripts import require_node, run_node
from PIL import Image
from saved_models import save_model

from mg_vtc import MgVtcConfig, MgVtcTrainingArguments
from mg_vtc.exporters.classifier import adapt_card
from mg_vtc.hub.card_additions import add_javascript
from mg_vtc.hub.model_card import escape_markdown, write_model_card
from mg_vtc.hub.repo_id import with_repo_id
from mg_vtc.hub.widgets import write_samples
from mg_vtc.runs.provenance import ELSEWHERE, write_provenance
from mg_vtc.training.recipe import parse_recipe

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "src" / "mg_vtc" / "hub" / "model_card_template.md"
GIVEN = {"split_by": "given", "train": ["a"] * 8, "validation": ["b"] * 40}


@pytest.fixture
def write_card(tmp_path, config):
    def write(config=config, examples=(), seconds=None, **run):
        config.save_pretrained(tmp_path)
        write_run(tmp_path, [*config.id2label.values()], **run)
        arguments = MgVtcTrainingArguments(output_dir=str(tmp_path / "run"), use_cpu=True, report_to="none")
        write_provenance(tmp_path, arguments, project=ROOT, seconds=seconds)
        write_model_card(tmp_path, examples)
        return ModelCard.load(tmp_path / "README.md")

    return write


def read_results(folder, split="validation"):
    return json.loads((folder / "results" / f"{split}.json").read_text())


def flat(card):
    return " ".join(card.text.split())


# Results


def test_groups_of_classes_have_rows_of_their_own(write_card, config, tmp_path):
    write_card()
    assert "F1_mean" not in (tmp_path / "README.md").read_text()
    rows = [f"{number},{name},{number % 2}\n" for number, name in config.id2label.items()]
    (tmp_path / "labels.csv").write_text("id,name,group\n" + "".join(rows))
    card = write_card()
    score = read_results(tmp_path)["class_groups"]["scores"]["f1_mean"]
    interval = f"{100 * score['low']:.1f} to {100 * score['high']:.1f} %"
    assert f"| F1_mean | {100 * score['value']:.1f} % | {interval} | |" in card.content.splitlines()


def test_scores_stand_beside_their_intervals_and_baselines(write_card, tmp_path):
    text = write_card().text
    scores = read_results(tmp_path)["scores"]
    rows = {"top1_accuracy": "top-1 accuracy", "macro_f1": "macro-F1", "mean_class_accuracy": "mean class accuracy"}
    for name, title in rows.items():
        value, low, high = (f"{100 * scores[name][bound]:.1f}" for bound in ("value", "low", "high"))
        assert f"| {title} | {value} % | {low} to {high} % |" in text
    assert "| top-1 accuracy | 60.0 % |" in text
    assert re.search(r"\| top-1 accuracy .* \| 50\.0 % \|\n", text)
    assert re.search(r"\| top-5 accuracy .* \| 100\.0 % \|\n", text)
    assert re.search(r"\| mean class accuracy .* \| 50\.0 % \|\n", text)
    assert re.search(r"\| macro-F1 .* \| 33\.3 % \|\n", text)  # of two classes, 2/3 and 0


def test_conditions_stand_beside_the_scores(write_card):
    text = flat(write_card())
    assert "Measured on 40 images of 5 clips, held out by clip: no clip is on both sides (seed 7)." in text
    assert "The interval resamples whole clips." in text
    assert "the most frequent class, or the five most frequent, of the training rows" in text


def test_intervals_without_clips_are_said_to_be_too_narrow(write_card):
    assert "The interval resamples images because their clips are not known" in flat(write_card(clips=False))


@pytest.mark.parametrize(
    ("split_by", "words"),
    [("frame", "frame-level split"), ("clip", "held out by clip"), ("subject", "held out by subject")],
)
def test_only_a_split_of_frames_is_called_frame_level(write_card, split_by, words):
    text = flat(write_card(split=SPLIT | {"split_by": split_by, "num_folds": 5, "fold": 2}))
    assert words in text
    assert "(seed 7, fold 2 of 5, counted from 0)" in text
    assert ("frame-level" in text) == (split_by == "frame")
    assert ("say little about unseen clips" in text) == (split_by == "frame")


def test_images_that_the_training_knows_are_counted(write_card):
    assert "of training images" not in flat(write_card())
    leakage = {"leakage": {"validation": {"same_clip": 0, "near_duplicate": 3}}}
    for split_by in ("clip", "frame"):
        text = flat(write_card(split=SPLIT | leakage | {"split_by": split_by}))
        assert "Data leakage: of these images, 3 are near duplicates of training images." in text
    assert "from the same clips as training images" not in text


def test_choosing_the_checkpoint_on_the_same_images_is_reported_where_it_was_done(write_card):
    assert "same images was kept" not in flat(write_card())
    assert "on these same images was kept, so its scores are optimistic" in flat(write_card(kept_best=True))


def test_a_given_split_is_not_called_random(write_card):
    text = flat(write_card(split=GIVEN))
    assert "Measured on the 40 validation images that came with the data." in text
    assert "at random" not in text
    assert "seed" not in text


def test_what_a_stream_does_not_know_is_absent(write_card):
    text = flat(write_card(split={"split_by": "given"}, clips=False))
    assert "for training" not in text


def test_test_images_are_reported_first(write_card):
    text = flat(write_card(parts=("validation", "test"), kept_best=True))
    test, validation = text.index("the 40 test images"), text.index("Measured on 40 images of 5 clips")
    assert test < validation < text.index("same images was kept")
    assert "(test images)" in text


def test_figure_is_in_the_card_where_it_was_drawn(write_card, tmp_path):
    text = write_card().text
    assert "](figures/confusion.png)" in text
    assert "](figures/training_curves.png)" in text
    shutil.rmtree(tmp_path / "figures")
    write_model_card(tmp_path)
    assert "figure" not in (tmp_path / "README.md").read_text()


# Words


def test_responsible_use_is_in_plain_words(write_card):
    text = write_card().text
    for words in ("A gesture is not an emotion", "Article 5(1)(f)", "Frames show people", "must not be used"):
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
    for run in ({}, {"split": {"split_by": "given"}, "clips": False, "recipe": {"dataset_name": "demo"}}):
        write_card(**run)
        text = (tmp_path / "README.md").read_text()
        assert not [mark for mark in ("{{ ", "{%", "TBD", "None", "nan", "null") if mark in text]


def test_all_classes_are_listed_by_id(write_card, config):
    text = write_card().text
    for number, name in config.id2label.items():
        assert f"\n{number}. {name}\n" in text


def test_names_with_marks_of_markdown_are_shown_as_they_are():
    assert escape_markdown("a|b <i>*c*\nd_e [f]") == r"a\|b \<i\>\*c\* d\_e \[f\]"


def test_training_is_described_without_a_path_of_this_machine(write_card, tmp_path):
    recipe = {
        "train_dir": str(tmp_path),
        "labels_file": "labels.csv",
        "output_dir": str(tmp_path),
        "learning_rate": 3e-4,
    }
    card = write_card(recipe=recipe, seconds=3723.4)
    text = flat(card)
    assert "a local folder of images, 8 images for training" in text
    assert "Duration: 1 h 2 min" in text
    assert "learning_rate: 0.0003" in text
    assert str(tmp_path) not in card.content
    assert "labels.csv" not in card.content
    assert f"train_dir: {ELSEWHERE}" in text
    assert "with the same images, <code>mg-vtc train recipe.yaml</code> repeats the run" in text
    assert "torch 2." in text


def test_towers_that_readers_have_not_are_reported(write_card, tmp_path):
    card = write_card(recipe={"dataset_name": "demo", "vision_model_name_or_path": str(tmp_path)})
    text = flat(card)
    assert "from weights in a local folder" in text
    assert f"vision_model_name_or_path: {ELSEWHERE}" in text
    assert "with the same images and towers, <code>mg-vtc train recipe.yaml</code> repeats the run" in text


def test_a_duration_that_was_not_measured_is_absent(write_card):
    assert "Duration" not in write_card().text


def test_citation_is_that_of_the_software(write_card):
    text = flat(write_card())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f"title = {{{citation['title']}}}" in text
    assert f"author = {{{{{citation['authors'][0]['name']}}}}}" in text
    assert f"version = {{{citation['version']}}}" in text
    assert "Englesson" not in text  # whose objective this one is not
    assert citation["references"][1]["title"] in flat(write_card(recipe={"loss_type": "js"}))


def test_drawings_are_not_called_images_of_people(write_card):
    text = flat(write_card(recipe={"dataset_name": "demo"}))
    assert "trained on drawings, which show nobody" in text
    assert "may not be redistributed" not in text


def test_images_are_said_to_be_restricted_only_where_that_is_known(write_card, config, tmp_path):
    restricted = "Images of {} may not be redistributed."
    for data in ("iMiGUE", "SMG"):
        assert restricted.format(data) in flat(write_card(recipe={"train_dir": "x", "labels_file": data.lower()}))
    release = tmp_path / "prepared"
    release.mkdir()
    assert "redistributed" not in flat(write_card(recipe={"train_dir": str(release)}))
    (release / "prepare.json").write_text("{}")
    assert restricted.format("iMiGUE") in flat(write_card(recipe={"train_dir": str(release)}))
    config.id2label = {0: "Waving", 1: "Nodding"}
    for recipe in ({"train_dir": str(release)}, {"train_dir": "people"}, {"dataset_name": "org/hands"}):
        text = flat(write_card(config=config, recipe=recipe))
        assert "their own licence says whether they may be shared" in text
        assert "redistributed" not in text


def test_usage_waits_for_the_repo_id_wherever_it_is_needed(write_card):
    named = with_repo_id(write_card().content, "org/gestures")
    assert named.count('"org/gestures"') == 4
    assert "MODEL" not in named


@pytest.mark.parametrize("with_package", [True, False])
def test_usage_runs_as_it_stands(with_package, processor, tmp_path, write_card, config):
    """Both forms of the usage, in a process of their own, on a model that is saved with its code."""
    write_card()
    save_model(tmp_path, TINY_RESNET, tokenizer=processor.tokenizer)
    Image.new("RGB", (40, 40)).save(tmp_path / "image.jpg")
    text = with_repo_id((tmp_path / "README.md").read_text(), str(tmp_path))
    codes = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    code = "".join(codes[:2] if with_package else codes[2:])
    assert len(codes) == 4
    assert ("import mg_vtc" in code) == with_package == ("trust_remote_code" not in code)
    predictions = run_python(code, tmp_path).splitlines()
    assert len(predictions) == 2
    assert all(name in predictions[1] for name in CLASS_NAMES[:3])


def test_card_of_the_classifier_alone_keeps_the_usage_that_it_has(write_card):
    text = adapt_card(write_card(), "org/gestures").text
    codes = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert ["import mg_vtc" in code for code in codes] == [True, False]
    assert all('pipeline("image-classification"' in code for code in codes)
    assert "zero-shot" not in text


def test_card_of_the_classifier_alone_keeps_names_of_classes_and_loses_javascript(write_card, config):
    config.id2label[1] = "zero-shot"
    card = write_card(config)
    pushed = ModelCard(add_javascript(card.content, config.to_dict() | {"id2label": {"0": "One", "1": "zero-shot"}}))
    assert "transformers.js" in pushed.data.tags
    adapted = adapt_card(pushed, "org/gestures")
    assert "\n1. zero-shot\n" in adapted.text
    assert "transformers.js" not in adapted.content
    assert adapted.content.split() == adapt_card(card, "org/gestures").content.split()


def run_python(code, folder):
    environment = os.environ | {"HF_MODULES_CACHE": str(folder / "modules"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Metadata


def test_model_index_holds_scores_and_baselines_of_the_part(write_card, tmp_path):
    data = write_card(parts=("validation", "test"), recipe={"dataset_name": "org/gestures"}).data
    index = yaml.safe_load((tmp_path / "README.md").read_text().split("---")[1])["model-index"]
    name, entries = model_index_to_eval_results(index)
    assert (name, len(entries)) == ("mg_vtc", 16)
    assert [entry.dataset_split for entry in entries] == ["test"] * 8 + ["validation"] * 8
    assert {(entry.task_type, entry.dataset_type, entry.dataset_name) for entry in entries} == {
        ("image-classification", "org/gestures", "org/gestures")
    }
    values = {entry.metric_type: entry.metric_value for entry in entries[:8]}
    scores = read_results(tmp_path, "test")["scores"]
    assert values["accuracy"] == 0.6
    assert values["f1"] == round(scores["macro_f1"]["value"], 4)
    assert values["baseline_accuracy"] == values["baseline_mean_class_accuracy"] == 0.5
    assert values["baseline_f1"] == 0.3333
    low, high = scores["top1_accuracy"]["low"], scores["top1_accuracy"]["high"]
    assert entries[0].metric_name == f"top-1 accuracy (95 % interval {low:.3f} to {high:.3f} by clip)"
    assert data.eval_results == entries


def test_metadata_name_a_data_set_of_the_hub_and_no_folder(write_card):
    data = write_card().data
    assert data.datasets is None
    assert {(entry.dataset_type, entry.dataset_name) for entry in data.eval_results} == {
        ("imagefolder", "a local folder of images")
    }
    assert write_card(recipe={"dataset_name": "org/gestures"}).data.datasets == ["org/gestures"]


def test_metadata_have_licence_language_and_metrics(write_card):
    data = write_card().data
    assert (data.license, data.language, data.metrics) == ("apache-2.0", "en", ["accuracy", "f1"])
    assert "widget" not in data.to_dict()


# What the Hub's own tables make of it


@pytest.fixture
def hub_tables():
    """The package of the Hub's tables."""
    return require_node("@huggingface/tasks")


def show_page(folder, auto_model):
    """What the page shows of a model in a folder, with its class for "load directly"."""
    data = ModelCard.load(folder / "README.md").data
    model = {
        "id": "org/gestures",
        "tags": data.tags,
        "pipeline_tag": data.pipeline_tag,
        "library_name": data.library_name,
        "config": json.loads((folder / "config.json").read_text()),
        "transformersInfo": {"auto_model": auto_model, "processor": "AutoProcessor"},
        "widgetData": data.to_dict().get("widget"),
    }
    return run_node("page.js", model)


@pytest.mark.parametrize("vision_only", [False, True])
def test_page_knows_task_and_library_and_its_snippets_open_the_model(
    vision_only, hub_tables, processor, tmp_path, write_card, config
):
    if vision_only:
        config = MgVtcConfig(vision_config=config.vision_config, vision_only=True, id2label=config.id2label)
    card = write_card(config)
    save_model(tmp_path, TINY_RESNET, tokenizer=None if vision_only else processor.tokenizer)
    entry_points = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    entry_points = sorted(entry_point for entry_point in entry_points if entry_point.startswith("AutoModel"))
    assert "AutoModel" in entry_points
    codes = []
    for entry_point in entry_points:
        page = show_page(tmp_path, entry_point)
        assert page["task"] == card.data.pipeline_tag.replace("-", " ").title().replace("Zero Shot", "Zero-Shot")
        assert page["library"] == "Transformers"
        assert card.data.pipeline_tag in page["library_tasks"]
        assert len(page["snippets"]) == 2
        assert all("trust_remote_code=True" in snippet for snippet in page["snippets"])
        codes += page["snippets"]
    assert any(f"import AutoProcessor, {entry_points[-1]}" in code for code in codes)
    Image.new("RGB", (40, 40)).save(tmp_path / "parrots.png")
    code = "\n".join(dict.fromkeys(codes)).replace("org/gestures", str(tmp_path))
    run_python(re.sub(r"https://\S*parrots.png", str(tmp_path / "parrots.png"), code), tmp_path)


@pytest.mark.parametrize("vision_only", [False, True])
def test_widget_examples_are_of_the_form_that_the_page_reads(
    vision_only, hub_tables, processor, tmp_path, write_card, config
):
    save_model(tmp_path, TINY_RESNET, tokenizer=None if vision_only else processor.tokenizer)
    examples = write_samples(tmp_path)
    card = write_card(MgVtcConfig.from_pretrained(tmp_path), examples)
    widget = yaml.safe_load(card.content.split("---")[1])["widget"]
    assert widget == examples
    known = set(
        re.findall(r"^\t(\w+)\??:", (hub_tables / "src" / "widget-example.ts").read_text(), flags=re.MULTILINE)
    )
    schema = json.loads((hub_tables / "src" / "tasks" / "common-definitions.json").read_text())
    answer = schema["definitions"]["ClassificationOutput"]
    types = {"string": str, "number": float}
    for example in widget:
        assert set(example) <= known
        assert (tmp_path / example["src"]).is_file()
        for told in example["output"]:
            assert set(told) == set(answer["required"])
            for name, value in told.items():
                assert isinstance(value, types[answer["properties"][name]["type"]])
        if not vision_only:
            assert {told["label"] for told in example["output"]} == set(example["candidate_labels"].split(", "))
