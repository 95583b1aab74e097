"""Pixels: those of Transformers, in as little time."""

import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.ExifTags
import PIL.Image
import pyarrow
import pytest
import simplejpeg
import torch
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil, ViTImageProcessorPil
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    PILImageResampling,
    load_image,
)

from mg_vtc.data import decoding
from mg_vtc.data.decoding import (
    PLAIN_RANGE,
    collate_images,
    decode,
    find_plain,
    find_resizing,
    normalize,
    resize,
    to_rgb,
)

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)  # (height, width, 3)
GREY_16 = (RGB[..., 0].astype(np.uint16)) * 257  # 0..65535, exactly representable in 8 bits


def make_image(mode: str) -> PIL.Image.Image:
    image = PIL.Image.fromarray(RGB)
    if mode in ("RGBA", "LA"):
        image.putalpha(PIL.Image.fromarray(RGB[..., 0]))
    return image.convert(mode)


def make_palette_with_transparency() -> PIL.Image.Image:
    image = make_image("P")
    image.info["transparency"] = bytes(range(256))
    return image


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "CMYK", "1", "F", "YCbCr", "HSV"])
def test_to_rgb_equals_what_the_pipelines_of_transformers_see(mode: str):
    image = make_image(mode)
    rgb = to_rgb(image)
    assert rgb.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(rgb), np.asarray(load_image(image)))


def test_to_rgb_drops_transparency_and_shows_the_colour_beneath():
    np.testing.assert_array_equal(np.asarray(to_rgb(make_image("RGBA"))), RGB)


def test_to_rgb_of_a_transparent_palette_is_that_of_pillow_without_its_warning():
    image = make_palette_with_transparency()
    with warnings.catch_warnings(action="ignore"):
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])  # "pgm" opens in mode "I", the others in "I;16"
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str):
    path = tmp_path / f"grey.{suffix}"
    PIL.Image.fromarray(GREY_16).save(path)
    with PIL.Image.open(path) as image:
        assert image.mode.startswith("I")
        rgb = np.asarray(to_rgb(image))
    np.testing.assert_array_equal(rgb, np.repeat(RGB[..., :1], 3, axis=2))


def test_big_endian_16_bit_grey_is_scaled_too():
    image = PIL.Image.frombytes("I;16B", (30, 20), GREY_16.astype(">u2").tobytes())
    np.testing.assert_array_equal(np.asarray(to_rgb(image))[..., 0], RGB[..., 0])


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(1, 0), (3, 2), (6, 3), (8, 1), (9, 0)])
def test_to_rgb_turns_upright_by_exif(tmp_path: Path, orientation: int, quarter_turns: int):
    exif = PIL.Image.Exif()
    exif[PIL.Image.ExifTags.Base.Orientation] = orientation
    PIL.Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    with PIL.Image.open(tmp_path / "turned.png") as image:
        np.testing.assert_array_equal(np.asarray(to_rgb(image)), np.rot90(RGB, quarter_turns))


def damage_exif(kind: str) -> bytes:
    """Return EXIF that says orientation 6 and has a damaged tag besides, or is damaged as a whole."""
    if kind == "header":
        return b"Exif\0\0MM\0\xff\0\0\0\x08\0\0"
    damaged = {
        "negative denominator": struct.pack("<HHII", 0x11A, 10, 1, 38),
        "value past the end": struct.pack("<HHII", 0x11A, 5, 1, 60_000),
        "text for a number": struct.pack("<HHI4s", 0x11B, 2, 4, b"abc\0"),
        "unknown type": struct.pack("<HHII", 0x132, 99, 1, 0),
        "sub-directory nowhere": struct.pack("<HHII", 0x8769, 4, 1, 60_000),
    }[kind]
    orientation = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    entries = struct.pack("<H", 2) + orientation + damaged
    return b"Exif\0\0II*\0\x08\0\0\0" + entries + b"\0\0\0\0" + struct.pack("<ii", -72, 0)


@pytest.mark.filterwarnings("ignore:.*EXIF:UserWarning", "ignore:Truncated File Read:UserWarning")
@pytest.mark.parametrize(
    ("kind", "quarter_turns"),
    [
        ("negative denominator", 3),
        ("value past the end", 3),
        ("text for a number", 3),
        ("unknown type", 3),
        ("sub-directory nowhere", 3),
        ("header", 0),
    ],
)
def test_an_image_is_turned_whatever_else_in_its_exif_is_damaged(kind: str, quarter_turns: int):
    image = encode(PIL.Image.fromarray(RGB), exif=damage_exif(kind))
    with PIL.Image.open(BytesIO(image["bytes"])) as opened:
        np.testing.assert_array_equal(np.asarray(to_rgb(opened)), np.rot90(RGB, quarter_turns))


def test_floats_from_0_to_1_are_scaled_not_clipped():
    grey = PIL.Image.fromarray(RGB[..., 0].astype(np.float32) / 255)
    np.testing.assert_array_equal(np.asarray(to_rgb(grey)), np.repeat(RGB[..., :1], 3, axis=2))


