"""Folders and Parquet files as data sets: splits, ids, names, and what is refused or warned of."""

import os
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from datasets import ClassLabel, DatasetDict, Features, Image, Value

from mg_vtc.data.image_folder import load_image_folder, load_image_folders

FEATURES_WITHOUT_LABEL = {"image": Image(), "file_name": Value("string")}


def make_image(shade: int = 0) -> PIL.Image.Image:
    return PIL.Image.new("RGB", (6, 4), (shade, 0, 0))


def write_images(parent: Path, *file_names: str) -> Path:
    for file_name in file_names:
        path = parent / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        make_image().save(path)
    return parent


def write_labels(path: Path, *class_ids: str) -> Path:
    path.write_text("id,name\n" + "".join(f"{class_id},name {class_id}\n" for class_id in class_ids))
    return path


def class_names(splits: DatasetDict) -> list[str]:
    names = [split.features["label"].names for split in splits.values()]
    assert all(names[0] == other for other in names)
    return names[0]


# Splits and rows


def test_class_folders_alone_are_the_train_split(tmp_path: Path):
    splits = load_image_folder(write_images(tmp_path, "nod/b.png", "nod/a.jpg", "bow/c.gif"))
    assert list(splits) == ["train"]
    assert splits["train"]["file_name"][:] == ["bow/c.gif", "nod/a.jpg", "nod/b.png"]
    assert splits["train"]["label"][:] == [0, 1, 1]
    assert class_names(splits) == ["bow", "nod"]
    features = splits["train"].features
    assert features == Features(FEATURES_WITHOUT_LABEL | {"label": ClassLabel(names=["bow", "nod"])})


def test_rows_give_the_images_of_their_files(tmp_path: Path):
    for shade, file_name in enumerate(["nod/a.png", "bow/b.png"]):
        write_images(tmp_path, file_name)
        make_image(shade).save(tmp_path / file_name)
    rows = load_image_folder(tmp_path)["train"]
    assert [(row["file_name"], row["image"].getpixel((0, 0))[0]) for row in rows] == [
        ("bow/b.png", 1),
        ("nod/a.png", 0),
    ]


def test_images_are_paths_until_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_images(tmp_path, "nod/a.png", "bow/b.png")
    monkeypatch.chdir(tmp_path.parent)
    rows = load_image_folder(tmp_path.name)["train"].cast_column("image", Image(decode=False))
    assert rows[0]["image"] == {"bytes": None, "path": str(tmp_path / "bow/b.png")}


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("val", "validation"),
        ("VALID", "validation"),
        ("validation", "validation"),
        ("dev", "validation"),
        ("eval", "validation"),
        ("eval_set", "validation"),
        ("train_set", "train"),
        ("test", "test"),
        ("testing", "test"),
    ],
)
def test_split_folders_are_known_in_any_case(tmp_path: Path, folder: str, split: str):
    splits = load_image_folder(write_images(tmp_path, f"{folder}/nod/a.png", f"{folder}/bow/a.png"))
    assert list(splits) == [split]
    assert splits[split]["file_name"][:] == ["bow/a.png", "nod/a.png"]


def test_all_splits_share_the_class_names(tmp_path: Path):
    write_images(tmp_path, "train/nod/a.png", "train/bow/a.png", "val/wave/a.png", "val/nod/a.png")
    splits = load_image_folder(tmp_path)
    assert class_names(splits) == ["bow", "nod", "wave"]
    assert splits["validation"]["label"][:] == [1, 2]


def test_separate_split_folders_share_the_class_names(tmp_path: Path):
    write_images(tmp_path, "here/nod/a.png", "there/bow/a.png")
    splits = load_image_folders({"train": tmp_path / "here", "validation": tmp_path / "there"})
    assert class_names(splits) == ["bow", "nod"]
    assert [splits["train"]["label"][:], splits["validation"]["label"][:]] == [[1], [0]]


def test_two_folders_of_one_split_are_refused(tmp_path: Path):
    write_images(tmp_path, "val/nod/a.png", "dev/nod/a.png")
    with pytest.raises(ValueError, match="two validation splits, 'dev' and 'val'"):
        load_image_folder(tmp_path)


def test_other_folders_beside_splits_are_ignored_with_a_warning(tmp_path: Path):
    write_images(tmp_path, "train/nod/a.png", "train/bow/a.png", "notes/nod/a.png")
    with pytest.warns(UserWarning, match="its other folders are ignored: 'notes', with 1 image files"):
        splits = load_image_folder(tmp_path)
    assert list(splits) == ["train"]


