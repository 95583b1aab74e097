"""Class ids and names: the built-in lists, the CSV and everything that can be wrong with it."""

from pathlib import Path

import pytest

from mg_vtc.data.labels import IMIGUE_CLASS_NAMES, SMG_CLASS_NAMES, canonical_id, read_labels, sort_ids


@pytest.fixture
def write_labels(tmp_path: Path):
    def write(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize(("names", "num_classes"), [(IMIGUE_CLASS_NAMES, 32), (SMG_CLASS_NAMES, 17)])
def test_built_in_names_are_complete_and_distinct(names: tuple[str, ...], num_classes: int):
    assert len({name.casefold() for name in names}) == len(names) == num_classes
    assert all(name == name.strip() for name in names)


def test_word_imigue_gives_ids_from_1_to_32():
    labels = read_labels("imigue")
    assert list(labels) == [str(number) for number in range(1, 33)]
    assert labels["1"] == "Turtle neck"
    assert labels["32"] == "Illustrative hand gestures"


def test_numbers_sort_as_numbers_and_before_text():
    assert sort_ids(["b", "10", "a", "9", "01", "²"]) == ["01", "9", "10", "a", "b", "²"]


def test_canonical_id_drops_leading_zeros_of_numbers_only():
    assert [canonical_id(text) for text in ("01", "1", "0", "a1", "-1", "²")] == [1, 1, 0, "a1", "-1", "²"]


def test_rows_come_in_id_order_with_ids_as_written(write_labels):
    path = write_labels('id,name\n10,ten\n09,nine\n2,"two, or so"\n')
    assert list(read_labels(path).items()) == [("2", "two, or so"), ("09", "nine"), ("10", "ten")]


def test_ids_may_be_text(write_labels):
    assert read_labels(write_labels("id,name\nnod,nodding\nbow,bowing\n")) == {"bow": "bowing", "nod": "nodding"}


def test_spreadsheet_habits_are_understood(write_labels):
    path = write_labels("\ufeffid,name\r\n1, nodding \r\n\r\n2,bowing\r\n")
    assert read_labels(path) == {"1": "nodding", "2": "bowing"}


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no labels file .*none\.csv.*'imigue'"):
        read_labels(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be 'id,name', but it holds nothing"),
        ("id;name\n1;a\n", "must be 'id,name', but it holds 'id;name'"),
        ("1,nodding\n", "must be 'id,name', but it holds '1,nodding'"),
        ("id,name\n", "has a header but no rows"),
        ("id,name\n1,a\n1,b\n", "Line 3 .* gives the id '1' again"),
        ("id,name\n1,a\n01,b\n", "Line 3 .* gives the id '01' again"),
        ("id,name\n1,a\n2,A\n", "Line 3 .* gives the name 'A' again"),
        ("id,name\n1, \n", "Line 2 .* has an empty name"),
        ("id,name\n ,a\n", "Line 2 .* has an empty id"),
        ("id,name\n1,a, or b\n", "Line 2 .* has 3 cells, not 2: put a name that holds a comma in double quotes"),
    ],
)
def test_faulty_file_is_refused_with_its_line(write_labels, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        read_labels(write_labels(text))


def test_other_encodings_are_refused(write_labels):
    with pytest.raises(ValueError, match=r"labels\.csv is not UTF-8"):
        read_labels(write_labels("id,name\n1,Händereiben\n", encoding="latin-1"))