def test_int32_up_to_255_is_8_bits_not_16():
    grey = PIL.Image.fromarray(RGB[..., 0].astype(np.int32))
    np.testing.assert_array_equal(np.asarray(to_rgb(grey)), np.repeat(RGB[..., :1], 3, axis=2))


def test_plain_images_are_those_that_span_no_more_than_12_bits_kept_in_16():
    noise = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    speck = np.zeros((8, 8, 3), dtype=np.uint8)
    speck[5, 6, 2] = PLAIN_RANGE + 1
    deep = np.asarray(to_rgb(PIL.Image.fromarray(RNG.integers(0, 4096, (8, 8)).astype(np.uint16))))
    images = np.stack([noise, np.full_like(noise, 200), speck, deep, np.zeros_like(noise) + np.array([10, 200, 30])])
    assert find_plain(images.astype(np.uint8)).tolist() == [False, True, False, True, True]


def encode(image: PIL.Image.Image, image_format: str = "PNG", **options) -> dict:
    """Return the image as an undecoded `datasets.Image` in Arrow."""
    buffer = BytesIO()
    image.save(buffer, image_format, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def make_photo(width: int, height: int) -> PIL.Image.Image:
    """Return an image with smooth light, an edge and some noise."""
    rng = np.random.default_rng(width)
    light = PIL.Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((width, height))
    light.paste((200, 30, 60), (width // 3, height // 4, width // 2, height // 2))
    noisy = np.asarray(light) + rng.normal(0, 3, (height, width, 1))
    return PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "1"])
@pytest.mark.parametrize("image_size", [8, 20, 47, 224])
def test_pixels_are_within_a_grey_level_of_those_of_transformers_and_differ_in_less_than_one_percent(
    mode: str, image_size: int
):
    processor = ViTImageProcessorPil(
        size={"height": image_size, "width": image_size},
        resample=PILImageResampling.BILINEAR,
        do_rescale=False,
        do_normalize=False,
        do_convert_rgb=True,
    )
    image = make_photo(640, 480).convert(mode)
    ours = resize(to_rgb(image), image_size)
    assert (ours.dtype, ours.shape) == (np.uint8, (image_size, image_size, 3))
    theirs = np.asarray(processor(image)["pixel_values"][0]).transpose(1, 2, 0)
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("size", [(30, 20), (640, 480), (47, 47)])
def test_resizing_four_bytes_a_pixel_equals_resizing_three(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    image = make_photo(*size)
    expected = resize(image, 47)

    def refuse(_: object) -> None:  # as of an image that Pillow keeps in several pieces
        raise ValueError

    monkeypatch.setattr(pyarrow, "array", refuse)
    np.testing.assert_array_equal(resize(image, 47), expected)


def test_images_that_pillow_keeps_in_several_pieces_are_resized_too():
    large = PIL.Image.new("RGB", (3000, 2000), (1, 2, 3))  # 24 MB in Pillow, whose pieces have 16
    with pytest.raises(ValueError, match="multiple array blocks"):
        pyarrow.array(large)
    np.testing.assert_array_equal(resize(large, 2), np.full((2, 2, 3), (1, 2, 3)))


def test_resizing_to_the_own_size_changes_nothing():
    np.testing.assert_array_equal(resize(PIL.Image.fromarray(RGB[:, :20]), 20), RGB[:, :20])


def test_decode_of_a_file_equals_that_of_its_bytes(tmp_path: Path):
    image = encode(make_photo(60, 40))
    (tmp_path / "image.png").write_bytes(image["bytes"])
    from_file = decode({"bytes": None, "path": str(tmp_path / "image.png")}, 24)
    assert from_file.flags.c_contiguous
    np.testing.assert_array_equal(from_file, decode(image, 24))
    np.testing.assert_array_equal(from_file, resize(make_photo(60, 40), 24))


def test_decode_turns_upright_and_to_rgb():
    exif = PIL.Image.Exif()
    exif[PIL.Image.ExifTags.Base.Orientation] = 3
    image = encode(PIL.Image.fromarray(RGB[:, :20, 0]), exif=exif)
    np.testing.assert_array_equal(decode(image, 20), np.repeat(RGB[::-1, 19::-1, :1], 3, axis=2))


def test_a_draft_changes_pixels_slightly_and_those_of_small_jpegs_not_at_all():
    large = encode(make_photo(640, 480), "JPEG", quality=90)
    exact, draft = decode(large, 60), decode(large, 60, jpeg_draft=True)
    assert 0 < np.abs(exact.astype(int) - draft).mean() < 1
    np.testing.assert_array_equal(decode(large, 300, jpeg_draft=True), decode(large, 300))


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 90},
        {"quality": 30, "subsampling": "4:2:0"},
        {"quality": 95, "subsampling": "4:4:4"},
        {"subsampling": "4:2:2", "progressive": True},
        {"quality": 90, "restart_marker_blocks": 4},
        {"quality": 75, "keep_rgb": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(320, 240), (333, 77)])
