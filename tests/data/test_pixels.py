"""Pixels: equal to those of Transformers, moves that depend on the picture alone, workers that see the epoch."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from torch.utils.data import DataLoader
from transformers import ViTImageProcessorPil
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    PILImageResampling,
    load_image,
)

from mg_vtc.data.pixels import PictureCollator, PictureTransform, find_fault, normalize, resize, shift, to_rgb

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)  # (height, width, 3)
GREY_16 = (RGB[..., 0].astype(np.uint16)) * 257  # 0..65535, exactly representable in 8 bits


def make_picture(mode: str) -> PIL.Image.Image:
    picture = PIL.Image.fromarray(RGB)
    if mode in ("RGBA", "LA"):
        picture.putalpha(PIL.Image.fromarray(RGB[..., 0]))
    return picture.convert(mode)


def make_palette_with_transparency() -> PIL.Image.Image:
    picture = make_picture("P")
    picture.info["transparency"] = bytes(range(256))
    return picture


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "CMYK", "1", "F", "YCbCr", "HSV"])
def test_to_rgb_equals_what_the_pipelines_of_transformers_see(mode: str):
    picture = make_picture(mode)
    rgb = to_rgb(picture)
    assert rgb.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(rgb), np.asarray(load_image(picture)))


def test_to_rgb_drops_transparency_and_shows_the_colour_beneath():
    np.testing.assert_array_equal(np.asarray(to_rgb(make_picture("RGBA"))), RGB)


def test_to_rgb_of_a_transparent_palette_is_that_of_pillow_without_its_warning():
    picture = make_palette_with_transparency()
    with warnings.catch_warnings(action="ignore"):
        expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(to_rgb(picture)), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])  # "pgm" opens in mode "I", the others in "I;16"
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str):
    path = tmp_path / f"grey.{suffix}"
    PIL.Image.fromarray(GREY_16).save(path)
    with PIL.Image.open(path) as picture:
        assert picture.mode.startswith("I")
        rgb = np.asarray(to_rgb(picture))
    np.testing.assert_array_equal(rgb, np.repeat(RGB[..., :1], 3, axis=2))


def test_big_endian_16_bit_grey_is_scaled_too():
    picture = PIL.Image.frombytes("I;16B", (30, 20), GREY_16.astype(">u2").tobytes())
    np.testing.assert_array_equal(np.asarray(to_rgb(picture))[..., 0], RGB[..., 0])


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_to_rgb_turns_upright_by_exif(tmp_path: Path, orientation: int, quarter_turns: int):
    exif = PIL.Image.Exif()
    exif[PIL.Image.ExifTags.Base.Orientation] = orientation
    PIL.Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    with PIL.Image.open(tmp_path / "turned.png") as picture:
        np.testing.assert_array_equal(np.asarray(to_rgb(picture)), np.rot90(RGB, quarter_turns))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "1"])
@pytest.mark.parametrize("image_size", [8, 20, 47])
def test_resized_and_normalised_pixels_equal_those_of_transformers(mode: str, image_size: int):
    processor = ViTImageProcessorPil(
        size={"height": image_size, "width": image_size},
        resample=PILImageResampling.BILINEAR,
        image_mean=IMAGENET_DEFAULT_MEAN,
        image_std=IMAGENET_DEFAULT_STD,
        do_convert_rgb=True,
    )
    picture = make_picture(mode)
    pixel_values = resize(to_rgb(picture), image_size)
    assert pixel_values.dtype == torch.uint8
    assert pixel_values.shape == (3, image_size, image_size)
    ours = normalize(pixel_values[None], IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    theirs = processor(picture, return_tensors="pt")["pixel_values"]
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_normalize_of_the_mean_is_zero_and_of_a_deviation_more_is_one():
    pixel_values = torch.tensor([51, 102, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    normalized = normalize(pixel_values, mean=(0.2, 0.2, 0.2), std=(0.2, 0.2, 0.1))
    torch.testing.assert_close(normalized.flatten(), torch.tensor([0.0, 1.0, -2.0]))


def make_batch(batch_size: int, size: int = 7) -> torch.Tensor:
    """Return `batch_size` equal pictures whose pixels all differ, uint8 (batch_size, 3, size, size)."""
    return torch.arange(3 * size * size, dtype=torch.uint8).view(1, 3, size, size).expand(batch_size, -1, -1, -1)


def find_move(shifted: torch.Tensor, picture: torch.Tensor, max_shift: int) -> tuple[int, int]:
    """Return the one (down, right) that makes `shifted` of `picture`, by edge padding and cropping."""
    padded = np.pad(picture.numpy(), ((0, 0), (max_shift, max_shift), (max_shift, max_shift)), mode="edge")
    height, width = picture.shape[1:]
    moves = [
        (max_shift - top, max_shift - left)
        for top in range(2 * max_shift + 1)
        for left in range(2 * max_shift + 1)
        if np.array_equal(padded[:, top : top + height, left : left + width], shifted.numpy())
    ]
    assert len(moves) == 1
    return moves[0]


def test_shift_takes_every_move_equally_often():
    num_pictures = 4500
    batch = make_batch(num_pictures, size=5)
    shifted = shift(batch, max_shift=1, seed=3, epoch=2, indices=torch.arange(num_pictures))
    moves = [find_move(picture, batch[0], 1) for picture in shifted]
    counts = np.unique(moves, axis=0, return_counts=True)[1]
    assert len(counts) == 9
    # Chi-squared with 8 degrees of freedom stays below 26.1 with p = 0.999.
    assert ((counts - 500) ** 2 / 500).sum() < 26.1


def test_shift_replicates_edges():
    batch = make_batch(20)
    shifted = shift(batch, max_shift=3, seed=0, epoch=0, indices=torch.arange(20))
    assert shifted.dtype == torch.uint8
    assert len({find_move(picture, batch[0], 3) for picture in shifted}) > 10


def test_shift_of_zero_changes_nothing():
    batch = make_batch(4)
    torch.testing.assert_close(shift(batch, max_shift=0, seed=1, epoch=1, indices=torch.arange(4)), batch)


def test_shift_depends_on_the_picture_not_on_the_batch():
    pictures = torch.from_numpy(RNG.integers(0, 256, (16, 3, 6, 6), dtype=np.uint8))
    indices = torch.arange(100, 116)
    together = shift(pictures, max_shift=2, seed=5, epoch=3, indices=indices)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    shuffled = shift(pictures[order], max_shift=2, seed=5, epoch=3, indices=indices[order])
    torch.testing.assert_close(shuffled, together[order])
    alone = shift(pictures[7:8], max_shift=2, seed=5, epoch=3, indices=indices[7:8])
    torch.testing.assert_close(alone, together[7:8])


def test_shift_changes_with_seed_epoch_and_index():
    batch, indices = make_batch(32), torch.arange(32)
    first = shift(batch, max_shift=3, seed=0, epoch=1, indices=indices)
    others = [
        shift(batch, max_shift=3, seed=1, epoch=1, indices=indices),
        shift(batch, max_shift=3, seed=1, epoch=0, indices=indices),
        shift(batch, max_shift=3, seed=0, epoch=2, indices=indices),
        shift(batch, max_shift=3, seed=0, epoch=1, indices=indices + 1),
    ]
    for other in others:
        assert not torch.equal(first, other)
    assert not torch.equal(others[0], others[1])


def test_shift_refuses_a_negative_distance():
    with pytest.raises(ValueError, match="0 or more pixels, but it is -1"):
        shift(make_batch(1), max_shift=-1, seed=0, epoch=0, indices=torch.arange(1))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Ten random pictures with `label` and `index`."""
    pictures = [PIL.Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)) for _ in range(10)]
    features = Features(image=Image(), label=Value("int64"), index=Value("int64"))
    return Dataset.from_dict({"image": pictures, "label": [0, 1] * 5, "index": list(range(10))}, features=features)


