"""Convert images to pixel values: decode, convert to RGB, resize, collate and normalise.

Images are uint8 with channels last in memory, (height, width, 3). `normalize` converts them to floats on the device of
the model.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.ExifTags
import PIL.Image
import pyarrow as pa
import torch
from PIL.Image import Transpose
from torch import Tensor
from torch.utils.data import get_worker_info

from ..files import read_regular
from .image_formats import open_image

try:
    import simplejpeg  # the extra "jpeg"
except ImportError:
    simplejpeg = None

TRANSPOSES = {  # by EXIF orientation; 1 is upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
LONGEST = 8  # times the shorter side: more of the longer one is cut before a central square is resized and cropped
PLAIN_RANGE = 16  # largest range of a plain channel, in grey levels; covers 12-bit data in a 16-bit file


class Resizing(NamedTuple):
    """Way from an image to a square of pixels, that of the image processor of a model.

    Attributes:
        image_size: Height and width of the square, in pixels.
        resample: Filter, "bilinear" or "bicubic".
        shortest_edge: Length to which the shorter side is resized, in pixels, before the central square is cropped;
            None to stretch the image to the square.
    """

    image_size: int
    resample: str = "bilinear"
    shortest_edge: int | None = None

    @classmethod
    def of(cls, resizing: "Resizing | int") -> "Resizing":
        """Return the resizing; an int is the side of stretched images."""
        return cls(resizing) if isinstance(resizing, int) else resizing


def find_resizing(image_processor: Any) -> Resizing:
    """Return the resizing of the image processor of a model.

    Raises:
        ValueError: Its images are not squares of one size, or its filter is neither bilinear nor bicubic.
    """
    size, edge = dict(getattr(image_processor, "size", None) or {}), None
    if getattr(image_processor, "do_center_crop", False):
        edge = size.get("shortest_edge") or (size.get("height") if size.get("height") == size.get("width") else None)
        size = dict(image_processor.crop_size)
        if edge is None or edge < size.get("height", 0):
            raise ValueError(
                f"The image processor crops images of the size {dict(image_processor.size)}: not supported."
            )
    if not size.get("height") or size.get("height") != size.get("width"):
        raise ValueError(f"The image processor must resize to a fixed square, but its size is {size}.")
    filters: dict[Any, str] = {PIL.Image.Resampling.BILINEAR: "bilinear", PIL.Image.Resampling.BICUBIC: "bicubic"}
    resample = getattr(image_processor, "resample", None)
    if resample not in (None, *filters):
        raise ValueError(f"The image processor has the filter resample {resample}: set 2 (bilinear) or 3 (bicubic).")
    return Resizing(size["height"], filters.get(resample, "bilinear"), edge)


def decode(image: dict[str, Any], resizing: Resizing | int, *, jpeg_draft: bool = False) -> np.ndarray:
    """Decode an image, apply its EXIF orientation, convert it to RGB and resize it to a square.

    If `simplejpeg` is installed, it decodes JPEGs to the same pixels as Pillow, in about three fifths of the time.

    Args:
        image: Row of an undecoded `datasets.Image`: `bytes`, or None and the `path` of a file.
        resizing: Size of the result, and the way to it.
        jpeg_draft: Whether to decode large JPEGs at 1/2, 1/4 or 1/8 of their size: the smallest that is not below
            that of the result. Faster, but changes the pixels slightly.

    Returns:
        uint8 (image_size, image_size, 3).

    Raises:
        OSError: The file is missing or is not a readable image. The decoders of Pillow raise other types, too.
    """
    resizing = Resizing.of(resizing)
    data = read_regular(image["path"]) if image["bytes"] is None else image["bytes"]
    with open_image(data) as opened:
        if jpeg_draft:
            side = resizing.shortest_edge or resizing.image_size
            opened.draft(None, (side, side))
        elif (
            simplejpeg is not None
            and opened.format == "JPEG"
            and opened.mode == "RGB"
            and _read_orientation(opened) == 1
        ):
            try:
                return _resize_pixels(torch.from_numpy(simplejpeg.decode_jpeg(data, "RGBX")), resizing)
            except ValueError:  # refuses some repairable files: Pillow decides about damaged ones
                pass
        return resize(to_rgb(opened), resizing)


def _read_orientation(image: PIL.Image.Image) -> int:
    """Return the EXIF orientation, 1 if it is missing or unreadable."""
    try:
        return image.getexif().get(PIL.ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises errors of many types for PNG and WebP, but ignores those of JPEG
        return 1


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return the image upright (by its EXIF orientation) and in RGB; an upright RGB image is returned itself.

    16-bit grey ("I;16" and variants, and "I", the mode of some 16-bit files) is scaled from 0..65535 to 0..255, except
    "I" without values above 255, which is kept. "F" is scaled from 0..1 to 0..255 if all values are in 0..1, else
    clipped to 0..255. Other modes are converted by Pillow's `convert("RGB")`: transparency is dropped and the colour
    beneath it shows. The pipelines of Transformers differ: they clip 16-bit grey, leave "F" in 0..1 almost black, and
    replace a transparent colour by white.
    """
    image.load()
    transpose = TRANSPOSES.get(_read_orientation(image))
    if transpose is not None:
        image = image.transpose(transpose)  # exif_transpose() rewrites EXIF, and fails if any of it is damaged
    if image.mode.startswith("I") or image.mode == "F":
        # convert() would clip at 255 and leave the image almost white or black.
        image = PIL.Image.fromarray(_scale_grey(np.asarray(image), image.mode))
    if image.mode == "P":
        # Same pixels, but direct conversion to RGB warns about transparent palettes.
        image = image.convert("RGBA")
    if image.mode != "RGB":
        image = image.convert("RGB")
    image.info.pop("transparency", None)  # image processors of Transformers would replace this colour by white
    return image


