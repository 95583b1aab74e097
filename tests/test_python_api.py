"""The functions and the trainer that Python users call, on objects as well as on paths."""

import inspect
import re

import datasets
import numpy as np
import pytest
import torch
from conftest import CLASS_NAMES, TINY_DISTILBERT, TINY_RESNET, TINY_VIT
from transformers import AutoConfig, AutoModel

import mg_vtc
from mg_vtc import MgVtcModel, MgVtcTrainer, MgVtcTrainingArguments
from mg_vtc.training.callbacks import StopEarlyCallback
from mg_vtc.training.recipe import override

SETTINGS = {
    "vision_config": TINY_RESNET,
    "text_config": TINY_DISTILBERT,
    "projection_dim": 12,
    "image_size": 32,
    "num_train_epochs": 1,
    "per_device_train_batch_size": 4,
}


def join_towers(names, **config):
    """A model of tiny towers from random weights, of which the vision tower states its image size, 32."""
    text = TINY_DISTILBERT | {"vocab_size": len(mg_vtc.build_tokenizer(names))}
    vision, text = (AutoModel.from_config(AutoConfig.for_model(**tower)) for tower in (TINY_VIT, text))
    return MgVtcModel.from_vision_text_pretrained(vision, text, id2label=dict(enumerate(names)), **config)


@pytest.fixture(scope="module")
def split(images_dir):
    return mg_vtc.split_stratified(mg_vtc.load_image_folder(images_dir)["train"], 0.25, seed=0, split_by="clip")


@pytest.fixture(scope="module")
def trained(split, tmp_path_factory):
    """A trainer that was given a model, two data sets and a folder, and has trained."""
    folder = tmp_path_factory.mktemp("python") / "run"
    args = MgVtcTrainingArguments(
        str(folder), per_device_train_batch_size=4, num_train_epochs=1, report_to="none", use_cpu=True
    )
    model = join_towers(split["train"].features["label"].names)
    trainer = MgVtcTrainer(model, args, train_dataset=split["train"], eval_dataset=split["validation"])
    trainer.train()
    trainer.save_model()
    return trainer


def scores_of(predictions):
    """A row of scores an image, by label: the last digits depend on how many images are in a batch."""
    return [pytest.approx(dict(zip(one.labels, one.scores, strict=True)), abs=1e-6) for one in predictions]


def rows_of(predictions):
    return [dict(zip(one.labels, one.scores, strict=True)) for one in predictions]


def test_trainer_needs_no_collator_metric_or_processor(trained, split):
    metrics = trained.evaluate()
    assert metrics["eval_samples"] == len(split["validation"])
    assert {"eval_top1_accuracy", "eval_macro_f1"} <= metrics.keys()
    scores = trained.predict(split["train"])
    assert scores.predictions.shape == (len(split["train"]), len(trained.model.config.id2label))
    assert scores.metrics["test_samples"] == len(split["train"])


def test_evaluation_of_objects_is_that_of_their_folder(trained, split, images_dir):
    folder = trained.args.output_dir
    of_objects = mg_vtc.evaluate(trained.model, split["validation"], processor=trained.processing_class)
    of_folder = mg_vtc.evaluate(folder, split["validation"])
    assert of_objects.results["scores"] == of_folder.results["scores"]
    assert np.array_equal(of_objects.predictions.logits, of_folder.predictions.logits)
    assert of_objects.results["scores"]["top1_accuracy"]["value"] == trained.evaluate()["eval_top1_accuracy"]


def test_rows_without_names_are_numbered(trained, split):
    rows = split["validation"].remove_columns("file_name")
    assert mg_vtc.evaluate(trained.args.output_dir, rows).predictions.file_names == [*map(str, range(len(rows)))]


def test_predictions_for_images_in_memory_are_those_for_their_files(trained, split):
    rows = split["validation"].select(range(5))
    paths = [row["path"] for row in rows.cast_column("image", datasets.Image(decode=False))["image"]]
    of_files = scores_of(mg_vtc.predict(trained.args.output_dir, paths))
    images = rows["image"][:]
    assert rows_of(mg_vtc.predict(trained.args.output_dir, images)) == of_files
    assert rows_of(mg_vtc.predict(trained.model, images, processor=trained.processing_class)) == of_files
    assert rows_of(mg_vtc.predict(trained.args.output_dir, images[0])) == of_files[:1]


