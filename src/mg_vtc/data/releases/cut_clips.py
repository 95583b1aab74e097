"""Collect cut clips for a release: their videos, names, people and splits."""

import filecmp
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Value

from ..splits import split_stratified
from .choices import ClipChoices
from .clip_lists import clean_name, strip_suffix
from .frames import Clip
from .release import Release
from .video_names import is_video

GROUPS = ("subject", "video")  # of a pattern of names
VALIDATION = 0.2  # fraction that is held out by subject if the data bring no validation split
SEED = 0  # of this split


@dataclass(frozen=True)
class FoundClip:
    """A clip that is listed or was found in a class folder.

    Attributes:
        split: "train", "validation" or "test".
        name: Name without suffix; folders are separated by "/".
        label_id: Id of the class.
        path: Its video; None if it is missing, which is recorded as an error.
        video: Name of the recording; None if unknown.
        subject: Id of the person shown; None if unknown.
        numbered_in_class: Whether the name is unique in its class and split only.
    """

    split: str
    name: str
    label_id: int
    path: Path | None
    video: str | None = None
    subject: str | None = None
    numbered_in_class: bool = False

    @property
    def key(self) -> str:
        """Key of the clip, `<class id>/<name>` or `<name>`."""
        name = self.name.replace("/", "_")
        return f"{self.label_id}/{name}" if self.numbered_in_class else name


@dataclass
class Contents:
    """Contents of a folder of clips.

    Attributes:
        clips: Listed or found clips, including those whose video is missing.
        errors: Errors of the items that cannot be prepared.
        left_out: Number of intentionally skipped items by reason.
    """

    clips: list[FoundClip] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


class VideoIndex:
    """Find videos by their names in lists, with or without folders and suffix."""

    def __init__(self, files: Iterable[Path], root: Path) -> None:
        self.unused: set[Path] = set()
        self._of_name: dict[str, list[Path]] = defaultdict(list)
        for path in files:
            if is_video(path):
                self.unused.add(path)
                relative = strip_suffix(path.relative_to(root).as_posix())
                for name in {relative, path.stem}:
                    self._of_name[name].append(path)

    def find(self, name: str) -> tuple[Path | None, str]:
        """Return the video of a name, or None and the reason."""
        name = clean_name(name)
        paths = self._of_name.get(strip_suffix(name), [])
        exact = [path for path in paths if path.as_posix().endswith(f"/{name}")]
        paths = exact if len(exact) == 1 else paths
        self.unused.difference_update(paths)
        if len(paths) == 1:
            return paths[0], ""
        if not paths:
            return None, "there is no such video"
        return None, f"several videos have this name, keep one: {', '.join(map(str, paths))}"


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of names with the groups `subject`, `video` or both.

    Raises:
        ValueError: It is not a regular expression, or it has no such group, or another.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"name_pattern {pattern!r} is not a regular expression: {error}.") from error
    if not compiled.groupindex or set(compiled.groupindex) - set(GROUPS):
        raise ValueError(
            f"name_pattern {pattern!r} must have the group (?P<subject>...), (?P<video>...) or both, and no others."
        )
    return compiled


def make_release(layout: str, choices: ClipChoices, contents: Contents) -> Release:
    """Return the release of some clips, with the columns that their names tell and the splits that are asked for.

    Raises:
        ValueError: People are to be held out, but are unknown; or see `compile_pattern`.
    """
    release = Release(layout, choices, errors=contents.errors, left_out=contents.left_out)
    clips = contents.clips
    if choices.name_pattern is not None:
        clips = _read_names(clips, choices.name_pattern, release.errors)
    clips = _drop_ambiguous(clips, release.errors)
    release.columns = (*(group for group in ("video", "subject") if _is_known(clips, group)), "time")
    if choices.split_by == "subject":
        clips = _hold_out_subjects(clips)
    elif caution := _find_shared(clips):
        release.cautions.append(caution)
    for split, num_listed in sorted(Counter(clip.split for clip in clips).items()):
        found = [
            Clip(clip.path, clip.key, clip.label_id, clip.video, clip.subject)
            for clip in clips
            if clip.split == split and clip.path is not None
        ]
        release.add_clips(split, found, num_listed)
    return release


