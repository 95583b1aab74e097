"""How the set of a further drawer is built."""

import csv
import io
import sys
import tarfile

import further_drawer
import gestures
import numpy as np
import pytest
from PIL import Image

CODES = {"1f44b": 90, "1f44b-1f3fb": 200, "1f44b-1f3fc": 160, "1f44b-1f3fd": 120, "1f44b-1f3fe": 60, "1f44b-1f3ff": 20}
WAVE = {"id": "7", "name": "waving", "clip": "0010", "package": "p@1", "short_name": "wave", "code": "1f44b"}


@pytest.fixture
def tarball(tmp_path):
    """A package with an emoji in its tones, the lower half of each image transparent."""
    with tarfile.open(tmp_path / "emoji-1.0.0.tgz", "w:gz") as package:
        for code, shade in CODES.items():
            pixels = np.full((256, 256, 4), (shade, shade, shade, 255), dtype=np.uint8)
            pixels[128:, :, 3] = 0
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "WEBP", lossless=True)
            entry = tarfile.TarInfo(f"package/assets/{code}.webp")
            entry.size = len(file.getvalue())
            package.addfile(entry, io.BytesIO(file.getvalue()))
    return tmp_path / "emoji-1.0.0.tgz"


def test_set_has_each_drawing_of_one_drawer_of_the_first_set():
    further = further_drawer.read_clips()
    first = [clip for clip in gestures.read_clips() if "google" in clip["package"]]
    assert [(clip["id"], clip["name"], clip["short_name"], clip["frames"]) for clip in further] == [
        (clip["id"], clip["name"], clip["short_name"], clip["frames"]) for clip in first
    ]
    taken = {(clip["id"], clip["clip"]) for clip in gestures.read_clips()}
    assert taken.isdisjoint((clip["id"], clip["clip"]) for clip in further)
    assert {clip["package"] for clip in further} == {further_drawer.PACKAGE}


def test_tone_follows_the_first_code_point_and_replaces_the_mark_of_a_coloured_emoji():
    codes = further_drawer.codes_of({"code": "1f481-200d-2640-fe0f", "frames": "2"})
    assert codes == ["1f481-200d-2640-fe0f", "1f481-1f3fb-200d-2640-fe0f"]
    assert further_drawer.codes_of({"code": "270d-fe0f", "frames": "6"})[5] == "270d-1f3ff"


def test_frames_are_the_emoji_and_its_tones_on_white(tarball):
    images = dict(further_drawer.draw_clips(tarball, [WAVE | {"frames": "6"}]))
    assert list(images) == [f"training/7/0010.{frame}.jpg" for frame in range(6)]
    assert {image.size for image in images.values()} == {(64, 64)}
    assert [image.getpixel((5, 5))[0] for image in images.values()] == list(CODES.values())
    assert {image.getpixel((5, 60)) for image in images.values()} == {(255, 255, 255)}


def test_package_without_a_drawing_is_refused(tarball):
    with pytest.raises(SystemExit, match=r"no 1f44a\.webp of 'wave'"):
        further_drawer.draw_clips(tarball, [WAVE | {"code": "1f44a", "frames": "1"}])


def test_set_is_written_with_its_licence_if_its_pixels_are_as_measured(tarball, tmp_path, monkeypatch, capsys):
    clips = [WAVE | {"frames": "6"}]
    monkeypatch.setattr(further_drawer, "fetch", lambda package, folder: tarball)
    monkeypatch.setattr(further_drawer, "read_clips", lambda: clips)
    monkeypatch.setattr(sys, "argv", ["further_drawer.py", str(tmp_path / "set")])
    with pytest.raises(SystemExit, match="not the images that were measured"):
        further_drawer.main()
    assert not (tmp_path / "set").exists()
    pixels = gestures.digest(image.tobytes() for _, image in further_drawer.draw_clips(tarball, clips))
    monkeypatch.setattr(further_drawer, "PIXELS_DIGEST", pixels)
    further_drawer.main()
    assert "Copyright (c) Microsoft Corporation." in capsys.readouterr().out
    assert "MIT License" in (tmp_path / "set" / "LICENSES.txt").read_text()
    assert len(list((tmp_path / "set" / "training" / "7").iterdir())) == 6
    with (tmp_path / "set" / "sources.csv").open(newline="") as file:
        assert [row["clip"] for row in csv.DictReader(file)] == ["0010"]
