"""Folders of links: the same images, under the classes that are asked for."""

import links
import numpy as np
import pytest

from mg_vtc.data import load_image_folder


@pytest.fixture(scope="module")
def split(images_dir):
    return links.split_folder(images_dir, 0)


def test_no_clip_is_on_both_sides(split):
    assert not set(split["train"]["clip"]) & set(split["validation"]["clip"])
    assert len(split["train"]) + len(split["validation"]) == 32


def test_links_are_read_as_the_images_that_they_point_to(split, tmp_path):
    read = load_image_folder(links.link_images(tmp_path / "links", split))
    for part in ("train", "validation"):
        assert read[part].features["label"].names == split[part].features["label"].names
        assert read[part]["label"][:] == split[part]["label"][:]
        for linked, image in zip(read[part]["image"], split[part]["image"], strict=True):
            assert np.array_equal(linked, image)


def test_classes_without_an_image_are_named_too(split, tmp_path):
    rows = split["train"].select([0])
    with pytest.warns(UserWarning, match="without images"):
        read = load_image_folder(links.link_images(tmp_path, {"train": rows}))
    assert read["train"].features["label"].names == rows.features["label"].names


def test_earlier_links_are_replaced_and_the_images_stay(split, tmp_path):
    links.link_images(tmp_path / "links", split)
    links.link_images(tmp_path / "links", {"train": split["validation"]})
    assert list(load_image_folder(tmp_path / "links")) == ["train"]
    assert all(image.size for image in split["train"]["image"])
