"""Prepare Micro-Action-52 for training.

The layout is that of the release and of the MAC challenge: `videos_train/`, `videos_val/` and `videos_test/`,
`train_list_videos.txt` and `val_list_videos.txt` with the lines `0003_01_0001.mp4 9` (classes from 0), and
`label_name.txt`. A file name is person, recording and index. The videos of the test split have no labels.
"""

from pathlib import Path

from ..class_lists import CLASS_LISTS
from ..labels import MOST_DIGITS, fold_name
from .choices import ClipChoices, ClipClass
from .clip_lists import ListedClip, clean_name, drop_repeated, read_pairs
from .cut_clips import Contents, FoundClip, VideoIndex, make_release
from .prepare import Preparation, prepare
from .release import list_files
from .video_names import is_video

SPLITS = {"train": "train", "val": "validation"}  # as in the names of lists and folders
NAME = r"(?P<video>(?P<subject>\d+)_\d+)_\d+"  # person, recording, index
CLASSES = CLASS_LISTS["ma52"]


def prepare_ma52(
    src: str | Path,
    output_dir: str | Path,
    *,
    split_by: str | None = None,
    format: str = "imagefolder",
    frames_per_clip: int | None = None,
    num_workers: int = 1,
) -> Preparation:
    """Prepare Micro-Action-52 (D. Guo et al., IEEE TCSVT 2024) for training.

    `src` has the layout of this module, at any depth. Evenly spaced frames are taken from each whole video. The column
    `subject` is the person, `video` person and recording, and `body_part` the coarse class of the challenge.

    Args:
        src: Folder of the release.
        output_dir: Folder to write, or to resume.
        split_by: "subject" pools training and validation clips and holds out whole people, in the proportion of the
            lists. By default, the lists are kept, although they share people and recordings.
        format: See `prepare_imigue`.
        frames_per_clip: Number of evenly spaced frames per clip (see `choose_frames`); by default 8.
        num_workers: Number of shards of clips read in parallel, each in its own process (see `prepare_imigue`).

    Returns:
        See `prepare_imigue`.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: There is no list, `label_name.txt` has other classes, a list is not UTF-8, nothing can be prepared,
            an argument is out of range, or `output_dir` contains something else.
        OSError: The disk is full; complete shards are kept.
    """
    src = Path(src)
    if not src.is_dir():
        raise FileNotFoundError(f"There is no folder {src}.")
    assert CLASSES.groups is not None
    classes = map(ClipClass, range(len(CLASSES.names)), CLASSES.names, CLASSES.groups)
    choices = ClipChoices("ma52", format, frames_per_clip, tuple(classes), "body_part", NAME, split_by)
    return prepare(make_release("Micro-Action-52", choices, _find_contents(src)), output_dir, num_workers=num_workers)


def _find_contents(src: Path) -> Contents:
    files = list_files(src)
    lists = {name: [path for path in files if path.name == f"{name}_list_videos.txt"] for name in SPLITS}
    if not any(lists.values()):
        raise ValueError(f"{src} has no train_list_videos.txt and no val_list_videos.txt, at any depth.")
    for path in files:
        if path.name == "label_name.txt":
            _check_class_names(path)
    contents = Contents()
    for name, split in SPLITS.items():
        if len(lists[name]) > 1:
            raise ValueError(f"There are several lists of one split, keep one: {', '.join(map(str, lists[name]))}.")
        videos = VideoIndex([path for path in files if f"videos_{name}" in path.relative_to(src).parts[:-1]], src)
        for path in lists[name]:
            _add_list(path, split, videos, contents)
        contents.left_out[f"videos of videos_{name} that no list names"] = len(videos.unused)
    anonymous = [path for path in files if is_video(path) and "videos_test" in path.relative_to(src).parts[:-1]]
    contents.left_out["test videos, which have no labels: predict them with mg-vtc predict"] = len(anonymous)
    return contents


def _check_class_names(path: Path) -> None:
    """Raise if `label_name.txt` has other classes than the built-in list."""
    try:
        lines = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"The label file {path} is not UTF-8 ({error}): save it as UTF-8.") from error
    expected = [[str(label_id), name] for label_id, name in enumerate(CLASSES.names)]
    for place in range(max(len(lines), len(expected))):
        found, known = (rows[place] if place < len(rows) else [] for rows in (lines, expected))
        if len(found) < 2 or found[0] not in known or fold_name(found[1]) != fold_name(known[1]):
            raise ValueError(
                f"{path} has the class {' '.join(found) or 'nothing'!r} where Micro-Action-52 has "
                f"{' '.join(known) or 'nothing'!r}: it is the label file of another data set. Remove it, or use "
                "mg-vtc prepare clips."
            )


def _add_list(path: Path, split: str, videos: VideoIndex, contents: Contents) -> None:
    """Add the clips of a list, whose names may have folders."""
    rows, errors = read_pairs(path)
    contents.errors += errors
    rows = [row._replace(name=clean_name(row.name).rpartition("/")[2]) for row in rows]
    rows = drop_repeated(rows, contents.errors)
    missing = []
    for row in rows:
        if fault := _find_label_error(row):
            contents.errors.append(f"{row.where}: {fault}")
            continue
        video, fault = videos.find(row.name)
        if video is None:
            missing.append(f"{row.where}: {fault}")
        contents.clips.append(FoundClip(split, row.key, int(row.label), video))
    if not rows:
        missing = [f"{path}: no clip is listed"]
    elif len(missing) == len(rows):
        folder = f"videos_{path.name.partition('_')[0]}"
        missing = [f"{path} lists {len(rows)} clips, but none of their videos is in a folder {folder}"]
    contents.errors += missing


def _find_label_error(row: ListedClip) -> str | None:
    if not (row.label.isascii() and row.label.isdigit() and len(row.label) <= MOST_DIGITS):
        return f"{row.label!r} is not a class number"
    if int(row.label) >= len(CLASSES.names):
        return f"there is no class {row.label}, only 0 to {len(CLASSES.names) - 1}"
    return None
