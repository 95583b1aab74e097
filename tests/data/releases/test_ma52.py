"""Micro-Action-52 in its official layout: which clips come out, and what is at fault in lists."""

import csv
import shutil

import pyarrow.parquet
import pytest
from datasets import load_dataset
from made_releases import make_ma52_release, make_video, read_number
from PIL import Image

from mg_vtc import prepare_ma52
from mg_vtc.data import load_image_folder
from mg_vtc.data.class_lists import MA52_CLASS_NAMES, SMG_CLASS_NAMES
from mg_vtc.data.decoding import Resizing
from mg_vtc.data.labels import read_label_groups
from mg_vtc.data.releases.frames import choose_frames
from mg_vtc.training.recipe import parse_recipe
from mg_vtc.training.run_data import load_run_data

pytestmark = pytest.mark.filterwarnings("ignore:.*of the validation split are in the training split")


@pytest.fixture(scope="module")
def ma52(tmp_path_factory):
    return make_ma52_release(tmp_path_factory.mktemp("releases") / "MA-52")


@pytest.fixture
def own_ma52(ma52, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(ma52, tmp_path / "MA-52")


def read_rows(folder, split):
    return pyarrow.parquet.read_table(folder / split / "metadata.parquet").to_pylist()


def count(preparation):
    return {split.split: split.clips for split in preparation.splits}


def add_lines(path, *lines):
    path.write_text("\n".join([path.read_text(), *lines]))


def test_evenly_spaced_frames_of_each_listed_clip_come_out(ma52, tmp_path):
    preparation = prepare_ma52(ma52, tmp_path, frames_per_clip=3)
    assert preparation.errors == preparation.notes == []
    assert count(preparation) == {"train": 16, "validation": 8}
    for split, name in (("train", "train"), ("validation", "val")):
        lines = (line.split() for line in (ma52 / f"{name}_list_videos.txt").read_text().splitlines())
        labels = {clip.removesuffix(".mp4"): int(label) for clip, label in lines}
        rows = read_rows(tmp_path, split)
        assert {(row["clip"], row["label"]) for row in rows} == set(labels.items())
        assert len(rows) == 3 * len(labels)
        for row in rows:
            assert row["frame"] in choose_frames(0, 9, 3)
            assert (row["subject"], row["video"]) == (row["clip"][:4], row["clip"][:7])
            assert row["time"] == pytest.approx(row["frame"] / 25)
            with Image.open(tmp_path / split / row["file_name"]) as image:
                assert read_number(image) == row["frame"]


def test_body_parts_are_a_column_and_groups_of_the_labels_file(ma52, tmp_path):
    prepare_ma52(ma52, tmp_path, frames_per_clip=1)
    rows = read_rows(tmp_path, "train")
    assert {(row["label"], row["body_part"]) for row in rows} == {(0, "body"), (9, "head"), (51, "leg-hand")}
    header, *lines = csv.reader((tmp_path / "labels.csv").read_text().splitlines())
    assert header == ["id", "name", "group"]
    assert [(int(label_id), name) for label_id, name, _ in lines] == list(enumerate(MA52_CLASS_NAMES))
    assert read_label_groups(tmp_path / "labels.csv") == read_label_groups("ma52")


@pytest.mark.parametrize("to", ["imagefolder", "parquet", "webdataset"])
def test_each_format_holds_the_same_rows(ma52, tmp_path, to):
    prepare_ma52(ma52, tmp_path, format=to, frames_per_clip=2)
    if to == "webdataset":
        rows = [row["json"] | {"label": int(row["cls"])} for row in load_dataset(str(tmp_path), split="validation")]
    elif to == "parquet":
        rows = load_dataset(str(tmp_path), split="validation").remove_columns("image").to_list()
    else:
        rows = read_rows(tmp_path, "validation")
    found = {(row["clip"], row["frame"], row["label"], row["body_part"], row["subject"]) for row in rows}
    assert len(found) == 16
    assert {("0001_01_0003", 2, 9, "head", "0001"), ("0004_02_0003", 7, 9, "head", "0004")} <= found


@pytest.mark.filterwarnings("ignore:Classes of the labels file without images")
def test_neighbours_in_training_are_reported_as_leakage(ma52, tmp_path):
    prepare_ma52(ma52, tmp_path, frames_per_clip=2)
    recipe = parse_recipe(["recommended", "--train_dir", str(tmp_path), "--output_dir", "r", "--use_cpu", "true"])
    with pytest.warns(UserWarning, match="16 validation images are"):
        data = load_run_data(recipe.data, recipe.training, Resizing(recipe.data.image_size), say=lambda line: None)
    assert sum(data.split["leakage"]["validation"].values()) == 16


def test_lists_that_share_people_are_warned_of(ma52, tmp_path):
    with pytest.warns(UserWarning, match=r"^4 of 4 people and 8 of 8 recordings .*`split_by=subject` holds out"):
        prepare_ma52(ma52, tmp_path, frames_per_clip=1)


@pytest.mark.filterwarnings("error")
def test_subjects_are_held_out_in_the_proportion_of_the_lists(ma52, tmp_path):
    preparation = prepare_ma52(ma52, tmp_path, split_by="subject", frames_per_clip=1)
    assert count(preparation) == {"train": 18, "validation": 6}
    people = [{row["subject"] for row in read_rows(tmp_path, split)} for split in ("train", "validation")]
    assert people[0] | people[1] == {"0001", "0002", "0003", "0004"}
    assert not people[0] & people[1]


def test_test_videos_are_left_out_and_counted(ma52, tmp_path):
    preparation = prepare_ma52(ma52, tmp_path, frames_per_clip=1)
    assert preparation.left_out == {"test videos, which have no labels: predict them with mg-vtc predict": 1}


def test_missing_videos_are_each_reported_and_the_rest_prepared(own_ma52, tmp_path):
    (own_ma52 / "videos_train" / "0001_01_0001.mp4").unlink()
    (own_ma52 / "videos_val" / "0002_01_0003.mp4").unlink()
    preparation = prepare_ma52(own_ma52, tmp_path / "out", frames_per_clip=1)
    assert [fault.rpartition(", ")[2] for fault in preparation.errors] == [
        "'0001_01_0001.mp4 51': there is no such video",
        "'0002_01_0003.mp4 51': there is no such video",
    ]
    assert count(preparation) == {"train": 15, "validation": 7}


def test_lines_at_fault_are_each_reported(own_ma52, tmp_path):
    add_lines(
        own_ma52 / "train_list_videos.txt",
        "0001_01_0001.mp4 9",
        "0001_01_0002.mp4",
        "0002_01_0001 -1",
        "",
        "0009_01_0001.mp4 52",
        "0009_01_0002.mp4 nodding",
        "P9.mp4 3",
        "0001_01_0002.mp4 0",
    )
    make_video(own_ma52 / "videos_train" / "P9.mp4", 5)
    preparation = prepare_ma52(own_ma52, tmp_path / "out", frames_per_clip=1)
    faults = preparation.errors
    assert len(faults) == 6
    assert "line 18 of" in faults[0]
    assert "not a name and a label" in faults[0]
    assert "'0001_01_0001.mp4 51', and line 17 of" in faults[1]
    assert "contradict each other" in faults[1]
    assert "contradict each other" in faults[2]
    assert "there is no class 52, only 0 to 51" in faults[3]
    assert "'nodding' is not a class number" in faults[4]
    assert "P9.mp4: the name 'P9' does not match" in faults[5]
    assert count(preparation) == {"train": 14, "validation": 8}


def test_two_videos_of_one_name_are_reported_unless_the_list_tells_which(own_ma52, tmp_path):
    for name in ("0001_01_0001", "0001_01_0002"):  # listed with its suffix, and without
        make_video(own_ma52 / "videos_train" / "more" / f"{name}.avi", 5, codec="mpeg4")
    preparation = prepare_ma52(own_ma52, tmp_path / "out", frames_per_clip=1)
    (fault,) = preparation.errors
    assert "several videos have this name, keep one: " in fault
    assert "0001_01_0002.avi" in fault
    assert "0001_01_0002.mp4" in fault
    assert preparation.left_out["videos of videos_train that no list names"] == 1


def test_clip_of_both_lists_is_reported_and_taken_for_neither(own_ma52, tmp_path):
    shutil.copy(own_ma52 / "videos_train" / "0001_01_0001.mp4", own_ma52 / "videos_val")
    add_lines(own_ma52 / "val_list_videos.txt", "0001_01_0001.mp4 51")
    preparation = prepare_ma52(own_ma52, tmp_path / "out", frames_per_clip=1)
    (fault,) = preparation.errors
    assert fault.startswith("0001_01_0001: several clips have this name, keep one: ")
    assert fault.endswith("(validation)")
    assert count(preparation) == {"train": 15, "validation": 8}


def test_damaged_clip_is_reported_and_the_others_of_its_shard_are_done(own_ma52, ma52, tmp_path):
    broken = own_ma52 / "videos_train" / "0001_01_0001.mp4"
    data = broken.read_bytes()
    broken.write_bytes(data[: len(data) // 2])
    for _ in range(2):  # as long as it is broken
        preparation = prepare_ma52(own_ma52, tmp_path / "out", frames_per_clip=2)
        (fault,) = preparation.errors
        assert fault.startswith(f"0001_01_0001: {broken} ")
        assert count(preparation) == {"train": 15, "validation": 8}
    broken.write_bytes(data)
    assert prepare_ma52(own_ma52, tmp_path / "out", frames_per_clip=2).errors == []
    assert len(list((tmp_path / "out" / "train").rglob("0001_01_0001.*.jpg"))) == 2


def test_list_without_any_video_is_reported_once(own_ma52, tmp_path):
    shutil.rmtree(own_ma52 / "videos_val")
    preparation = prepare_ma52(own_ma52, tmp_path / "out", frames_per_clip=1)
    (fault,) = preparation.errors
    assert fault.endswith("val_list_videos.txt lists 8 clips, but none of their videos is in a folder videos_val")
    assert count(preparation) == {"train": 16}


def test_empty_list_is_called_empty(own_ma52, tmp_path):
    path = own_ma52 / "val_list_videos.txt"
    path.write_text("\n")
    preparation = prepare_ma52(own_ma52, tmp_path / "out", frames_per_clip=1)
    assert preparation.errors == [f"{path}: no clip is listed"]
    assert count(preparation) == {"train": 16}


@pytest.mark.parametrize("folder", ["videos_train/", "./", "MA-52\\train\\"])
def test_names_may_have_folders(own_ma52, ma52, tmp_path, folder):
    path = own_ma52 / "train_list_videos.txt"
    path.write_text("".join(f"{folder}{line}\n" for line in path.read_text().splitlines()))
    preparation = prepare_ma52(own_ma52, tmp_path / "out", frames_per_clip=1)
    assert (preparation.errors, count(preparation)) == ([], {"train": 16, "validation": 8})
    prepare_ma52(ma52, tmp_path / "bare", frames_per_clip=1)
    assert read_rows(tmp_path / "out", "train") == read_rows(tmp_path / "bare", "train")


def test_label_file_of_another_data_set_is_refused_with_the_difference(own_ma52, tmp_path):
    path = own_ma52 / "label_name.txt"
    path.write_text("\n".join(f"{label_id}\t{name}" for label_id, name in enumerate(SMG_CLASS_NAMES)))
    with pytest.raises(
        ValueError, match=r"has the class '0 Turtling neck and shoulder' where .* has '0 shaking body'"
    ):
        prepare_ma52(own_ma52, tmp_path / "out")
    path.write_text("\n".join(f"{label_id}\t{name}" for label_id, name in enumerate(MA52_CLASS_NAMES[:50])))
    with pytest.raises(ValueError, match="has the class 'nothing' where Micro-Action-52 has '50 scratching legs'"):
        prepare_ma52(own_ma52, tmp_path / "out")
    path.unlink()
    assert prepare_ma52(own_ma52, tmp_path / "out", frames_per_clip=1).errors == []


@pytest.mark.parametrize("name", ["train_list_videos.txt", "label_name.txt"])
def test_file_that_is_not_utf_8_is_named(own_ma52, tmp_path, name):
    (own_ma52 / name).write_bytes("0003_01_0001.mp4 9 \xe4".encode("latin-1"))
    with pytest.raises(ValueError, match=rf"{name} is not UTF-8"):
        prepare_ma52(own_ma52, tmp_path / "out")


def test_nothing_is_held_out_of_nothing(own_ma52, tmp_path):
    for name in ("train", "val"):
        (own_ma52 / f"{name}_list_videos.txt").write_text("")
    with pytest.raises(ValueError, match=r"nothing to prepare: '.*train_list_videos\.txt: no clip is listed"):
        prepare_ma52(own_ma52, tmp_path / "out", split_by="subject")


def test_folder_without_lists_is_refused(tmp_path):
    (tmp_path / "MA-52").mkdir()
    with pytest.raises(ValueError, match=r"has no train_list_videos\.txt"):
        prepare_ma52(tmp_path / "MA-52", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="absent"):
        prepare_ma52(tmp_path / "absent", tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Classes of the labels file without images")
def test_folder_is_read_by_image_folder_with_all_classes_and_people(ma52, tmp_path):
    prepare_ma52(ma52, tmp_path, frames_per_clip=1)
    splits = load_image_folder(tmp_path)
    assert splits["train"].features["label"].names == list(MA52_CLASS_NAMES)
    assert set(splits["validation"]["subject"]) == {"0001", "0002", "0003", "0004"}
