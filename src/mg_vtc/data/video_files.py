"""Which files are videos, by their names: what is known of videos without a decoder."""

from collections.abc import Container
from pathlib import Path

from .labels import canonical_id

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv", ".ts", ".flv")


def is_video(path: Path) -> bool:
    """Return whether a file is called as videos are, in small letters or large."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_video_name(path: Path, names: Container[int | str | None]) -> str | None:
    """Return what labels call a video: by its own name, or by that of its folder.

    Args:
        path: The video.
        names: What labels are of, as from `canonical_id`: "0001" and 1 are the same.

    Returns:
        The one of the two that is among the names, its own name first; None where neither is.
    """
    return next((name for name in (path.stem, path.parent.name) if canonical_id(name) in names), None)