def test_simplejpeg_decodes_to_the_pixels_of_pillow(options: dict, size: tuple[int, int]):
    data = encode(make_photo(*size), "JPEG", **options)["bytes"]
    decoded = simplejpeg.decode_jpeg(data, "RGBX")[..., :3]
    np.testing.assert_array_equal(decoded, np.asarray(PIL.Image.open(BytesIO(data))))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_decoding_is_the_same_without_simplejpeg(mode: str, orientation: int, monkeypatch: pytest.MonkeyPatch):
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = orientation
    image = encode(make_photo(90, 60).convert(mode), "JPEG", exif=exif)
    with_it = decode(image, 32)
    monkeypatch.setattr(decoding, "simplejpeg", None)
    np.testing.assert_array_equal(decode(image, 32), with_it)


def test_damaged_jpeg_has_the_verdict_of_pillow(monkeypatch: pytest.MonkeyPatch):
    data = encode(make_photo(90, 60), "JPEG")["bytes"]
    mendable = data[:-300] + b"\xff\xd0" + data[-300:]  # a restart marker where none belongs
    with pytest.raises(ValueError, match=r"extraneous|Corrupt|marker"):
        simplejpeg.decode_jpeg(mendable)
    decoded = decode({"bytes": mendable, "path": None}, 32)
    with pytest.raises(OSError, match="truncated"):
        decode({"bytes": data[:-300], "path": None}, 32)
    monkeypatch.setattr(decoding, "simplejpeg", None)
    np.testing.assert_array_equal(decoded, decode({"bytes": mendable, "path": None}, 32))


def test_collating_stacks_images_labels_and_indices():
    images = torch.from_numpy(RNG.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)).permute(0, 3, 1, 2)
    rows = [{"pixel_values": image, "labels": 7 - row, "index": row} for row, image in enumerate(images)]
    batch = collate_images(rows)
    assert list(batch) == ["pixel_values", "labels", "index"]
    assert torch.equal(batch["pixel_values"], images)
    assert batch["pixel_values"].is_contiguous(memory_format=torch.channels_last)
    assert batch["labels"].tolist() == [7, 6, 5, 4]
    assert batch["index"].tolist() == [0, 1, 2, 3]
    assert batch["labels"].dtype == batch["index"].dtype == torch.int64


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalised_pixels_equal_those_of_transformers(memory_format: torch.memory_format):
    processor = ViTImageProcessorPil(do_resize=False, image_mean=IMAGENET_DEFAULT_MEAN, image_std=IMAGENET_DEFAULT_STD)
    pixel_values = torch.from_numpy(np.stack([RGB, RGB[::-1]]).transpose(0, 3, 1, 2).copy())  # (2, 3, 20, 30)
    pixel_values = pixel_values.contiguous(memory_format=memory_format)
    ours = normalize(pixel_values, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    assert ours.dtype == torch.float32
    assert ours.is_contiguous(memory_format=torch.channels_last)
    theirs = processor(list(pixel_values), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


def test_normalize_leaves_its_input_as_it_is():
    batch = torch.from_numpy(RGB).permute(2, 0, 1)[None]  # (1, 3, 20, 30), with the channels last in memory
    before = batch.clone()
    normalize(batch, (0, 0, 0), (1, 1, 1))
    assert torch.equal(batch, before)


def test_normalize_of_the_mean_is_zero_and_of_a_deviation_more_is_one():
    pixel_values = torch.tensor([51, 102, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    normalized = normalize(pixel_values, mean=(0.2, 0.2, 0.2), std=(0.2, 0.2, 0.1))
    torch.testing.assert_close(normalized.flatten(), torch.tensor([0.0, 1.0, -2.0]))


PROCESSORS = {
    "stretched, bilinear": ViTImageProcessorPil(size={"height": 48, "width": 48}),
    "stretched, bicubic": SiglipImageProcessorPil(size={"height": 48, "width": 48}),
    "cropped": CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}),
    "with a margin that is cropped": CLIPImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 48, "width": 48}
    ),
}


@pytest.mark.parametrize("size", [(160, 90), (75, 200), (48, 48), (31, 40)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_resized_pixels_are_within_two_grey_levels_of_those_of_the_image_processor(name, size):
    processor = PROCESSORS[name]
    image = make_photo(*size)
    expected = processor(image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
    pixels = resize(image, find_resizing(processor)).transpose(2, 0, 1).astype(int)
    assert pixels.shape == (3, 48, 48)
    assert abs(pixels - expected.astype(int)).max() <= 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": {"height": 48, "width": 32}}, r"fixed square.*'width': 32"),
        ({"size": {"shortest_edge": 48}}, "fixed square"),
        ({"resample": 1}, "filter resample"),
    ],
)
def test_image_processor_without_a_square_is_refused(settings, said):
    processor = ViTImageProcessorPil(size={"height": 48, "width": 48})
    for setting, value in settings.items():
        setattr(processor, setting, value)
    with pytest.raises(ValueError, match=said):
        find_resizing(processor)
