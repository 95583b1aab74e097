"""Reading a stream: every row once a pass, orders that seed and pass decide, and going on where a run stopped."""

import io
import itertools
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from torch.utils.data import DataLoader

from mg_vtc.data.augmentation import Augmentation
from mg_vtc.data.decoding import decode
from mg_vtc.data.streaming import ImageStream, load_stream

BATCH_SIZE = 4
SHARD_SIZES = (7, 5, 6, 7, 4, 6)  # rows of each shard
NUM_ROWS = sum(SHARD_SIZES)
UNEVEN = "ignore:.*cannot be divided equally:UserWarning"


def encode_image(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_shards(folder: Path, shards: list[list[dict | None]]) -> Path:
    features = Features(image=Image(), label=ClassLabel(names=["Head up", "Folding arms", "Rubbing eyes"]))
    folder.mkdir(exist_ok=True)
    for number, images in enumerate(shards):
        labels = [index % 3 for index in range(len(images))]
        rows = Dataset.from_dict({"image": images, "label": labels}, features=features)
        rows.to_parquet(str(folder / f"train-{number:05d}-of-{len(shards):05d}.parquet"))
    return folder


AUGMENTATION = Augmentation(strength=1.0, random_shift=2)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Six shards of four to seven distinct images."""
    images = iter([{"bytes": encode_image(number), "path": f"{number}.png"} for number in range(NUM_ROWS)])
    shards = [list(itertools.islice(images, size)) for size in SHARD_SIZES]
    return load_stream(str(write_shards(tmp_path_factory.mktemp("shards"), shards)))["train"]


@pytest.fixture
def damaged_rows(tmp_path):
    """Two shards of three images, the last of which is damaged."""
    shards = [[{"bytes": encode_image(3 * shard + row), "path": None} for row in range(3)] for shard in range(2)]
    shards[1][2] = {"bytes": encode_image(5)[:100], "path": "clip7/0003.png"}
    return load_stream(str(write_shards(tmp_path / "damaged", shards)))["train"]


def indices_of(stream, count: int | None = None) -> list[int]:
    return [row["index"] for row in itertools.islice(stream, count)]


def take_batches(stream: ImageStream, count: int, num_workers: int) -> list[dict[str, torch.Tensor]]:
    return list(itertools.islice(DataLoader(stream, batch_size=BATCH_SIZE, num_workers=num_workers), count))


def test_row_is_the_decoded_image_with_its_label_and_the_hash_of_its_bytes(rows):
    for row, (number, source) in zip(ImageStream(rows, 8, BATCH_SIZE, repeat=False), enumerate(rows), strict=True):
        assert row["pixel_values"].dtype == torch.uint8
        assert row["pixel_values"].stride() == (1, 8 * 3, 3)
        expected = decode({"bytes": encode_image(number), "path": None}, 8)  # (height, width, 3)
        np.testing.assert_array_equal(row["pixel_values"].permute(1, 2, 0).numpy(), expected)
        assert row["labels"] == source["label"]
        assert row["index"] == zlib.crc32(encode_image(number))


@pytest.mark.filterwarnings(UNEVEN)
@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize("num_processes", [1, 3, 4])  # four share the six shards by row
def test_every_row_comes_once(rows, num_processes, num_workers):
    indices = []
    for process_index in range(num_processes):
        stream = ImageStream(
            rows, 8, BATCH_SIZE, repeat=False, num_processes=num_processes, process_index=process_index
        )
        for batch in DataLoader(stream, batch_size=BATCH_SIZE, num_workers=num_workers):
            indices += batch["index"].tolist()
    assert sorted(indices) == sorted(zlib.crc32(encode_image(number)) for number in range(NUM_ROWS))


@pytest.mark.filterwarnings(UNEVEN)
@pytest.mark.parametrize("num_processes", [1, 3, 4])
def test_every_row_comes_once_a_pass_of_a_stream_that_repeats(rows, num_processes):
    passes: list[list[int]] = [[], [], []]
    for process_index in range(num_processes):
        settings = {"num_processes": num_processes, "process_index": process_index}
        size = len(indices_of(ImageStream(rows, 8, BATCH_SIZE, repeat=False, **settings)))
        stream = ImageStream(rows, 8, BATCH_SIZE, repeat=True, shuffle_buffer_size=9, **settings)
        indices = indices_of(stream, 3 * size)
        for epoch in range(3):
            passes[epoch] += indices[epoch * size : (epoch + 1) * size]
    expected = sorted(zlib.crc32(encode_image(number)) for number in range(NUM_ROWS))
    assert [sorted(indices) for indices in passes] == [expected] * 3


def test_one_pass_is_in_the_order_of_the_shards(rows):
    assert indices_of(ImageStream(rows, 8, BATCH_SIZE, repeat=False)) == [
        zlib.crc32(encode_image(number)) for number in range(NUM_ROWS)
    ]


def test_order_is_a_function_of_seed_and_pass(rows):
    orders = {}
    for seed in (0, 1):
        indices = indices_of(ImageStream(rows, 8, BATCH_SIZE, repeat=True, shuffle_buffer_size=10, seed=seed), 105)
        orders |= {(seed, epoch): indices[epoch * NUM_ROWS : (epoch + 1) * NUM_ROWS] for epoch in range(3)}
    assert len({tuple(order) for order in orders.values()}) == 6
    assert len({tuple(sorted(order)) for order in orders.values()}) == 1
    again = ImageStream(rows, 8, BATCH_SIZE, repeat=True, shuffle_buffer_size=10, seed=1)
    assert indices_of(again, NUM_ROWS) == indices_of(again, NUM_ROWS) == orders[1, 0]


def test_augmentation_is_that_of_seed_pass_and_image(rows):
    still = {row["index"]: row["pixel_values"] for row in ImageStream(rows, 8, BATCH_SIZE, repeat=False)}
    stream = ImageStream(rows, 8, BATCH_SIZE, repeat=True, shuffle_buffer_size=10, augmentation=AUGMENTATION, seed=5)
    for number, row in enumerate(itertools.islice(stream, 2 * NUM_ROWS)):
        expected = AUGMENTATION(
            still[row["index"]][None],  # (1, 3, height, width)
            seed=5,
            epoch=number // NUM_ROWS,
            indices=torch.tensor([row["index"]]),
        )
        assert torch.equal(row["pixel_values"], expected[0])


@pytest.mark.filterwarnings(UNEVEN)
@pytest.mark.parametrize("num_processes", [1, 4])  # shared by shard, and by row
@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_resumed_stream_equals_an_unbroken_one(rows, num_processes, num_workers):
    def make_stream():
        return ImageStream(
            rows,
            8,
            BATCH_SIZE,
            repeat=True,
            shuffle_buffer_size=10,
            augmentation=AUGMENTATION,
            seed=3,
            num_processes=num_processes,
            process_index=num_processes - 1,
        )

    unbroken = take_batches(make_stream(), 34, num_workers)  # 136 rows, of which a pass has 35 or 8
    for num_taken in (0, 1, 2, 5, 9, 31):
        stream = make_stream()
        stream.skip_batches(num_taken)
        for batch, expected in zip(take_batches(stream, 3, num_workers), unbroken[num_taken:], strict=False):
            assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_skipped_images_are_not_decoded(damaged_rows):
    stream = ImageStream(damaged_rows, 8, 3, repeat=True)
    with pytest.raises(ValueError, match="cannot be read"):
        indices_of(stream, 6)
    stream.skip_batches(2)
    assert len(indices_of(stream, 3)) == 3


def test_stream_that_ends_cannot_be_resumed(rows):
    with pytest.raises(ValueError, match="Only a repeating stream"):
        ImageStream(rows, 8, BATCH_SIZE, repeat=False).skip_batches(1)


def test_stream_survives_pickling(rows):
    """As processes that are spawned, not forked, get it."""
    stream = ImageStream(rows, 8, BATCH_SIZE, repeat=True, shuffle_buffer_size=10)
    stream.skip_batches(2)
    assert indices_of(pickle.loads(pickle.dumps(stream)), 50) == indices_of(stream, 50)


def test_shards_that_make_no_equal_shares_bring_a_warning_to_the_training_alone(rows):
    indices_of(ImageStream(rows, 8, BATCH_SIZE, repeat=False, num_processes=4))
    stream = ImageStream(rows, 8, BATCH_SIZE, repeat=True, num_processes=4)
    words = r"6 shards cannot be divided equally among 4 readers \(processes: 4, workers of each: 1"
    with pytest.warns(UserWarning, match=words):
        indices_of(stream, 3)


def test_unreadable_image_is_named(damaged_rows):
    with pytest.raises(ValueError, match=r"'clip7/0003.png' of the class 'Rubbing eyes' .* `skip_corrupt_images`"):
        indices_of(ImageStream(damaged_rows, 8, BATCH_SIZE, repeat=False))


def test_unreadable_images_are_left_out_with_a_warning(damaged_rows):
    stream = ImageStream(damaged_rows, 8, BATCH_SIZE, repeat=False, skip_corrupt_images=True)
    with pytest.warns(UserWarning, match=r"1 unreadable images skipped so far, the last: image 'clip7/0003.png'"):
        assert indices_of(stream) == [zlib.crc32(encode_image(number)) for number in range(5)]


def test_warnings_of_unreadable_images_come_at_the_1st_the_10th_and_the_100th(damaged_rows):
    stream = ImageStream(damaged_rows, 8, BATCH_SIZE, repeat=True, skip_corrupt_images=True)
    with pytest.warns(UserWarning, match="skipped so far") as caught:
        indices_of(stream, 5 * 101)
    assert [str(warning.message).split()[0] for warning in caught] == ["1", "10", "100"]


def test_row_without_an_image_is_named_so(tmp_path):
    rows = load_stream(str(write_shards(tmp_path, [[None]])))["train"]
    with pytest.raises(ValueError, match=r"without a name of the class 'Head up' .* the row contains no image"):
        indices_of(ImageStream(rows, 8, BATCH_SIZE, repeat=False))


def test_path_in_a_row_is_read(tmp_path):
    (tmp_path / "image.png").write_bytes(encode_image(0))
    shards = [[{"bytes": None, "path": str(tmp_path / "image.png")}]]
    rows = load_stream(str(write_shards(tmp_path / "shards", shards)))["train"]
    assert indices_of(ImageStream(rows, 8, BATCH_SIZE, repeat=False)) == [zlib.crc32(encode_image(0))]


def test_address_in_a_row_is_read(tmp_path):
    """As a folder of images on the Hub gives `hf://` addresses; here one within an archive on the disk."""
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("image.png", encode_image(0))
    shards = [[{"bytes": None, "path": f"zip://image.png::{tmp_path / 'images.zip'}"}]]
    rows = load_stream(str(write_shards(tmp_path / "shards", shards)))["train"]
    assert indices_of(ImageStream(rows, 8, BATCH_SIZE, repeat=False)) == [zlib.crc32(encode_image(0))]


@pytest.mark.filterwarnings("ignore:1 unreadable images skipped so far:UserWarning")
def test_passes_without_a_readable_image_do_not_go_on_for_ever(tmp_path):
    rows = load_stream(str(write_shards(tmp_path, [[{"bytes": b"no image", "path": None}]])))["train"]
    with pytest.raises(ValueError, match="finds no readable image in the stream"):
        indices_of(ImageStream(rows, 8, BATCH_SIZE, repeat=True, skip_corrupt_images=True))


@pytest.mark.filterwarnings(UNEVEN)
def test_process_without_a_row_does_not_wait_for_ever(tmp_path):
    rows = load_stream(str(write_shards(tmp_path, [[{"bytes": encode_image(0), "path": None}]])))["train"]
    stream = ImageStream(rows, 8, BATCH_SIZE, repeat=True, num_processes=2, process_index=1)
    with pytest.raises(ValueError, match="of process 1 of 2 finds no readable image"):
        indices_of(stream)
    stream.skip_batches(3)
    with pytest.raises(ValueError, match="of process 1 of 2 finds no readable image"):
        indices_of(stream)
