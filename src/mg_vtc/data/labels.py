"""Class ids, names, groups and texts, from the `id,name` CSV of a data set or a built-in list."""

import csv
import io
import re
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..messages import abridge
from .class_lists import CLASS_LISTS
from .table_cells import number_rows

GROUP_COLUMN = "group"
TEXT_COLUMNS = ("text", "description")  # beginnings of headers
MOST_CHARACTERS = 1000  # of a class name
MOST_DIGITS = 18  # of an id that is a number
NUM_LISTED = 10  # files or names listed in a message; the rest is only counted


def canonical_id(class_id: str) -> int | str:
    """Return the number in `class_id` ("01" is 1), or `class_id` itself if it is not a whole number."""
    is_number = class_id.isascii() and class_id.isdigit() and len(class_id) <= MOST_DIGITS
    return int(class_id) if is_number else class_id


def normalize_name(name: object) -> str:
    """Normalise a class name: Unicode form C, with single spaces between words.

    The rule applies to class names from all sources, such as folders, data sets and flags. Case is kept; `fold_name`
    defines equality.

    Raises:
        ValueError: The name is not text, is longer than `MOST_CHARACTERS`, has no visible character, or contains a
            control character or a lone surrogate.
    """
    if not isinstance(name, str):
        raise ValueError(f"A class name must be text, not {abridge(name)}.")
    if len(name) > MOST_CHARACTERS:
        raise ValueError(f"The class name {abridge(name)} is longer than {MOST_CHARACTERS:,} characters: shorten it.")
    text = " ".join(unicodedata.normalize("NFC", name).split())
    kinds = {character: unicodedata.category(character) for character in text}
    if all(kind in ("Cf", "Zs") for kind in kinds.values()):
        raise ValueError(f"A class name must have a visible character, not {abridge(name)}.")
    if faulty := [character for character, kind in kinds.items() if kind in ("Cc", "Cs")]:
        what = "is not valid Unicode" if kinds[faulty[0]] == "Cs" else "contains a control character"
        raise ValueError(f"The class name {abridge(name)} {what}: remove {faulty[0]!r}.")
    return text


def fold_name(name: str) -> str:
    """Return the comparison key of a class name, without case, white space, Unicode form and invisible characters.

    "01" and "1" have the same key.
    """
    return fold_text(normalize_name(name))


def fold_text(text: str) -> str:
    """Return the key of `fold_name` for any text, which may be no class name."""
    visible = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return str(canonical_id(" ".join(unicodedata.normalize("NFC", visible.casefold()).split())))


def fold_names(names: Iterable[str], whose: str) -> dict[str, str]:
    """Map the comparison key of each class name to the name, in order.

    Args:
        names: Class names.
        whose: Owner of the classes, for the message.

    Raises:
        ValueError: Two names have the same key.
    """
    folded: dict[str, str] = {}
    for name in names:
        key = fold_name(name)
        if key in folded:
            raise ValueError(f"Two classes of {whose} have the same name, {folded[key]!r} and {name!r}: rename one.")
        folded[key] = name
    return folded


def normalize_names(names: Iterable[object]) -> list[str]:
    """Normalise several class names, which must differ in more than case, white space or Unicode form.

    Raises:
        ValueError: Two names are the same (see `fold_name`), or for a reason listed in `normalize_name`.
    """
    given: dict[str, str] = {}
    for name in names:
        text = normalize_name(name)
        key = fold_name(text)
        if key in given:
            raise ValueError(f"{given[key]!r} and {text!r} are the same class name: rename or remove one.")
        given[key] = text
    return list(given.values())