def test_transform_gives_uint8_pixels_labels_and_index(dataset: Dataset):
    row = dataset.with_transform(PictureTransform(6))[3]
    assert row["pixel_values"].dtype == torch.uint8
    torch.testing.assert_close(row["pixel_values"], resize(dataset[3]["image"], 6))
    assert (row["labels"], row["index"]) == (1, 3)


def test_transform_shifts_by_seed_epoch_and_index(dataset: Dataset):
    transform = PictureTransform(9, max_shift=2, seed=4)
    transform.set_epoch(6)
    rows = dataset.with_transform(transform)[[8, 1]]
    plain = torch.stack(dataset.with_transform(PictureTransform(9))[[8, 1]]["pixel_values"])
    expected = shift(plain, max_shift=2, seed=4, epoch=6, indices=torch.tensor([8, 1]))
    torch.testing.assert_close(torch.stack(rows["pixel_values"]), expected)


def test_transform_survives_pickling():
    transform = PictureTransform(6, max_shift=1, seed=2)
    transform.set_epoch(3)
    copy = pickle.loads(pickle.dumps(transform))
    rows = {"image": [make_picture("RGB")], "label": [0], "index": [11]}
    torch.testing.assert_close(copy(rows)["pixel_values"], transform(rows)["pixel_values"])


