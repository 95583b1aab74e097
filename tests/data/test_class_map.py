"""The table of shared classes: what it holds, how a data set is recognised, and what is refused."""

import csv

import pytest

from mg_vtc.data.class_lists import CLASS_LISTS, IMIGUE_CLASS_NAMES, MA52_CLASS_NAMES, SMG_CLASS_NAMES
from mg_vtc.data.class_map import SHARED_CLASSES, ClassMap


@pytest.fixture
def write_map(tmp_path):
    def write(text: str):
        path = tmp_path / "map.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_built_in_table_has_only_names_of_the_class_lists():
    with SHARED_CLASSES.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21
    for word in CLASS_LISTS:
        names = [row[word] for row in rows if row[word]]
        assert set(names) <= set(CLASS_LISTS[word].names)
        assert len(set(names)) == len(names)


def test_shared_classes_have_the_names_of_their_own_data_set():
    table = ClassMap()
    of_smg = table.list_shared("smg", "ma52", SMG_CLASS_NAMES)
    of_ma52 = table.list_shared("ma52", "smg", MA52_CLASS_NAMES)
    assert dict(zip(of_smg, of_ma52, strict=True)) == {
        "Scratching or touching facial parts other than eyes": "scratching or touching face",
        "Touching or scratching neck": "scratching or touching neck",
        "Playing or adjusting hair": "playing or tidying hair",
        "Folding arms": "crossing arms",
        "Arms akimbo": "arms akimbo",
        "Rubbing hands and crossing finger": "rubbing hands",
        "Playing with jewelry, and manipulating other objects": "playing objects",
        "Illustrative hand gestures": "illustrative gestures",
        "Crossing legs": "crossing legs",
    }


def test_class_that_the_data_lack_is_not_shared():
    names = [name for name in IMIGUE_CLASS_NAMES if name != "Illustrative hand gestures"]
    assert "Illustrative hand gestures" not in ClassMap().list_shared("imigue", "smg", names)


@pytest.mark.parametrize("word", CLASS_LISTS)
def test_data_set_is_recognised_by_its_names(word):
    names = [name.upper() for name in CLASS_LISTS[word].names[:-1]]
    assert ClassMap().find_column(names, "mine") == word


@pytest.mark.parametrize("names", [["Arms akimbo", "Folding arms"], ["nodding", "waving"]])
def test_data_set_that_may_be_two_or_none_is_refused(names):
    with pytest.raises(ValueError, match=r"does not tell which of its data sets mine is: of its 2 classes, \d are in"):
        ClassMap().find_column(names, "mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be 'name' and two or more data sets"),
        ("name,a\nx,y\n", "must be 'name' and two or more data sets.* it is 'name,a'"),
        ("name,a,a\nx,y,z\n", "must be 'name' and two or more data sets"),
        ("name,a,b\n", "has no rows"),
        ("name,a,b\nx,y\n", "Line 2 .* has 2 cells, not 3"),
        ("name,a,b\nx,y,\n", "Line 2 .* must have a name and a class of two or more data sets"),
        ("name,a,b\n,y,z\n", "Line 2 .* must have a name"),
        ("name,a,b\nx,y,z\nX,u,v\n", "Line 3 .* repeats 'X' of the column 'name', which is in line 2"),
        (
            "name,a,b\nx,y,z\nw,Y,v\n",
            "Line 3 .* repeats 'Y' of the column 'a', which is in line 2: each class",
        ),
        ("name,a,b\nx,y,\x07\n", "contains a control character"),
    ],
)
def test_faulty_table_is_refused_with_its_line(write_map, text, message):
    with pytest.raises(ValueError, match=message):
        ClassMap(write_map(text))


def test_missing_and_undecodable_tables_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no class map"):
        ClassMap(tmp_path / "map.csv")
    (tmp_path / "map.csv").write_bytes("name,a,b\nä,y,z\n".encode("latin-1"))
    with pytest.raises(ValueError, match="is not a UTF-8 CSV"):
        ClassMap(tmp_path / "map.csv")
