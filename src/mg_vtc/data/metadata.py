"""Which clip and which subject a picture is of: from metadata files, the names of files, or columns of a data set."""

import csv
import json
import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import datasets
import pyarrow as pa
import pyarrow.parquet

from .labels import canonical_id, shorten

GROUPS = ("clip", "subject")
METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # as the imagefolder of `datasets` has them
FRAME_NAME = re.compile(
    r"(?P<clip>.+)\.(?P<frame>[0-9]+)\.[^.]+"
)  # as in iMiGUE: "0000.3.jpg" is frame 3 of clip "0000"


class GroupColumnError(ValueError):
    """A column that was asked for by name is missing, or holds neither text nor whole numbers."""


class _Metadata(NamedTuple):
    path: Path
    column_names: list[str]
    rows: list[dict[str, Any]]


def find_groups(
    file_names: Mapping[Path, str],
    folders: Iterable[Path],
    *,
    clip_column: str = "clip",
    subject_column: str = "subject",
) -> dict[str, dict[Path, str]]:
    """Find the clip and the subject of pictures in folders.

    Metadata files are those of the imagefolder of `datasets`: `metadata.csv`, `metadata.jsonl` or `metadata.parquet`
    with the column `file_name`, a posix path from the file's own folder on. What it tells of a picture is the key as
    it stands. Where no metadata file tells the clips, names `<clip>.<frame>.<extension>` do, if all are so (see
    `name_clip`).

    Args:
        file_names: The path of each picture of all splits to its name there, which begins with the class folder.
        folders: Where a metadata file may be.
        clip_column: Its column with the clips.
        subject_column: Its column with the subjects.

    Returns:
        "clip" and "subject", whichever are known, to the key of each picture.

    Raises:
        GroupColumnError: A column of another name than the default is missing.
        ValueError: A metadata file can not be read, has no `file_name`, lacks a picture, has one twice or an empty
            value; or a folder has two such files.
    """
    folders = list(dict.fromkeys(folders))
    columns = dict(zip(GROUPS, (clip_column, subject_column), strict=True))
    tables = [_read(path, columns.values()) for folder in folders for path in _list_metadata(folder)]
    groups = {}
    for group, column in columns.items():
        if holders := [table for table in tables if column in table.column_names]:
            groups[group] = _collect(holders, column, list(file_names))
        elif column != group:
            found = [f"{table.path} has {shorten(table.column_names)}" for table in tables]
            listed = "; ".join(found) or f"no {', '.join(METADATA_FILES)} in {', '.join(map(str, folders))}"
            raise GroupColumnError(f"No metadata file has the column {column!r} that {group}s are asked of: {listed}.")
    clips = {path: name_clip(name) for path, name in file_names.items()}
    others = [str(path) for path, clip in clips.items() if clip is None]
    if "clip" not in groups and not others:
        groups["clip"] = {path: clip for path, clip in clips.items() if clip is not None}
    elif "clip" not in groups and len(others) < len(clips) / 2:
        warnings.warn(
            f"Clips count as unknown, as {len(others)} of {len(clips)} pictures are not named "
            f"<clip>.<frame>.<extension>: {shorten(others)}. Rename them, or tell the clips in a metadata.csv.",
            stacklevel=4,
        )
    return groups


def name_clip(file_name: str) -> str | None:
    """Return the path without frame and extension, or None where a name has no such form.

    "12/0000" for "12/0000.3.jpg": the class is in it, as clip numbers repeat in classes. Class folders that are one id
    ("01" and "1") give one key.
    """
    path = PurePosixPath(file_name)
    match = FRAME_NAME.fullmatch(path.name)
    if match is None:
        return None
    class_folder, *between = path.parts[:-1]
    return "/".join([str(canonical_id(class_folder)), *between, match["clip"]])


def read_group_columns(
    splits: Mapping[str, datasets.Dataset],
    labelled: Mapping[str, Collection[int]],
    *,
    clip_column: str = "clip",
    subject_column: str = "subject",
) -> dict[str, dict[str, list[str | None]]]:
    """Read the clips and subjects of a data set that has columns for them.

    A column of the default name is passed over where a split lacks it or it holds neither text nor whole numbers and,
    with a warning, where a value is empty.

    Args:
        splits: Split name to rows.
        labelled: Split name to the numbers of the rows to read.
        clip_column: The column with the clips.
        subject_column: The column with the subjects.

    Returns:
        "clip" and "subject", whichever are known, to split name to the key of each row, None of those not read.

    Raises:
        GroupColumnError: A column of another name than the default is missing or neither text nor whole numbers.
        ValueError: A value in it is empty.
    """
    groups = {}
    for group, column in zip(GROUPS, (clip_column, subject_column), strict=True):
        faults = [fault for split, rows in splits.items() if (fault := _find_column_fault(rows, split, column))]
        if faults and column != group:
            raise GroupColumnError(f"There are no {group}s to read in the column {column!r}: {faults[0]}.")
        if not faults:
            values = {split: rows[column][:] for split, rows in splits.items()}
            if column == group and (empty := _count_empty(values, labelled)):
                warnings.warn(f"{group}s count as unknown, as {empty} rows have none in {column!r}.", stacklevel=4)
            else:
                groups[group] = {split: _read_keys(values[split], labelled[split], column, split) for split in splits}
    return groups


