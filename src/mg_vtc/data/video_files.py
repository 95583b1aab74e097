"""Which files are videos, by their names: what is known of videos without a decoder."""

from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv", ".ts", ".flv")


def is_video(path: Path) -> bool:
    """Return whether a file is called as videos are, in small letters or large."""
    return path.suffix.lower() in VIDEO_SUFFIXES