def _scale_grey(grey: np.ndarray, mode: str) -> np.ndarray:
    """Return grey (height, width) of the Pillow mode "F" or "I..." as uint8."""
    if mode == "F":
        is_share = grey.min() >= 0 and grey.max() <= 1
        return np.nan_to_num((grey * 255).round() if is_share else np.clip(grey, 0, 255)).astype(np.uint8)
    if mode == "I" and grey.max() <= 255:
        return np.clip(grey, 0, 255).astype(np.uint8)
    return (np.clip(grey, 0, 65535) / 257).round().astype(np.uint8)  # 65535 / 257 = 255


def resize(image: PIL.Image.Image, resizing: Resizing | int) -> np.ndarray:
    """Resize an RGB image to a square by an antialiased filter.

    The result is within one grey level of Pillow's filter, and therefore of the resizing by `ViTImageProcessorPil` of
    Transformers. It takes about a fifth of the time for large images (1280 x 960), and about the same for small ones
    (320 x 240).

    Returns:
        uint8 (image_size, image_size, 3).
    """
    try:
        # Pillow stores RGB in four bytes per pixel; use them in place, as a copy costs more than resizing.
        pixels = torch.utils.dlpack.from_dlpack(pa.array(image).flatten()).view(image.height, image.width, 4)
    except ValueError:  # above 16 MB (about 4 megapixels), they are in several blocks
        pixels = torch.from_numpy(np.array(image))
    return _resize_pixels(pixels, Resizing.of(resizing))