def test_sub_folders_of_a_class_count_and_system_files_do_not(tmp_path: Path):
    write_images(tmp_path, "nod/deep/er/a.png", "bow/b.png")
    for name in ("nod/.DS_Store", "nod/Thumbs.db", "bow/desktop.ini", "notes.txt", "nod/._a.png"):
        (tmp_path / name).write_text("not an image")
    splits = load_image_folder(tmp_path)
    assert splits["train"]["file_name"][:] == ["bow/b.png", "nod/deep/er/a.png"]


def test_image_files_that_are_no_rows_are_counted_with_the_reason(tmp_path: Path):
    write_images(tmp_path, "train/nod/a.png", "train/bow/b.png", "train/.hidden/c.png", "train/nod/.cache/d.png")
    write_images(tmp_path, "train/beside.png", "train/beside too.png")
    (tmp_path / "train/beside.png").rename(tmp_path / "train/beside")
    (tmp_path / "train/nod/around").symlink_to(tmp_path / "train")
    with pytest.warns(UserWarning, match="Skipped image files and folders") as caught:
        splits = load_image_folder(tmp_path)
    assert splits["train"]["file_name"][:] == ["bow/b.png", "nod/a.png"]
    message = str(caught.pop().message)
    assert not caught.list
    shown = f"'{tmp_path / 'train/beside'}', '{tmp_path / 'train/beside too.png'}'"
    assert f"2 outside of the class folders ({shown})" in message
    assert "2 hidden (" in message
    assert f"1 linked to an enclosing folder ('{tmp_path / 'train/nod/around'}')" in message


def test_images_beside_splits_are_counted(tmp_path: Path):
    write_images(tmp_path, "train/nod/a.png", "train/bow/b.png", "beside.png")
    with pytest.warns(UserWarning, match=r"1 image files outside of splits are skipped \('.*beside\.png'\)"):
        load_image_folder(tmp_path)


def test_labels_and_metadata_around_folders_of_splits_are_read(tmp_path: Path):
    write_images(tmp_path, "train/1/a.png", "train/2/a.png", "val/2/a.png")
    write_labels(tmp_path / "labels.csv", "1", "2")
    (tmp_path / "metadata.csv").write_text("file_name,clip\ntrain/1/a.png,x\ntrain/2/a.png,y\nval/2/a.png,z\n")
    splits = load_image_folders({"train": tmp_path / "train", "validation": tmp_path / "val"})
    assert class_names(splits) == ["name 1", "name 2"]
    assert [splits["train"]["clip"][:], splits["validation"]["clip"][:]] == [["x", "y"], ["z"]]
    assert load_image_folder(tmp_path / "train")["train"]["clip"][:] == ["x", "y"]


def test_linked_folders_and_files_are_read(tmp_path: Path):
    write_images(tmp_path / "store", "clip/a.png", "clip/b.png", "bow/deep/a.png")
    data = write_images(tmp_path / "data", "nod/own.png")
    (data / "nod/clip").symlink_to(tmp_path / "store/clip")
    (data / "nod/c.png").symlink_to(tmp_path / "store/clip/a.png")
    (data / "bow").symlink_to(tmp_path / "store/bow")
    rows = load_image_folder(data)["train"]
    assert rows["file_name"][:] == ["bow/deep/a.png", "nod/c.png", "nod/clip/a.png", "nod/clip/b.png", "nod/own.png"]


@pytest.mark.parametrize("names", [("train", "val"), ("Test", "nod"), ("my_train", "my-val")])
def test_folders_of_splits_are_no_classes(tmp_path: Path, names: tuple[str, str]):
    write_images(tmp_path, *(f"here/{name}/nod/a.png" for name in names), "there/nod/a.png", "there/bow/a.png")
    with pytest.raises(ValueError, match=rf"here contains .*{names[0]}.* splits"):
        load_image_folders({"train": tmp_path / "here", "validation": tmp_path / "there"})


def test_numbered_folders_of_equal_folders_are_warned_of(tmp_path: Path):
    write_images(tmp_path, *(f"{part}/{name}/a.png" for part in ("part1", "part2") for name in ("face", "hand")))
    with pytest.warns(UserWarning, match=r"'part1', 'part2' in .* used as the classes, .*\('face', 'hand'\)"):
        assert class_names(load_image_folder(tmp_path)) == ["part1", "part2"]


@pytest.mark.parametrize("folders", [("nod/0001", "bow/0001"), ("nod/anna", "bow/anna")])
def test_clips_and_people_in_class_folders_are_silent(tmp_path: Path, folders: tuple[str, ...]):
    assert len(load_image_folder(write_images(tmp_path, *(f"{folder}/a.png" for folder in folders)))["train"]) == 2


# Class names


