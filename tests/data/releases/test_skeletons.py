"""Crops of the person by OpenPose skeletons: where the box is, and what happens without one."""

import math
import shutil

import numpy as np
import pyarrow.parquet
import pytest
from made_releases import make_miga_release, make_original_release, make_skeleton
from PIL import Image

from mg_vtc import prepare_imigue
from mg_vtc.data.releases.boxes import Box
from mg_vtc.data.releases.skeletons import MARGIN, MIN_CONFIDENCE, find_person, read_skeletons
from mg_vtc.data.releases.video import VideoError

from .test_prepare import hash_tree

PEOPLE = {  # left, top, right, bottom in each of the three segments of a video
    "0001": [(20, 10, 40, 30), (8, 8, 28, 18), (50, 20, 63, 40)],
    "0002": [(20, 10, 40, 30), None, (0, 0, 63, 47)],
}


@pytest.fixture(scope="module")
def miga(tmp_path_factory):
    return make_miga_release(tmp_path_factory.mktemp("releases") / "miga")


@pytest.fixture
def release(miga, tmp_path):
    """A copy to spoil, with the skeletons of all videos but the last."""
    folder = shutil.copytree(miga, tmp_path / "release")
    for name, people in PEOPLE.items():
        frames = [person for person in people for _ in range(13)]  # 40 frames are three segments of 13
        make_skeleton(folder / "imigue_skeleton_train" / name / f"{name}_light_hand.csv", [*frames, None])
    make_skeleton(folder / "imigue_skeleton_validate" / "0003" / "0003_light_hand.csv", [])
    return folder


def read_sizes(folder):
    """Size of the images of each clip."""
    sizes = {}
    for path in folder.rglob("*.jpg"):
        with Image.open(path) as image:
            sizes.setdefault(path.name.partition(".")[0], set()).add(image.size)
    return sizes


def expect_size(left, top, right, bottom):
    """Size of the box with its margin, in a frame of 64 x 48."""
    margin = MARGIN * max(right - left, bottom - top)
    width = min(math.ceil(right + margin) + 1, 64) - max(math.floor(left - margin), 0)
    return width, min(math.ceil(bottom + margin) + 1, 48) - max(math.floor(top - margin), 0)


def test_person_of_each_segment_is_cut_out_within_the_frame(release, tmp_path):
    preparation = prepare_imigue(release, tmp_path / "out", crop="skeleton", frames_per_clip=3)
    assert preparation.errors == []
    sizes = read_sizes(tmp_path / "out")
    for name, people in PEOPLE.items():
        for index, person in enumerate(people):
            assert sizes[f"{name}_{index}"] == {(64, 48) if person is None else expect_size(*person)}
    assert sizes["0001_0"] == {(27, 27)}
    whole = [f"{name}_{index}" for name in ("0003", "0004") for index in range(3)]
    assert all(sizes[clip] == {(64, 48)} for clip in whole)


def test_whole_frames_are_noted_and_the_notes_are_kept(release, tmp_path):
    for _ in range(2):
        notes = prepare_imigue(release, tmp_path / "out", crop="skeleton", frames_per_clip=1).notes
        assert [note.partition(":")[0] for note in notes] == ["0004", "0002_1", "0003"]
        assert notes[0] == "0004: there is no skeleton; the frames are whole"
        assert notes[1].endswith("0002_light_hand.csv shows no person; the frames are whole")
        assert notes[2].endswith("0003_light_hand.csv is empty; the frames are whole")


def test_changed_skeletons_and_crops_replace_what_was_written(release, tmp_path):
    skeleton = release / "imigue_skeleton_train" / "0001" / "0001_light_hand.csv"
    prepare_imigue(release, tmp_path / "out", frames_per_clip=1)
    prepare_imigue(release, tmp_path / "out", crop="skeleton", frames_per_clip=1)
    make_skeleton(skeleton, [(5, 5, 9, 15)] * 40)
    prepare_imigue(release, tmp_path / "out", crop="skeleton", frames_per_clip=1)
    prepare_imigue(release, tmp_path / "new", crop="skeleton", frames_per_clip=1)
    assert hash_tree(tmp_path / "out") == hash_tree(tmp_path / "new")
    assert read_sizes(tmp_path / "out")["0001_2"] == {expect_size(5, 5, 9, 15)}


