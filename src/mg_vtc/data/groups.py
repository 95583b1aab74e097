"""Find the clip and subject of each image in metadata files, file names or data set columns."""

import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import datasets

from .labels import canonical_id, shorten
from .metadata import METADATA_FILES, MetadataTable, locate_rows
from .table_cells import read_cell

GROUPS = ("clip", "subject")
FRAME_NAME = re.compile(
    r"(?P<clip>.+)\.(?P<frame>[0-9]+)\.[^.]+"
)  # as in iMiGUE: "0000.3.jpg" is frame 3 of clip "0000"
# Columns that probably contain a group, in lower case without separators.
LIKELY_COLUMNS = {
    "clip": ("clipid", "clipname", "clips", "video", "videoid", "videoname", "sequence", "sequenceid", "segmentid"),
    "subject": (
        *("subjectid", "subjectname", "subjects", "person", "personid", "participant", "participantid"),
        *("actor", "actorid", "speaker", "speakerid", "user", "userid"),
    ),
}


class GroupColumnError(ValueError):
    """A column requested by name is missing, or does not contain text or whole numbers.

    Attributes:
        column: Its name.
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


def find_groups(
    file_names: Mapping[Path, str],
    tables: Sequence[MetadataTable],
    *,
    clip_column: str = "clip",
    subject_column: str = "subject",
) -> dict[str, dict[Path, str]]:
    """Find the clip and subject of images in folders.

    Metadata files give them (see `read_metadata`) in columns of text or whole numbers. Without a clip column, clips
    are taken from the file names if all have the form `<clip>.<frame>.<extension>` (see `name_clip`).

    Args:
        file_names: Path of each image of all splits to its name, which starts with the class folder.
        tables: Metadata files, read with `clip_column` and `subject_column`.
        clip_column: Column with the clips.
        subject_column: Column with the subjects.

    Returns:
        "clip" and "subject", if known, to the key of each image.

    Raises:
        GroupColumnError: A column with a name other than the default is missing.
        ValueError: A metadata file lacks an image or lists it twice, or a value is missing or is neither text nor a
            whole number.
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
                    f"{group}s are unknown: no image has a value in the column {column!r} of {_list(holders)}.",
                    stacklevel=4,
                )
        elif column != group:
            found = [f"{table.path} has {shorten(table.column_names)}" for table in tables]
            listed = "; ".join(found) or f"no {', '.join(METADATA_FILES)} in the image folders"
            raise GroupColumnError(f"No metadata file has the column {column!r}: {listed}.", column)
        else:
            for table in tables:
                _warn_of_likely_columns(group, table.column_names, str(table.path))
    if "clip" not in groups and (clips := _find_clips_in_names(file_names)):
        groups["clip"] = clips
    return groups


def _find_clips_in_names(file_names: Mapping[Path, str]) -> dict[Path, str]:
    """Return the clip of each image, or nothing unless all names contain it."""
    clips = {path: name_clip(name) for path, name in file_names.items()}
    others = [str(path) for path, clip in clips.items() if clip is None]
    if not others:
        return {path: clip for path, clip in clips.items() if clip is not None}
    if len(others) < len(clips) / 2:
        warnings.warn(
            f"Clips are unknown: {len(others)} of {len(clips)} images are not named "
            f"<clip>.<frame>.<extension>: {shorten(others)}. Rename them, or list the clips in a metadata.csv.",
            stacklevel=5,
        )
    return {}


