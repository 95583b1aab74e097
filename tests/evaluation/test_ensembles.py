"""Ensembles and views are scored like one model, on rows that none of the models was trained on."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from conftest import CLASS_NAMES, TINY_RESNET
from saved_models import save_model

from mg_vtc import evaluate, write_evaluation
from mg_vtc.evaluation.console import summarize

COLOURED = CLASS_NAMES[:4]  # the classes of `images_dir`


@pytest.fixture(scope="module")
def models(processor, tmp_path_factory):
    """Models of the classes of the images, in two orders and with two image sizes."""
    folder = tmp_path_factory.mktemp("models")
    settings = {"tokenizer": processor.tokenizer}
    save_model(folder / "a", TINY_RESNET, **settings, id2label=dict(enumerate(COLOURED)))
    names = dict(enumerate(reversed(COLOURED)))
    save_model(folder / "b", TINY_RESNET, **settings, id2label=names, seed=1, image_size=48)
    return [folder / name for name in "ab"]


def softmax(logits):
    return torch.from_numpy(logits).softmax(dim=-1).numpy()


@pytest.mark.parametrize("zero_shot", [False, True])
def test_probabilities_are_the_weighted_mean(models, images_dir, zero_shot):
    first, second = (softmax(evaluate(m, images_dir, zero_shot=zero_shot).predictions.logits) for m in models)
    evaluation = evaluate(models, images_dir, weights=(3, 1), zero_shot=zero_shot)
    np.testing.assert_allclose(softmax(evaluation.predictions.logits), 0.75 * first + 0.25 * second, atol=1e-6)
    assert evaluation.results["models"] == [
        {"model": str(models[0]), "weight": 0.75},
        {"model": str(models[1]), "weight": 0.25},
    ]
    assert evaluation.results["model"] == f"an ensemble of {models[0]} (75 %) and {models[1]} (25 %)"
    assert evaluation.weights is None


def test_ensemble_of_a_model_with_itself_has_its_scores(models, images_dir):
    alone, together = evaluate(models[0], images_dir), evaluate([models[0]] * 2, images_dir)
    np.testing.assert_allclose(softmax(together.predictions.logits), softmax(alone.predictions.logits), atol=1e-6)
    for name, score in alone.results["scores"].items():
        assert together.results["scores"][name]["value"] == pytest.approx(score["value"], abs=1e-6)


def add_records(model, folder, train, validation, **recipe):
    shutil.copytree(model, folder)
    split = {"split_by": "clip", "seed": 0, "train": train, "validation": validation}
    (folder / "split.json").write_text(json.dumps(split))
    (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": None, "log_history": []}))
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"image_size": 32} | recipe))
    return folder


def test_rows_that_one_model_was_trained_on_are_not_held_out(models, images_dir, tmp_path):
    names = sorted(path.relative_to(images_dir).as_posix() for path in images_dir.rglob("*.png"))
    a = add_records(models[0], tmp_path / "a", names[12:], names[:12])
    b = add_records(models[1], tmp_path / "b", names[:4] + names[16:], names[4:16])
    evaluation = evaluate([a, b], images_dir)
    assert sorted(evaluation.predictions.file_names) == names[4:12]
    conditions = evaluation.results["conditions"]
    assert (conditions["split"], conditions["num_training_rows"], conditions["chosen_on_these"]) == (
        "validation",
        0,
        False,
    )
    assert conditions["training_rows_known"]
    with pytest.warns(UserWarning, match="trained on 24 of the 32 scored images"):
        evaluate([a, b], images_dir, split="all")
    assert not evaluate([a, models[1]], images_dir).results["conditions"]["training_rows_known"]


def test_views_are_recorded_and_change_the_scores(models, images_dir, tmp_path):
    run = add_records(models[0], tmp_path / "a", [], [], horizontal_flip=True)
    plain, views = (evaluate(run, images_dir, split="all", tta=tta) for tta in (False, True))
    assert not plain.results["conditions"]["tta"]
    assert views.results["conditions"]["tta"]
    assert 1e-6 < np.abs(softmax(views.predictions.logits) - softmax(plain.predictions.logits)).max() < 0.1
    assert "several views of each image" in summarize(views.results)
    assert "several views" not in summarize(plain.results)


def test_report_of_an_ensemble_names_its_models_and_has_no_map(models, images_dir, tmp_path):
    pytest.importorskip("mg_vtc.evaluation.report.page")
    evaluation = evaluate(models, images_dir, vote="mean")
    page = write_evaluation(evaluation, tmp_path / "report").read_text()
    assert f"{models[0]} (50 %) and {models[1]} (50 %)" in page
    assert "The class probabilities of 2 models are averaged." in page
    assert 'id="map"' not in page
    assert 'href="#map"' not in page
    assert json.loads((tmp_path / "report" / "results.json").read_text()) == evaluation.results
    for model in models:
        with pytest.raises(ValueError, match="is the folder of the model"):
            write_evaluation(evaluation, model, overwrite=True)


def test_command_takes_several_models_and_then_the_data(mg_vtc_command, models, images_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mg_vtc_command("evaluate", *models, images_dir, "--weights", "3", "1")
    assert json.loads((tmp_path / "report" / "results.json").read_text())["models"][0]["weight"] == 0.75
    mg_vtc_command("evaluate", *models, images_dir, "--overwrite")
    assert json.loads((tmp_path / "report" / "results.json").read_text())["models"][0]["weight"] == 0.5