def test_numbered_folders_sort_as_numbers(tmp_path: Path):
    write_images(tmp_path, *(f"{number}/a.png" for number in (9, 10, 1, 2)))
    write_labels(tmp_path / "labels.csv", "10", "9", "2", "1")
    splits = load_image_folder(tmp_path)
    assert class_names(splits) == ["name 1", "name 2", "name 9", "name 10"]
    assert splits["train"]["file_name"][:] == ["1/a.png", "2/a.png", "9/a.png", "10/a.png"]
    assert splits["train"]["label"][:] == [0, 1, 2, 3]


def test_numbered_folders_without_names_are_warned_of(tmp_path: Path):
    write_images(tmp_path, "10/a.png", "9/a.png")
    with pytest.warns(
        UserWarning, match=r"names are '9', '10', so .* bare numbers.*labels_file .* 'id,name', or a built-in list"
    ):
        splits = load_image_folder(tmp_path)
    assert class_names(splits) == ["9", "10"]


def test_folder_01_is_id_1(tmp_path: Path):
    write_images(tmp_path, "train/01/a.png", "train/02/a.png", "val/1/a.png", "val/2/a.png")
    splits = load_image_folder(tmp_path, write_labels(tmp_path / "names.csv", "1", "002"))
    assert class_names(splits) == ["name 1", "name 002"]
    assert splits["train"]["label"][:] == splits["validation"]["label"][:] == [0, 1]


def test_word_imigue_names_the_folders(tmp_path: Path):
    with pytest.warns(UserWarning, match="Classes of the labels file without images: 'Turtle neck', .* and 20 more"):
        splits = load_image_folder(write_images(tmp_path, "12/a.png", "6/a.png"), "imigue")
    rows = splits["train"]
    assert len(class_names(splits)) == 32
    assert [rows.features["label"].int2str(label) for label in rows["label"]] == [
        "Covering face",
        "Touching or scratching neck",
    ]


def test_labels_file_is_found_in_capitals(tmp_path: Path):
    write_labels(tmp_path / "Labels.CSV", "1", "2")
    assert class_names(load_image_folder(write_images(tmp_path, "1/a.png", "2/a.png"))) == ["name 1", "name 2"]


@pytest.mark.parametrize("name", ["labels.tsv", "labels.txt", "labels.xlsx"])
def test_labels_file_of_another_kind_is_refused(tmp_path: Path, name: str):
    write_labels(tmp_path / name, "1", "2")
    with pytest.raises(ValueError, match=rf"{name} cannot be read: save it as labels\.csv"):
        load_image_folder(write_images(tmp_path, "1/a.png", "2/a.png"))


def test_class_folders_are_one_whatever_the_unicode_form(tmp_path: Path):
    write_images(tmp_path, "train/h\u00e4nde/a.png", "train/bow/a.png", "val/ha\u0308nde/a.png", "val/bow/a.png")
    splits = load_image_folder(tmp_path)
    assert class_names(splits) == ["bow", "h\u00e4nde"]
    assert splits["validation"]["label"][:] == [0, 1]
    write_images(tmp_path, "val/h\u00e4nde/a.png")
    with pytest.raises(ValueError, match=r"of .*val have the same name: merge them"):
        load_image_folder(tmp_path)


def test_class_folders_that_differ_in_case_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="'Nod' and 'nod' are the same class name"):
        load_image_folder(write_images(tmp_path, "Nod/a.png", "nod/a.png"))


def test_given_labels_file_wins_over_that_of_the_folder(tmp_path: Path):
    write_labels(tmp_path / "labels.csv", "1", "2")
    (tmp_path / "other.csv").write_text("id,name\n1,nodding\n2,bowing\n")
    splits = load_image_folder(write_images(tmp_path, "1/a.png", "2/a.png"), tmp_path / "other.csv")
    assert class_names(splits) == ["nodding", "bowing"]


def test_folder_without_a_row_in_the_labels_file_is_refused(tmp_path: Path):
    write_labels(tmp_path / "labels.csv", *(str(number) for number in range(1, 13)))
    with pytest.raises(ValueError, match=r"without a row in the labels file: '13', 'nod'; .* '9', '10' and 2 more"):
        load_image_folder(write_images(tmp_path, "1/a.png", "13/a.png", "nod/a.png"))


def test_row_of_the_labels_file_without_a_folder_stays_a_class(tmp_path: Path):
    write_labels(tmp_path / "labels.csv", "1", "2", "3")
    (tmp_path / "3").mkdir()
    with pytest.warns(UserWarning, match="without images: 'name 2', 'name 3'"):
        splits = load_image_folder(write_images(tmp_path, "1/a.png"))
    assert class_names(splits) == ["name 1", "name 2", "name 3"]


