"""Files that break readers of images, made one at a time, with what each door of the package does with them."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from PIL.PngImagePlugin import PngInfo

SIDE = 32
PIXELS = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE + 8, 3), dtype=np.uint8)
NOISE = PIL.Image.fromarray(PIXELS)
READ = ""  # no words of an error


class Case(NamedTuple):
    """A hostile file.

    Attributes:
        name: Name of the file.
        make: Writes it to a path.
        on_disk: Words about it where folders are read: training, evaluation and prediction. Empty if it is an image.
        sent: Words about its bytes where strangers send them: endpoint and page. None if it has no bytes.
    """

    name: str
    make: Callable[[Path], object]
    on_disk: str = READ
    sent: str | None = READ


def encode(image: PIL.Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def as_file(image: PIL.Image.Image, kind: str = "PNG", **options: object) -> Callable[[Path], object]:
    return write(encode(image, kind, **options))


def claim_size(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def turn(orientation: int) -> bytes:
    exif = PIL.Image.Exif()
    exif[PIL.Image.ExifTags.Base.Orientation] = orientation
    return encode(NOISE, "PNG", exif=exif)


def make_floats(*odd: float) -> PIL.Image.Image:
    values = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32)
    values[: len(odd)] = odd
    return PIL.Image.fromarray(values.reshape(SIDE, SIDE))


def make_text_bomb() -> bytes:
    """A PNG whose comment of a few kB unpacks to 10 MB."""
    comment = PngInfo()
    comment.add_text("comment", "a" * 10_000_000, zip=True)
    return encode(NOISE, pnginfo=comment)


FRAMES = {"save_all": True, "append_images": [NOISE.rotate(90)]}
DEEP = PIL.Image.fromarray(np.arange(0, 65536, 64, dtype=np.uint16).reshape(SIDE, SIDE))
UNKNOWN, TOO_LARGE, SPECIAL = "not an image", "exceeds", "pipes?,"
SENT_UNKNOWN, SENT_TOO_LARGE = "not a file of the formats|cannot be read", "exceeds|pixels; send at most"
CASES = {
    "truncated JPEG": Case("a.jpg", write(encode(NOISE, "JPEG")[:-300]), "truncated", "cannot be read"),
    "truncated PNG": Case("a.png", write(encode(NOISE)[:2000]), "truncated", "cannot be read"),
    "zero bytes": Case("a.jpg", write(b""), UNKNOWN, "it is empty|cannot be read"),
    "wrong extension": Case("a.jpg", as_file(NOISE)),
    "HTML": Case("a.jpg", write(b"<!DOCTYPE html><html></html>"), UNKNOWN, SENT_UNKNOWN),
    "PostScript": Case("a.png", as_file(NOISE, "EPS"), "unsupported format PostScript", SENT_UNKNOWN),
    "CMYK": Case("a.jpg", as_file(NOISE.convert("CMYK"), "JPEG")),
    "YCbCr TIFF": Case("a.tif", as_file(NOISE.convert("YCbCr"), "TIFF", compression="tiff_lzw")),
    "16 bit": Case("a.png", as_file(DEEP)),
    "float TIFF": Case("a.tif", as_file(make_floats(), "TIFF")),
    "float TIFF with NaN": Case("a.tif", as_file(make_floats(float("nan"), float("inf"), -float("inf")), "TIFF")),
    "palette with a transparent colour": Case("a.png", as_file(NOISE.convert("P"), transparency=3)),
    "palette with transparency": Case("a.png", as_file(NOISE.convert("P"), transparency=bytes(range(256)))),
    "grey with alpha": Case("a.png", as_file(NOISE.convert("LA"))),
    "animated GIF": Case("a.gif", as_file(NOISE, "GIF", **FRAMES)),
    "animated WebP": Case("a.webp", as_file(NOISE, "WEBP", **FRAMES)),
    "animated PNG": Case("a.png", as_file(NOISE, **FRAMES)),
    **{f"turned {orientation}": Case("a.png", write(turn(orientation))) for orientation in range(9)},
    "1 x 1": Case("a.png", as_file(NOISE.crop((0, 0, 1, 1)))),
    "1 x 20,000": Case("a.png", as_file(PIL.Image.new("L", (1, 20_000)))),
    "20,000 x 1": Case("a.png", as_file(PIL.Image.new("L", (20_000, 1)))),
    "bomb of 400 megapixels": Case("a.png", write(claim_size(20_000, 20_000)), TOO_LARGE, SENT_TOO_LARGE),
    "bomb of 100 megapixels": Case("a.png", write(claim_size(10_000, 10_000)), TOO_LARGE, SENT_TOO_LARGE),
    "bomb in a comment": Case("a.png", write(make_text_bomb()), "too large", "cannot be read"),
    "link to itself": Case("a.jpg", lambda path: path.symlink_to(path), "Too many levels of symbolic links", None),
    "link to nowhere": Case("a.jpg", lambda path: path.symlink_to(path / "absent"), "OSError|Error", None),
    "link to the folder above": Case("a.jpg", lambda path: path.symlink_to(path.parent), "enclosing folder", None),
    "named pipe": Case("a.jpg", os.mkfifo, SPECIAL, None),
    "endless device": Case("a.jpg", lambda path: path.symlink_to("/dev/zero"), SPECIAL, None),
    "name with a line break": Case("a\nb.jpg", as_file(NOISE, "JPEG")),
    "name with a tab and an escape": Case("a\t\x1b[31mb.jpg", as_file(NOISE, "JPEG")),
    "name of emoji": Case("\N{WAVING HAND SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-5}.jpg", as_file(NOISE, "JPEG")),
    "name from right to left": Case("\u05e9\u05dc\u05d5\u05dd \u202egnp.jpg", as_file(NOISE, "JPEG")),
    "name of 255 bytes": Case("a" * 251 + ".jpg", as_file(NOISE, "JPEG")),
    "name with a leading dash": Case("-a.jpg", as_file(NOISE, "JPEG")),
    "name with glob characters": Case("[a]*?{b}.jpg", as_file(NOISE, "JPEG")),
    "name with quotes and markup": Case("'\"<b>&=1+1,;.jpg", as_file(NOISE, "JPEG")),
}