@pytest.mark.filterwarnings("ignore:1 pairs of segments share frames")
def test_frame_of_two_segments_has_two_crops_and_segments_beyond_the_end_are_cut(release, tmp_path):
    (release / "imigue_rgb_train" / "0001" / "0001_label.csv").write_text("5,1,13\n6,10,16\n7,35,60\n")
    preparation = prepare_imigue(release, tmp_path / "out", crop="skeleton", frames_per_clip=30)
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "train" / "metadata.parquet").to_pylist()
    assert {row["frame"] for row in rows if row["clip"] == "0001_2"} == set(range(34, 40))
    sizes = read_sizes(tmp_path / "out")
    assert sizes["0001_0"] == {expect_size(20, 10, 40, 30)}
    assert sizes["0001_1"] == {expect_size(8, 8, 40, 30)}
    assert any("cut there" in note for note in preparation.notes)


def test_skeleton_of_a_larger_video_is_an_error(release, tmp_path):
    make_skeleton(release / "imigue_skeleton_train" / "0001" / "0001_light_hand.csv", [(800, 600, 900, 900)] * 40)
    (fault,) = prepare_imigue(release, tmp_path / "out", crop="skeleton", frames_per_clip=1).errors
    assert fault.startswith("0001: The skeleton puts the person at x, y, width, height = 755, 555, ")
    assert "frames are 64 x 48: it belongs to another video or size" in fault


def test_release_without_skeletons_is_refused(miga, tmp_path):
    with pytest.raises(ValueError, match=r"has no skeletons <id>_light_hand\.csv: unpack .* or give `crop` a CSV"):
        prepare_imigue(miga, tmp_path / "out", crop="skeleton")


def test_skeletons_with_hands_go_before_those_without_and_differing_ones_are_told(release, tmp_path):
    folder = release / "imigue_skeleton_train" / "0001"
    make_skeleton(folder / "0001_light.csv", [(0, 0, 5, 5)] * 40, num_keypoints=25)
    shutil.copytree(folder, release / "copy")
    prepare_imigue(release, tmp_path / "out", crop="skeleton", frames_per_clip=1)
    assert read_sizes(tmp_path / "out")["0001_0"] == {expect_size(20, 10, 40, 30)}
    make_skeleton(release / "copy" / "0001_light_hand.csv", [(0, 0, 5, 5)] * 9)
    (fault,) = prepare_imigue(release, tmp_path / "out", crop="skeleton", frames_per_clip=1).errors
    assert fault.startswith("0001: its skeletons differ")


def test_original_release_is_cropped_by_full_skeletons(tmp_path):
    release = make_original_release(tmp_path / "release")
    for name in ("0001", "0002", "0003"):
        make_skeleton(release / "skeletons" / f"{name}_light_hand.csv", [(20, 10, 40, 30)] * 40, num_keypoints=137)
    preparation = prepare_imigue(release, tmp_path / "out", crop="skeleton", frames_per_clip=1, format="parquet")
    assert preparation.errors == preparation.notes == []


@pytest.mark.parametrize("num_keypoints", [25, 35, 137])
@pytest.mark.parametrize("has_header", [True, False])
@pytest.mark.parametrize("has_index", [True, False])
def test_rows_are_read_with_or_without_header_and_index(tmp_path, num_keypoints, has_header, has_index):
    options = {"num_keypoints": num_keypoints, "has_header": has_header, "has_index": has_index}
    keypoints = read_skeletons(make_skeleton(tmp_path / "s.csv", [(20, 10, 40, 30), None, (1, 2, 3, 4)], **options))
    assert keypoints.shape == (3, num_keypoints, 3)
    np.testing.assert_array_equal(keypoints[0, :2], [(20, 10, 0.3), (40, 10, 0.3)])
    np.testing.assert_array_equal(keypoints[1], 0)
    np.testing.assert_array_equal(keypoints[2, -1], (1000, 1000, 0.2))


