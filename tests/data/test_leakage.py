"""Leaks between the parts of a split: planted ones of each kind are found, clean parts have none."""

import io
import shutil
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
from datasets import Dataset, DatasetDict
from PIL import ImageDraw, ImageEnhance
from torch.nn.functional import max_pool2d

from mg_vtc.data import load_image_folder, split_stratified
from mg_vtc.data.cache import ImageCache
from mg_vtc.data.digests import digest_images
from mg_vtc.data.leakage import (
    CHUNK,
    MAX_DIFFERENCE,
    MAX_DISTANCE,
    Leakage,
    _spread,
    find_leakage,
    hash_images,
    measure_difference,
)


def draw_photo(seed: int, size: int = 96) -> PIL.Image.Image:
    """An image with the spectrum of a photograph: noise whose amplitude falls with the frequency."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)) + 1 / size
    noise = np.fft.fft2(rng.normal(size=(3, size, size))) / frequency**1.2
    pixels = np.fft.ifft2(noise).real  # (3, size, size)
    pixels = (pixels / pixels.std() * 35 + 110).clip(0, 255).astype(np.uint8)
    return PIL.Image.fromarray(pixels.transpose(1, 2, 0))


def save(image: PIL.Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=95)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Parts that have nothing in common: in each two images of two classes."""
    for number, name in enumerate(
        f"{part}/{gesture}/{n}.jpg" for part in ("train", "val") for gesture in ("nod", "wave") for n in "ab"
    ):
        save(draw_photo(number), tmp_path / "images" / name)
    return tmp_path / "images"


def find(parts: DatasetDict) -> dict[str, list[tuple[str, str]]]:
    return {leak.kind: leak.pairs for leak in find_in(parts, dict.fromkeys(parts))}


def find_in(parts: DatasetDict, pixels: dict[str, np.ndarray | None], image_size: int = 64) -> list[Leakage]:
    return find_leakage(parts, {name: digest_images(rows) for name, rows in parts.items()}, pixels, image_size)


def thumbnail(image: PIL.Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((32, 32)))).permute(2, 0, 1)[None]  # (1, 3, 32, 32)


# Planted leakage


def test_clean_parts_have_none(folder: Path):
    assert find(load_image_folder(folder)) == {"same_bytes": [], "near_duplicate": []}


def test_file_copied_under_another_name_is_found_once(folder: Path):
    shutil.copy(folder / "train/nod/b.jpg", folder / "val/wave/copy.jpg")
    found = find(load_image_folder(folder))
    assert found == {"same_bytes": [("wave/copy.jpg", "nod/b.jpg")], "near_duplicate": []}


def test_copy_saved_again_and_brighter_is_a_near_duplicate(folder: Path):
    with PIL.Image.open(folder / "train/wave/a.jpg") as image:
        brighter = ImageEnhance.Brightness(image).enhance(1.1).resize((48, 48))
    brighter.save(folder / "val/nod/again.jpg", quality=60)
    found = find(load_image_folder(folder))
    assert found == {"same_bytes": [], "near_duplicate": [("nod/again.jpg", "wave/a.jpg")]}


def test_clip_on_both_sides_is_found(tmp_path: Path):
    for number, name in enumerate(("train/nod/0.0", "train/wave/0.0", "val/nod/0.1", "val/nod/1.0", "val/wave/3.0")):
        save(draw_photo(number), tmp_path / f"{name}.jpg")
    found = find(load_image_folder(tmp_path))
    assert found == {"same_clip": [("nod/0.1.jpg", "nod/0.0.jpg")], "same_bytes": [], "near_duplicate": []}