def _read_names(clips: Iterable[FoundClip], pattern: str, errors: list[str]) -> list[FoundClip]:
    """Take the subject and video of each clip from its name; a clip of another name is recorded in `errors`."""
    compiled, read = compile_pattern(pattern), []
    for clip in clips:
        match = compiled.fullmatch(clip.name)
        if match is None or not all(match.groupdict().values()):
            errors.append(f"{clip.path or clip.name}: the name {clip.name!r} does not match {pattern!r}")
        else:
            groups = match.groupdict()
            video, subject = groups.get("video", clip.video), groups.get("subject", clip.subject)
            read.append(replace(clip, video=video, subject=subject))
    return read


def _is_known(clips: Iterable[FoundClip], group: str) -> bool:
    return all(getattr(clip, group) is not None for clip in clips)


def _drop_ambiguous(clips: Iterable[FoundClip], errors: list[str]) -> list[FoundClip]:
    """Return the clips with different keys; those of one name are recorded in `errors`.

    Names that are numbered in each split get the name of the split, which may be the name of another clip.
    """
    named, prefixed = [], set()
    for alike in _group_by_key(clips):
        if len(alike) > 1 and _are_numbered_in_splits(alike):
            alike = [replace(clip, name=f"{clip.split}_{clip.name}") for clip in alike]
            prefixed |= set(alike)
        named += alike
    kept = []
    for alike in _group_by_key(named):
        if len(alike) == 1:
            kept += alike
        else:
            listed = ", ".join(f"{clip.path or clip.name} ({clip.split})" for clip in alike)
            reason = "" if prefixed.isdisjoint(alike) else " (the split goes before a name that two splits share)"
            way_out = "rename" if reason else "keep"
            errors.append(f"{alike[0].name}: several clips have this name{reason}, {way_out} one: {listed}")
    return kept


def _group_by_key(clips: Iterable[FoundClip]) -> list[list[FoundClip]]:
    of_key: dict[str, list[FoundClip]] = defaultdict(list)
    for clip in clips:
        of_key[clip.key.replace(".", "_")].append(clip)  # tar files have no dots in names
    return list(of_key.values())


def _are_numbered_in_splits(clips: list[FoundClip]) -> bool:
    """Return whether clips of one name are different videos of different splits."""
    paths = [clip.path for clip in clips if clip.numbered_in_class and clip.path is not None]
    if len(paths) < len(clips) or len({clip.split for clip in clips}) < len(clips):
        return False
    return not any(
        filecmp.cmp(one, other, shallow=False) for place, one in enumerate(paths) for other in paths[:place]
    )


def _hold_out_subjects(clips: list[FoundClip]) -> list[FoundClip]:
    """Divide the clips of training and validation anew, so that nobody is in both; proportions are kept."""
    if not _is_known(clips, "subject"):
        raise ValueError(
            "`split_by=subject` needs the people: give `name_pattern` with a group (?P<subject>...), or a list with a "
            "column subject."
        )
    pooled = sorted((clip for clip in clips if clip.split != "test"), key=lambda clip: clip.key)
    if not pooled:
        return clips
    num_validation = sum(clip.split == "validation" for clip in pooled)
    ids = sorted({clip.label_id for clip in pooled})
    features = Features(
        label=ClassLabel(names=[str(label_id) for label_id in ids]), subject=Value("string"), row=Value("int64")
    )
    table = {
        "label": [ids.index(clip.label_id) for clip in pooled],
        "subject": [clip.subject for clip in pooled],
        "row": list(range(len(pooled))),
    }
    fraction = num_validation / len(pooled) if num_validation else VALIDATION
    parts = split_stratified(Dataset.from_dict(table, features=features), fraction, SEED, split_by="subject")
    divided = [replace(pooled[row], split=split) for split, rows in parts.items() for row in rows["row"]]
    return divided + [clip for clip in clips if clip.split == "test"]


def _find_shared(clips: list[FoundClip]) -> str | None:
    """Return a warning about people that are in training and validation."""
    if not _is_known(clips, "subject"):
        return None
    counts = []
    for group, title in (("subject", "people"), ("video", "recordings")):
        if _is_known(clips, group):
            train, held_out = (
                {getattr(clip, group) for clip in clips if clip.split == split} for split in ("train", "validation")
            )
            counts.append(f"{len(train & held_out)} of {len(held_out)} {title}")
    if counts[0].startswith("0 "):
        return None
    return (
        f"{' and '.join(counts)} of the validation split are in the training split, too, so its score says little "
        "about new people: `split_by=subject` holds out whole people."
    )
