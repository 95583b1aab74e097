"""Read metadata files next to images, and match their rows to images."""

import csv
import io
import json
import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet

from ..messages import abridge
from .file_tree import has_image_suffix
from .labels import shorten

PREPARATION = "prepare.json"  # settings of a prepared release, in its folder
METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # as in the imagefolder of `datasets`
FILE_NAME = "file_name"
_METADATA_NAME = re.compile(r"metadata\s*(\.\w+)?(\.(gz|bz2|xz|zip|zst))?", re.IGNORECASE)
_DELIMITERS = ",;\t|"
_LISTS_IMAGES = re.compile(rb"\bfile_?name\b|\.(?:jpe?g|png|webp|bmp|tiff?|heic)\b", re.IGNORECASE)


class MetadataTable(NamedTuple):
    """Contents of a metadata file.

    Attributes:
        path: Path of the file.
        column_names: Names of its columns, stripped of white space.
        known: The requested columns that exist, as requested.
        rows: Values of the columns `known`, by name.
    """

    path: Path
    column_names: list[str]
    known: list[str]
    rows: list[dict[str, Any]]


class LocatedRow(NamedTuple):
    """A row of a metadata file with its image.

    Attributes:
        image: Path of the image; may not exist.
        file_name: File name in the row.
        values: Values of the requested columns.
        table: Path of the metadata file.
    """

    image: Path
    file_name: str
    values: dict[str, Any]
    table: Path

    @property
    def where(self) -> str:
        return f"{self.file_name!r} in {self.table}"


def is_metadata_file(path: Path) -> bool:
    """Return whether a file is named "metadata", in any case and with any suffix except those of images."""
    return _METADATA_NAME.fullmatch(path.name.strip()) is not None and not has_image_suffix(path)


def read_metadata(folder: Path, columns: Iterable[str]) -> MetadataTable | None:
    """Read the metadata file of a folder, if there is one; column names are matched regardless of case and spaces.

    Args:
        folder: Folder to search.
        columns: Columns to read besides `file_name`.

    Raises:
        ValueError: There are two metadata files, or the file is unreadable or empty, lacks `file_name`, or has a
            column twice.
    """
    found = sorted(path for path in folder.iterdir() if is_metadata_file(path) and path.is_file())
    if len(found) > 1:
        raise ValueError(f"{folder} has {' and '.join(path.name for path in found)}: keep one of them.")
    if not found:
        return None
    path, wanted = found[0], [FILE_NAME, *dict.fromkeys(columns)]
    read = _READERS.get(Path(path.name.strip()).suffix.lower())
    if read is None:
        raise ValueError(
            f"The metadata file {path} cannot be read: save it as {', '.join(METADATA_FILES)}, or rename it if it is "
            "not metadata."
        )
    try:
        names, choose_rows = read(path)
        column_of = _find_columns(names, wanted)
        rows = choose_rows(list(column_of.values()))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"The metadata file {path} cannot be read: UnicodeDecodeError: {error}. Save it as UTF-8."
        ) from error
    except (ValueError, csv.Error, pa.ArrowException) as error:
        raise ValueError(f"The metadata file {path} cannot be read: {type(error).__name__}: {error}") from error
    if FILE_NAME not in column_of:
        raise ValueError(
            f"The metadata file {path} has no column {FILE_NAME!r}, only {shorten(names)}: the first line must name "
            f"the columns, and {FILE_NAME!r} must give the image of each row."
        )
    kept = [{column: row.get(name) for column, name in column_of.items()} for row in rows]
    return MetadataTable(path, names, list(column_of), kept)


def locate_rows(table: MetadataTable, images: Collection[Path]) -> Iterator[LocatedRow]:
    r"""Find the image of each row by its path, absolute or relative to the metadata file.

    Without an exact match, "\" is read as "/", and case, Unicode form and surrounding white space are ignored.

    Raises:
        ValueError: A row has no file name.
    """
    exact = {os.path.abspath(image): image for image in images}
    folded: dict[str, list[Path]] = {}
    for path, image in exact.items():
        folded.setdefault(_fold_path(path), []).append(image)
    for row in table.rows:
        file_name = row[FILE_NAME]
        if not isinstance(file_name, str) or not file_name.strip():
            raise ValueError(f"A row of {table.path} has no file name: {abridge(row)}.")
        path = os.path.abspath(table.path.parent / file_name)
        image = exact.get(path, Path(path))
        if path not in exact and not os.path.lexists(path):
            posix = os.path.abspath(table.path.parent / file_name.strip().replace("\\", "/"))
            alike = folded.get(_fold_path(posix), [])
            image = exact.get(posix, alike[0] if len(alike) == 1 else image)
        yield LocatedRow(image, file_name, row, table.path)


