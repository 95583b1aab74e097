"""iMiGUE in its three layouts: which frames come out, in which split, under which class."""

import itertools
import shutil

import pyarrow.parquet
import pytest
from made_releases import (
    NTSC,
    PAL,
    draw_number,
    make_image_release,
    make_miga_release,
    make_original_release,
    make_video,
    read_number,
)
from PIL import Image

from mg_vtc import prepare_imigue
from mg_vtc.data import load_image_folder
from mg_vtc.data.releases.frames import choose_frames


@pytest.fixture(scope="module")
def miga(tmp_path_factory):
    return make_miga_release(tmp_path_factory.mktemp("releases") / "miga")


@pytest.fixture
def own_miga(miga, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(miga, tmp_path / "miga")


def read_rows(folder):
    paths = folder.glob("*/metadata.parquet")
    return {path.parent.name: pyarrow.parquet.read_table(path).to_pylist() for path in paths}


def read_sizes(folder):
    sizes = set()
    for path in folder.rglob("*.jpg"):
        with Image.open(path) as image:
            sizes.add(image.size)
    return sizes


def count(preparation):
    return {split.split: split.clips for split in preparation.splits}


def test_exactly_the_chosen_frames_come_out(miga, tmp_path):
    preparation = prepare_imigue(miga, tmp_path, frames_per_clip=3)
    assert preparation.errors == preparation.notes == []
    assert preparation.layout == "MiGA"
    assert count(preparation) == {"train": 6, "validation": 3, "test": 3}
    of_a_video = [  # 40 frames are three segments of 13
        *((1, "0", frame) for frame in choose_frames(0, 12, 3)),
        *((2, "1", frame) for frame in choose_frames(13, 25, 3)),
        *((32, "2", frame) for frame in choose_frames(26, 38, 3)),
    ]
    for split, videos in (("train", ("0001", "0002")), ("validation", ("0003",)), ("test", ("0004",))):
        wanted = {f"{label}/{video}_{index}.{frame}.jpg" for label, index, frame in of_a_video for video in videos}
        rows = read_rows(tmp_path)[split]
        files = {path.relative_to(tmp_path / split).as_posix() for path in (tmp_path / split).rglob("*.jpg")}
        assert files == {row["file_name"] for row in rows} == wanted
        for row in rows:
            assert row["clip"].startswith(f"{row['video']}_")
            assert row["time"] == pytest.approx(row["frame"] / 25)
            with Image.open(tmp_path / split / row["file_name"]) as image:
                assert read_number(image) == row["frame"]


def test_right_frames_come_out_at_any_rate_with_a_broken_video_among_them(tmp_path):
    uneven = list(itertools.accumulate([0] + [40, 17, 100, 33, 7] * 8))  # milliseconds, not of the first frame at 0
    rates = {"0001": {"rate": PAL}, "0002": {"rate": NTSC}, "0003": {"times": [500 + time for time in uneven]}}
    for name, options in rates.items():
        make_video(tmp_path / "release" / f"{name}.mp4", 41, video=int(name), **options)
    (tmp_path / "release" / "0004.mp4").write_bytes((tmp_path / "release" / "0001.mp4").read_bytes()[:900])
    for name in (*rates, "0004"):
        (tmp_path / "release" / f"{name}_label.csv").write_text("5,1,41\n6,12,12\n7,30,33\n")
    with pytest.warns(UserWarning, match="8 pairs of segments share frames"):
        preparation = prepare_imigue(tmp_path / "release", tmp_path / "out", frames_per_clip=5)
    assert [fault[:5] for fault in preparation.errors] == ["0004:"]
    rows = read_rows(tmp_path / "out")["train"]
    for name in rates:
        found = sorted((row["clip"], row["frame"]) for row in rows if row["video"] == name)
        frames = {"_0": [4, 12, 20, 28, 36], "_1": [11], "_2": [29, 30, 31, 32]}
        assert found == [(f"{name}{clip}", frame) for clip, of_clip in frames.items() for frame in of_clip]
    for row in rows:
        with Image.open(tmp_path / "out" / "train" / row["file_name"]) as image:
            assert read_number(image) == row["frame"]
        rate = {"0001": 25, "0002": 29.97003}.get(row["video"])
        assert row["time"] == pytest.approx(row["frame"] / rate if rate else uneven[row["frame"]] / 1000, abs=1e-5)


def test_first_frame_0_takes_the_frames_of_the_same_numbers(miga, tmp_path):
    prepare_imigue(miga, tmp_path, frames_per_clip=1, first_frame=0)
    assert {row["frame"] for row in read_rows(tmp_path)["test"]} == {7, 20, 33}


def test_class_32_is_left_out_on_demand(miga, tmp_path):
    preparation = prepare_imigue(miga, tmp_path, keep_non_mg=False)
    assert count(preparation) == {"train": 4, "validation": 2, "test": 2}
    assert preparation.left_out == {"clips that show no micro-gesture": 4}
    assert "32," not in (tmp_path / "labels.csv").read_text()


def test_folder_is_read_by_image_folder_with_all_classes(miga, tmp_path):
    prepare_imigue(miga, tmp_path, frames_per_clip=2)
    with pytest.warns(UserWarning, match="without images"):
        splits = load_image_folder(tmp_path)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 12, "validation": 6, "test": 6}
    feature = splits["train"].features["label"]
    assert len(feature.names) == 32
    found = {feature.names[row["label"]] for row in splits["train"]}
    assert found == {"Turtle neck", "Bulging face or deep breath", "Illustrative hand gestures"}
    assert set(splits["test"]["clip"]) == {"0004_0", "0004_1", "0004_2"}