def test_empty_class_folder_is_left_out_with_a_warning(tmp_path: Path):
    (tmp_path / "wave").mkdir()
    with pytest.warns(UserWarning, match="without images are skipped: 'wave'"):
        splits = load_image_folder(write_images(tmp_path, "nod/a.png", "bow/a.png"))
    assert class_names(splits) == ["bow", "nod"]


def test_one_class_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"two classes are needed, not 1: \['nod'\]"):
        load_image_folder(write_images(tmp_path, "nod/a.png", "nod/b.png"))


# Folders that are none


def test_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        load_image_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        load_image_folders({"train": write_images(tmp_path, "nod/a.png"), "validation": tmp_path / "nowhere"})


def test_file_for_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"image\.png is a file: give the folder"):
        load_image_folder(write_images(tmp_path, "image.png") / "image.png")


def test_empty_folder_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="is empty: put the images of each class into a folder"):
        load_image_folder(tmp_path)


def test_images_without_class_folders_are_refused(tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"has files but no class folders: put the images of each class into a folder.*metadata\.csv"
    ):
        load_image_folder(write_images(tmp_path, "a.png", "b.png"))


def test_split_without_images_is_refused(tmp_path: Path):
    write_images(tmp_path, "train/nod/a.png", "train/bow/a.png")
    (tmp_path / "val/nod").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"class folders of .*val contain no readable images"):
        load_image_folder(tmp_path)


# Unreadable files


@pytest.fixture
def damaged_dir(tmp_path: Path) -> Path:
    """Two classes with a good image each; an empty, a truncated and a foreign file, and a link to nowhere."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    write_images(tmp_path, "nod/good.png", "bow/good.png")
    PIL.Image.fromarray(noise).save(tmp_path / "nod/cut.jpg")
    (tmp_path / "nod/cut.jpg").write_bytes((tmp_path / "nod/cut.jpg").read_bytes()[:-500])
    (tmp_path / "nod/empty.png").touch()
    (tmp_path / "bow/notes.txt").write_text("words")
    (tmp_path / "bow/broken.png").symlink_to(tmp_path / "nowhere.png")
    return tmp_path


def test_unreadable_files_are_refused_with_their_errors(damaged_dir: Path):
    with pytest.raises(ValueError, match="4 of 6 files are not readable images") as error:
        load_image_folder(damaged_dir)
    message = str(error.value)
    assert f"{damaged_dir / 'nod/empty.png'}: not an image (0 bytes)" in message
    assert f"{damaged_dir / 'bow/notes.txt'}: not an image (5 bytes)" in message
    assert f"{damaged_dir / 'nod/cut.jpg'}: OSError: image file is truncated" in message
    assert f"{damaged_dir / 'bow/broken.png'}: FileNotFoundError" in message
    assert "`skip_corrupt_images`" in message


def test_unreadable_files_are_left_out_on_demand_with_a_warning(damaged_dir: Path):
    with pytest.warns(UserWarning, match=r"4 of 6 files .* are skipped:\n(.*\n)*.*cut\.jpg"):
        splits = load_image_folder(damaged_dir, skip_corrupt_images=True)
    assert splits["train"]["file_name"][:] == ["bow/good.png", "nod/good.png"]


def test_many_unreadable_files_are_counted(tmp_path: Path):
    write_images(tmp_path, "nod/good.png", "bow/good.png")
    for number in range(13):
        (tmp_path / f"nod/{number:02}.png").touch()
    with pytest.raises(ValueError, match=r"13 of 15 files .*\n(.*\n)*  .*09\.png.*\n  and 3 more\n"):
        load_image_folder(tmp_path)


def test_class_of_unreadable_files_alone_is_left_out(damaged_dir: Path):
    (damaged_dir / "wave").mkdir()
    (damaged_dir / "wave/a.png").touch()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        splits = load_image_folder(damaged_dir, skip_corrupt_images=True)
    assert [str(warning.message) for warning in caught][-1] == "Class folders without images are skipped: 'wave'."
    assert class_names(splits) == ["bow", "nod"]


@pytest.mark.parametrize("limit", [20, 5])  # 24 pixels are above the limit of a warning, then above that of an error
def test_decompression_bombs_are_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int):
    write_images(tmp_path, "nod/a.png", "bow/a.png")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ValueError, match=r"DecompressionBomb(Warning|Error): Image size \(24 pixels\) exceeds limit"):
        load_image_folder(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_no_file_stays_open(damaged_dir: Path):
    num_open = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ValueError, match="not readable"):
        load_image_folder(damaged_dir)
    assert len(os.listdir("/proc/self/fd")) <= num_open
