"""Videos are known by their names, where nothing can decode them."""

import subprocess
import sys
from pathlib import Path

import av
import pytest

from mg_vtc.data.releases.video_names import VIDEO_SUFFIXES, find_video_name, is_video


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_decoder_knows_every_suffix(suffix):
    assert any(suffix.removeprefix(".") in av.ContainerFormat(name).extensions for name in av.formats_available)


def test_case_of_the_suffix_does_not_matter():
    assert is_video(Path("videos/0001.MP4"))
    assert not is_video(Path("videos.mp4/0001.jpg"))


def test_video_is_called_as_labels_call_it_by_its_name_or_by_its_folder():
    assert find_video_name(Path("0002/0001.mp4"), {1, 2}) == "0001"
    assert find_video_name(Path("0002/color.mp4"), {1, 2}) == "0002"
    assert find_video_name(Path("0002/0007.mp4"), {1, 2}) is None  # the seventh, of a second batch, disk or subject
    assert find_video_name(Path("Sample0002/0003.mp4"), {1, "Sample0002"}) == "Sample0002"
    assert find_video_name(Path("0004/0003.mp4"), {1, 2}) is None


def test_names_are_known_without_the_extra():
    code = "import sys; sys.modules['av'] = None; import mg_vtc.data.releases.video_names, mg_vtc.inference.inputs"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