def test_box_is_cut_out_of_its_video(miga, tmp_path):
    (tmp_path / "boxes.csv").write_text("video,x,y,w,h\n4,8,0,16,24\n")
    prepare_imigue(miga, tmp_path / "out", frames_per_clip=1, crop=tmp_path / "boxes.csv")
    assert read_sizes(tmp_path / "out" / "test") == {(16, 24)}
    assert read_sizes(tmp_path / "out" / "train") == {(64, 48)}


def test_box_that_reaches_out_and_box_of_no_video_are_errors(miga, tmp_path):
    (tmp_path / "boxes.csv").write_text("video,x,y,w,h\n4,60,0,16,24\n77,0,0,1,1\n")
    preparation = prepare_imigue(miga, tmp_path / "out", crop=tmp_path / "boxes.csv")
    assert ["'77'" in preparation.errors[0], "extends beyond" in preparation.errors[1]] == [True, True]
    assert count(preparation) == {"train": 6, "validation": 3, "test": 0}


def test_labels_beside_the_video_and_with_the_skeletons_are_one(own_miga, tmp_path):
    copy = own_miga / "imigue_skeleton_train" / "0001" / "0001_label.csv"
    copy.parent.mkdir(parents=True)
    shutil.copy(own_miga / "imigue_rgb_train" / "0001" / "0001_label.csv", copy)
    assert prepare_imigue(own_miga, tmp_path / "out").errors == []
    copy.write_text("3,1,10\n")
    assert "differ" in prepare_imigue(own_miga, tmp_path / "out").errors[0]


def test_two_videos_of_one_name_are_reported_and_neither_is_taken(own_miga, tmp_path):
    other = make_video(own_miga / "imigue_rgb_validate" / "0001.avi", 5)
    preparation = prepare_imigue(own_miga, tmp_path / "out")
    (fault,) = preparation.errors
    assert fault.startswith("0001: several videos have this name")
    assert str(other) in fault
    assert count(preparation)["train"] == 3


@pytest.mark.parametrize("name", ["0001_color.mp4", "video.mp4", "1.mp4"])
def test_video_is_found_by_the_name_of_its_folder_too(own_miga, tmp_path, name):
    video = own_miga / "imigue_rgb_train" / "0001" / "0001.mp4"
    video.rename(video.with_name(name))
    preparation = prepare_imigue(own_miga, tmp_path / "out")
    assert preparation.errors == []
    assert count(preparation) == {"train": 6, "validation": 3, "test": 3}


def test_video_of_the_name_goes_before_others_in_its_folder(own_miga, tmp_path):
    folder = own_miga / "imigue_rgb_train" / "0001"
    shutil.copy(folder / "0001.mp4", folder / "0001_depth.mp4")
    assert prepare_imigue(own_miga, tmp_path / "out").errors == []
    (folder / "0001.mp4").rename(folder / "0001_color.mp4")
    (fault,) = prepare_imigue(own_miga, tmp_path / "other").errors
    assert "0001: several videos have this name, keep one: " in fault
    assert "0001_color.mp4" in fault


def test_video_that_is_called_otherwise_is_named(own_miga, tmp_path):
    folder = (own_miga / "imigue_rgb_train" / "0001").rename(own_miga / "imigue_rgb_train" / "first")
    (folder / "0001.mp4").rename(folder / "video.mp4")
    (fault,) = prepare_imigue(own_miga, tmp_path / "out").errors
    assert fault.endswith("0001_label.csv; next to them is 'video.mp4', with another name")


def test_missing_video_and_bad_labels_are_reported_and_the_others_done(own_miga, tmp_path):
    (own_miga / "imigue_rgb_train" / "0001" / "0001.mp4").unlink()
    (own_miga / "imigue_rgb_train" / "0002" / "0002_label.csv").write_text("11,40,7\n101,140,8\n")
    (own_miga / "imigue_rgb_validate" / "0003" / "0003_label.csv").write_text("7,1,10\n45,11,20\n8,30,21\n")
    preparation = prepare_imigue(own_miga, tmp_path / "out")
    assert [fault[:4] for fault in preparation.errors] == ["0002", "0003", "0001"]
    assert "2 of 2 lines are not class,start,end" in preparation.errors[0]
    assert "no class 45" in preparation.errors[1]
    assert "no video for the labels in" in preparation.errors[2]
    assert count(preparation) == {"test": 3}