def test_collator_stacks_and_normalises(dataset: Dataset):
    rows = dataset.with_transform(PictureTransform(6))
    batch = PictureCollator(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)([rows[2], rows[5]])
    assert list(batch) == ["pixel_values", "labels", "index"]
    pixel_values = torch.stack([rows[2]["pixel_values"], rows[5]["pixel_values"]])
    torch.testing.assert_close(
        batch["pixel_values"], normalize(pixel_values, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    )
    torch.testing.assert_close(batch["labels"], torch.tensor([0, 1]))
    torch.testing.assert_close(batch["index"], torch.tensor([2, 5]))


# Python 3.12 and later warn of fork in a process with threads, which torch has.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    ("num_workers", "options"),
    [
        (0, {}),
        (2, {"multiprocessing_context": "fork"}),
        (2, {"multiprocessing_context": "fork", "persistent_workers": True}),
        (1, {"multiprocessing_context": "spawn", "persistent_workers": True}),
    ],
)
def test_workers_see_the_epoch(dataset: Dataset, num_workers: int, options: dict):
    transform = PictureTransform(9, max_shift=3, seed=1)
    collator = PictureCollator((0, 0, 0), (1, 1, 1))
    loader = DataLoader(
        dataset.with_transform(transform), batch_size=4, collate_fn=collator, num_workers=num_workers, **options
    )
    plain = torch.stack(dataset.with_transform(PictureTransform(9))[:]["pixel_values"])
    for epoch in (0, 1, 7):
        transform.set_epoch(epoch)
        pixel_values = torch.cat([batch["pixel_values"] for batch in loader])
        expected = shift(plain, max_shift=3, seed=1, epoch=epoch, indices=torch.arange(10))
        torch.testing.assert_close(pixel_values, expected / 255)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [("png", "P"), ("png", "RGBA"), ("jpg", "L"), ("jpg", "CMYK"), ("tif", "CMYK"), ("gif", "P"), ("webp", "RGBA")],
)
def test_whole_pictures_have_no_fault(tmp_path: Path, suffix: str, mode: str):
    make_picture(mode).save(tmp_path / f"picture.{suffix}")
    assert find_fault(tmp_path / f"picture.{suffix}") is None


@pytest.mark.parametrize("options", [{"format": "PNG"}, {"format": "JPEG"}, {"format": "JPEG", "progressive": True}])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_truncated_pictures_have_a_fault(tmp_path: Path, options: dict, share: float):
    path = tmp_path / "picture"
    PIL.Image.fromarray(RNG.integers(0, 256, (200, 300, 3), dtype=np.uint8)).save(path, **options)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    fault = find_fault(path)
    assert fault is not None
    assert "truncated" in fault


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_other_files_have_a_fault(tmp_path: Path, content: bytes):
    (tmp_path / "file").write_bytes(content)
    assert find_fault(tmp_path / "file") == f"not an image ({len(content)} bytes)"
