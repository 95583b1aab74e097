"""HEIC is read where the extra is installed, and named where it is not; so are other formats that are not read."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.ExifTags
import PIL.Image
import pillow_heif
import pytest

from mg_vtc.data.corrupt_files import find_error
from mg_vtc.data.decoding import decode, to_rgb
from mg_vtc.data.image_formats import describe_unknown

RGB = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8), 16, 0), 16, 1)


def write_heic(path: Path) -> Path:
    """Write what an iPhone held upright does: pixels on their side, and a note to turn them."""
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = 6
    pillow_heif.from_pillow(PIL.Image.fromarray(np.rot90(RGB))).save(
        path, quality=100, chroma=444, exif=exif.tobytes()
    )
    return path


def test_heic_is_decoded_upright(tmp_path: Path):
    path = write_heic(tmp_path / "IMG_0001.HEIC")
    assert find_error(path) is None
    with PIL.Image.open(path) as image:
        difference = np.asarray(to_rgb(image)).astype(int) - RGB
    assert np.abs(difference).mean() < 4  # it is lossy
    assert decode({"bytes": None, "path": str(path)}, 24).shape == (24, 24, 3)


def test_without_the_extra_heic_is_named_and_the_extra_too(tmp_path: Path):
    path = write_heic(tmp_path / "IMG_0001.HEIC")
    code = (
        "import sys, pathlib; sys.modules['pillow_heif'] = None\n"
        "from mg_vtc.data.corrupt_files import find_error; print(find_error(pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert told.strip() == (
        'a HEIC image: convert it to JPEG, or install the extra heif: pip install "mg-vtc[heif]" '
        f"({path.stat().st_size} bytes)"
    )


def test_damaged_heic_is_named(tmp_path: Path):
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    assert "HEIC" in find_error(path)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"\0\0\0\x20ftypisom\0\0\2\0", "a video, not an image"),
        (b"\xff\x0a\xfa\x1f", "in the unsupported format JPEG XL: convert it"),
        (b"%PDF-1.7", "in the unsupported format PDF"),
        (b"<svg xmlns=", "in the unsupported format SVG"),
        (b"hello", "not an image"),
        (b"", "not an image"),
    ],
)
def test_what_is_not_read_is_named(head: bytes, told: str):
    assert told in describe_unknown(head)