def test_videos_without_labels_are_left_out(own_miga, tmp_path):
    shutil.rmtree(own_miga / "imigue_skeleton_test")
    preparation = prepare_imigue(own_miga, tmp_path / "out")
    assert preparation.left_out == {"videos without labels": 1}
    assert preparation.errors == []


def test_original_release_tells_the_subjects(tmp_path):
    preparation = prepare_imigue(make_original_release(tmp_path / "release"), tmp_path / "out", frames_per_clip=1)
    assert preparation.layout == "original"
    rows = read_rows(tmp_path / "out")["train"]
    assert {(row["video"], row["subject"]) for row in rows} == {("0001", "11"), ("0002", "12"), ("0003", "13")}
    assert [row["clip"] for row in rows[:3]] == ["0001_0", "0001_1", "0001_2"]


def test_table_of_labels_goes_with_the_folders_of_the_challenge(miga, own_miga, tmp_path):
    for path in own_miga.rglob("*_label.csv"):
        path.unlink()
    lines = [f"{video},5,1,10,{video + 60},Lose" for video in (1, 2, 3, 4)]
    (own_miga / "labels_20200831.csv").write_text("\n".join(lines))
    preparation = prepare_imigue(own_miga, tmp_path / "out")
    assert count(preparation) == {"train": 2, "validation": 1, "test": 1}


def test_images_are_copied_as_they_are_and_clips_known_by_class(tmp_path):
    release = make_image_release(tmp_path / "release")
    preparation = prepare_imigue(release, tmp_path / "out")
    assert preparation.layout == "image-level"
    assert preparation.left_out == {"images without a class in test": 1}
    before, after = release / "training", tmp_path / "out" / "train"
    sources = {path.relative_to(before): path.read_bytes() for path in before.rglob("*.jpg")}
    copies = {path.relative_to(after) for path in after.rglob("*.jpg")}
    assert copies == set(sources)
    assert all((after / path).read_bytes() == data for path, data in sources.items())
    rows = read_rows(tmp_path / "out")["train"]
    assert [row["label"] for row in rows] == sorted([0, 1, 9, 31] * 10)  # 10 comes after 2, not after 1
    assert {row["clip"] for row in rows} == {f"{label}/{clip:04}" for label in (1, 2, 10, 32) for clip in range(4)}


def test_frames_of_a_clip_of_images_are_evenly_spaced(tmp_path):
    for frame in range(12):  # as numbers, not as text
        path = tmp_path / "release" / "train" / "07" / f"0000.{frame}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_number(frame).save(path)
    prepare_imigue(tmp_path / "release", tmp_path / "out", frames_per_clip=4)
    assert [row["frame"] for row in read_rows(tmp_path / "out")["train"]] == [1, 4, 7, 10]


def test_labelled_test_images_are_the_test_split(tmp_path):
    release = make_image_release(tmp_path / "release")
    shutil.copytree(release / "training" / "2", release / "test" / "2")
    preparation = prepare_imigue(release, tmp_path / "out")
    assert count(preparation) == {"train": 16, "test": 4}


def test_strange_files_among_images_are_reported(tmp_path):
    release = make_image_release(tmp_path / "release")
    (release / "training" / "33").mkdir()
    for name in ("33/0000.0.jpg", "1/notes.txt", "1/0000.00.jpg", "1/Thumbs.db"):
        (release / "training" / name).touch()
    errors = prepare_imigue(release, tmp_path / "out").errors
    assert len(errors) == 3
    assert "the same frame as" in errors[0]
    assert "notes.txt: not named" in errors[1]
    assert "33/0000.0.jpg: not in a class folder" in errors[2]


def test_boxes_are_refused_for_images(tmp_path):
    with pytest.raises(ValueError, match="crop boxes are for videos"):
        prepare_imigue(make_image_release(tmp_path / "release"), tmp_path / "out", crop=tmp_path / "boxes.csv")


def test_unknown_layout_is_refused_with_what_was_found_and_what_is_known(tmp_path):
    (tmp_path / "release" / "stuff").mkdir(parents=True)
    with pytest.raises(
        ValueError, match=r"contains 'stuff'\. Known layouts: .*training/.*_label\.csv.*labels_20200831"
    ):
        prepare_imigue(tmp_path / "release", tmp_path / "out")


def test_missing_folder_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        prepare_imigue(tmp_path / "absent", tmp_path / "out")
