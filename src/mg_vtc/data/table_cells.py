"""Read one value of a table as text: missing values and whole numbers."""

import math
import re
from decimal import Decimal

# As tables have missing values. "None" may be a class, of images without a gesture.
MISSING_TEXTS = ("", "nan", "na", "n/a", "#n/a", "<na>", "null")


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
