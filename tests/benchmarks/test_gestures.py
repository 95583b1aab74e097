"""How the set of real images is built."""

import io
import json
import sys
import tarfile

import gestures
import numpy as np
import pytest
from PIL import Image

WAVE = {
    "id": "7",
    "name": "waving",
    "clip": "0003",
    "package": "some-emoji@1.0.0",
    "short_name": "wave",
    "frames": "3",
}


@pytest.fixture
def tarball(tmp_path):
    """A package with an emoji in three tones, half of each image transparent."""
    tones = {tone: {"image": f"wave-{tone}.png"} for tone in ("light", "dark")}
    files = {
        "emoji.json": json.dumps([{"short_name": "wave", "image": "wave.png", "skin_variations": tones}]).encode(),
        "LICENSE": b"Do as you like.",
    }
    for shade, name in ((90, "wave"), (200, "wave-light"), (20, "wave-dark")):
        pixels = np.full((64, 64, 4), (shade, 0, 0, 255), dtype=np.uint8)
        pixels[32:, :, 3] = 0
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files[f"img/emoji/64/{name}.png"] = file.getvalue()
    with tarfile.open(tmp_path / "some-emoji-1.0.0.tgz", "w:gz") as package:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            package.addfile(entry, io.BytesIO(content))
    return tmp_path / "some-emoji-1.0.0.tgz"


def test_set_has_864_images_of_144_clips_and_32_names():
    clips = gestures.read_clips()
    assert len({(clip["id"], clip["clip"]) for clip in clips}) == len(clips) == 144
    assert sum(int(clip["frames"]) for clip in clips) == 864
    assert len({clip["name"] for clip in clips}) == len({(clip["id"], clip["name"]) for clip in clips}) == 32


def test_frames_are_the_emoji_and_its_tones_on_white(tarball):
    images = dict(gestures.draw_clips(tarball, [WAVE]))
    assert list(images) == [f"training/7/0003.{frame}.jpg" for frame in range(3)]
    assert [image.getpixel((5, 5))[0] for image in images.values()] == [90, 200, 20]
    assert {image.getpixel((5, 60)) for image in images.values()} == {(255, 255, 255)}


@pytest.mark.parametrize("change", [{"short_name": "nod"}, {"frames": "6"}])
def test_package_without_the_frames_of_a_clip_is_refused(tarball, change):
    clip = WAVE | change
    with pytest.raises(SystemExit, match=rf"no {clip['frames']} frames of '{clip['short_name']}'"):
        gestures.draw_clips(tarball, [clip])


def test_images_that_were_not_measured_are_refused_and_nothing_is_written(tarball, tmp_path, monkeypatch):
    functions = gestures.main.__globals__
    monkeypatch.setitem(functions, "fetch", lambda package, folder: tarball)
    monkeypatch.setitem(functions, "read_clips", lambda: [WAVE])
    monkeypatch.setattr(sys, "argv", ["gestures.py", str(tmp_path / "set")])
    with pytest.raises(SystemExit, match="not the images that were measured"):
        gestures.main()
    assert not (tmp_path / "set").exists()


def test_set_has_names_sources_and_licences_beside_its_images(tarball, tmp_path, monkeypatch, capsys):
    functions = gestures.main.__globals__
    pixels = gestures.digest(image.tobytes() for _, image in gestures.draw_clips(tarball, [WAVE]))
    monkeypatch.setitem(functions, "PIXELS_DIGEST", pixels)
    monkeypatch.setitem(functions, "fetch", lambda package, folder: tarball)
    monkeypatch.setitem(functions, "read_clips", lambda: [WAVE])
    monkeypatch.setattr(sys, "argv", ["gestures.py", str(tmp_path / "set")])
    gestures.main()
    printed = capsys.readouterr().out
    written = (tmp_path / "set" / "LICENSES.txt").read_text()
    assert written.endswith("Do as you like.")
    for line in (
        "Noto Emoji, copyright Google Inc. Apache License 2.0",
        "Twemoji, copyright Twitter, Inc",
        "CC-BY 4.0",
    ):
        assert line in written
        assert line in printed
    assert (tmp_path / "set" / "labels.csv").read_text() == "id,name\n7,waving\n"
    assert "7,0003,some-emoji@1.0.0,wave,3" in (tmp_path / "set" / "sources.csv").read_text()
    assert len(list((tmp_path / "set" / "training" / "7").glob("0003.*.jpg"))) == 3
    assert "not as measured" in printed  # the digest of the files is that of the real set


def test_folder_that_holds_something_is_left_as_it_is(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="is left as it is"):
        gestures.write_set(tmp_path, {"mine.txt": b"other"})
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_missing_npm_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"npm is not here: install Node\.js"):
        gestures.fetch("some-emoji@1.0.0", tmp_path)


def test_error_of_npm_is_passed_on(tmp_path, monkeypatch):
    (tmp_path / "npm").write_text("#!/bin/sh\necho npm error code E404 >&2\nexit 1\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"could not fetch some-emoji@1\.0\.0:\nnpm error code E404"):
        gestures.fetch("some-emoji@1.0.0", tmp_path)
