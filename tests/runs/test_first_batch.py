"""The image of the first batch: its tiles are the images, its comment has their classes."""

import numpy as np
import pytest

from mg_vtc.runs.first_batch import MOST_SHOWN, read_first_batch, write_first_batch


def make_images(count, side=32):
    """Images of one colour each."""
    colours = np.random.default_rng(0).integers(0, 256, size=(count, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (count, side, side, 3)).copy()


@pytest.mark.parametrize("count", [1, 3, 4, 7, MOST_SHOWN, MOST_SHOWN + 5])
def test_images_and_classes_are_read_as_they_were_written(count, tmp_path):
    images = make_images(count)
    shares = [[(f"class {number}", 0.75), ("手を振る <b>", 0.25)] for number in range(count)]
    write_first_batch(tmp_path / "batch.jpg", images, shares)
    seen = read_first_batch(tmp_path / "batch.jpg")
    assert [one.shares for one in seen] == shares[:MOST_SHOWN]
    for one, image in zip(seen, images[:MOST_SHOWN], strict=True):
        assert np.abs(np.asarray(one.image).astype(int) - image).max() <= 8  # JPEG


def test_longest_names_fit_into_the_comment(tmp_path):
    shares = [[("😀" * 10_000, 0.5), ("\x00" * 10_000, 0.5)]] * MOST_SHOWN
    write_first_batch(tmp_path / "batch.jpg", make_images(MOST_SHOWN), shares)
    assert read_first_batch(tmp_path / "batch.jpg")[-1].shares == [("😀" * 80, 0.5), ("\x00" * 80, 0.5)]


@pytest.mark.parametrize("content", [b"", b"notes", "half", "no comment"])
def test_damaged_file_is_named_with_the_way_out(content, tmp_path):
    path = tmp_path / "batch.jpg"
    write_first_batch(path, make_images(9), [[("a", 1.0)]] * 9)
    whole = path.read_bytes()
    made = {"half": whole[: len(whole) // 2], "no comment": whole.replace(b'{"side"', b'{"edge"')}
    path.write_bytes(made.get(content, content))
    with pytest.raises(ValueError, match=r"batch\.jpg is damaged, so the report has no first batch: delete the file"):
        read_first_batch(path)
