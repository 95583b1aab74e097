"""What a folder of images holds besides class folders."""

from pathlib import Path

import PIL.Image
import pytest

from mg_vtc.data.folder_layout import find_labels_file, find_loose_images, refuse_splits

SPLITS = {"train": "train", "val": "validation"}


def test_loose_images_are_known_by_suffix_or_content(tmp_path: Path):
    for name in ("a.png", ".hidden.png", "b.dat"):
        PIL.Image.new("RGB", (6, 4)).save(tmp_path / name, "png")
    for name in ("broken.jpg", "notes.txt", "labels.csv"):
        (tmp_path / name).write_text("words")
    assert [path.name for path in find_loose_images(tmp_path)] == ["a.png", "b.dat", "broken.jpg"]


def test_two_labels_files_are_refused(tmp_path: Path):
    for name in ("labels.csv", "Labels.txt"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"has Labels\.txt and labels\.csv: keep one"):
        find_labels_file(tmp_path)


def test_folder_may_have_no_labels_file(tmp_path: Path):
    (tmp_path / "labels.json").touch()
    assert find_labels_file(tmp_path) is None
    assert find_labels_file(tmp_path / "nowhere") is None


def test_gestures_that_share_a_word_with_a_split_are_classes():
    refuse_splits(Path("data"), ["train driver waving", "nod"], SPLITS)
