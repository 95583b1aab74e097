"""The scores of a run are those of what it predicted, with clips as they are known, and its figure is drawn."""

import importlib.util
import json

import numpy as np
import pytest
from conftest import CLASS_NAMES
from made_runs import make_prediction, write_run
from PIL import Image
from torch.utils.data import Dataset

from mg_vtc.evaluation import run_results
from mg_vtc.evaluation.run_results import write_run_results
from mg_vtc.evaluation.scores import score_predictions


def read(folder, split="validation"):
    return json.loads((folder / "results" / f"{split}.json").read_text())


def test_scores_are_those_of_the_predictions_with_whole_clips_resampled(tmp_path):
    write_run(tmp_path, CLASS_NAMES)
    results = read(tmp_path)
    labels = [row % 2 for row in range(40)]
    logits = make_prediction(labels, 6, 24).predictions
    expected = score_predictions(logits, np.array(labels), [f"clip {row // 8}" for row in range(40)])
    assert results["scores"]["top1_accuracy"]["value"] == 0.6
    assert results["scores"] == {name: score._asdict() for name, score in expected.intervals.items()}
    conditions = results["conditions"]
    assert (conditions["num_clips"], conditions["interval"]["resampled_by"]) == (5, "clip")
    assert (conditions["split_by"], conditions["seed"], conditions["chosen_on_these"]) == ("clip", 7, False)


def test_baselines_are_of_the_training_rows(tmp_path):
    write_run(tmp_path, CLASS_NAMES)
    assert read(tmp_path)["conditions"]["baselines_from"] == "training rows"
    assert read(tmp_path)["baselines"]["majority_class"]["top1_accuracy"] == 0.5


def test_intervals_of_images_without_clips_resample_images_and_are_narrower(tmp_path):
    write_run(tmp_path / "clips", CLASS_NAMES)
    write_run(tmp_path / "images", CLASS_NAMES, clips=False)
    widths = []
    for name in ("clips", "images"):
        score = read(tmp_path / name)["scores"]["top1_accuracy"]
        widths.append(score["high"] - score["low"])
    assert read(tmp_path / "images")["conditions"]["interval"]["resampled_by"] == "image"
    assert widths[1] < widths[0]


def test_nothing_names_a_place_on_this_machine(tmp_path):
    write_run(tmp_path, CLASS_NAMES)
    assert str(tmp_path) not in (tmp_path / "results" / "validation.json").read_text()
    assert read(tmp_path)["data"] == "a local folder of images"


def test_each_part_has_its_results_and_test_images_chose_nothing(tmp_path):
    write_run(tmp_path, CLASS_NAMES, parts=("validation", "test"), kept_best=True)
    assert read(tmp_path)["conditions"]["chosen_on_these"]
    assert not read(tmp_path, "test")["conditions"]["chosen_on_these"]
    assert read(tmp_path, "test")["conditions"]["split_by"] == "given"


class Rows(Dataset):
    """Rows whose number, classes and clips are not known, as those of a stream."""


def test_a_stream_is_resampled_by_image_and_compared_with_baselines_of_its_own_rows(tmp_path):
    write_run(tmp_path, CLASS_NAMES, split={"split_by": "given"})
    predicted = {"validation": make_prediction([0, 0, 0, 1], 6, 3)}
    write_run_results(tmp_path, predicted, {"train": Rows(), "validation": Rows()}, list(CLASS_NAMES))
    results = read(tmp_path)
    assert results["conditions"]["num_images"] == 4
    assert results["conditions"]["interval"]["resampled_by"] == "image"
    assert results["conditions"]["baselines_from"] == "scored rows"
    assert results["baselines"]["majority_class"]["top1_accuracy"] == 0.75


def test_figure_has_a_dark_cell_where_predictions_are(tmp_path):
    write_run(tmp_path, CLASS_NAMES)
    with Image.open(tmp_path / "figures" / "confusion.png") as image:
        assert image.mode in ("RGB", "RGBA")
        colours = {colour[:3] for _, colour in image.getcolors(maxcolors=2**20)}
        assert image.getpixel((1, 1))[:3] == (255, 255, 255)  # no transparent page, which is black in the dark
    assert len(colours) > 10
    assert not [key for key in image.info if key == "Software"]


def test_without_the_extra_the_figure_is_absent_and_a_warning_tells_the_way(tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(run_results, "find_spec", lambda name: None if name == "matplotlib" else find_spec(name))
    with pytest.warns(UserWarning, match=r"matplotlib is not installed: run pip install \"mg-vtc\[report\]\""):
        write_run(tmp_path, CLASS_NAMES)
    assert read(tmp_path)["scores"]
    assert not (tmp_path / "figures").exists()


def test_a_figure_of_more_classes_than_can_be_seen_is_not_drawn(tmp_path):
    write_run(tmp_path, [f"class {number}" for number in range(run_results.MOST_CLASSES + 1)])
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["training_curves.png"]


def test_a_run_without_a_log_or_held_out_images_has_no_figure(tmp_path):
    write_run(tmp_path, CLASS_NAMES, parts=())
    (tmp_path / "figures" / "training_curves.png").unlink()
    (tmp_path / "trainer_state.json").write_text('{"best_model_checkpoint": null, "log_history": []}')
    write_run_results(tmp_path, {}, {"train": Rows()}, list(CLASS_NAMES))
    assert not list((tmp_path / "figures").iterdir())


@pytest.mark.parametrize("setting", ["train_dir", "dataset_name"])
def test_groups_of_classes_beside_the_data_are_scored(setting, tmp_path):
    rows = [f"{number},{name},{('hand', 'head')[number % 2]}\n" for number, name in enumerate(CLASS_NAMES)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "labels.csv").write_text("id,name,group\n" + "".join(rows))
    write_run(tmp_path / "run", CLASS_NAMES, recipe={setting: str(tmp_path / "data")})
    groups = read(tmp_path / "run")["class_groups"]
    assert [group["name"] for group in groups["groups"]] == ["hand", "head"]
    assert groups["scores"]["group_accuracy"]["value"] == 0.6  # a wrong class is of the other group
