"""Class ids, names and texts: built-in lists of iMiGUE and SMG, and the `id,name` CSV of other sets."""

import csv
import io
import re
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path

from ..messages import abridge
from .table_cells import number_rows

TEXT_COLUMNS = ("text", "description")  # beginnings of headers
MOST_CHARACTERS = 1000  # of a class name
MOST_DIGITS = 18  # of an id that is a number
NUM_LISTED = 10  # files or names listed in a message; the rest is only counted

# X. Liu et al., "iMiGUE: An Identity-free Video Dataset for Micro-Gesture Understanding and Emotion Analysis",
# CVPR 2021. Ids are 1 to 32 in this order; the last class (99 in the raw annotation) is not a micro-gesture.
IMIGUE_CLASS_NAMES: tuple[str, ...] = (
    "Turtle neck",
    "Bulging face or deep breath",
    "Touching hat",
    "Touching or scratching head",
    "Touching or scratching forehead",
    "Covering face",
    "Rubbing eyes",
    "Touching or scratching facial parts",
    "Touching ears",
    "Biting nails",
    "Touching jaw",
    "Touching or scratching neck",
    "Playing or adjusting hair",
    "Buckle button, pulling shirt collar, adjusting tie",
    "Touching or covering suprasternal notch",
    "Scratching back",
    "Folding arms",
    "Dusting off clothes",
    "Putting arms behind body",
    "Moving torso",
    "Sitting straightly",
    "Scratching or touching arms",
    "Rubbing or holding hands",
    "Crossing fingers",
    "Minaret gesture",
    "Playing or manipulating objects",
    "Hold back arms",
    "Head up",
    "Pressing lips",
    "Arms akimbo",
    "Shaking shoulders",
    "Illustrative hand gestures",
)

# H. Chen et al., "SMG: A Micro-gesture Dataset Towards Spontaneous Body Gestures for Emotional Stress State
# Analysis", IJCV 2023. Ids are 0 to 16 in this order; the last class is not a micro-gesture.
SMG_CLASS_NAMES: tuple[str, ...] = (
    "Turtling neck and shoulder",
    "Rubbing eyes and forehead",
    "Folding arms",
    "Touching or covering suprasternal notch",
    "Moving legs",
    "Touching or scratching neck",
    "Folding arms behind body",
    "Rubbing hands and crossing finger",
    "Arms akimbo",
    "Crossing legs",
    "Scratching some part of body",
    "Scratching or touching facial parts other than eyes",
    "Playing or adjusting hair",
    "Holding arms",
    "Pulling shirt collar",
    "Playing with jewelry, and manipulating other objects",
    "Illustrative hand gestures",
)


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
    visible = "".join(character for character in normalize_name(name) if unicodedata.category(character) != "Cf")
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
        path: UTF-8 CSV file with the header `id,name` and one row per class; or "imigue" (ids "1" to "32") or "smg"
            (ids "0" to "16") for the built-in names. Columns of texts may follow (see `read_label_texts`).

    Returns:
        Class id, as written, to class name, in id order (numbers numerically).

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not UTF-8, has another header or no rows, or an id or name is empty or repeated. "1"
            and "01" are the same id; `fold_name` defines equality of names, because many text models ignore case.
    """
    if str(path) == "imigue":
        return {str(number): name for number, name in enumerate(IMIGUE_CLASS_NAMES, start=1)}
    if str(path) == "smg":
        return {str(number): name for number, name in enumerate(SMG_CLASS_NAMES)}
    labels = {class_id: name for class_id, (name, _) in _read_rows(Path(path)).items()}
    return {class_id: labels[class_id] for class_id in sort_ids(list(labels))}


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
    if str(path) in ("imigue", "smg"):
        return {}
    return dict(_read_rows(Path(path)).values())


def _read_rows(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Return the name and texts of each class id, in file order."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no labels file {path}: give a CSV with the header 'id,name', 'imigue' or 'smg'."
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
    for name in names[2:]:
        if not name.startswith(TEXT_COLUMNS):
            raise ValueError(
                f"The labels file {path} has the column {abridge(name)} after 'id,name': columns with further texts "
                f"of a class begin with {' or '.join(map(repr, TEXT_COLUMNS))}."
            )


def _parse_labels(text: str, path: Path) -> dict[str, tuple[str, list[str]]]:
    """Return id to name and texts in file order; `path` is used in error messages."""
    rows = number_rows(io.StringIO(text))
    header = [cell.strip() for cell in next(rows, (1, []))[1]]
    _check_header(header, path)
    labels: dict[str, tuple[str, list[str]]] = {}
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
        class_id, name, *texts = (cell.strip() for cell in row)
        if not class_id or not name:
            raise ValueError(
                f"{where} has an empty {'name' if class_id else 'id'}: each class needs an id and a name."
            )
        try:
            class_id, name = normalize_name(class_id), normalize_name(name)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if canonical_id(class_id) in seen_ids:
            raise ValueError(f"{where} repeats the id {class_id!r}: give each class one row.")
        if fold_name(name) in seen_names:
            raise ValueError(f"{where} repeats the name {name!r}: classes with the same name cannot be distinguished.")
        labels[class_id] = (name, [text for text in texts if text])
        seen_ids.add(canonical_id(class_id))
        seen_names.add(fold_name(name))
    if not labels:
        raise ValueError(f"The labels file {path} has a header but no rows: add a row 'id,name' for each class.")
    return labels


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
            "labels_file takes a CSV with the header 'id,name', 'imigue' or 'smg'; on the Hub, use a ClassLabel.",
            stacklevel=4,
        )


def shorten(names: Iterable[str]) -> str:
    """Return names for a message: the first `NUM_LISTED`, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - NUM_LISTED} more" if len(names) > NUM_LISTED else ""
    return ", ".join(abridge(name) for name in names[:NUM_LISTED]) + more
