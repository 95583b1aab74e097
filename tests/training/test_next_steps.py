"""The last lines of a run name an image that exists and the data that it was trained on."""

import json

import pytest

from mg_vtc.training.next_steps import describe_next, find_image


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(f"train_dir: {tmp_path / 'my images'}\n")
    (tmp_path / "run" / "split.json").write_text(json.dumps({"split_by": "frame", "validation": ["head up/1.png"]}))
    return tmp_path / "run"


def test_image_is_a_drawn_sample_or_one_that_was_held_out(folder, tmp_path):
    recipe = {"train_dir": str(tmp_path / "my images")}
    split = json.loads((folder / "split.json").read_text())
    assert find_image(folder, recipe, split) == "IMAGE"
    (tmp_path / "my images" / "head up").mkdir(parents=True)
    (tmp_path / "my images" / "head up" / "1.png").touch()
    assert find_image(folder, recipe, split) == str(tmp_path / "my images" / "head up" / "1.png")
    (folder / "samples").mkdir()
    (folder / "samples" / "drawn-head-up.png").touch()
    assert find_image(folder, recipe, split) == str(folder / "samples" / "drawn-head-up.png")


def test_names_with_spaces_are_quoted(folder, tmp_path):
    lines = describe_next(folder)
    assert f"mg-vtc evaluate {folder} '{tmp_path / 'my images'}'" in lines[3]


def test_own_validation_folder_is_what_is_evaluated(folder, tmp_path):
    (folder / "recipe.yaml").write_text("train_dir: one\nvalidation_dir: other\n")
    assert describe_next(folder)[3].endswith(f"mg-vtc evaluate {folder} other")


def test_run_on_all_images_is_not_evaluated_and_predicts_one_of_them(folder, tmp_path):
    (folder / "split.json").write_text(json.dumps({"split_by": "none", "train": ["head up/1.png"]}))
    (tmp_path / "my images" / "head up").mkdir(parents=True)
    (tmp_path / "my images" / "head up" / "1.png").touch()
    lines = describe_next(folder)
    assert "evaluate" not in "".join(lines)
    assert lines[3].endswith("head up/1.png'")


def test_files_to_look_at_are_named_where_they_were_written(folder):
    assert describe_next(folder)[1] == f"The run is in {folder}, with its model."
    (folder / "figures").mkdir()
    for name in ("README.md", "results.csv", "figures/training_curves.png", "train_batch.jpg", "notes.txt"):
        (folder / name).touch()
    names = "its model, README.md, results.csv, figures/training_curves.png and train_batch.jpg"
    assert describe_next(folder)[1] == f"The run is in {folder}, with {names}."
