"""Class ids and names: the built-in lists, the CSV and everything that can be wrong with it."""

from pathlib import Path

import pytest

from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES, MA52_CLASS_NAMES, SMG_CLASS_NAMES
from mg_vtc.data.labels import (
    canonical_id,
    fold_name,
    normalize_name,
    normalize_names,
    read_label_groups,
    read_label_texts,
    read_labels,
    sort_ids,
    split_names,
)


@pytest.fixture
def write_labels(tmp_path: Path):
    def write(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize(
    ("names", "num_classes"), [(IMIGUE_CLASS_NAMES, 32), (SMG_CLASS_NAMES, 17), (MA52_CLASS_NAMES, 52)]
)
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


def test_header_may_be_in_capitals_and_names_are_normalised(write_labels):
    assert read_labels(write_labels("ID, Name\n1,ha\u0308nde  reiben\n")) == {"1": "h\u00e4nde reiben"}


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
        ("", "must be 'id,name', but it is empty"),
        ("id;name\n1;a\n", "must be 'id,name', but it is 'id;name'"),
        ("1,nodding\n", "must be 'id,name', but it is '1,nodding'"),
        ("id,name\n", "has a header but no rows"),
        ("id,name\n1,a\n1,b\n", "Line 3 .* repeats the id '1'"),
        ("id,name\n1,a\n01,b\n", "Line 3 .* repeats the id '01'"),
        ("id,name\n1,a\n2,A\n", "Line 3 .* repeats the name 'A'"),
        ("id,name\n1,a  b\n2,A B\n", "Line 3 .* repeats the name 'A B'"),
        ("id,name\n1,h\u00e4\n2,ha\u0308\n", "Line 3 .* repeats the name 'h\u00e4'"),
        ("id,name\n1,a\x07\n", "Line 2 .* contains a control character"),
        ("id,name\n1, \n", "Line 2 .* has an empty name"),
        ("id,name\n ,a\n", "Line 2 .* has an empty id"),
        ("id,name\n1,a, or b\n", "Line 2 .* has 3 cells, not 2: put names that contain a comma in double quotes"),
    ],
)
def test_faulty_file_is_refused_with_its_line(write_labels, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        read_labels(write_labels(text))


def test_other_encodings_are_refused(write_labels):
    with pytest.raises(ValueError, match=r"labels\.csv is not UTF-8"):
        read_labels(write_labels("id,name\n1,Händereiben\n", encoding="latin-1"))


@pytest.mark.parametrize(
    "spelling",
    [
        "Händereiben am Tisch",
        " Ha\u0308ndereiben\tam\n Tisch ",
        "Händereiben\u00a0am  Tisch",
        "Händereiben am\r\nTisch",
    ],
)
def test_one_name_has_one_spelling(spelling: str):
    assert normalize_name(spelling) == "Händereiben am Tisch"


@pytest.mark.parametrize("name", ["a|b", "Buckle button, pulling", 'say "no"', "приседания", "👩‍🚀", "1", "<b>"])
def test_normalized_names_stay_as_they_are(name: str):
    assert normalize_name(name) == name == normalize_name(normalize_name(name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "must have a visible character, not ''"),
        (" \t\n", "must have a visible character"),
        ("\u200b \ufeff", "must have a visible character"),
        ("a\x00b", r"contains a control character: remove '\\x00'"),
        ("\x1b[1mface", "contains a control character"),
        ("h\udce4nde", "is not valid Unicode: remove"),
        (3, "must be text, not 3"),
        (None, "must be text, not None"),
    ],
)
def test_names_that_cannot_be_are_refused(name, message: str):
    with pytest.raises(ValueError, match=message):
        normalize_name(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Covering  Face", "covering face"), ("HÄNDE", "ha\u0308nde"), ("01", "1"), ("face\u200b", "face"), ("ß", "SS")],
)
def test_names_that_differ_in_form_alone_are_the_same(one: str, other: str):
    assert fold_name(one) == fold_name(other)
    with pytest.raises(ValueError, match="are the same class name"):
        normalize_names([one, "another", other])


def test_same_text_twice_is_refused():
    with pytest.raises(ValueError, match="'nod' and 'nod' are the same class name"):
        normalize_names(["nod", "nod"])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nod", ["nod"]),
        (" nod,  head up ", ["nod", "head up"]),
        (f'"{IMIGUE_CLASS_NAMES[13]}" , Folding arms', [IMIGUE_CLASS_NAMES[13], "Folding arms"]),
        (f'Folding arms,"{IMIGUE_CLASS_NAMES[13]}"', ["Folding arms", IMIGUE_CLASS_NAMES[13]]),
        (f"{IMIGUE_CLASS_NAMES[13]}; Folding arms", [IMIGUE_CLASS_NAMES[13], "Folding arms"]),
        (f"{IMIGUE_CLASS_NAMES[13]}\n\nFolding arms\n", [IMIGUE_CLASS_NAMES[13], "Folding arms"]),
        ('"a; b"\nc, d', ["a; b", "c, d"]),
        ("a, b,\nc", ["a", "b", "c"]),
        ('"say ""no""",yes', ['say "no"', "yes"]),
        ('a 5" one, b', ['a 5" one', "b"]),
    ],
)
def test_typed_lists_are_split(text: str, names: list[str]):
    assert split_names(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Name 1 in '' is empty"),
        (" \n ", "Name 1 in '' is empty"),
        ("a,,b", "Name 2 in 'a,,b' is empty"),
        ("a, b,", "Name 3 in 'a, b,' is empty"),
        (",", "Name 1 in ',' is empty"),
        ('a,""', "Name 2 .* is empty"),
        ('a,"b, c', "must enclose a whole name, unlike in '\"b, c'"),
        ("nod, bow, Nod", "'nod' and 'Nod' are the same class name"),
    ],
)
def test_faulty_typed_lists_are_refused(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        split_names(text)


def test_ma52_has_52_classes_in_seven_body_parts():
    labels, groups = read_labels("ma52"), read_label_groups("ma52")
    assert list(labels) == [str(number) for number in range(52)]
    assert list(groups) == list(labels.values())
    first_of_part = {group: list(groups.values()).index(group) for group in groups.values()}
    assert list(first_of_part.values()) == [0, 5, 11, 24, 32, 38, 48]
    assert {labels["11"]: groups[labels["11"]]} == {"scratching arms": "upper limb"}


def test_group_and_texts_of_a_class_may_be_in_any_order(write_labels):
    path = write_labels("id,name,text,Group,description\n1,nodding,a nod,head,\n2,waving,,upper  limb,a wave\n")
    assert read_label_groups(path) == {"nodding": "head", "waving": "upper limb"}
    assert read_label_texts(path) == {"nodding": ["a nod"], "waving": ["a wave"]}
    assert read_labels(path) == {"1": "nodding", "2": "waving"}


def test_file_without_a_group_column_has_no_groups(write_labels):
    assert read_label_groups(write_labels("id,name\n1,nodding\n")) is None
    assert read_label_groups("imigue") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,name,group\n1,a,head\n2,b, \n", "Line 3 .* The group is empty: give each class a group, or remove"),
        ("id,name,group,group\n1,a,head,head\n", "several columns 'group': keep one"),
        ("id,name,part\n1,a,head\n", "the group of a class is in the column 'group'"),
        ("id,name,group\n1,a,he\x07ad\n", "Line 2 .* contains a control character"),
    ],
)
def test_faulty_groups_are_refused_with_their_line(write_labels, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        read_label_groups(write_labels(text))
