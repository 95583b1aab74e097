"""Which files are videos, by their names: what is known of videos without a decoder."""

from collections.abc import Container
from pathlib import Path

from .labels import canonical_id

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v", ".mj2"),  # MP4 and its kin
    *(".mts", ".m2ts", ".m2t", ".ts", ".mpg", ".mpeg", ".vob", ".m2v"),  # MPEG, of camcorders and television
    *(".avi", ".mkv", ".webm", ".ogv", ".wmv", ".asf", ".flv", ".mxf", ".dv", ".rm"),
)


def is_video(path: Path) -> bool:
    """Return whether a file is called as videos are, in small letters or large."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_video_name(path: Path, names: Container[int | str | None]) -> str | None:
    """Return what labels call a video: by its own name, or by that of its folder.

    Where both are numbers it is the video's own: such folders may be batches, disks or subjects.

    Args:
        path: The video.
        names: What labels are of, as from `canonical_id`: "0001" and 1 are the same.

    Returns:
        The one of the two that is among the names, its own name first; None where neither is.
    """
    of_folder = path.parent.name
    possible = [path.stem] if path.stem.isdecimal() and of_folder.isdecimal() else [path.stem, of_folder]
    return next((name for name in possible if canonical_id(name) in names), None)
