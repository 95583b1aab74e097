"""Values of tables as text."""

from datetime import date
from decimal import Decimal

import pytest

from mg_vtc.data.table_cells import read_cell


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("007", "007"),
        (" a b ", "a b"),
        ("1.0", "1"),
        ("1.5", "1.5"),
        ("nan", None),
        ("NA", None),
        ("n/a", None),
        ("NULL", None),
        ("<NA>", None),
        ("None", "None"),  # a class of images without a gesture
        ("  ", None),
        (None, None),
        (7, "7"),
        (-1.0, "-1"),
        (1e16, "10000000000000000"),
        (float("nan"), None),
        (Decimal("3.00"), "3"),
        (Decimal("NaN"), None),
    ],
)
def test_texts_and_whole_numbers_are_texts(value, text):
    assert read_cell(value) == text


@pytest.mark.parametrize("value", [1.5, float("inf"), True, b"x", [1], {"a": 1}, date(2026, 1, 1), Decimal("0.5")])
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match="neither text nor a whole number"):
        read_cell(value)
