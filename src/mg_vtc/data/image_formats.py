"""Image formats beyond those of Pillow: HEIC where its extra is installed, and names for those not read."""

try:
    import pillow_heif  # the extra "heif"
except ImportError:
    HEIF: tuple[str, ...] = ()
else:
    pillow_heif.register_heif_opener()  # for all that opens images by Pillow
    HEIF = ("HEIF",)  # as Pillow calls the format

HEAD_SIZE = 16  # bytes that tell a format
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
    """Return what a file is that Pillow cannot open, and what to do; "not an image" where nothing tells.

    Args:
        head: The first `HEAD_SIZE` bytes of the file.
    """
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        if HEIF:
            return "a damaged HEIC image"
        return 'a HEIC image: convert it to JPEG, or read it with the extra heif, pip install "mg-vtc[heif]"'
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis"):
        return "a video, not an image"
    for start, name in UNREAD_FORMATS.items():
        if head.startswith(start):
            return f"a file in the format {name}, which is not read: convert it to JPEG or PNG"
    return "not an image"