def _find_column_fault(rows: datasets.Dataset, split: str, column: str) -> str | None:
    feature = rows.features.get(column)
    if feature is None:
        return f"the split {split} has only the columns {shorten(rows.column_names)}"
    if isinstance(feature, datasets.ClassLabel) or re.fullmatch(
        r"u?int\d+|(large_)?string", getattr(feature, "dtype", "")
    ):
        return None
    return f"in the split {split} it holds {feature}, not text or whole numbers"


def _count_empty(values: Mapping[str, Sequence[object]], labelled: Mapping[str, Collection[int]]) -> int:
    return sum(values[split][row] in (None, "") for split, rows in labelled.items() for row in rows)


def _read_keys(values: Sequence[object], labelled: Collection[int], column: str, split: str) -> list[str | None]:
    keys: list[str | None] = [None] * len(values)
    for row in labelled:
        keys[row] = _read_key(values[row], column, f"row {row} of the split {split}")
    return keys


def _list_metadata(folder: Path) -> list[Path]:
    found = [folder / name for name in METADATA_FILES if (folder / name).is_file()]
    if len(found) > 1:
        raise ValueError(f"{folder} has {' and '.join(path.name for path in found)}: keep one, so that it is clear.")
    return found


def _read(path: Path, columns: Iterable[str]) -> _Metadata:
    try:
        column_names, rows = _read_rows(path, columns)
    except (ValueError, csv.Error, pa.ArrowException) as error:
        raise ValueError(f"The metadata file {path} can not be read: {type(error).__name__}: {error}") from error
    if "file_name" not in column_names and not set(columns).isdisjoint(column_names):
        raise ValueError(f"The metadata file {path} has no column 'file_name', only {shorten(column_names)}.")
    return _Metadata(path, column_names, rows)


def _read_rows(path: Path, columns: Iterable[str]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the names of all columns and the rows, of Parquet without other columns, which may hold pictures."""
    if path.suffix == ".parquet":
        names = pyarrow.parquet.read_schema(path).names
        wanted = [name for name in dict.fromkeys(("file_name", *columns)) if name in names]
        return names, pyarrow.parquet.read_table(path, columns=wanted).to_pylist()
    with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark first
        if path.suffix == ".csv":
            reader = csv.DictReader(file, skipinitialspace=True)
            return list(reader.fieldnames or []), list(reader)
        rows = [json.loads(line) for line in file if line.strip()]
    if other := [row for row in rows if not isinstance(row, dict)]:
        raise ValueError(f"each line must be an object, not {other[0]!r}")
    return list(dict.fromkeys(name for row in rows for name in row)), rows


def _collect(tables: list[_Metadata], column: str, pictures: Collection[Path]) -> dict[Path, str]:
    """Return the key that the tables give to each picture in a column that they all have."""
    keys: dict[Path, str] = {}
    for table in tables:
        for row in table.rows:
            file_name = row.get("file_name")
            if not isinstance(file_name, str) or not file_name:
                raise ValueError(f"A row of {table.path} has no file name: {row}.")
            path = table.path.parent / file_name
            if path in keys:
                raise ValueError(f"{file_name!r} in {table.path} has a row before: each picture has one.")
            keys[path] = _read_key(row.get(column), column, f"{file_name!r} in {table.path}")
    if missing := [str(path) for path in pictures if path not in keys]:
        files = " and ".join(str(table.path) for table in tables)
        raise ValueError(
            f"{len(missing)} of {len(pictures)} pictures have no row in {files}, which tells the column {column!r}: "
            f"{shorten(missing)}. Add them, or take the column out."
        )
    known = set(pictures)
    if gone := [str(path) for path in keys if path not in known and not path.exists()]:
        warnings.warn(f"Metadata names {len(gone)} files that do not exist: {shorten(gone)}.", stacklevel=5)
    return {path: keys[path] for path in pictures}


def _read_key(value: object, column: str, where: str) -> str:
    key = str(value).strip() if isinstance(value, str | int) else ""
    if not key:
        raise ValueError(
            f"The column {column!r} must tell a text or a whole number of each picture; {where}: {value!r}."
        )
    return key