def test_random_split_of_frames_leakage(tmp_path: Path):
    for number, (gesture, clip, frame) in enumerate(
        (g, c, f) for g in ("nod", "wave") for c in range(3) for f in range(4)
    ):
        image = ImageEnhance.Brightness(draw_photo(number // 4)).enhance(1 + frame / 50)
        save(image, tmp_path / gesture / f"{clip}.{frame}.jpg")
    parts = split_stratified(load_image_folder(tmp_path)["train"], 0.25, seed=0)
    found = find(parts)
    assert [len(found[kind]) for kind in ("same_clip", "same_bytes", "near_duplicate")] == [6, 0, 6]
    for pairs in found.values():
        assert all(name.split(".")[0] == other.split(".")[0] for name, other in pairs)


def test_every_other_part_is_compared_with_training(folder: Path):
    save(draw_photo(20), folder / "test/nod/a.jpg")
    shutil.copy(folder / "train/nod/a.jpg", folder / "test/nod/b.jpg")
    shutil.copy(folder / "val/nod/a.jpg", folder / "test/nod/c.jpg")  # no training image
    parts = load_image_folder(folder)
    leakage = find_in(parts, dict.fromkeys(parts))
    assert {(leak.split, leak.kind): leak.pairs for leak in leakage} == {
        ("validation", "same_bytes"): [],
        ("validation", "near_duplicate"): [],
        ("test", "same_bytes"): [("nod/b.jpg", "nod/a.jpg")],
        ("test", "near_duplicate"): [],
    }


def test_bytes_in_arrow_and_in_files_are_compared(folder: Path):
    data = (folder / "train/nod/a.jpg").read_bytes()
    parts = load_image_folder(folder)
    rows = [
        {"image": {"bytes": data, "path": None}, "label": 0, "file_name": "validation/0"},
        {
            "image": {"bytes": (folder / "val/nod/a.jpg").read_bytes(), "path": None},
            "label": 1,
            "file_name": "validation/1",
        },
    ]
    embedded = Dataset.from_list(rows, features=parts["train"].features)
    found = find(DatasetDict(train=parts["train"], validation=embedded))
    assert found["same_bytes"] == [("validation/0", "nod/a.jpg")]
    found = find(DatasetDict(train=embedded, validation=parts["train"]))
    assert found["same_bytes"] == [("nod/a.jpg", "validation/0")]


def test_cached_pixels_give_what_decoding_gives(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder.parent / "cache")
    with PIL.Image.open(folder / "train/wave/a.jpg") as image:
        image.save(folder / "val/nod/again.jpg", quality=50)
    shutil.copy(folder / "train/nod/b.jpg", folder / "val/wave/copy.jpg")
    source = load_image_folder(folder)
    pixels = {part: ImageCache(rows, 64).open() for part, rows in source.items()}
    numbered = DatasetDict({part: rows.add_column("row", range(len(rows))) for part, rows in source.items()})
    numbered["train"] = numbered["train"].select([3, 1, 2])  # a split keeps the numbers of the source
    leakage = find_in(numbered, pixels)
    assert leakage == find_in(numbered, dict.fromkeys(numbered))
    assert [len(leak.pairs) for leak in leakage] == [1, 1]


def test_duplicate_is_found_among_many(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (2 * CHUNK + 3, 32, 32, 3), dtype=np.uint8)
    noise[CHUNK + 1] = noise[-2]
    rows = Dataset.from_dict(
        {
            "image": [{"bytes": bytes([number % 256, number // 256]), "path": None} for number in range(len(noise))],
            "file_name": [str(number) for number in range(len(noise))],
            "row": range(len(noise)),
        },
        features=datasets.Features(
            image=datasets.Image(), file_name=datasets.Value("string"), row=datasets.Value("int64")
        ),
    )
    parts = DatasetDict(
        train=rows.select(range(len(noise) - 5)), validation=rows.select(range(len(noise) - 5, len(noise)))
    )
    leakage = find_in(parts, dict.fromkeys(parts, noise), 32)
    assert [leak.pairs for leak in leakage] == [[], [(str(len(noise) - 2), str(CHUNK + 1))]]


def test_leak_is_reported_in_a_line():
    leak = Leakage("near_duplicate", "validation", [("nod/a.jpg", "nod/b.jpg")] * 62)
    assert leak.describe() == (
        "62 validation images are near duplicates of training images (such as 'nod/a.jpg' and 'nod/b.jpg')."
    )


# What is no near duplicate


def draw_face(mouth: tuple[int, int]) -> PIL.Image.Image:
    image = PIL.Image.new("RGB", (96, 96), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((12, 8, 84, 88), outline="black", fill="gold", width=3)
    pen.rectangle((30, 8, 66, 26), fill="brown")
    for x in (34, 56):
        pen.ellipse((x, 36, x + 6, 46), fill="black")
    pen.arc((40, 56, 56, 72), *mouth, fill="black", width=3)
    return image


@pytest.mark.parametrize("shades", [("white", "white"), ("white", "black")])
def test_plain_images_show_nothing_to_compare(folder: Path, shades: tuple[str, str]):
    for part, shade, size in zip(("train", "val"), shades, (40, 50), strict=True):
        save(PIL.Image.new("RGB", (size, size), shade), folder / part / "nod/plain.png")
    assert find(load_image_folder(folder)) == {"same_bytes": [], "near_duplicate": []}


def test_another_mouth_is_another_drawing(folder: Path):
    smile, frown = draw_face((0, 180)), draw_face((180, 360))
    hashes = hash_images(torch.cat([thumbnail(smile), thumbnail(frown)]).numpy())
    assert np.bitwise_count(hashes[0] ^ hashes[1]) <= MAX_DISTANCE  # the hash alone would have it a copy
    save(smile, folder / "train/nod/face.png")
    save(frown, folder / "val/nod/face.png")
    assert find(load_image_folder(folder)) == {"same_bytes": [], "near_duplicate": []}
    save(smile, folder / "val/nod/smile.jpg")
    assert find(load_image_folder(folder))["near_duplicate"] == [("nod/smile.jpg", "nod/face.png")]


# The measures


def test_hash_is_blind_to_brightness_and_contrast():
    pixels = np.random.default_rng(0).integers(60, 120, (5, 3, 32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(hash_images(pixels), hash_images(pixels * 2 + 10))


def test_bits_of_a_hash_are_those_of_the_cosine_transform():
    from scipy.fft import dctn

    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    spectrum = dctn(np.tensordot([0.299, 0.587, 0.114], pixels, 1))[:8, :8].ravel()[1:]
    bits = np.unpackbits(hash_images(pixels[None]).view(np.uint8))
    np.testing.assert_array_equal(bits, [0, *(spectrum > np.median(spectrum))])


def test_range_of_the_neighbours_is_that_of_pooling():
    images = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(_spread(images, torch.maximum), max_pool2d(images, 3, stride=1, padding=1))
    assert torch.equal(_spread(images, torch.minimum), -max_pool2d(-images, 3, stride=1, padding=1))


def test_difference_is_zero_to_itself_and_symmetric():
    photos = torch.cat([thumbnail(draw_photo(seed)) for seed in range(3)])
    others = photos.roll(1, 0)
    assert measure_difference(photos, photos).tolist() == [0, 0, 0]
    assert torch.equal(measure_difference(photos, others), measure_difference(others, photos))
    assert (measure_difference(photos, others) > 3 * MAX_DIFFERENCE).all()


def test_image_moved_by_a_pixel_hardly_differs():
    photos = torch.cat([thumbnail(draw_photo(seed)) for seed in range(3)])
    assert (
        measure_difference(photos, photos.roll(1, 3))[...] < measure_difference(photos, photos.roll(4, 3)) / 2
    ).all()


def test_copy_is_near_and_deterministic(folder: Path):
    photo = draw_photo(0)
    file = io.BytesIO()
    photo.crop((1, 1, 95, 95)).save(file, "JPEG", quality=60)
    with PIL.Image.open(file) as copy:
        difference = measure_difference(thumbnail(photo), thumbnail(copy.convert("RGB")))
    assert difference.item() < MAX_DIFFERENCE
    parts = load_image_folder(folder)
    assert find(parts) == find(parts)
