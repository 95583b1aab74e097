"""Which clip and which subject a picture is of: from metadata files, the names of files, or columns of a data set."""

import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import datasets

from .cells import read_cell
from .labels import canonical_id, shorten
from .metadata_files import METADATA_FILES, MetadataTable, locate_rows

GROUPS = ("clip", "subject")
FRAME_NAME = re.compile(
    r"(?P<clip>.+)\.(?P<frame>[0-9]+)\.[^.]+"
)  # as in iMiGUE: "0000.3.jpg" is frame 3 of clip "0000"
# Columns that are likely to tell a group, in small letters and without marks between words.
LIKELY_COLUMNS = {
    "clip": ("clipid", "clipname", "clips", "video", "videoid", "videoname", "sequence", "sequenceid", "segmentid"),
    "subject": (
        *("subjectid", "subjectname", "subjects", "person", "personid", "participant", "participantid"),
        *("actor", "actorid", "speaker", "speakerid", "user", "userid"),
    ),
}


class GroupColumnError(ValueError):
    """A column that was asked for by name is missing, or holds neither text nor whole numbers."""


def find_groups(
    file_names: Mapping[Path, str],
    tables: Sequence[MetadataTable],
    *,
    clip_column: str = "clip",
    subject_column: str = "subject",
) -> dict[str, dict[Path, str]]:
    """Find the clip and the subject of pictures in folders.

    Metadata files tell them (see `read_metadata`) in columns of text or whole numbers. Where none tells the clips,
    names `<clip>.<frame>.<extension>` do, if all are so (see `name_clip`).

    Args:
        file_names: The path of each picture of all splits to its name there, which begins with the class folder.
        tables: Metadata files, which were asked for `clip_column` and `subject_column`.
        clip_column: Their column with the clips.
        subject_column: Their column with the subjects.

    Returns:
        "clip" and "subject", whichever are known, to the key of each picture.

    Raises:
        GroupColumnError: A column of another name than the default is missing.
        ValueError: A metadata file lacks a picture, has one twice, or a value that is missing, or is neither text nor
            a whole number.
    """
    groups = {}
    for group, column in zip(GROUPS, (clip_column, subject_column), strict=True):
        if holders := [table for table in tables if column in table.known]:
            keys, missing = _collect(holders, column, list(file_names))
            if not missing:
                groups[group] = keys
            elif keys or column != group:
                raise ValueError(_say_needed(column, missing[0], _say_missing(len(missing))))
            else:
                warnings.warn(
                    f"{group}s count as unknown, as no picture has one in the column {column!r} of {_list(holders)}.",
                    stacklevel=4,
                )
        elif column != group:
            found = [f"{table.path} has {shorten(table.column_names)}" for table in tables]
            listed = "; ".join(found) or f"no {', '.join(METADATA_FILES)} is in the folders of the pictures"
            raise GroupColumnError(f"No metadata file has the column {column!r} that {group}s are asked of: {listed}.")
        else:
            for table in tables:
                _warn_of_likely_columns(group, table.column_names, str(table.path))
    if "clip" not in groups and (clips := _find_clips_in_names(file_names)):
        groups["clip"] = clips
    return groups


def _find_clips_in_names(file_names: Mapping[Path, str]) -> dict[Path, str]:
    """Return the clip of each picture, or nothing where some names do not tell it."""
    clips = {path: name_clip(name) for path, name in file_names.items()}
    others = [str(path) for path, clip in clips.items() if clip is None]
    if not others:
        return {path: clip for path, clip in clips.items() if clip is not None}
    if len(others) < len(clips) / 2:
        warnings.warn(
            f"Clips count as unknown, as {len(others)} of {len(clips)} pictures are not named "
            f"<clip>.<frame>.<extension>: {shorten(others)}. Rename them, or tell the clips in a metadata.csv.",
            stacklevel=5,
        )
    return {}


def name_clip(file_name: str) -> str | None:
    """Return the path without frame and extension, or None where a name has no such form.

    "12/0000" for "12/0000.3.jpg": the class is in it, as clip numbers repeat in classes. Class folders that are one id
    ("01" and "1") give one key.
    """
    path = PurePosixPath(file_name)
    match = FRAME_NAME.fullmatch(path.name)
    if match is None:
        return None
    folders = path.parts[:-1]
    return "/".join([*(str(canonical_id(folder)) for folder in folders[:1]), *folders[1:], match["clip"]])


def read_group_columns(
    splits: Mapping[str, datasets.Dataset],
    labelled: Mapping[str, Collection[int]],
    *,
    clip_column: str = "clip",
    subject_column: str = "subject",
) -> dict[str, dict[str, list[str | None]]]:
    """Read the clips and subjects of a data set that has columns for them.

    A column of the default name is passed over, with a warning, where another split lacks it, where it holds lists,
    images or the like, and where no row has a value.

    Args:
        splits: Split name to rows.
        labelled: Split name to the numbers of the rows to read.
        clip_column: The column with the clips, which is found without regard to case.
        subject_column: The column with the subjects, likewise.

    Returns:
        "clip" and "subject", whichever are known, to split name to the key of each row, None of those not read.

    Raises:
        GroupColumnError: A column of another name than the default is missing or neither text nor whole numbers.
        ValueError: A value in it is missing, or is neither text nor a whole number.
    """
    wanted = dict(zip(GROUPS, (clip_column, subject_column), strict=True))
    found = {group: _read_group_column(splits, labelled, group, column) for group, column in wanted.items()}
    return {group: keys for group, keys in found.items() if keys is not None}


