"""Digests tell images by their bytes."""

import hashlib
from pathlib import Path

import datasets
from datasets import Dataset
from PIL import Image

from mg_vtc.data.digests import digest_images

FEATURES = datasets.Features(image=datasets.Image())


def test_digest_is_of_the_bytes_wherever_they_are(tmp_path: Path):
    for number in range(3):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{number}.png")
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    in_files = Dataset.from_dict({"image": [str(path) for path in paths]}, features=FEATURES)
    in_arrow = [{"bytes": path.read_bytes(), "path": None} for path in paths]
    embedded = Dataset.from_dict({"image": in_arrow}, features=FEATURES)
    expected = [hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest() for path in paths]
    assert digest_images(in_files) == digest_images(embedded) == expected
    assert digest_images(embedded.select([2, 0])) == [expected[2], expected[0]]
