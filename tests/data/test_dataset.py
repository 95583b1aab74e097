"""The data set of a split: the same rows from the cache and without it, and in all kinds of workers."""

import pickle
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from torch.utils.data import DataLoader

from mg_vtc.data.augmentation import Augmentation
from mg_vtc.data.cache import ImageCache
from mg_vtc.data.dataset import ImageDataset
from mg_vtc.data.decoding import collate_images, decode

SIZE = 9
AUGMENTATION = Augmentation(strength=1.0, horizontal_flip=True, random_shift=3)
ROWS = [7, 2, 11, 5, 0, 3, 8, 9, 6, 1]  # of the twelve images that are cached


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, np.memmap]:
    """Ten of twelve images in another order, and the cache of all twelve."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
    rows = Dataset.from_dict(
        {
            "image": [str(folder / f"{number}.png") for number in range(12)],
            "label": [number % 3 for number in range(12)],
            "row": list(range(12)),
        },
        features=Features(image=Image(), label=Value("int64"), row=Value("int64")),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        return rows.select(ROWS), ImageCache(rows, SIZE).open()


def test_clips_are_reported_where_they_are_known(parts):
    rows, pixels = parts
    assert ImageDataset(rows, SIZE, pixels=pixels).clips is None
    clips = [f"clip {row}" for row in ROWS]
    assert ImageDataset(rows.add_column("clip", clips), SIZE, pixels=pixels).clips == clips


def stack(dataset: ImageDataset) -> torch.Tensor:
    return collate_images(dataset.__getitems__(range(len(dataset))))["pixel_values"]


def test_a_row_is_its_image_its_label_and_its_number(parts):
    rows, pixels = parts
    dataset = ImageDataset(rows, SIZE, pixels=pixels)
    assert (len(dataset), dataset.image_size) == (10, SIZE)
    assert dataset.labels.dtype == torch.int64
    assert dataset.labels.tolist() == [row % 3 for row in ROWS]
    row = dataset[2]
    assert (row["labels"], row["index"]) == (11 % 3, 2)
    assert row["pixel_values"].dtype == torch.uint8
    assert row["pixel_values"].stride() == (1, 3 * SIZE, 3)
    image = rows.cast_column("image", Image(decode=False))[2]["image"]
    np.testing.assert_array_equal(row["pixel_values"].permute(1, 2, 0), decode(image, SIZE))


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(0.5, True, 2)])
def test_images_from_the_cache_equal_those_decoded_each_time(parts, augmentation: Augmentation):
    rows, pixels = parts
    cached = ImageDataset(rows, SIZE, pixels=pixels, augmentation=augmentation, seed=3)
    decoded = ImageDataset(rows, SIZE, pixels=None, augmentation=augmentation, seed=3)
    for dataset in (cached, decoded):
        dataset.set_epoch(4)
    assert torch.equal(stack(cached), stack(decoded))
    assert cached.labels.tolist() == decoded.labels.tolist()


def test_one_row_equals_that_row_of_a_batch(parts):
    rows, pixels = parts
    dataset = ImageDataset(rows, SIZE, pixels=pixels, augmentation=AUGMENTATION)
    batch = dataset.__getitems__([4, 0, 9])
    for row, number in zip(batch, [4, 0, 9], strict=True):
        assert row["index"] == number
        assert torch.equal(row["pixel_values"], dataset[number]["pixel_values"])


def test_images_change_by_seed_epoch_and_row(parts):
    rows, pixels = parts
    dataset = ImageDataset(rows, SIZE, pixels=pixels, augmentation=AUGMENTATION, seed=4)
    dataset.set_epoch(6)
    plain = stack(ImageDataset(rows, SIZE, pixels=pixels))
    expected = AUGMENTATION(plain, seed=4, epoch=6, indices=torch.arange(10))
    assert torch.equal(stack(dataset), expected)
    assert not torch.equal(expected, plain)


def test_rows_beyond_the_last_are_refused(parts):
    with pytest.raises(IndexError):
        ImageDataset(parts[0], SIZE, pixels=parts[1])[10]


def test_pixels_of_another_size_are_refused(parts):
    with pytest.raises(ValueError, match="image_size is 10, but pixels contains images of size 9"):
        ImageDataset(parts[0], 10, pixels=parts[1])


def test_a_row_whose_image_cannot_be_decoded_is_named(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"none")
    features = Features(image=Image(), label=Value("int64"))
    rows = Dataset.from_dict({"image": [str(tmp_path / "a.png")], "label": [0]}, features=features)
    with pytest.raises(ValueError, match=r"image of row 0 \(.*a\.png\) cannot be decoded: UnidentifiedImageError"):
        ImageDataset(rows, SIZE, pixels=None)[0]


def test_a_pickle_holds_the_name_of_the_cache_not_its_pixels(parts):
    rows, pixels = parts
    dataset = ImageDataset(rows, SIZE, pixels=pixels, augmentation=AUGMENTATION, seed=2)
    dataset.set_epoch(3)
    content = pickle.dumps(dataset)
    assert pixels[0].tobytes() not in content
    copy = pickle.loads(content)
    assert isinstance(copy._pixels, np.memmap)
    assert torch.equal(stack(copy), stack(dataset))


# Python 3.12 and later warn of fork in a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    ("num_workers", "options"),
    [
        (0, {}),
        (2, {"multiprocessing_context": "fork"}),
        (2, {"multiprocessing_context": "fork", "persistent_workers": True}),
        (1, {"multiprocessing_context": "spawn", "persistent_workers": True}),
    ],
)
def test_workers_read_the_same_rows_and_see_the_epoch(parts, cached: bool, num_workers: int, options: dict):
    rows, pixels = parts
    dataset = ImageDataset(rows, SIZE, pixels=pixels if cached else None, augmentation=AUGMENTATION, seed=1)
    loader = DataLoader(dataset, batch_size=4, collate_fn=collate_images, num_workers=num_workers, **options)
    plain = stack(ImageDataset(rows, SIZE, pixels=pixels))
    for epoch in (0, 1, 7):
        dataset.set_epoch(epoch)
        batches = list(loader)
        expected = AUGMENTATION(plain, seed=1, epoch=epoch, indices=torch.arange(10))
        assert torch.equal(torch.cat([batch["pixel_values"] for batch in batches]), expected)
        assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(10))
