"""The evaluation of a saved model: from a folder and data to predictions and results, and what is refused."""

import functools
import json
import shutil
import warnings

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
from conftest import CLASS_NAMES, TINY_RESNET
from saved_models import save_model
from transformers import AutoModel, AutoProcessor

from mg_vtc import evaluate, load_demo_dataset, write_evaluation
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.evaluation.data import load_splits
from mg_vtc.evaluation.evaluate import check_report_folder
from mg_vtc.runs.first_batch import write_first_batch

COLOURED = CLASS_NAMES[:4]  # the classes of `images_dir`


@pytest.fixture(scope="module")
def model_folder(processor, tmp_path_factory):
    """A model of the classes of the images, in another order."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    names = {0: COLOURED[2].upper(), 1: COLOURED[0], 2: COLOURED[3], 3: COLOURED[1]}
    save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer, id2label=names)
    return folder


@pytest.fixture
def run_folder(model_folder, images_dir, tmp_path):
    """The same with the records of a run that held out the last clip of each class, and two frames more of one."""
    folder = shutil.copytree(model_folder, tmp_path / "run")
    names = sorted(path.relative_to(images_dir).as_posix() for path in images_dir.rglob("*.png"))
    held_out = [name for name in names if "/0003." in name]
    train = [name for name in names if name not in held_out]
    split = {
        "split_by": "clip",
        "seed": 5,
        "train": train[2:],
        "validation": train[:2] + held_out,
        "leakage": {"validation": {"same_bytes": 0}},
    }
    (folder / "split.json").write_text(json.dumps(split))
    state = {"best_model_checkpoint": "checkpoint-3", "log_history": [{"epoch": 1.0, "loss": 0.5}]}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


@pytest.fixture
def images(images_dir, tmp_path):
    return shutil.copytree(images_dir, tmp_path / "images")


def test_predictions_are_those_of_the_model_with_classes_matched_by_name(model_folder, images_dir):
    predictions, results, read_image, training, *_ = evaluate(str(model_folder), str(images_dir))
    assert predictions.class_names == sorted(COLOURED)
    model = AutoModel.from_pretrained(model_folder).eval()
    inputs = AutoProcessor.from_pretrained(model_folder)(images=[read_image(9)], return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    order = [
        [name.casefold() for name in model.config.id2label.values()].index(name.casefold())
        for name in predictions.class_names
    ]
    np.testing.assert_allclose(predictions.logits[9], outputs.logits_per_image[0, order], atol=1e-4)
    np.testing.assert_allclose(predictions.image_embeds[9], outputs.image_embeds[0], atol=1e-5)
    np.testing.assert_allclose(predictions.text_embeds, outputs.text_embeds[order], atol=1e-6)
    assert predictions.file_names[9].startswith(predictions.class_names[predictions.labels[9]])
    top1 = (predictions.logits.argmax(axis=1) == predictions.labels).mean()
    assert results["scores"]["top1_accuracy"]["value"] == pytest.approx(top1)
    assert training is None
    assert results["conditions"]["split"] == "all"
    assert results["conditions"]["baselines_from"] == "scored rows"


def test_run_is_scored_on_its_validation_rows_under_its_conditions(run_folder, images_dir):
    predictions, results, _, training, *_ = evaluate(str(run_folder), str(images_dir))
    assert sorted(predictions.file_names) == sorted(json.loads((run_folder / "split.json").read_text())["validation"])
    conditions = results["conditions"]
    assert (conditions["split"], conditions["split_by"], conditions["seed"]) == ("validation", "clip", 5)
    assert not conditions["frame_level_split"]
    assert conditions["chosen_on_these"]
    assert conditions["leakage"] == {"same_bytes": 0}
    assert conditions["baselines_from"] == "training rows"
    # the class of the two frames is the most frequent of these ten, but the rarest in training
    assert results["baselines"]["majority_class"]["top1_accuracy"] == 0.2
    assert results["baselines"]["five_most_frequent"]["top5_accuracy"] == 1
    assert training.history == [{"epoch": 1.0, "loss": 0.5}]


def test_frames_split_at_random_are_called_frame_level(run_folder, images_dir):
    split = json.loads((run_folder / "split.json").read_text()) | {"split_by": "frame"}
    (run_folder / "split.json").write_text(json.dumps(split))
    assert evaluate(str(run_folder), str(images_dir)).results["conditions"]["frame_level_split"]


def test_last_weights_were_not_chosen_on_the_validation_rows(run_folder, images_dir):
    (run_folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": None, "log_history": []}))
    conditions = evaluate(str(run_folder), str(images_dir), split="validation").results["conditions"]
    assert not conditions["chosen_on_these"]


def test_rows_of_the_training_are_scored_with_a_warning(run_folder, images_dir):
    with pytest.warns(UserWarning, match="trained on 22 of the 22 scored images"):
        results = evaluate(str(run_folder), str(images_dir), split="train").results
    assert results["conditions"]["num_training_rows"] == results["conditions"]["num_images"] == 22
    assert not results["conditions"]["chosen_on_these"]


def test_class_absent_from_the_data_stays_a_prediction_and_scores_nothing(model_folder, images):
    shutil.rmtree(images / COLOURED[1])
    with pytest.warns(UserWarning, match=f"1 of the model's 4 classes .*{COLOURED[1]}"):
        predictions, results, *_ = evaluate(str(model_folder), str(images))
    assert predictions.logits.shape == (24, 4)
    assert results["classes"][-1]["name"] == COLOURED[1]
    assert results["classes"][-1]["support"] == 0
    present = [row["recall"] for row in results["classes"][:-1]]
    assert results["scores"]["mean_class_accuracy"]["value"] == pytest.approx(np.mean(present))


def test_class_absent_from_validation_is_no_fault(run_folder, images_dir):
    split = json.loads((run_folder / "split.json").read_text())
    split["validation"] = [name for name in split["validation"] if not name.startswith(COLOURED[0])]
    (run_folder / "split.json").write_text(json.dumps(split))
    results = evaluate(str(run_folder), str(images_dir), split="validation").results
    assert [row["support"] for row in results["classes"]] == [0, 2, 2, 2]


def test_more_classes_than_the_model_knows_are_refused_or_read(model_folder, images):
    (images / COLOURED[0]).rename(images / "Waving")
    with pytest.raises(ValueError, match=r"not in the model: 'Waving'.*`zero_shot`"):
        evaluate(str(model_folder), str(images))
    with pytest.warns(UserWarning, match="spells 'Waving' letter by letter"):  # it was in no training
        predictions, results, *_ = evaluate(str(model_folder), str(images), zero_shot=True)
    assert predictions.class_names == sorted([*COLOURED[1:], "Waving"])
    assert results["conditions"]["task"] == "zero-shot-image-classification"
    assert results["conditions"]["prompt_template"] == "{}"


def test_prompt_template_is_that_of_zero_shot(model_folder, images_dir):
    of_model = evaluate(str(model_folder), str(images_dir), zero_shot=True)
    results = evaluate(str(model_folder), str(images_dir), zero_shot=True, prompt_template="covering {}")
    assert results.results["conditions"]["prompt_template"] == "covering {}"
    assert np.abs(results.predictions.text_embeds - of_model.predictions.text_embeds).max() > 1e-4
    with pytest.raises(ValueError, match="`prompt_template` requires `zero_shot`"):
        evaluate(str(model_folder), str(images_dir), prompt_template="covering {}")


def test_vision_only_model_is_scored_by_its_classes_and_refused_for_zero_shot(images_dir, tmp_path):
    save_model(tmp_path, TINY_RESNET, id2label=dict(enumerate(COLOURED)))
    assert evaluate(str(tmp_path), str(images_dir)).predictions.logits.shape == (32, 4)
    with pytest.raises(ValueError, match="vision-only"):
        evaluate(str(tmp_path), str(images_dir), zero_shot=True)


def test_demo_is_drawn_and_resampled_by_clip(processor, tmp_path, monkeypatch):
    few = functools.partial(load_demo_dataset, num_clips=2, num_frames=2)  # all of it takes seconds to draw
    monkeypatch.setattr("mg_vtc.evaluation.data.load_demo_dataset", few)
    save_model(
        tmp_path,
        TINY_RESNET,
        tokenizer=processor.tokenizer,
        id2label=dict(enumerate(IMIGUE_CLASS_NAMES)),
        image_size=8,
    )
    predictions, results, *_ = evaluate(str(tmp_path), "demo")
    assert results["conditions"]["num_clips"] == len(set(predictions.clips)) == 64
    assert results["conditions"]["interval"]["resampled_by"] == "clip"


def test_parquet_files_are_read_by_the_names_of_their_columns(model_folder, images_dir, tmp_path):
    names = sorted(COLOURED)
    features = datasets.Features(photo=datasets.Image(), gesture=datasets.ClassLabel(names=names))
    paths = sorted(images_dir.rglob("*.png"))
    columns = {"photo": [str(path) for path in paths], "gesture": [path.parent.name for path in paths]}
    rows = datasets.Dataset.from_dict(columns, features=features)
    (tmp_path / "shards").mkdir()
    rows.to_parquet(tmp_path / "shards" / "test-00000-of-00001.parquet")
    settings = {"image_column": "photo", "label_column": "gesture"}
    predictions, results, *_ = evaluate(str(model_folder), str(tmp_path / "shards"), **settings)
    np.testing.assert_array_equal(predictions.logits, evaluate(str(model_folder), str(images_dir)).predictions.logits)
    assert (results["conditions"]["split"], results["conditions"]["split_by"]) == ("test", "given")


def test_metadata_in_parquet_make_no_parquet_data_set_of_a_folder(model_folder, images):
    names = [path.relative_to(images).as_posix() for path in images.rglob("*.png")]
    columns = {"file_name": names, "video": [str(number // 16) for number in range(len(names))]}
    datasets.Dataset.from_dict(columns).to_parquet(images / "metadata.parquet")
    predictions, results, *_ = evaluate(str(model_folder), str(images), clip_column="video")
    assert set(predictions.clips) == {"0", "1"}
    assert results["conditions"]["num_clips"] == 2


def test_column_of_the_runs_clips_is_asked_of_other_data_in_vain(run_folder, images):
    (run_folder / "recipe.yaml").write_text("clip_column_name: video\n")
    with pytest.warns(UserWarning, match=r"clip column .*'video', is missing in these data: .*no metadata\.csv"):
        predictions, *_ = evaluate(str(run_folder), str(images), split="validation")
    assert set(predictions.clips) >= {f"{name}/0003" for name in COLOURED}  # told by the names of the files
    with pytest.raises(ValueError, match="has the column 'video'"):
        evaluate(str(run_folder), str(images), clip_column="video")


def test_flat_folder_with_labels_in_metadata_is_read(tmp_path):
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (6, 4)).save(tmp_path / name)
    rows = [{"file_name": "a.png", "gesture": "nod"}, {"file_name": "b.png", "gesture": "bow"}]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "metadata.parquet")
    labels = load_splits(str(tmp_path), 32, label_column="gesture")["train"].features["label"]
    assert labels.names == ["bow", "nod"]


def test_data_that_are_not_there_are_named(model_folder):
    with pytest.raises(FileNotFoundError, match="no folder 'absent', and no reachable data set of this name"):
        evaluate(str(model_folder), "absent")


def test_labels_file_names_folders_alone(model_folder):
    with pytest.raises(ValueError, match="got demo, which has its own class names"):
        evaluate(str(model_folder), "demo", labels_file="imigue")


def test_numbers_of_folders_are_no_names(model_folder, images):
    for number, name in enumerate(COLOURED):
        (images / name).rename(images / str(number))
    with pytest.warns(UserWarning, match="bare numbers"), pytest.raises(ValueError, match="`labels_file`"):
        evaluate(str(model_folder), str(images))
    (images / "labels.csv").write_text("id,name\n" + "\n".join(f"{i},{name}" for i, name in enumerate(COLOURED)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(str(model_folder), str(images)).predictions.class_names == list(COLOURED)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_of_no_image_is_refused(model_folder, images_dir, batch_size):
    with pytest.raises(ValueError, match=f"batch_size should be a positive integer.*{batch_size}"):
        evaluate(str(model_folder), str(images_dir), batch_size=batch_size)


def test_files_of_somebody_else_are_not_replaced(tmp_path):
    (tmp_path / "results.json").write_text("mine")
    with pytest.raises(ValueError, match=r"already holds results\.json"):
        check_report_folder(["org/name"], tmp_path, overwrite=False)
    check_report_folder(["org/name"], tmp_path, overwrite=True)


def test_images_of_the_training_are_for_a_report_of_the_run_alone(run_folder, images_dir, images):
    batch = run_folder / "train_batch.jpg"
    write_first_batch(batch, np.zeros((1, 16, 16, 3), dtype=np.uint8), [[("Folding arms", 1.0)]])
    assert evaluate(str(run_folder), str(images_dir)).training.first_batch == batch
    for path in images.rglob("*.png"):
        path.rename(path.with_name(f"other-{path.name}"))
    assert evaluate(str(run_folder), str(images)).training.first_batch is None


def test_report_and_results_appear_together(model_folder, images_dir, tmp_path):
    pytest.importorskip("mg_vtc.evaluation.report.page")
    evaluation = evaluate(str(model_folder), str(images_dir))
    report = write_evaluation(evaluation, tmp_path / "report")
    assert report == tmp_path / "report" / "report.html"
    assert report.is_file()
    assert json.loads((tmp_path / "report" / "results.json").read_text()) == evaluation.results
    with pytest.raises(ValueError, match="`overwrite`"):
        write_evaluation(evaluation, tmp_path / "report")
    write_evaluation(evaluation, tmp_path / "report", overwrite=True)


def test_values_of_a_metadata_column_are_scored_apart(model_folder, images):
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    lines = [f"{name},{'f' if number % 2 else 'm'}\n" for number, name in enumerate(names)]
    (images / "metadata.csv").write_text("file_name,gender\n" + "".join(lines))
    evaluation = evaluate(str(model_folder), images, group_by="gender")
    subsets = evaluation.results["subsets"]
    hits = evaluation.predictions.logits.argmax(axis=1) == evaluation.predictions.labels
    genders = ["f" if names.index(name) % 2 else "m" for name in evaluation.predictions.file_names]
    assert subsets["column"] == "gender"
    assert {row["value"]: row["top1_accuracy"]["value"] for row in subsets["subsets"]} == {
        gender: pytest.approx(hits[np.array(genders) == gender].mean()) for gender in ("f", "m")
    }


def test_loaded_rows_are_scored_by_any_of_their_columns(model_folder, images_dir):
    rows = load_splits(str(images_dir), 32)["train"]
    rows = rows.add_column("age", [30 + number % 2 for number in range(len(rows))])
    by_age = evaluate(str(model_folder), rows, group_by="age").results["subsets"]["subsets"]
    assert [row["value"] for row in by_age] == ["30", "31"]
    with pytest.raises(
        ValueError, match=r"has no column 'gender' to group by, only image, label, file_name, clip, age"
    ):
        evaluate(str(model_folder), rows, group_by="gender")
    empty = rows.remove_columns("age").add_column("age", [None, *["30"] * (len(rows) - 1)])
    with pytest.raises(ValueError, match="'age', to group by, is empty in row 0 of the split train"):
        evaluate(str(model_folder), empty, group_by="age")


def test_clips_in_file_names_are_scored_by_clip(model_folder, images_dir):
    results = evaluate(str(model_folder), images_dir, group_by="clip").results
    assert len(results["subsets"]["subsets"]) == results["conditions"]["num_clips"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("gender", "No metadata file has the column 'gender'"),
        ("subject", "'subject', to group by, is missing or empty in the split train"),
    ],
)
def test_missing_column_to_group_by_is_named(model_folder, images_dir, column, message):
    with pytest.raises(ValueError, match=message):
        evaluate(str(model_folder), images_dir, group_by=column)


def test_empty_column_to_group_by_is_refused(model_folder, images):
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    (images / "metadata.csv").write_text("file_name,gender\n" + "".join(f"{name},\n" for name in names))
    with pytest.raises(ValueError, match="The column 'gender' must contain text or a whole number for each image"):
        evaluate(str(model_folder), images, group_by="gender")


def test_groups_of_the_labels_file_are_scored_for_images_and_clips(model_folder, images):
    rows = [f"{name},{name},{'warm' if number < 2 else 'cold'}\n" for number, name in enumerate(COLOURED)]
    (images / "labels.csv").write_text("id,name,group\n" + "".join(rows))
    results = evaluate(str(model_folder), images, vote="mean").results
    assert [group["name"] for group in results["class_groups"]["groups"]] == ["warm", "cold"]
    assert results["clips"]["class_groups"]["scores"].keys() == results["class_groups"]["scores"].keys()
    top1 = results["scores"]["top1_accuracy"]["value"]
    assert results["class_groups"]["scores"]["group_accuracy"]["value"] >= top1


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("clip_column", "video", "rename the column"),
        ("labels_file", "imigue", "leave it out"),
        ("skip_corrupt_images", True, "leave it out"),
        ("clip_colum", "clip", "leave it out"),
    ],
)
def test_settings_of_reading_are_refused_for_loaded_data(model_folder, name, value, remedy):
    with pytest.raises(ValueError, match=f"`{name}` does not apply to data that are loaded: {remedy}"):
        evaluate(str(model_folder), load_demo_dataset(32), **{name: value})


def test_settings_of_reading_that_change_nothing_suit_loaded_data(model_folder, images_dir):
    rows = load_splits(str(images_dir), 32)
    defaults = {"image_column": "image", "clip_column": "clip", "labels_file": None, "skip_corrupt_images": False}
    with_defaults, without = (evaluate(str(model_folder), rows, **one) for one in (defaults, {}))
    np.testing.assert_array_equal(with_defaults.predictions.logits, without.predictions.logits)