def name_clip(file_name: str) -> str | None:
    """Return the path without frame and extension, or None if the name has another form.

    For example "12/0000" for "12/0000.3.jpg". The key includes the class, because clip numbers repeat in classes.
    Class folders with the same id ("01" and "1") yield the same key.
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
    """Read the clips and subjects of a data set from its columns.

    A column with the default name is ignored, with a warning, in three cases: another split lacks it, it contains
    lists or images, or no row has a value.

    Args:
        splits: Split name to rows.
        labelled: Split name to the numbers of the rows to read.
        clip_column: Column with the clips, matched regardless of case.
        subject_column: Column with the subjects, matched regardless of case.

    Returns:
        "clip" and "subject", if known, to split name to the key of each row; None for rows not in `labelled`.

    Raises:
        GroupColumnError: A column with a name other than the default is missing or contains neither text nor whole
            numbers.
        ValueError: A value is missing, or is neither text nor a whole number.
    """
    wanted = dict(zip(GROUPS, (clip_column, subject_column), strict=True))
    found = {group: _read_group_column(splits, labelled, group, column) for group, column in wanted.items()}
    return {group: keys for group, keys in found.items() if keys is not None}


def _read_group_column(
    splits: Mapping[str, datasets.Dataset], labelled: Mapping[str, Collection[int]], group: str, column: str
) -> dict[str, list[str | None]] | None:
    """Return the key of each row by split, or None if they are unknown."""
    names = {split: _find_column(rows.column_names, column, split) for split, rows in splits.items()}
    errors = [fault for split, rows in splits.items() if (fault := _find_column_error(rows, split, names[split]))]
    if errors and column != group:
        raise GroupColumnError(f"The column {column!r} cannot be read: {errors[0]}.", column)
    if not any(names.values()):
        for split, rows in splits.items():
            _warn_of_likely_columns(group, rows.column_names, f"the split {split}")
        return None
    if errors:
        warnings.warn(f"{group}s are unknown, column {column!r}: {errors[0]}.", stacklevel=5)
        return None
    keys = {split: _read_keys(rows[names[split]][:], labelled[split], column, split) for split, rows in splits.items()}
    empty = [f"row {row} of the split {split}" for split in keys for row in labelled[split] if not keys[split][row]]
    if not empty:
        return keys
    if column != group or len(empty) < sum(map(len, labelled.values())):
        raise ValueError(_say_needed(column, empty[0], _say_missing(len(empty))))
    warnings.warn(f"{group}s are unknown: no row has a value in the column {column!r}.", stacklevel=5)
    return None


def _find_column(names: Sequence[str], wanted: str, split: str) -> str | None:
    alike = [name for name in names if name.strip().casefold() == wanted.strip().casefold()]
    if wanted in alike:
        alike = [wanted]
    if len(alike) > 1:
        raise ValueError(f"The split {split} has the columns {' and '.join(map(repr, alike))}: keep one.")
    return alike[0] if alike else None


def _find_column_error(rows: datasets.Dataset, split: str, column: str | None) -> str | None:
    if column is None:
        return f"the split {split} has only the columns {shorten(rows.column_names)}"
    feature = rows.features[column]
    if isinstance(feature, datasets.ClassLabel | datasets.Value):
        return None
    return f"in the split {split} it contains {feature}, not text or whole numbers"


def _read_keys(values: Sequence[object], labelled: Collection[int], column: str, split: str) -> list[str | None]:
    keys: list[str | None] = [None] * len(values)
    for row in labelled:
        keys[row] = _read_key(values[row], column, f"row {row} of the split {split}")
    return keys


def _warn_of_likely_columns(group: str, names: Iterable[str], source: str) -> None:
    likely = [name for name in names if re.sub(r"[\W_]", "", name.casefold()) in LIKELY_COLUMNS[group]]
    if likely:
        warnings.warn(
            f"{source} has the column {likely[0]!r}, which looks like {group}s but is not used: set "
            f"`{group}_column={likely[0]}`.",
            stacklevel=5,
        )


def _collect(tables: list[MetadataTable], column: str, images: Collection[Path]) -> tuple[dict[Path, str], list[str]]:
    """Return the key of each image in a column that all tables have, and the rows without a value."""
    keys: dict[Path, str | None] = {}
    known, others, empty = set(images), [], []
    for row in (row for table in tables for row in locate_rows(table, images)):
        if row.image not in known:
            others.append(row)
            continue
        if row.image in keys:
            raise ValueError(f"{row.where} has more than one row: keep one per image.")
        keys[row.image] = _read_key(row.values[column], column, row.where)
        if keys[row.image] is None:
            empty.append(row.where)
    if missing := [str(path) for path in images if path not in keys]:
        strange = f" Unknown files in it: {shorten(row.file_name for row in others)}." if others else ""
        raise ValueError(
            f"{len(missing)} of {len(images)} images have no row in {_list(tables)}, which has the column "
            f"{column!r}: {shorten(missing)}.{strange} Add the rows, or remove the column."
        )
    if gone := [str(row.image) for row in others if not row.image.exists()]:
        warnings.warn(f"The metadata lists {len(gone)} files that do not exist: {shorten(gone)}.", stacklevel=5)
    return {path: key for path in images if (key := keys[path]) is not None}, empty


def _read_key(value: object, column: str, where: str) -> str | None:
    try:
        return read_cell(value)
    except ValueError as error:
        raise ValueError(_say_needed(column, where, f"{error}")) from error


def _say_missing(num_missing: int) -> str:
    return "it is missing" if num_missing == 1 else f"it is missing, as in {num_missing - 1} other rows"


def _say_needed(column: str, where: str, fault: str) -> str:
    return (
        f"The column {column!r} must contain text or a whole number for each image; {where}: {fault}. Correct it, "
        "or rename the column."
    )


def _list(tables: Iterable[MetadataTable]) -> str:
    return " and ".join(str(table.path) for table in tables)
