r"""Prepare cut clips: videos that show one gesture each, in class folders or in a list.

- Class folders: `<split>/<class>/<clip>.mp4`, or `<class>/<clip>.mp4` for the split "train".
- List: lines `name label`, or a CSV with the columns name and label, and optionally split, subject and video. Names
  are relative to the folder or unique in it, with or without suffix. A label is the id or name of a class. Without a
  split, the folder of a video determines it, and otherwise it is "train".

A pattern of names, such as `(?P<subject>\d+)_(?P<video>\d+)_\d+`, tells the person and the recording. It must match
each name completely, without suffix and, in class folders, relative to them.
"""

from collections.abc import Iterable
from pathlib import Path

from ..folder_layout import find_labels_file
from ..labels import (
    canonical_id,
    fold_name,
    normalize_names,
    read_label_groups,
    read_labels,
    shorten,
    sort_ids,
)
from .choices import NON_MG, ClipChoices, ClipClass
from .clip_lists import drop_repeated, read_list, strip_suffix
from .cut_clips import Contents, FoundClip, VideoIndex, make_release
from .prepare import Preparation, prepare
from .release import SPLIT_FOLDERS, find_split_below, list_files
from .video_names import is_video


def prepare_clips(
    src: str | Path,
    output_dir: str | Path,
    *,
    list_file: str | Path | None = None,
    labels_file: str | Path | None = None,
    name_pattern: str | None = None,
    split_by: str | None = None,
    format: str = "imagefolder",
    frames_per_clip: int | None = None,
    num_workers: int = 1,
) -> Preparation:
    """Prepare cut clips of any data set for training.

    `src` has one of the layouts of this module. Evenly spaced frames are taken from each whole video.

    Args:
        src: Folder of the clips.
        output_dir: Folder to write, or to resume.
        list_file: List of the clips; by default, they are in class folders.
        labels_file: `id,name` CSV, optionally with a column `group`, or the name of built-in classes (see
            `read_labels`). By default `src/labels.csv` if it exists, else the labels are the classes.
        name_pattern: Regular expression of the names; its groups `subject` and `video` become columns.
        split_by: "subject" pools training and validation clips and holds out whole people; the fraction is that of
            the validation clips, or 0.2. By default, the given splits are kept.
        format: See `prepare_imigue`.
        frames_per_clip: Number of evenly spaced frames per clip (see `choose_frames`); by default 8.
        num_workers: Number of shards of clips read in parallel, each in its own process (see `prepare_imigue`).

    Returns:
        See `prepare_imigue`.

    Raises:
        FileNotFoundError: The folder, the list or the labels file does not exist.
        ValueError: A label has no class, nothing can be prepared, an argument is out of range, the list is not UTF-8,
            people to hold out are unknown, or `output_dir` contains something else.
        OSError: The disk is full; complete shards are kept.
    """
    src = Path(src)
    if not src.is_dir():
        raise FileNotFoundError(f"There is no folder {src}.")
    if list_file is None:
        contents, classes = _find_in_folders(src, labels_file)
    else:
        contents, classes = _find_listed(src, Path(list_file), labels_file)
    choices = ClipChoices("clips", format, frames_per_clip, tuple(classes), "group", name_pattern, split_by)
    return prepare(make_release("clips", choices, contents), output_dir, num_workers=num_workers)


def _find_in_folders(src: Path, labels_file: str | Path | None) -> tuple[Contents, list[ClipClass]]:
    """Find the clips in class folders, and their classes."""
    splits = _find_split_folders(src)
    contents = Contents()
    found = []
    for path in filter(is_video, list_files(src)):
        first, *others = path.relative_to(src).parts
        split = splits.get(first) if splits else "train"
        class_folder, *names = others if splits else [first, *others]
        if split is None:
            contents.left_out["videos outside of the folders of splits"] += 1
        elif not names:
            contents.left_out["videos without a class folder"] += 1
        else:
            found.append((split, strip_suffix("/".join(names)), class_folder, path))
    classes, id_of = _find_classes([label for _, _, label, _ in found], labels_file or find_labels_file(src))
    contents.clips = [
        FoundClip(split, name, id_of[fold_name(label)], path, numbered_in_class=True)
        for split, name, label, path in found
    ]
    return contents, classes


