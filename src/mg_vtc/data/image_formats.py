"""Image formats beyond Pillow: read HEIC with the extra `heif`, and name unsupported formats."""

try:
    import pillow_heif  # the extra "heif"
except ImportError:
    HEIF: tuple[str, ...] = ()
else:
    pillow_heif.register_heif_opener()  # for every PIL.Image.open
    HEIF = ("HEIF",)  # Pillow's name of the format

HEAD_SIZE = 16  # bytes that identify a format
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1")
UNREAD_FORMATS = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"<?xml": "XML or SVG",
    b"FUJIFILMCCD-RAW": "RAW",
}


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