def test_images_and_paths_cannot_be_mixed(trained, split):
    with pytest.raises(ValueError, match="cannot be mixed, got str"):
        next(mg_vtc.predict(trained.args.output_dir, [split["train"][0]["image"], "a.png"]))
    with pytest.raises(ValueError, match="vote cannot be used with images in memory"):
        mg_vtc.predict(trained.args.output_dir, [split["train"][0]["image"]], vote="mean")


def test_paths_may_come_from_a_generator(trained, images_dir):
    paths = sorted((images_dir / CLASS_NAMES[0]).iterdir())
    of_generator = mg_vtc.predict(trained.args.output_dir, (path for path in paths))
    assert len(list(of_generator)) == len(paths)


def test_trained_model_has_the_class_embeddings_of_its_weights(split, tmp_path):
    names = split["train"].features["label"].names
    args = MgVtcTrainingArguments(
        str(tmp_path / "run"),
        per_device_train_batch_size=4,
        max_steps=2,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        report_to="none",
        use_cpu=True,
    )
    trainer = MgVtcTrainer(join_towers(names), args, train_dataset=split["train"])
    before = trainer.model.class_embeds.clone()
    trainer.train()
    after = trainer.model.class_embeds.clone()
    assert not torch.equal(before, after)
    trainer.refresh_class_embeds()
    assert torch.equal(trainer.model.class_embeds, after)


def test_rows_without_a_label_are_skipped_with_a_warning(trained, split):
    rows = split["validation"]
    labels = [-1, *rows["label"][1:]]
    unlabelled = rows.remove_columns("label").add_column("label", labels, feature=rows.features["label"])
    with pytest.warns(
        UserWarning, match=f"1 of {len(rows)} rows of the split validation have no label and are skipped"
    ):
        found = mg_vtc.evaluate(trained.args.output_dir, datasets.DatasetDict(val=unlabelled))
    assert len(found.predictions.labels) == len(rows) - 1
    with pytest.warns(UserWarning, match="have no label and are skipped"):
        assert trained.evaluate(unlabelled)["eval_samples"] == len(rows) - 1
    hidden = rows.remove_columns("label").add_column("label", [-1] * len(rows), feature=rows.features["label"])
    with pytest.warns(UserWarning, match=f"{len(rows)} of {len(rows)} rows of the split test have no label"):
        of_both = mg_vtc.evaluate(trained.args.output_dir, datasets.DatasetDict(validation=rows, test=hidden))
    assert len(of_both.predictions.labels) == len(rows)
    with pytest.warns(UserWarning, match="no label"), pytest.raises(ValueError, match="No row of the data set has"):
        trained.evaluate(hidden)


def test_labels_without_names_are_refused(trained, split):
    rows = split["validation"].cast_column("label", datasets.Value("int64"))
    with pytest.raises(ValueError, match="have no names: cast the column to a ClassLabel"):
        mg_vtc.evaluate(trained.args.output_dir, rows)


def test_early_stopping_counts_in_python_too(split):
    names = split["train"].features["label"].names
    args = MgVtcTrainingArguments("unused", early_stopping_patience=2, report_to="none", use_cpu=True)
    trainer = MgVtcTrainer(join_towers(names), args, eval_dataset=split["validation"])
    assert any(isinstance(one, StopEarlyCallback) for one in trainer.callback_handler.callbacks)


def test_model_in_memory_is_exported_as_its_folder_is(trained, tmp_path):
    of_object = mg_vtc.export(trained.model, "classifier", tmp_path / "a", processor=trained.processing_class)
    of_folder = mg_vtc.export(trained.args.output_dir, "classifier", tmp_path / "b")
    assert (of_object / "model.safetensors").read_bytes() == (of_folder / "model.safetensors").read_bytes()
    assert mg_vtc.export(trained.args.output_dir, "onnx", tmp_path / "c") == tmp_path / "c"
    assert (tmp_path / "c" / "classifier.onnx").is_file()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"format": "tflite"}, "format must be 'onnx', 'web' or 'classifier', got 'tflite'"),
        ({"format": "classifier", "int8": True}, "`int8` and `calibration_data` require `format='onnx'`"),
        ({"format": "onnx"}, "not a folder: pass output_dir"),
    ],
)
def test_exports_that_cannot_be_are_refused(trained, settings, words):
    with pytest.raises(ValueError, match=words):
        mg_vtc.export(trained.model, **settings)