def _find_split_folders(src: Path) -> dict[str, str]:
    """Return the folders of splits, such as "train" or "videos_train", with their splits; empty if there are none."""
    folders = [path.name for path in sorted(src.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    exact = {name: split for name in folders if (split := SPLIT_FOLDERS.get(name.lower()))}
    ending = {name: split for name in folders if (split := SPLIT_FOLDERS.get(name.lower().rpartition("_")[2]))}
    splits = exact or (ending if len(ending) == len(folders) else {})
    if repeated := [name for name in splits if list(splits.values()).count(splits[name]) > 1]:
        raise ValueError(f"{src} has two folders of one split, {shorten(repeated)}: merge them or keep one.")
    for folder in folders if not splits else []:
        if below := [path.name for path in sorted((src / folder).iterdir()) if path.name.lower() in SPLIT_FOLDERS]:
            raise ValueError(f"{src / folder} contains the splits {shorten(below)}: give this folder.")
    return splits


def _find_listed(src: Path, list_file: Path, labels_file: str | Path | None) -> tuple[Contents, list[ClipClass]]:
    """Find the clips of a list, and their classes."""
    contents = Contents()
    rows, contents.errors = read_list(list_file)
    rows = drop_repeated(rows, contents.errors)
    if not rows:
        contents.errors.append(f"{list_file}: no clip is listed")
    classes, id_of = _find_classes([row.label for row in rows], labels_file or find_labels_file(src))
    videos = VideoIndex(list_files(src), src)
    for row in rows:
        path, fault = videos.find(row.name)
        if path is None:
            contents.errors.append(f"{row.where}: {fault}")
        split = SPLIT_FOLDERS.get(row.split.lower()) or ("" if row.split else "train")
        if row.split and not split:
            contents.errors.append(f"{row.where}: the split {row.split!r} is not train, validation or test")
            continue
        if path is not None and not row.split:
            split = find_split_below(path, src) or "train"
        contents.clips.append(
            FoundClip(split, row.key, id_of[fold_name(row.label)], path, row.video or None, row.subject or None)
        )
    contents.left_out["videos that the list does not name"] = len(videos.unused)
    return contents, classes


def _find_classes(labels: Iterable[str], labels_file: str | Path | None) -> tuple[list[ClipClass], dict[str, int]]:
    """Return the classes, and the id of each id or name of a class by its comparison key.

    Ids that are numbers are kept; others are numbered from 0.

    Raises:
        FileNotFoundError: The labels file does not exist.
        ValueError: A label has no row in the labels file, or for a reason listed in `read_labels`.
    """
    labels = sort_ids(sorted(set(labels)))
    if labels_file is None:
        names = dict(zip(labels, normalize_names(labels), strict=True))
        groups = None
    else:
        names, groups = read_labels(labels_file), read_label_groups(labels_file)
    ids = [number for label in names if isinstance(number := canonical_id(label), int)]
    ids = ids if len(ids) == len(names) else list(range(len(names)))
    numbered = dict(zip(names, ids, strict=True))
    classes = [ClipClass(numbered[label], name, groups[name] if groups else None) for label, name in names.items()]
    id_of = {fold_name(row.name): row.label_id for row in classes}
    id_of |= {fold_name(label): label_id for label, label_id in numbered.items()}
    if str(labels_file) == "imigue":
        id_of["99"] = NON_MG["imigue"]  # in the video releases
    if unknown := [label for label in labels if fold_name(label) not in id_of]:
        raise ValueError(
            f"Labels of clips without a row in the labels file {labels_file}: {shorten(unknown)}; its ids are "
            f"{shorten(names)}. Check whether both count from the same number."
        )
    return classes, id_of
