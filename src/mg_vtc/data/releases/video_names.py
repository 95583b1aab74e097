"""Recognise video files by name, without a decoder."""

from collections.abc import Container
from pathlib import Path

from ..labels import canonical_id

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v", ".mj2"),  # MP4 and relatives
    *(".mts", ".m2ts", ".m2t", ".ts", ".mpg", ".mpeg", ".vob", ".m2v"),  # MPEG of camcorders and television
    *(".avi", ".mkv", ".webm", ".ogv", ".wmv", ".asf", ".flv", ".mxf", ".dv", ".rm"),
)


def is_video(path: Path) -> bool:
    """Return whether a file has a video suffix, in upper or lower case."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_video_name(path: Path, names: Container[int | str | None]) -> str | None:
    """Return the name by which labels refer to a video: its own name or that of its folder.

    If both are numbers, only its own name counts: such folders may be batches, disks or subjects.

    Args:
        path: Video file.
        names: Names in the labels, as from `canonical_id`: "0001" and 1 are the same.

    Returns:
        Name of the file, else of the folder, whichever is among `names` first; None if neither is.
    """
    of_folder = path.parent.name
    possible = [path.stem] if path.stem.isdecimal() and of_folder.isdecimal() else [path.stem, of_folder]
    return next((name for name in possible if canonical_id(name) in names), None)