def test_model_without_a_processor_is_refused_with_the_way_out(split):
    model = join_towers(split["train"].features["label"].names)
    model.class_embeds.fill_(1)
    with pytest.raises(ValueError, match=r"pass processor, such as trainer\.processing_class"):
        mg_vtc.evaluate(model, split["validation"])


def test_training_in_python_is_pushed_with_a_card(trained, split, hub_client):
    trained.args.hub_model_id = "org/python"
    page = trained.push_to_hub()
    assert page == f"{hub_client.address}/org/python"
    card = hub_client.files("org/python")["README.md"].decode()
    assert "Trained in Python: these settings do not name the images" in card
    assert f"Measured on the {len(split['validation'])} validation images that came with the data" in card


def test_recipe_is_trained_by_name_and_settings(images_dir, tmp_path):
    run = mg_vtc.train("recommended", train_dir=images_dir, output_dir=tmp_path / "run", **SETTINGS)
    assert run == tmp_path / "run"
    assert (run / "README.md").is_file()
    assert AutoConfig.from_pretrained(run).projection_dim == 12
    with pytest.raises(ValueError, match="holds a finished run"):
        mg_vtc.train("recommended", train_dir=images_dir, output_dir=run, **SETTINGS)


def test_settings_replace_the_towers_of_a_recipes_content():
    recipe = {"text_config": TINY_DISTILBERT, "vision_config": TINY_RESNET, "image_size": 32}
    assert override(recipe, {"vision_model_name_or_path": "org/tower"}) == {
        "text_config": TINY_DISTILBERT,
        "image_size": 32,
    }
    assert override(recipe, {"vision_only": True}) == {"vision_config": TINY_RESNET, "image_size": 32}


def test_content_of_a_recipe_is_a_recipe(images_dir, tmp_path):
    recipe = SETTINGS | {"train_dir": str(images_dir), "output_dir": str(tmp_path / "run")}
    assert mg_vtc.train(recipe, projection_dim=8) == tmp_path / "run"
    assert AutoConfig.from_pretrained(tmp_path / "run").projection_dim == 8


@pytest.mark.parametrize(
    ("recipe", "settings", "error", "words"),
    [
        ("recomended", {}, FileNotFoundError, "Did you mean 'recommended'"),
        ("recommended", {"epochs": 3}, ValueError, "Did you mean '--num_train_epochs'"),
        ("recommended", {}, ValueError, "Give either train_dir"),
    ],
)
def test_errors_keep_their_types_in_python(recipe, settings, error, words):
    with pytest.raises(error, match=words):
        mg_vtc.train(recipe, **settings)


def test_classes_in_another_order_are_refused(split):
    names = split["train"].features["label"].names
    with pytest.raises(ValueError, match="same names in the same order"):
        MgVtcTrainer(join_towers(names[::-1]), MgVtcTrainingArguments("x"), train_dataset=split["train"])


def test_columns_of_other_names_are_refused_with_the_way_out(split):
    rows = split["train"].rename_column("image", "img")
    with pytest.raises(ValueError, match=r"no column image, only .*rename_column"):
        MgVtcTrainer(join_towers(rows.features["label"].names), MgVtcTrainingArguments("x"), train_dataset=rows)


def test_text_tower_of_another_vocabulary_needs_a_processor(split):
    names = split["train"].features["label"].names
    model = join_towers([*names, "waving a flag"])
    model.config.id2label = dict(enumerate(names))
    with pytest.raises(ValueError, match=r"random weights and \d+ tokens, where .* makes \d+: give processing_class"):
        MgVtcTrainer(model, MgVtcTrainingArguments("x"))


@pytest.mark.parametrize("name", mg_vtc.__all__)
def test_public_names_document_their_arguments(name):
    public = getattr(mg_vtc, name)
    documentation = inspect.getdoc(public) or ""
    assert len(documentation.split()) > 4
    if inspect.isfunction(public):
        (listed,) = re.findall(r"\nArgs:\n(.*?)(?:\n\n[A-Z]\w+:|\Z)", documentation, flags=re.DOTALL)
        assert set(inspect.signature(public).parameters) == set(re.findall(r"^    (\w+):", listed, flags=re.MULTILINE))


def test_names_of_the_fixtures_are_classes(split):
    assert set(split["train"].features["label"].names) <= set(CLASS_NAMES)