def _read_group_column(
    splits: Mapping[str, datasets.Dataset], labelled: Mapping[str, Collection[int]], group: str, column: str
) -> dict[str, list[str | None]] | None:
    """Return the key of each row by split, or None where they are not known."""
    names = {split: _find_column(rows.column_names, column, split) for split, rows in splits.items()}
    faults = [fault for split, rows in splits.items() if (fault := _find_column_fault(rows, split, names[split]))]
    if faults and column != group:
        raise GroupColumnError(f"There are no {group}s to read in the column {column!r}: {faults[0]}.")
    if not any(names.values()):
        for split, rows in splits.items():
            _warn_of_likely_columns(group, rows.column_names, f"the split {split}")
        return None
    if faults:
        warnings.warn(f"{group}s count as unknown in the column {column!r}: {faults[0]}.", stacklevel=5)
        return None
    keys = {split: _read_keys(rows[names[split]][:], labelled[split], column, split) for split, rows in splits.items()}
    empty = [f"row {row} of the split {split}" for split in keys for row in labelled[split] if not keys[split][row]]
    if not empty:
        return keys
    if column != group or len(empty) < sum(map(len, labelled.values())):
        raise ValueError(_say_needed(column, empty[0], _say_missing(len(empty))))
    warnings.warn(f"{group}s count as unknown, as no row has one in the column {column!r}.", stacklevel=5)
    return None


def _find_column(names: Sequence[str], wanted: str, split: str) -> str | None:
    alike = [name for name in names if name.strip().casefold() == wanted.strip().casefold()]
    if wanted in alike:
        alike = [wanted]
    if len(alike) > 1:
        raise ValueError(f"The split {split} has the columns {' and '.join(map(repr, alike))}: keep one.")
    return alike[0] if alike else None


def _find_column_fault(rows: datasets.Dataset, split: str, column: str | None) -> str | None:
    if column is None:
        return f"the split {split} has only the columns {shorten(rows.column_names)}"
    feature = rows.features[column]
    if isinstance(feature, datasets.ClassLabel | datasets.Value):
        return None
    return f"in the split {split} it holds {feature}, not text or whole numbers"


def _read_keys(values: Sequence[object], labelled: Collection[int], column: str, split: str) -> list[str | None]:
    keys: list[str | None] = [None] * len(values)
    for row in labelled:
        keys[row] = _read_key(values[row], column, f"row {row} of the split {split}")
    return keys


def _warn_of_likely_columns(group: str, names: Iterable[str], source: str) -> None:
    likely = [name for name in names if re.sub(r"[\W_]", "", name.casefold()) in LIKELY_COLUMNS[group]]
    if likely:
        warnings.warn(
            f"{source} has the column {likely[0]!r}, which looks like {group}s but is not read: give "
            f"--{group}_column_name {likely[0]}.",
            stacklevel=5,
        )


def _collect(
    tables: list[MetadataTable], column: str, pictures: Collection[Path]
) -> tuple[dict[Path, str], list[str]]:
    """Return the key that the tables give to each picture in a column that they all have, and the rows without one."""
    keys: dict[Path, str | None] = {}
    known, others, empty = set(pictures), [], []
    for row in (row for table in tables for row in locate_rows(table, pictures)):
        if row.image not in known:
            others.append(row)
            continue
        if row.image in keys:
            raise ValueError(f"{row.where} has a row before: each picture has one.")
        keys[row.image] = _read_key(row.values[column], column, row.where)
        if keys[row.image] is None:
            empty.append(row.where)
    if missing := [str(path) for path in pictures if path not in keys]:
        strange = f" It names {shorten(row.file_name for row in others)}, which are none of them." if others else ""
        raise ValueError(
            f"{len(missing)} of {len(pictures)} pictures have no row in {_list(tables)}, which tells the column "
            f"{column!r}: {shorten(missing)}.{strange} Add them, or take the column out."
        )
    if gone := [str(row.image) for row in others if not row.image.exists()]:
        warnings.warn(f"Metadata names {len(gone)} files that do not exist: {shorten(gone)}.", stacklevel=5)
    return {path: key for path in pictures if (key := keys[path]) is not None}, empty


def _read_key(value: object, column: str, where: str) -> str | None:
    try:
        return read_cell(value)
    except ValueError as error:
        raise ValueError(_say_needed(column, where, f"{error}")) from error


def _say_missing(num_missing: int) -> str:
    return "it is missing" if num_missing == 1 else f"it is missing, as in {num_missing - 1} other rows"


def _say_needed(column: str, where: str, fault: str) -> str:
    return (
        f"The column {column!r} must tell a text or a whole number of each picture; {where}: {fault}. Correct it, or "
        "give the column another name."
    )


def _list(tables: Iterable[MetadataTable]) -> str:
    return " and ".join(str(table.path) for table in tables)
