"""Claims about the drawn demo set: its rows, and its images as a pure function of label, clip and frame."""

import hashlib
import subprocess
import sys
from itertools import combinations

import datasets
import numpy as np
import pytest
from PIL import Image

from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.data.demo.dataset import POSES, load_demo_dataset, render_contact_sheet, render_frame
from mg_vtc.data.demo.drawing import HAIR, HANDS, NECKLINES, POLES

NUM_CLASSES = len(IMIGUE_CLASS_NAMES)


def pixels(label: int, clip: int, frame: int, image_size: int = 48) -> np.ndarray:
    """The frame as float (image_size, image_size, 3)."""
    return np.asarray(render_frame(label, clip, frame, image_size), dtype=float)


@pytest.fixture(scope="module")
def dataset() -> datasets.Dataset:
    return load_demo_dataset(image_size=32, num_clips=2, num_frames=2)


def test_every_class_has_a_pose_of_known_parts():
    assert len(POSES) == NUM_CLASSES
    for pose in POSES:
        assert {pose.right.shape, pose.left.shape} <= HANDS.keys()
        assert {pose.right.elbow, pose.left.elbow} <= POLES.keys()
        assert pose.hair in {"", *HAIR}
        assert pose.neckline in {"", *NECKLINES}


@pytest.mark.parametrize("image_size", [1, 17, 64, 100])
def test_frame_is_rgb_of_the_size_asked_for(image_size):
    image = render_frame(0, 0, 0, image_size)
    assert (image.mode, image.size) == ("RGB", (image_size, image_size))


def test_same_arguments_give_the_same_bytes():
    assert render_frame(5, 2, 1).tobytes() == render_frame(5, 2, 1).tobytes()


def test_another_process_draws_the_same_bytes():
    script = (
        "import hashlib; from mg_vtc.data.demo.dataset import render_frame;"
        "frames = b''.join(render_frame(label, 1, 2).tobytes() for label in range(32));"
        "print(hashlib.sha256(frames).hexdigest(), end='')"
    )
    here = hashlib.sha256(b"".join(render_frame(label, 1, 2).tobytes() for label in range(32))).hexdigest()
    # Hash randomisation differs from process to process: an order taken from a set would show here.
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert there.stdout == here


@pytest.mark.parametrize("label", range(NUM_CLASSES))
def test_frames_of_a_clip_are_near_duplicates_but_not_equal(label):
    clips = [[pixels(label, clip, frame) for frame in range(3)] for clip in range(3)]
    within = [np.abs(a - b).mean() for frames in clips for a, b in combinations(frames, 2)]
    between = [np.abs(a - b).mean() for one, other in combinations(clips, 2) for a in one for b in other]
    assert min(within) > 0
    assert 2 * np.mean(within) < np.mean(between)


@pytest.mark.parametrize("clip", [0, 1])
def test_every_class_is_drawn_differently_by_the_same_figure(clip, monkeypatch):
    # The figure depends on (label, clip): drawing every pose as label 0 leaves the pose as the only difference.
    images = []
    for pose in POSES:
        monkeypatch.setattr("mg_vtc.data.demo.dataset.POSES", (pose,))
        images.append(pixels(0, clip, 0))
    nearest = min(np.abs(a - b).mean() for a, b in combinations(images, 2))
    assert nearest > 1  # grey levels of 255, over an image that is mostly background


def test_rows_come_in_the_order_class_clip_frame(dataset):
    assert dataset["file_name"][:5] == ["1/0000.0.png", "1/0000.1.png", "1/0001.0.png", "1/0001.1.png", "2/0000.0.png"]
    assert dataset["file_name"][-1] == "32/0001.1.png"
    assert len(set(dataset["file_name"])) == len(dataset) == NUM_CLASSES * 2 * 2


def test_columns_agree_with_one_another(dataset):
    for label, name, clip in zip(dataset["label"], dataset["file_name"], dataset["clip"], strict=True):
        assert name.rsplit(".", 2)[0] == clip
        assert clip.split("/")[0] == str(label + 1)


def test_features_carry_all_class_names_in_id_order(dataset):
    assert dataset.features["label"].names == list(IMIGUE_CLASS_NAMES)
    assert isinstance(dataset.features["image"], datasets.Image)
    assert dataset.features["file_name"] == dataset.features["clip"] == datasets.Value("string")
    assert set(dataset["label"]) == set(range(NUM_CLASSES))


def test_stored_image_is_the_rendered_one_as_png(dataset):
    row = dataset[7]
    assert row["file_name"] == "2/0001.1.png"
    assert row["image"].format == "PNG"
    assert row["image"].tobytes() == render_frame(1, 1, 1, 32).tobytes()


def test_default_set_has_768_rows_of_64_pixels():
    dataset = load_demo_dataset()
    assert len(dataset) == 768
    assert dataset[0]["image"].size == (64, 64)


def test_contact_sheet_holds_every_class_at_its_place():
    sheet = render_contact_sheet(image_size=96, columns=8)
    first = render_frame(0, 0, 0, 96)
    assert sheet.crop((8, 8, 104, 104)).tobytes() == first.tobytes()
    assert sheet.width == 8 * (96 + 8) + 8


def test_contact_sheet_is_1608_pixels_wide_by_default():
    sheet = render_contact_sheet()
    assert isinstance(sheet, Image.Image)
    assert sheet.width == 1608


@pytest.mark.parametrize("arguments", [(-1, 0, 0), (32, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 0, 0), (0, 0, 0, -8)])
def test_frame_out_of_range_is_refused(arguments):
    with pytest.raises(ValueError, match="label must be 0 to 31, clip and frame at least 0 and image_size at least 1"):
        render_frame(*arguments)


@pytest.mark.parametrize("sizes", [{"num_clips": 0}, {"num_frames": -1}])
def test_empty_set_is_refused(sizes):
    with pytest.raises(ValueError, match="num_clips and num_frames must be at least 1"):
        load_demo_dataset(**sizes)


def test_size_of_the_set_is_checked():
    with pytest.raises(ValueError, match="image_size at least 1"):
        load_demo_dataset(image_size=0)
