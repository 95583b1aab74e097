"""Rows of a CSV with their lines, and values of a table as text: missing values and whole numbers."""

import csv
import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

# As tables have missing values. "None" may be a class, of images without a gesture.
MISSING_TEXTS = ("", "nan", "na", "n/a", "#n/a", "<na>", "null")


def number_rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV, each after the number of its last line.

    Raises:
        csv.Error: A row breaks the rules of double quotes, or a cell is too large; it names the row's first line.
    """
    reader, first = csv.reader(lines, skipinitialspace=True, strict=True), 1
    try:
        for row in reader:
            yield reader.line_num, row
            first = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(
            f"{error} in line {first}; double quotes must stand around a whole cell, and be written twice in it"
        ) from error


def read_cell(value: object) -> str | None:
    """Return the text or whole number in a table cell as text, or None for a missing value.

    Whole numbers may be floats or decimals, because pandas stores an integer column with missing values as floats: 1.0
    and "1.0" become "1".

    Raises:
        ValueError: The value is something else, such as a fraction, a list or a date.
    """
    if isinstance(value, str):
        text = value.strip()
        return None if text.lower() in MISSING_TEXTS else re.sub(r"^(\d+)\.0+$", r"\1", text)
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return None
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{value!r} is neither text nor a whole number")
