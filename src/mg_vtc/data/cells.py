"""One value of a table, as text: what counts as missing, and which numbers are ids."""

import math
import re
from decimal import Decimal

MISSING_TEXTS = ("", "nan", "NaN")  # the last two as numpy and pandas write them


def read_cell(value: object) -> str | None:
    """Return the text or the whole number that a table holds, as text; None where the value is missing.

    A whole number may be a float or a decimal, as which pandas keeps a column of whole numbers with a missing value:
    1.0 and "1.0" are "1".

    Raises:
        ValueError: It is something else, such as a fraction, a list or a date.
    """
    if isinstance(value, str):
        text = value.strip()
        return None if text in MISSING_TEXTS else re.sub(r"^(\d+)\.0+$", r"\1", text)
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return None
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{value!r} is neither text nor a whole number")
