"""`mg-vtc calibrate`: what it stores, prints and refuses."""

import json
import re
import shutil

import numpy as np
import pytest
from conftest import CLASS_NAMES
from saved_models import copy_with_wrong_labels, save_taught_model

import mg_vtc
from mg_vtc.evaluation.calibration import max_softmax
from mg_vtc.evaluation.temperature import cross_entropy
from mg_vtc.runs.manifest import find_damage, write_manifest

# a saved model without the records of a run
pytestmark = pytest.mark.filterwarnings("ignore:The records of this model do not name its training images")


@pytest.fixture(scope="module")
def images(images_dir, tmp_path_factory):
    """The images, of which one clip of four has the label of the next class: no model is right about all."""
    return copy_with_wrong_labels(images_dir, tmp_path_factory.mktemp("mislabelled"))


@pytest.fixture(scope="module")
def trained(processor, images_dir, tmp_path_factory):
    return save_taught_model(tmp_path_factory.mktemp("runs") / "mine", processor, images_dir)


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "mine")


def read(folder, name="config.json"):
    return json.loads((folder / name).read_text())


def test_images_of_a_model_without_records_may_be_those_of_its_training(run, images):
    with pytest.warns(UserWarning, match=r"do not name its training images.*use images that it has not seen"):
        mg_vtc.calibrate(run, images)


def test_temperature_is_stored_and_lowers_the_cross_entropy_without_a_change_of_any_class(
    mg_vtc_command, run, images, capsys
):
    before = mg_vtc.evaluate(run, images, split="all").predictions
    mg_vtc_command("calibrate", run, images)
    lines = capsys.readouterr().out.splitlines()
    temperature = read(run)["logit_temperature"]
    assert lines[0] == f"{run} on {images}: 32 images of 16 clips, split all"
    assert f"temperature {temperature:.3f}" in lines
    assert read(run)["threshold"] is None
    after = mg_vtc.evaluate(run, images, split="all").predictions
    np.testing.assert_allclose(after.logits, before.logits / temperature, rtol=1e-4)
    assert np.array_equal(after.logits.argmax(axis=1), before.logits.argmax(axis=1))
    entropies = [cross_entropy(logits, before.labels) for logits in (before.logits, after.logits)]
    assert entropies[1] < entropies[0]
    record = read(run, "calibration.json")
    assert record["entropy_before"] == pytest.approx(entropies[0], rel=1e-5)
    assert entropies[1] < record["entropy_after"]  # of folds that did not fit it
    assert len(record["digests"]) == 32


def test_folder_stays_whole_and_all_its_other_files_as_they_were(mg_vtc_command, run, trained, images):
    (run / "modeling_mg_vtc.py").write_text("# of an older version, which knows no temperature")
    write_manifest(run)
    mg_vtc_command("calibrate", run, images)
    assert find_damage(run) == []
    changed = {path.name for path in run.iterdir() if path.name not in {one.name for one in trained.iterdir()}}
    assert changed == {"calibration.json"}
    for path in trained.iterdir():  # the code is that of the package again
        assert (path.read_bytes() == (run / path.name).read_bytes()) == (
            path.name not in ("config.json", "manifest.json")
        )
    assert read(run) | {"logit_temperature": 1.0} == read(trained)


def test_calibration_of_a_calibrated_model_is_the_same(mg_vtc_command, run, images, capsys):
    texts, temperatures = [], []
    for _ in range(2):
        mg_vtc_command("calibrate", run, images)
        texts.append(capsys.readouterr().out)
        temperatures.append(read(run)["logit_temperature"])
    assert texts[0] == texts[1]
    assert temperatures[0] == pytest.approx(temperatures[1], rel=1e-5)


def test_threshold_has_the_stated_precision_on_the_images(mg_vtc_command, run, images, capsys):
    mg_vtc_command("calibrate", run, images, "--precision", "0.8")
    output = capsys.readouterr().out
    threshold = read(run)["threshold"]
    predictions = mg_vtc.evaluate(run, images, split="all").predictions
    kept = max_softmax(predictions.logits) >= threshold
    precision = (predictions.logits.argmax(axis=1) == predictions.labels)[kept].mean()
    assert precision >= 0.8
    assert f"threshold {threshold:.3f} for a precision of 80.0%" in output
    assert re.search(rf"^these images +{kept.mean():.1%} .* reach it, {precision:.1%} of them correct", output, re.M)


def test_loaded_model_is_calibrated_in_memory(trained, images):
    model = mg_vtc.MgVtcForImageClassification.from_pretrained(trained)
    done = mg_vtc.calibrate(model, images, precision=0.8)
    assert (model.config.logit_temperature, model.config.threshold) == (done.temperature, done.threshold)
    assert read(trained)["logit_temperature"] == 1.0