def split_names(text: str) -> list[str]:
    """Split a list of class names as typed by a user, and normalise each.

    Commas separate names; a name with a comma needs double quotes, as in CSV. Names separated by semicolons or line
    breaks may contain commas without quotes, unless a line ends with a comma.

    Raises:
        ValueError: A name is empty, a double quote is not closed, or for a reason listed in `normalize_names`.
    """
    text = text.strip()
    unquoted = re.sub(r'"(?:[^"]|"")*"', "", text)
    commas_separate = not re.search(r"[;\n]", unquoted) or re.search(r",\s*\n", unquoted)
    marks = ",;" if commas_separate else ";"
    item = re.compile(
        rf'(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<bare>(?!")[^{marks}\n]*?))(?P<end>\s*[{marks}]\s*|\s*\n\s*|\Z)'
    )
    names: list[str] = []
    place, is_last = 0, False
    while not is_last:
        match = item.match(text, place)
        if match is None:
            raise ValueError(f"Double quotes must enclose a whole name, unlike in {text[place:]!r}.")
        name = match["bare"] if match["quoted"] is None else match["quoted"].replace('""', '"')
        if not name.strip():
            raise ValueError(f"Name {len(names) + 1} in {text!r} is empty: write a name, or remove the separator.")
        names.append(name)
        place, is_last = match.end(), not match["end"]
    return normalize_names(names)


def sort_ids(class_ids: list[str]) -> list[str]:
    """Sort ids: numbers first, numerically ("10" after "9"), then the others as text."""

    def key(class_id: str) -> tuple[bool, int, str]:
        number = canonical_id(class_id)
        return (False, number, class_id) if isinstance(number, int) else (True, 0, class_id)

    return sorted(class_ids, key=key)


def read_labels(path: str | Path) -> dict[str, str]:
    """Read the class names.

    Args:
        path: UTF-8 CSV file with the header `id,name` and one row per class; or "imigue" (ids "1" to "32"), "smg"
            (ids "0" to "16") or "ma52" (ids "0" to "51") for the built-in names. Columns of groups and texts may
            follow (see `read_label_groups` and `read_label_texts`).

    Returns:
        Class id, as written, to class name, in id order (numbers numerically).

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not UTF-8, has another header or no rows, or an id or name is empty or repeated. "1"
            and "01" are the same id; `fold_name` defines equality of names, because many text models ignore case.
    """
    if str(path) in CLASS_LISTS:
        built_in = CLASS_LISTS[str(path)]
        return {str(number): name for number, name in enumerate(built_in.names, start=built_in.first_id)}
    rows = _read_rows(Path(path))
    return {class_id: rows[class_id].name for class_id in sort_ids(list(rows))}


def read_label_groups(path: str | Path) -> dict[str, str] | None:
    """Read the group of each class, a coarse class such as the body part, from the column `group`.

    Args:
        path: As for `read_labels`.

    Returns:
        Class name to its group; None without groups. Of the built-in lists, only "ma52" has groups.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: A class has no group although there is such a column, or for a reason listed in `read_labels`.
    """
    if str(path) in CLASS_LISTS:
        built_in = CLASS_LISTS[str(path)]
        return None if built_in.groups is None else dict(zip(built_in.names, built_in.groups, strict=True))
    groups = {row.name: row.group for row in _read_rows(Path(path)).values() if row.group is not None}
    return groups or None


def read_label_texts(path: str | Path) -> dict[str, list[str]]:
    """Read the texts of classes: the cells of columns whose header begins with "text" or "description".

    Args:
        path: As for `read_labels`.

    Returns:
        Class name to its texts; empty cells are left out.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: For a reason listed in `read_labels`.
    """
    if str(path) in CLASS_LISTS:
        return {}
    return {row.name: row.texts for row in _read_rows(Path(path)).values()}


class _Row(NamedTuple):
    name: str
    group: str | None  # None without such a column
    texts: list[str]