def warn_of_other_tables(files: Iterable[Path]) -> None:
    """Warn about tables that list image files but are not named "metadata"."""
    for path in files:
        if path.suffix.lower() in (".csv", ".tsv", ".jsonl") and path.is_file():
            with path.open("rb") as file:
                begin = file.read(1024)
            if _LISTS_IMAGES.search(begin.replace(b"\0", b"")):
                warnings.warn(
                    f"{path} lists image files, but is not read: rename it to metadata{path.suffix.lower()} if it "
                    "contains labels, clips or subjects.",
                    stacklevel=5,
                )


def _fold_path(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _fold_column(name: str) -> str:
    """Return the comparison key of a column name: "File name" matches "file_name"."""
    return re.sub(r"[\s_-]", "", name.casefold())


def _find_columns(names: list[str], wanted: Iterable[str]) -> dict[str, str]:
    """Map each existing column of `wanted` to its name in the file."""
    found = {}
    for column in wanted:
        alike = [name for name in names if _fold_column(name) == _fold_column(column)]
        if len(alike) > 1:
            raise ValueError(f"it has the columns {' and '.join(map(repr, alike))}: keep one")
        if alike:
            found[column] = alike[0]
    return found


_ChooseRows = Callable[[list[str]], list[dict[str, Any]]]


def _read_csv(path: Path) -> tuple[list[str], _ChooseRows]:
    text = _read_text(path)
    first_line = text.lstrip("\n").partition("\n")[0]
    headers = {mark: next(csv.reader([first_line], delimiter=mark)) for mark in _DELIMITERS if mark in first_line}
    fits = {
        mark: (any(_fold_column(cell) == _fold_column(FILE_NAME) for cell in cells)) for mark, cells in headers.items()
    }
    delimiter = max(headers, key=lambda mark: (fits[mark], len(headers[mark])), default=",")
    lines = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    names: list[str] = []
    rows = []
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if not names:
            names = [cell.strip() for cell in cells]
            continue
        if any(cell.strip() for cell in cells[len(names) :]):
            raise ValueError(
                f"line {lines.line_num} has {len(cells)} cells, but the header has {len(names)}: put cells with "
                f"{delimiter!r} in double quotes"
            )
        rows.append(dict(zip(names, cells, strict=False)))
    if not names:
        raise ValueError("it is empty")
    return names, lambda _: rows


def _read_json_lines(path: Path) -> tuple[list[str], _ChooseRows]:
    return _check_objects([_parse_json(line) for line in _read_text(path).split("\n") if line.strip()])


def _read_json(path: Path) -> tuple[list[str], _ChooseRows]:
    rows = _parse_json(_read_text(path))
    if not isinstance(rows, list):
        raise ValueError('it must contain a list of objects, such as [{"file_name": ...}, ...]')
    return _check_objects(rows)


def _read_parquet(path: Path) -> tuple[list[str], _ChooseRows]:
    """Read only the chosen columns: others may contain images."""
    names = pyarrow.parquet.read_schema(path).names
    return names, lambda columns: pyarrow.parquet.read_table(path, columns=columns).to_pylist()


_READERS = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_parquet,
}


def _read_text(path: Path) -> str:
    r"""Return the text of a file with "\n" as the only line ending."""
    content = path.read_bytes()
    has_utf_16_mark = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # "Unicode text" of spreadsheets
    text = content.decode("utf-16" if has_utf_16_mark else "utf-8-sig")
    if "\0" in text:
        raise ValueError("it contains null bytes: save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parse_json(text: str) -> Any:
    def check_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"an object has a duplicate key: {shorten(key for key, _ in pairs)}")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=check_pairs)


def _check_objects(rows: list[Any]) -> tuple[list[str], _ChooseRows]:
    if not rows:
        raise ValueError("it is empty")
    if other := [row for row in rows if not isinstance(row, dict)]:
        raise ValueError(f"each line must be an object, not {other[0]!r}")
    return list(dict.fromkeys(name for row in rows for name in row)), lambda _: rows