@pytest.mark.parametrize("text", ["", "\n", ",".join(map(str, range(106))), ",x0,y0,c0\n"])
def test_skeleton_without_rows_is_empty(tmp_path, text):
    (tmp_path / "s.csv").write_text(text)
    assert len(read_skeletons(tmp_path / "s.csv")) == 0


@pytest.mark.parametrize("has_index", [True, False])
@pytest.mark.parametrize("has_header", [True, False])
def test_first_frame_without_some_keypoints_is_a_frame(tmp_path, has_header, has_index):
    path = make_skeleton(tmp_path / "s.csv", [(20, 10, 40, 30)] * 2, has_header=has_header, has_index=has_index)
    lines = path.read_text().splitlines()
    cells = lines[has_header].split(",")
    cells[3 + has_index : 6 + has_index] = ["", "", ""]
    lines[has_header] = ",".join(cells)
    path.write_text("\n".join(lines))
    keypoints = read_skeletons(path)
    assert keypoints.shape == (2, 35, 3)
    np.testing.assert_array_equal(keypoints[0, :2], [(20, 10, 0.3), (np.nan, np.nan, np.nan)])
    np.testing.assert_array_equal(keypoints[1, 1], (40, 10, 0.3))


@pytest.mark.parametrize("has_header", [True, False])
def test_empty_lines_are_frames_except_at_the_end(tmp_path, has_header):
    path = make_skeleton(tmp_path / "s.csv", [(20, 10, 40, 30), (1, 2, 3, 4)], has_header=has_header)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], "", " ", lines[-1], "", "\n"]))
    keypoints = read_skeletons(path)
    assert keypoints.shape == (4, 35, 3)
    assert np.isnan(keypoints[1:3]).all()
    np.testing.assert_array_equal(keypoints[3, 0], (1, 2, 0.3))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1,2,3\n4,5,6\n", "has 3 columns: x, y and confidence of 25, 35 or 137 keypoints are needed"),
        (",".join("1" * 275) + "\n", "has 275 columns"),  # of a Kinect
        (",".join("1" * 105) + "\n1,2\n", "is not a CSV of numbers: .*Expected 105 columns, got 2"),
        (",".join("1" * 105) + "\n" + ",".join("x" * 105), "is not a CSV of numbers: .*'x'"),
        (b"\xff\xfe\x31", "is not a UTF-8 CSV"),
    ],
)
def test_other_tables_are_refused(tmp_path, text, fault):
    (tmp_path / "s.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(VideoError, match=fault):
        read_skeletons(tmp_path / "s.csv")


def test_box_is_that_of_the_confident_keypoints_with_a_margin():
    keypoints = np.zeros((4, 35, 3))
    keypoints[1, :5] = [(100, 200, 0.9), (300, 200, 0.9), (100, 600, 0.9), (300, 600, MIN_CONFIDENCE), (200, 300, 1)]
    keypoints[1, 5] = (5000, 5000, MIN_CONFIDENCE - 0.01)
    keypoints[2, 6] = (np.nan, np.nan, np.nan)
    margin = int(MARGIN * 400)
    box = Box(100 - margin, 200 - margin, 201 + 2 * margin, 401 + 2 * margin)
    assert find_person(keypoints, 0, 3) == find_person(keypoints, 1, 1) == find_person(keypoints, 0, 99) == box
    keypoints[1:3, 7:9] = [(np.nan, 300, 0.9), (300, np.inf, 0.9)]  # confident, but nowhere
    assert find_person(keypoints, 0, 3) == find_person(keypoints, 1, 1) == box
    assert find_person(keypoints, 2, 3) is None
    assert find_person(keypoints, 50, 99) is None
    keypoints[1, 0, 2] = 0
    assert find_person(keypoints, 0, 3) is None  # four are too few