def _resize_pixels(pixels: Tensor, resizing: Resizing) -> np.ndarray:
    """Resize uint8 pixels (height, width, 3 or 4); a fourth channel is ignored."""
    if resizing.shortest_edge is not None:
        left, top, right, bottom = find_middle(pixels.shape[1], pixels.shape[0])
        pixels = pixels[top:bottom, left:right]
    batch = pixels.permute(2, 0, 1)[None]  # (1, 3 or 4, height, width)
    side, (height, width) = resizing.image_size, pixels.shape[:2]
    size = (side, side)
    if resizing.shortest_edge is not None:
        edge, longest = resizing.shortest_edge, int(resizing.shortest_edge * max(height, width) / min(height, width))
        size = (edge, longest) if height <= width else (longest, edge)  # rounded down, as image processors do
    resized = torch.nn.functional.interpolate(batch, size, mode=resizing.resample, antialias=True)
    top, left = ((length - side) // 2 for length in size)
    return np.ascontiguousarray(resized[0, :3, top : top + side, left : left + side].permute(1, 2, 0).numpy())


def find_middle(width: int, height: int) -> tuple[int, int, int, int]:
    """Return the box of the middle of an image, whose longer side is at most `LONGEST` times the shorter one.

    A central square never reaches farther. Without the cut, an image of 1 x 20,000 pixels, whose shorter side is
    resized to 224, would have a billion pixels.

    Returns:
        Left, top, right and bottom edge.
    """
    most = LONGEST * min(width, height)
    left, top = (max(length - most, 0) // 2 for length in (width, height))
    return left, top, min(left + most, width), min(top + most, height)


def find_plain(images: np.ndarray) -> np.ndarray:
    """Find images of (nearly) one colour: no channel spans more than `PLAIN_RANGE` grey levels.

    Args:
        images: uint8 (batch_size, height, width, 3).

    Returns:
        bool (batch_size,).
    """

    def spans_little(pixels: np.ndarray) -> np.ndarray:
        return ((pixels.max((1, 2)) - pixels.min((1, 2))) <= PLAIN_RANGE).all(1)  # (batch_size,)

    plain = spans_little(images[:, ::4, ::4])  # rules out most images, in a fraction of the time
    candidates = np.flatnonzero(plain)
    plain[candidates] = spans_little(images[candidates])
    return plain


def collate_images(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Stack the rows of an `ImageDataset` into a batch.

    Args:
        rows: Each with `pixel_values` uint8 (3, height, width), `labels` int and `index` int.

    Returns:
        `pixel_values`: uint8 (batch_size, 3, height, width), channels last in memory; `labels` and `index`: int64
        (batch_size,). From a DataLoader worker, they are in shared memory.

    Raises:
        OSError: The shared memory is full.
    """
    images = torch.stack([row["pixel_values"].permute(1, 2, 0) for row in rows])  # (batch_size, height, width, 3)
    batch = {
        "pixel_values": images.permute(0, 3, 1, 2),  # (batch_size, 3, height, width)
        "labels": torch.tensor([row["labels"] for row in rows]),
        "index": torch.tensor([row["index"] for row in rows]),
    }
    return batch if get_worker_info() is None else _share(batch)


def _share(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Move a batch to shared memory; the thread that would do it later loses the batch on errors, and all wait."""
    try:
        return {name: tensor.share_memory_() for name, tensor in batch.items()}
    except RuntimeError as error:
        raise OSError(
            f"The shared memory has no room for a batch of images ({error}): enlarge /dev/shm (of a container by "
            "its shm-size), or lower `dataloader_num_workers` or the batch size."
        ) from error


@functools.lru_cache(maxsize=8)  # a copy to the device at each step would wait for it
def _list_factors(mean: tuple[float, ...], std: tuple[float, ...], width: int, device: torch.device) -> list[Tensor]:
    """Return factors and offsets of `normalize` for a line of pixels, each `(width * 3,)`.

    Whole lines are multiplied, as vectors of three channels would use the processor poorly.
    """
    factors = [1 / (255 * s) for s in std]
    offsets = [-m / s for m, s in zip(mean, std, strict=True)]
    return [torch.tensor(channels, device=device).repeat(width) for channels in (factors, offsets)]


def normalize(pixel_values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return `(pixel_values / 255 - mean) / std`, on the device of `pixel_values`.

    Args:
        pixel_values: uint8 (batch_size, 3, height, width); with channels last in memory, no copy is made first.
        mean: Mean of each channel, for pixels in 0..1.
        std: Standard deviation of each channel, for pixels in 0..1.

    Returns:
        float32 (batch_size, 3, height, width), channels last in memory, the fast layout for convolutions.
    """
    batch_size, _, height, width = pixel_values.shape
    factors, offsets = _list_factors(tuple(mean), tuple(std), width, pixel_values.device)  # (width * 3,) each
    lines = pixel_values.permute(0, 2, 3, 1).reshape(-1, width * 3).float()  # (batch_size * height, width * 3)
    torch.addcmul(offsets, lines, factors, out=lines)
    return lines.view(batch_size, height, width, 3).permute(0, 3, 1, 2)  # (batch_size, 3, height, width)
