"""SMG: labels from 1 become ids from 0, samples are subjects, and the official split stands."""

import pyarrow.parquet
import pytest
from made_releases import make_smg_release, read_number
from PIL import Image

from mg_vtc import prepare_smg


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return make_smg_release(tmp_path_factory.mktemp("releases") / "smg")


def test_skeletons_of_a_kinect_are_refused(release, tmp_path):
    with pytest.raises(ValueError, match=r"of a Kinect, not of OpenPose: give `crop` a CSV"):
        prepare_smg(release, tmp_path / "out", crop="skeleton")


def test_classes_are_counted_from_0_and_samples_are_subjects(release, tmp_path):
    preparation = prepare_smg(release, tmp_path, frames_per_clip=1)
    assert preparation.errors == []
    assert {split.split: split.clips for split in preparation.splits} == {"train": 6, "validation": 3, "test": 3}
    rows = pyarrow.parquet.read_table(tmp_path / "validation" / "metadata.parquet").to_pylist()
    assert [row["file_name"] for row in rows] == [
        "0/Sample0031_0.6.jpg",
        "1/Sample0031_1.19.jpg",
        "16/Sample0031_2.32.jpg",
    ]
    assert [row["label"] for row in rows] == [0, 1, 16]
    assert {(row["video"], row["subject"]) for row in rows} == {("Sample0031", "31")}
    for row in rows:
        assert read_number(Image.open(tmp_path / "validation" / row["file_name"])) == row["frame"]


def test_class_0_in_a_file_that_counts_from_1_is_reported(release, tmp_path):
    sample = tmp_path / "release" / "Sample0007"
    sample.mkdir(parents=True)
    (sample / "Sample0007_color.mp4").write_bytes(
        (release / "smg_rgb_train" / "Sample0001" / "Sample0001_color.mp4").read_bytes()
    )
    (sample / "Sample0007_finelabels.csv").write_text("0,1,10\n17,11,20\n")
    preparation = prepare_smg(tmp_path / "release", tmp_path / "out")
    assert "no class 0, only 1, 2" in preparation.errors[0]
    assert preparation.splits == [("train", 1, 1, 8, 1)]


def test_class_16_is_left_out_on_demand(release, tmp_path):
    preparation = prepare_smg(release, tmp_path, keep_non_mg=False)
    assert preparation.left_out == {"clips that show no micro-gesture": 4}


def test_folder_without_such_labels_is_refused(tmp_path):
    (tmp_path / "videos").mkdir()
    with pytest.raises(ValueError, match=r"it contains 'videos'"):
        prepare_smg(tmp_path, tmp_path / "out")


def test_missing_folder_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        prepare_smg(tmp_path / "absent", tmp_path / "out")