def _read_rows(path: Path) -> dict[str, _Row]:
    """Return the row of each class id, in file order."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no labels file {path}: give a CSV with the header 'id,name', or one of "
            f"{', '.join(map(repr, CLASS_LISTS))}."
        )
    try:
        # Spreadsheets write a byte order mark before the header.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"The labels file {path} is not UTF-8 ({error}): save it as 'CSV UTF-8'.") from error
    try:
        return _parse_labels(text, path)
    except csv.Error as error:
        raise ValueError(f"The labels file {path} is not a CSV: {error}.") from error


def _check_header(header: list[str], path: Path) -> None:
    names = [cell.lower() for cell in header]
    if names[:2] != ["id", "name"]:
        seen = abridge(",".join(header)) if header else "empty"
        raise ValueError(f"The first line of the labels file {path} must be 'id,name', but it is {seen}.")
    if names.count(GROUP_COLUMN) > 1:
        raise ValueError(f"The labels file {path} has several columns {GROUP_COLUMN!r}: keep one.")
    for name in names[2:]:
        if name != GROUP_COLUMN and not name.startswith(TEXT_COLUMNS):
            raise ValueError(
                f"The labels file {path} has the column {abridge(name)} after 'id,name': the group of a class is in "
                f"the column {GROUP_COLUMN!r}, and further texts of it in columns that begin with "
                f"{' or '.join(map(repr, TEXT_COLUMNS))}."
            )


def _parse_labels(text: str, path: Path) -> dict[str, _Row]:
    """Return id to row in file order; `path` is used in error messages."""
    rows = number_rows(io.StringIO(text))
    header = [cell.strip() for cell in next(rows, (1, []))[1]]
    _check_header(header, path)
    columns = [cell.lower() for cell in header[2:]]
    labels: dict[str, _Row] = {}
    seen_ids: set[int | str] = set()
    seen_names: set[str] = set()
    for line, row in rows:
        if not row:
            continue
        where = f"Line {line} of the labels file {path}"
        if len(row) != len(header):
            raise ValueError(
                f"{where} has {len(row)} cells, not {len(header)}: put names that contain a comma in double quotes."
            )
        class_id, name, *others = (cell.strip() for cell in row)
        group = others.pop(columns.index(GROUP_COLUMN)) if GROUP_COLUMN in columns else None
        if not class_id or not name:
            raise ValueError(
                f"{where} has an empty {'name' if class_id else 'id'}: each class needs an id and a name."
            )
        try:
            class_id, name = normalize_name(class_id), normalize_name(name)
            group = None if group is None else _normalize_group(group)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if canonical_id(class_id) in seen_ids:
            raise ValueError(f"{where} repeats the id {class_id!r}: give each class one row.")
        if fold_name(name) in seen_names:
            raise ValueError(f"{where} repeats the name {name!r}: classes with the same name cannot be distinguished.")
        labels[class_id] = _Row(name, group, [text for text in others if text])
        seen_ids.add(canonical_id(class_id))
        seen_names.add(fold_name(name))
    if not labels:
        raise ValueError(f"The labels file {path} has a header but no rows: add a row 'id,name' for each class.")
    return labels


def _normalize_group(group: str) -> str:
    if not group:
        raise ValueError("The group is empty: give each class a group, or remove the column.")
    return normalize_name(group)


def check_class_names(class_names: list[str]) -> None:
    """Refuse fewer than two classes, and warn about names that are bare numbers.

    Raises:
        ValueError: There are fewer than two classes.
    """
    if len(class_names) < 2:
        raise ValueError(f"At least two classes are needed, not {len(class_names)}: {class_names}.")
    if all(isinstance(canonical_id(name), int) for name in class_names):
        warnings.warn(
            f"The class names are {shorten(class_names)}, so images are compared with bare numbers. Give names: "
            "labels_file takes a CSV with the header 'id,name', or a built-in list such as 'imigue'; on the Hub, use "
            "a ClassLabel.",
            stacklevel=4,
        )


def shorten(names: Iterable[str]) -> str:
    """Return names for a message: the first `NUM_LISTED`, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - NUM_LISTED} more" if len(names) > NUM_LISTED else ""
    return ", ".join(abridge(name) for name in names[:NUM_LISTED]) + more
