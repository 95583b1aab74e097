"""What is found in a release, whatever its layout."""

import pytest

from mg_vtc.data.releases.choices import SegmentChoices as Choices
from mg_vtc.data.releases.release import find_split, find_split_below, list_files
from mg_vtc.data.releases.shards import ImageShard, ReleaseImage

CHOICES = {"data": "imigue", "format": "parquet", "frames_per_clip": 8, "keep_non_mg": True, "first_frame": 1}


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("imigue_rgb_train/0001/0001.mp4", "train"),
        ("Phase1/imigue_rgb_validate/0001/0001.mp4", "validation"),
        ("SMG_RGB_Phase2/smg_rgb_test/Sample0036/Sample0036_color.mp4", "test"),
        ("Val/0001.mp4", "validation"),
        ("train/test/0001.mp4", "test"),
        ("videos/0001.mp4", None),
    ],
)
def test_nearest_folder_that_names_a_split_tells_it(tmp_path, path, split):
    assert find_split(tmp_path / path, tmp_path) == split


def test_folder_of_one_split_tells_it(tmp_path):
    assert find_split(tmp_path / "imigue_rgb_test" / "0001.mp4", tmp_path / "imigue_rgb_test") == "test"
    assert find_split_below(tmp_path / "imigue_rgb_test" / "0001.mp4", tmp_path / "imigue_rgb_test") is None


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    for name in ("b/2.txt", "a.txt", ".DS_Store", ".git/x", "b/._2.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_files(tmp_path) == [tmp_path / "a.txt", tmp_path / "b" / "2.txt"]


def test_class_names_are_in_id_order_and_leave_out_what_is_no_micro_gesture():
    assert list(Choices(**CHOICES).class_names) == list(range(1, 33))
    assert list(Choices(**CHOICES | {"keep_non_mg": False}).class_names) == list(range(1, 32))
    assert list(Choices(**CHOICES | {"data": "smg", "keep_non_mg": False}).class_names) == list(range(16))


@pytest.mark.parametrize(("choice", "value"), [("format", "zip"), ("frames_per_clip", 0), ("first_frame", 2)])
def test_choice_out_of_range_is_refused(choice, value):
    with pytest.raises(ValueError, match=rf"{choice} must be .*{value}"):
        Choices(**CHOICES | {choice: value})


def test_fingerprint_is_that_of_the_content_wherever_it_lies(tmp_path):
    def fingerprint(folder, data):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / "0000.0.jpg"
        path.write_bytes(data)
        return ImageShard("train", "00000", (ReleaseImage(path, "1/0000", 1, 0),)).fingerprint()

    assert fingerprint("a", b"123") == fingerprint("b", b"456")
    assert fingerprint("a", b"123") != fingerprint("b", b"12")