def test_images_that_the_run_was_trained_on_are_refused_and_those_held_out_are_found(
    mg_vtc_command, refusal, run, images, capsys
):
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    split = {"split_by": "clip", "seed": 0, "validation": names[:16], "train": names[16:]}
    (run / "split.json").write_text(json.dumps(split))
    (run / "manifest.json").unlink()
    assert "was trained on 16 of these 32 images" in refusal("calibrate", run, images, "--split", "all")
    assert not (run / "calibration.json").exists()
    mg_vtc_command("calibrate", run, images)
    output = capsys.readouterr().out
    assert "16 images of 8 clips, split validation\nthe best checkpoint was chosen on these" in output
    (run / "split.json").write_text(json.dumps(split | {"selection": names[:8], "validation": names[8:16]}))
    mg_vtc_command("calibrate", run, images)
    assert "8 images of 4 clips, split selection\ntemperature" in capsys.readouterr().out
    (run / "split.json").write_text(json.dumps({"split_by": "clip", "train": names}))
    assert "no images that were held out of the training" in refusal("calibrate", run, images)


def test_what_cannot_be_calibrated_is_refused_and_nothing_is_stored(refusal, run, trained, images, images_dir):
    assert "precision must be more than 0 and at most 1, got 1.5" in refusal(
        "calibrate", run, images, "--precision", "1.5"
    )
    assert "org/model is not a folder" in refusal("calibrate", "org/model", images)
    words = refusal("calibrate", run, images_dir)
    assert "fits these 32 images, of which 32 are classified correctly" in words
    assert {path.name for path in run.iterdir()} == {path.name for path in trained.iterdir()}
    assert read(run) == read(trained)


def test_precision_that_no_threshold_has_is_refused(refusal, run, images, tmp_path):
    swapped = tmp_path / "swapped"  # the surest predictions are wrong
    predictions = mg_vtc.evaluate(run, images, split="all").predictions
    surest = predictions.file_names[int(max_softmax(predictions.logits).argmax())]
    shutil.copytree(images, swapped)
    best = CLASS_NAMES[int(predictions.logits.max(axis=0).argmax())]
    (swapped / CLASS_NAMES[(CLASS_NAMES.index(best) + 1) % 4] / "8000.0.png").write_bytes(
        (images / surest).read_bytes()
    )
    (swapped / surest).unlink()
    assert "No threshold has a precision of 99.0%" in refusal("calibrate", run, swapped, "--precision", "0.99")


def test_exports_and_files_of_the_user_are_named_and_kept(run, images):
    (run / "onnx").mkdir()
    (run / "README.md").write_text("mine")
    (run / "modeling_mg_vtc.py").write_text("mine")
    (run / "manifest.json").unlink()
    with (
        pytest.warns(UserWarning, match="onnx was exported before"),
        pytest.warns(UserWarning, match=r"README\.md may be your own"),
        pytest.warns(UserWarning, match=r"modeling_mg_vtc\.py may be your own and is kept"),
    ):
        mg_vtc.calibrate(run, images)
    assert [(run / name).read_text() for name in ("README.md", "modeling_mg_vtc.py")] == ["mine", "mine"]


def test_edited_card_is_kept_and_named(run, images):
    (run / "README.md").write_text("mine")
    write_manifest(run)
    (run / "README.md").write_text("mine, too")
    with pytest.warns(UserWarning, match=r"README\.md was edited, so it does not state the calibration"):
        mg_vtc.calibrate(run, images)
    assert (run / "README.md").read_text() == "mine, too"


def test_evaluation_states_the_error_before_the_images_of_the_fit_and_the_threshold(
    mg_vtc_command, run, images, capsys
):
    assert "temperature_scaling" not in mg_vtc.evaluate(run, images, split="all").results
    mg_vtc_command("calibrate", run, images, "--precision", "0.8")
    record = read(run, "calibration.json")
    capsys.readouterr()
    mg_vtc_command("evaluate", run, images)
    output = capsys.readouterr().out
    scaling = read(run / "report", "results.json")["temperature_scaling"]
    assert scaling["expected_calibration_error_before"] == pytest.approx(record["error_before"], abs=1e-6)
    assert scaling["num_fitted"] == 32
    assert scaling["threshold"] == {"value": record["threshold"]} | record["fitted"]
    error = f"{record['error_before']:.1%}"
    assert f"before it, the calibration error is {error}; it was fitted on 32 of these images" in output
    assert re.search(rf"^threshold {record['threshold']:.3f}: {record['fitted']['coverage']:.1%} of the", output, re.M)
    page = (run / "report" / "report.html").read_text()
    assert "weighted by these counts. Logits are divided by the temperature" in " ".join(page.split())
    assert "The temperature was fitted on 32 of these images" in page
    assert f"The threshold of the model, {record['threshold']:.3f}, keeps" in page


@pytest.mark.filterwarnings("ignore:8 of the model.s 12 classes are not in the data")
def test_predictions_of_more_than_ten_classes_keep_their_names(processor, images_dir, images, tmp_path):
    run = save_taught_model(
        tmp_path / "run", processor, images_dir, others=[f"gesture {number}" for number in range(8)]
    )
    before = [prediction.labels for prediction in mg_vtc.predict(run, images, top_k=12)]
    order = [*read(run)["id2label"]]
    mg_vtc.calibrate(run, images)
    assert [*read(run)["id2label"]] == order
    assert [prediction.labels for prediction in mg_vtc.predict(run, images, top_k=12)] == before
