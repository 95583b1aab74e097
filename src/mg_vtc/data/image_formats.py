"""Open images in the formats of Pillow, and HEIC with the extra `heif`; name unsupported formats."""

from io import BytesIO

import PIL.Image

try:
    import pillow_heif  # the extra "heif"
except ImportError:
    HEIF: tuple[str, ...] = ()
else:
    pillow_heif.register_heif_opener()  # for every PIL.Image.open
    HEIF = ("HEIF",)  # Pillow's name of the format

HEAD_SIZE = 16  # bytes that identify a format
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1")
POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")  # Pillow would start Ghostscript to draw it
UNREAD_FORMATS = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"%PDF": "PDF",
    **dict.fromkeys(POSTSCRIPT, "PostScript"),
    b"<svg": "SVG",
    b"<?xml": "XML or SVG",
    b"FUJIFILMCCD-RAW": "RAW",
}


def open_image(data: bytes) -> PIL.Image.Image:
    """Open the bytes of an image file; its pixels are decoded later.

    Raises:
        PIL.UnidentifiedImageError: The bytes are not an image, or in an unsupported format.
        PIL.Image.DecompressionBombError: The image has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`, about
            89 million.
    """
    head, limit = data[:HEAD_SIZE], PIL.Image.MAX_IMAGE_PIXELS
    if head.startswith(POSTSCRIPT):
        raise PIL.UnidentifiedImageError(describe_unknown(head))
    try:
        image = PIL.Image.open(BytesIO(data))
    except PIL.UnidentifiedImageError as error:
        raise PIL.UnidentifiedImageError(describe_unknown(head)) from error
    if limit is not None and image.width * image.height > limit:
        raise PIL.Image.DecompressionBombError(
            f"Image size ({image.width * image.height} pixels) exceeds limit of {limit} pixels: make it smaller"
        )
    return image


def describe_unknown(head: bytes) -> str:
    """Describe a file that Pillow cannot open, and the remedy; "not an image" if the format is unknown.

    Args:
        head: The first `HEAD_SIZE` bytes of the file.
    """
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        if HEIF:
            return "a damaged HEIC image"
        return 'a HEIC image: convert it to JPEG, or install the extra heif: pip install "mg-vtc[heif]"'
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis"):
        return "a video, not an image"
    for start, name in UNREAD_FORMATS.items():
        if head.startswith(start):
            return f"a file in the unsupported format {name}: convert it to JPEG or PNG"
    return "not an image"
