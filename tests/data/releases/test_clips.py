"""Cut clips in class folders and lists: which come out, under which class and in which split."""

import csv
import shutil

import pyarrow.parquet
import pytest
from made_releases import make_cut_clips, make_video, read_number
from PIL import Image

from mg_vtc import prepare_clips
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.evaluation.class_groups import find_class_groups
from mg_vtc.evaluation.data import load_splits

NAMES = r"(?P<subject>P\d+)_(?P<video>\d+)"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return make_cut_clips(tmp_path_factory.mktemp("clips") / "clips")


@pytest.fixture
def own_clips(clips, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(clips, tmp_path / "clips")


@pytest.fixture
def flat(clips, tmp_path):
    """Videos in one folder, and the class of each."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for path in (clips / "train").rglob("*.mp4"):
        shutil.copy(path, folder)
    return folder, {path.stem: path.parent.name for path in (clips / "train").rglob("*.mp4")}


def read_rows(folder):
    paths = folder.glob("*/metadata.parquet")
    return {path.parent.name: pyarrow.parquet.read_table(path).to_pylist() for path in paths}


def read_labels_csv(folder):
    return [tuple(row) for row in csv.reader((folder / "labels.csv").read_text().splitlines())]


def count(preparation):
    return {split.split: split.clips for split in preparation.splits}


def test_class_folders_of_imigue_are_named_and_99_is_class_32(clips, tmp_path):
    preparation = prepare_clips(clips, tmp_path, labels_file="imigue", frames_per_clip=2)
    assert (preparation.errors, preparation.left_out) == ([], {})
    assert count(preparation) == {"train": 9, "validation": 9, "test": 9}
    rows = read_rows(tmp_path)["validation"]
    assert {row["clip"] for row in rows} == {f"{c}/P{p}_{n}" for n, c in enumerate((1, 2, 32)) for p in (11, 12, 13)}
    assert {row["label"] for row in rows} == {0, 1, 31}
    assert read_labels_csv(tmp_path)[1:] == [(str(i), name) for i, name in enumerate(IMIGUE_CLASS_NAMES, start=1)]
    for row in rows:
        with Image.open(tmp_path / "validation" / row["file_name"]) as image:
            assert read_number(image) == row["frame"]
        assert row["frame"] in (2, 7)


def test_classes_without_a_labels_file_are_the_folders(tmp_path):
    clips = make_cut_clips(tmp_path / "clips", classes=('say "no"', "nod, twice"), people=(1,))
    prepare_clips(clips, tmp_path / "out", frames_per_clip=1)
    assert read_labels_csv(tmp_path / "out") == [("id", "name"), ("0", "nod, twice"), ("1", 'say "no"')]
    assert {(row["clip"], row["label"]) for row in read_rows(tmp_path / "out")["train"]} == {
        ("0/P1_1", 0),
        ("1/P1_0", 1),
    }


def test_labels_file_of_the_folder_gives_names_and_groups(own_clips, tmp_path):
    (own_clips / "labels.csv").write_text("id,name,group\n1,nodding,head\n2,waving,hand\n99,others,none\n")
    prepare_clips(own_clips, tmp_path / "out", frames_per_clip=1)
    assert read_labels_csv(tmp_path / "out")[0] == ("id", "name", "group")
    assert {(row["label"], row["group"]) for row in read_rows(tmp_path / "out")["test"]} == {
        (0, "head"),
        (1, "hand"),
        (2, "none"),
    }


def test_parquet_keeps_the_groups_for_an_evaluation_and_is_read_as_before(own_clips, tmp_path):
    (own_clips / "labels.csv").write_text("id,name,group\n1,nodding,head\n2,waving,hand\n99,others,none\n")
    prepare_clips(own_clips, tmp_path / "out", format="parquet", frames_per_clip=1)
    splits = load_splits(str(tmp_path / "out"), 8)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 9, "validation": 9, "test": 9}
    names = splits["test"].features["label"].names
    assert names == ["nodding", "waving", "others"]
    assert find_class_groups(names, str(tmp_path / "out"), None) == ["head", "hand", "none"]


def test_parquet_without_groups_has_no_labels_file(clips, tmp_path):
    prepare_clips(clips, tmp_path, format="parquet", frames_per_clip=1)
    assert not (tmp_path / "labels.csv").exists()


def test_folders_may_be_names_of_classes(tmp_path):
    clips = make_cut_clips(tmp_path / "clips", classes=("turtle neck", "Head up"), people=(1,))
    prepare_clips(clips, tmp_path / "out", labels_file="imigue", frames_per_clip=1)
    assert {row["label"] for row in read_rows(tmp_path / "out")["train"]} == {0, 27}


def test_folder_without_splits_is_for_training(clips, tmp_path):
    preparation = prepare_clips(clips / "train", tmp_path / "out", frames_per_clip=1)
    assert count(preparation) == {"train": 9}


def test_folders_that_end_with_a_split_are_splits(own_clips, tmp_path):
    for split in ("train", "val", "test"):
        (own_clips / split).rename(own_clips / f"rgb_{split}")
    preparation = prepare_clips(own_clips, tmp_path / "out", frames_per_clip=1)
    assert count(preparation) == {"train": 9, "validation": 9, "test": 9}


def test_folder_above_the_splits_is_refused_with_the_right_one(own_clips, tmp_path):
    (tmp_path / "set").mkdir()
    own_clips.rename(tmp_path / "set" / "RGB")
    with pytest.raises(ValueError, match=r"set/RGB contains the splits 'test', 'train', 'val': give this folder"):
        prepare_clips(tmp_path / "set", tmp_path / "out")


def test_two_folders_of_one_split_are_refused(own_clips, tmp_path):
    shutil.copytree(own_clips / "val", own_clips / "validation")
    with pytest.raises(ValueError, match=r"two folders of one split, 'val', 'validation': merge"):
        prepare_clips(own_clips, tmp_path / "out")


def test_names_tell_person_and_recording(clips, tmp_path):
    prepare_clips(clips, tmp_path, name_pattern=NAMES, frames_per_clip=1)
    rows = read_rows(tmp_path)["train"]
    assert {(row["subject"], row["video"]) for row in rows} == {(f"P{p}", str(n)) for p in (1, 2, 3) for n in range(3)}


def test_name_that_does_not_match_is_reported_with_file_and_pattern(own_clips, tmp_path):
    (own_clips / "train" / "1" / "P1_0.mp4").rename(own_clips / "train" / "1" / "Q1_0.mp4")
    preparation = prepare_clips(own_clips, tmp_path / "out", name_pattern=NAMES, frames_per_clip=1)
    path = own_clips / "train" / "1" / "Q1_0.mp4"
    assert preparation.errors == [f"{path}: the name 'Q1_0' does not match {NAMES!r}"]
    assert count(preparation)["train"] == 8


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("(P", "is not a regular expression"),
        (r"P\d+_\d+", "must have the group"),
        (r"(?P<who>.*)", "must have the group"),
    ],
)
def test_pattern_without_use_is_refused(clips, tmp_path, pattern, fault):
    with pytest.raises(ValueError, match=fault):
        prepare_clips(clips, tmp_path / "out", name_pattern=pattern)


def test_subjects_are_held_out_although_there_is_no_validation_split(clips, tmp_path):
    preparation = prepare_clips(
        clips / "train", tmp_path / "out", name_pattern=NAMES, split_by="subject", frames_per_clip=1
    )
    assert count(preparation) == {"train": 6, "validation": 3}
    people = {split: {row["subject"] for row in rows} for split, rows in read_rows(tmp_path / "out").items()}
    assert not people["train"] & people["validation"]


def test_holding_out_unknown_subjects_is_refused(clips, tmp_path):
    with pytest.raises(ValueError, match=r"`split_by=subject` needs the people: give `name_pattern`"):
        prepare_clips(clips, tmp_path / "out", split_by="subject")
    with pytest.raises(ValueError, match=r"split_by must be subject.* not 'video'"):
        prepare_clips(clips, tmp_path / "out", split_by="video")


def test_class_that_the_labels_file_lacks_is_refused(clips, own_clips, tmp_path):
    (own_clips / "train" / "1").rename(own_clips / "train" / "0")  # they may count from 0
    with pytest.raises(ValueError, match=r"without a row in the labels file imigue: '0'; its ids are '1', .*the same"):
        prepare_clips(own_clips, tmp_path / "out", labels_file="imigue")


def test_two_videos_of_one_name_are_reported_and_neither_is_taken(own_clips, tmp_path):
    make_video(own_clips / "train" / "1" / "P1_0.avi", 5, codec="mpeg4")
    preparation = prepare_clips(own_clips, tmp_path / "out", frames_per_clip=1)
    (fault,) = preparation.errors
    assert fault.startswith("P1_0: several clips have this name, keep one: ")
    assert count(preparation)["train"] == 8


def test_clips_that_are_numbered_in_each_split_are_told_apart_but_copies_reported(own_clips, tmp_path):
    (own_clips / "val" / "1" / "P11_0.mp4").rename(own_clips / "val" / "1" / "P1_0.mp4")
    shutil.copy(own_clips / "train" / "1" / "P2_0.mp4", own_clips / "val" / "1")
    preparation = prepare_clips(own_clips, tmp_path / "out", frames_per_clip=1)
    (fault,) = preparation.errors
    assert fault.startswith("P2_0: several clips have this name")
    keys = {split: {row["clip"] for row in rows} for split, rows in read_rows(tmp_path / "out").items()}
    assert "1/train_P1_0" in keys["train"]
    assert "1/validation_P1_0" in keys["validation"]
    assert not keys["train"] & keys["validation"]


def test_clip_that_has_the_name_of_another_with_its_split_is_reported(own_clips, tmp_path):
    (own_clips / "val" / "1" / "P11_0.mp4").rename(own_clips / "val" / "1" / "P1_0.mp4")
    (own_clips / "train" / "1" / "P2_0.mp4").rename(own_clips / "train" / "1" / "train_P1_0.mp4")
    preparation = prepare_clips(own_clips, tmp_path / "out", frames_per_clip=1)
    (fault,) = preparation.errors
    assert fault.startswith("train_P1_0: several clips have this name (the split goes before a name that two splits ")
    assert "), rename one: " in fault
    assert fault.endswith("train/1/train_P1_0.mp4 (train)")
    assert count(preparation) == {"train": 7, "validation": 9, "test": 9}
    rows = read_rows(tmp_path / "out")
    assert len({row["file_name"] for row in rows["train"]}) == len(rows["train"]) == 7
    assert "1/validation_P1_0" in {row["clip"] for row in rows["validation"]}


def test_videos_that_are_passed_over_are_counted(own_clips, tmp_path):
    for place in ("train/loose.mp4", "more/1/other.mp4"):
        (own_clips / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(own_clips / "train" / "1" / "P1_0.mp4", own_clips / place)
    preparation = prepare_clips(own_clips, tmp_path / "out", frames_per_clip=1)
    assert preparation.left_out == {
        "videos outside of the folders of splits": 1,
        "videos without a class folder": 1,
    }


def test_folder_without_videos_is_refused(tmp_path):
    (tmp_path / "clips" / "1").mkdir(parents=True)
    with pytest.raises(ValueError, match="nothing to prepare: no labelled clip was found"):
        prepare_clips(tmp_path / "clips", tmp_path / "out")


def test_list_of_names_and_labels_is_read(flat, tmp_path):
    folder, labels = flat
    lines = [f"{name}{'.mp4' * (place % 2)} {label}" for place, (name, label) in enumerate(labels.items())]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    preparation = prepare_clips(folder, tmp_path / "out", list_file=tmp_path / "list.txt", labels_file="imigue")
    assert (preparation.errors, count(preparation)) == ([], {"train": 9})
    ids = {(row["clip"], row["file_name"].split("/")[0]) for row in read_rows(tmp_path / "out")["train"]}
    assert ids == {(name, label.replace("99", "32")) for name, label in labels.items()}


def test_csv_gives_splits_people_and_names_of_classes(flat, tmp_path):
    folder, labels = flat
    lines = ["split,Subject,label,name"]
    for name, label in labels.items():
        lines.append(f'{"val" if name.startswith("P3") else "train"},{name[:2]},"class, {label}",{name}.mp4')
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    preparation = prepare_clips(folder, tmp_path / "out", list_file=tmp_path / "list.csv", frames_per_clip=1)
    assert (preparation.errors, count(preparation)) == ([], {"train": 6, "validation": 3})
    assert [name for _, name in read_labels_csv(tmp_path / "out")[1:]] == ["class, 1", "class, 2", "class, 99"]
    assert {row["subject"] for row in read_rows(tmp_path / "out")["validation"]} == {"P3"}


def test_names_may_have_folders_and_those_of_windows(clips, tmp_path):
    (tmp_path / "list.txt").write_text("train\\1\\P1_0.mp4 1\r\n./train/2/P1_1 2\r\n")
    prepare_clips(clips, tmp_path / "out", list_file=tmp_path / "list.txt", frames_per_clip=1)
    assert {row["clip"] for row in read_rows(tmp_path / "out")["train"]} == {"train_1_P1_0", "train_2_P1_1"}


def test_list_takes_splits_from_the_folders_of_the_videos(clips, tmp_path):
    (tmp_path / "list.txt").write_text("train/1/P1_0.mp4 1\nP11_1 2\n")
    preparation = prepare_clips(clips, tmp_path / "out", list_file=tmp_path / "list.txt", frames_per_clip=1)
    assert count(preparation) == {"train": 1, "validation": 1}
    assert preparation.left_out == {"videos that the list does not name": 25}


def test_folder_of_a_list_is_no_split(flat, tmp_path):
    folder = flat[0].rename(tmp_path / "my_test")
    (tmp_path / "list.txt").write_text("P1_0 1\nP1_1 2\n")
    preparation = prepare_clips(folder, tmp_path / "out", list_file=tmp_path / "list.txt", frames_per_clip=1)
    assert count(preparation) == {"train": 2}


def test_empty_cell_of_the_split_is_that_of_the_folder_or_train(clips, tmp_path):
    lines = ["name,label,split", "P1_0,1,", "P11_0,1,", "P2_0,1,val"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    preparation = prepare_clips(clips, tmp_path / "out", list_file=tmp_path / "list.csv", frames_per_clip=1)
    assert preparation.errors == []
    assert count(preparation) == {"train": 1, "validation": 2}
    preparation = prepare_clips(clips / "val", tmp_path / "val", list_file=tmp_path / "list.csv", frames_per_clip=1)
    assert count(preparation)["train"] == 1


def test_line_whose_name_has_spaces_is_reported_with_the_csv_that_allows_it(flat, tmp_path):
    folder, _ = flat
    (folder / "P1_0.mp4").rename(folder / "P1 0.mp4")
    (tmp_path / "list.txt").write_text("P1 0.mp4 1\nP1_1.mp4 nod, twice\n")
    preparation = prepare_clips(folder, tmp_path / "out", list_file=tmp_path / "list.txt", frames_per_clip=1)
    assert preparation.errors == [
        f"line 1 of {tmp_path / 'list.txt'}, 'P1 0.mp4 1': a name with spaces needs a CSV with a header, such as "
        "name,label"
    ]
    assert read_labels_csv(tmp_path / "out")[1:] == [("0", "nod, twice")]
    (tmp_path / "list.csv").write_text("name,label\nP1 0.mp4,1\n")
    preparation = prepare_clips(folder, tmp_path / "csv", list_file=tmp_path / "list.csv", frames_per_clip=1)
    assert (preparation.errors, count(preparation)) == ([], {"train": 1})


def test_lines_at_fault_are_each_reported(flat, tmp_path):
    folder, _ = flat
    lines = ["name,label,split", "P1_0,1,train", "P2_0,1,holdout", "P3_0,,train", "P4_0,1,train", "P1_1,2,train"]
    (tmp_path / "list.csv").write_text("\n".join([*lines, "P1_1.mp4,1,train", "P2_1,2,val", "P2_1,2,train"]))
    preparation = prepare_clips(folder, tmp_path / "out", list_file=tmp_path / "list.csv", frames_per_clip=1)
    assert [fault.partition(" of ")[0] for fault in preparation.errors] == [
        "line 4",
        "P1_1: line 6",
        "P2_1: line 8",
        "line 3",
        "line 5",
    ]
    assert "or a cell is empty" in preparation.errors[0]
    assert "'holdout' is not train, validation or test" in preparation.errors[3]
    assert "there is no such video" in preparation.errors[4]
    assert count(preparation) == {"train": 1}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("video_id,start\n1,2\n", r"without a column for 'name', 'label': name the columns"),
        ('name,label\n"P1_0,1\n', "is not a CSV: .* in line 2"),
        (",,\n", r"without a column for 'name', 'label'"),
        ("name,label\n , \n", "nothing to prepare: .*no clip is listed"),
        ("", "nothing to prepare: .*no clip is listed"),
    ],
)
def test_list_without_use_is_refused(flat, tmp_path, text, fault):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=fault):
        prepare_clips(flat[0], tmp_path / "out", list_file=tmp_path / "list.csv")


def test_missing_list_is_reported(flat, tmp_path):
    with pytest.raises(FileNotFoundError, match="no list of clips"):
        prepare_clips(flat[0], tmp_path / "out", list_file=tmp_path / "absent.txt")
    with pytest.raises(FileNotFoundError, match="no folder"):
        prepare_clips(tmp_path / "absent", tmp_path / "out")
