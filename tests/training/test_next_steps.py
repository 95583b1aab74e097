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
    assert find_image(folder, recipe) == "IMAGE"
    (tmp_path / "my images" / "head up").mkdir(parents=True)
    (tmp_path / "my images" / "head up" / "1.png").touch()
    assert find_image(folder, recipe) == str(tmp_path / "my images" / "head up" / "1.png")
    (folder / "samples").mkdir()
    (folder / "samples" / "drawn-head-up.png").touch()
    assert find_image(folder, recipe) == str(folder / "samples" / "drawn-head-up.png")


def test_names_with_spaces_are_quoted(folder, tmp_path):
    lines = describe_next(folder)
    assert f"mg-vtc evaluate {folder} '{tmp_path / 'my images'}'" in lines[2]
