"""Texts of classes beside their names: in a JSON file, or in columns of a labels file."""

import json

import pytest

from mg_vtc.data.descriptions import find_label_texts, read_descriptions
from mg_vtc.data.labels import read_labels

NAMES = ["Folding arms", "Head up"]


def test_json_may_hold_a_text_or_a_list_for_a_name_in_any_case(tmp_path):
    path = tmp_path / "texts.json"
    path.write_text(json.dumps({"head  UP": "the chin is raised", "Folding arms": ["arms are\ncrossed", "held arms"]}))
    assert read_descriptions(path, NAMES) == [["arms are crossed", "held arms"], ["the chin is raised"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON in UTF-8"),
        ("[1]", r"must map class names to texts, not hold \[1\]"),
        ('{"Head up": 3}', "gives 'Head up' 3: write a text or a list"),
        ('{"Head up": ["a", " "]}', "write a text or a list"),
        ('{"Head up": "a"}', "describes 1 of 2 classes, and not 'Folding arms': describe all of them or none"),
        ('{"Head up": "a", "Folding arms": []}', "describes 1 of 2 classes"),
        (
            '{"Head up": "a", "head  UP": "b"}',
            "one class as 'Head up' and as 'head  UP': write its texts in one list",
        ),
        (
            '{"Head up": "a", "Head up": "b"}',
            "one class as 'Head up' and as 'Head up': write its texts in one list",
        ),
        ('{"Head down": "a"}', "describes 'Head down', but the classes are 'Folding arms', 'Head up': use their"),
    ],
)
def test_descriptions_that_are_incomplete_or_no_texts_are_refused(tmp_path, content, message):
    path = tmp_path / "texts.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_descriptions(path, NAMES)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no descriptions_file .*texts\.json"):
        read_descriptions(tmp_path / "texts.json", NAMES)


def test_labels_file_may_have_columns_of_texts(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text('id,name,text,Description 2\n1,Head up,the chin is raised,\n2,Folding arms,"arms, crossed",held\n')
    assert read_labels(path) == {"1": "Head up", "2": "Folding arms"}
    assert find_label_texts(path, NAMES) == [["arms, crossed", "held"], ["the chin is raised"]]


def test_labels_file_without_texts_describes_nothing(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,name,text\n1,Head up,\n2,Folding arms,\n")
    assert find_label_texts(path, NAMES) is None
    assert find_label_texts("imigue", NAMES) is None


def test_labels_file_that_describes_some_classes_is_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,name,text\n1,Head up,the chin is raised\n2,Folding arms,\n")
    with pytest.raises(ValueError, match="describes 1 of 2 classes, and not 'Folding arms'"):
        find_label_texts(path, NAMES)


def test_other_columns_are_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,name,colour\n1,Head up,red\n")
    with pytest.raises(ValueError, match=r"has the column 'colour' after 'id,name': .* begin with 'text' or 'desc"):
        read_labels(path)
