"""Classes are matched by name alone, and an error shows both lists."""

import re
import warnings

import pytest

from mg_vtc.evaluation.class_matching import match_classes


def test_order_of_the_data_stays_and_case_and_white_space_do_not_matter():
    names, ids = match_classes(["Head  up", "folding arms"], ["Folding arms", "head up "])
    assert names == ["Head  up", "folding arms"]
    assert ids.tolist() == [1, 0]


def test_classes_that_the_data_lack_come_last_and_are_reported():
    with pytest.warns(
        UserWarning, match=r"2 of the model's 3 classes .* can be predicted: 'Head up', 'Covering face'"
    ):
        names, ids = match_classes(["folding arms"], ["Head up", "Folding arms", "Covering face"])
    assert names == ["folding arms", "Head up", "Covering face"]
    assert ids.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("data_names", "fault"),
    [
        (["Folding arms", "Waving"], "Some of the data's classes are not in the model: 'Waving'"),
        (["Waving", "Nodding"], "None of the data's classes are in the model"),
        (["Folding arms", "Head up", "Waving"], "not in the model: 'Waving'"),
    ],
)
def test_class_that_the_model_does_not_know_is_refused_with_both_lists_and_the_way_out(data_names, fault):
    with pytest.raises(ValueError, match=re.escape(fault)) as refusal:
        match_classes(data_names, ["Folding arms", "Head up"])
    listed = ", ".join(map(repr, data_names))
    assert f"Classes of the data ({len(data_names)}): {listed}." in str(refusal.value)
    assert "Classes of the model (2): 'Folding arms', 'Head up'." in str(refusal.value)
    assert "`zero_shot`" in str(refusal.value)


def test_numbers_are_no_names_of_a_model_that_has_some():
    with pytest.raises(ValueError, match=r"bare numbers.*`labels_file`"):
        match_classes(["1", "2"], ["Folding arms", "Head up"])


def test_numbers_are_the_same_classes_only_where_all_are():
    names, ids = match_classes(["01", "2"], ["2", "1"])
    assert names == ["01", "2"]
    assert ids.tolist() == [1, 0]
    with pytest.raises(ValueError, match="bare numbers"):
        match_classes(["1", "2"], ["1", "2", "3"])
    with pytest.raises(ValueError, match="Some of the data's classes are bare numbers"):
        match_classes(["1", "Head up"], ["1", "Head up", "Folding arms"])


@pytest.mark.parametrize("twice", ["data", "model"])
def test_two_classes_with_one_name_are_refused(twice):
    names = {"data": ["Head up", "Folding arms"], "model": ["Head up", "Folding arms"]}
    names[twice].append("head UP")
    with pytest.raises(ValueError, match=f"Two classes of the {twice} have the same name, 'Head up' and 'head UP'"):
        match_classes(names["data"], names["model"])


def test_same_classes_are_matched_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert match_classes(["a", "b"], ["a", "b"])[1].tolist() == [0, 1]


def test_classes_are_found_whatever_their_unicode_form():
    names, model_ids = match_classes(["ha\u0308nde reiben", "bow"], ["Bow", "H\u00e4nde  reiben"])
    assert names == ["ha\u0308nde reiben", "bow"]
    assert model_ids.tolist() == [1, 0]
