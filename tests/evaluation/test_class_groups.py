"""Scores of groups of classes and F1_mean: closed forms, scikit-learn, and where the groups come from."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from mg_vtc.data.class_lists import CLASS_LISTS, IMIGUE_CLASS_NAMES, MA52_CLASS_NAMES
from mg_vtc.evaluation.class_groups import find_class_groups, score_class_groups

BODY_PARTS = CLASS_LISTS["ma52"].groups
GROUPS = ["head", "head", "hand"]


def one_hot(predicted: list[int], num_classes: int = 3) -> np.ndarray:
    return np.eye(num_classes, dtype=np.float32)[predicted]


def values_of(logits: np.ndarray, labels: np.ndarray, groups=GROUPS) -> dict[str, float]:
    scored = score_class_groups(logits, labels, groups)
    return {name: interval["value"] for name, interval in scored["scores"].items()}


def test_right_predictions_have_all_scores_of_1():
    labels = np.array([0, 1, 2])
    assert values_of(one_hot([0, 1, 2]), labels) == {"f1_mean": 1, "group_accuracy": 1, "group_macro_f1": 1}


def test_wrong_class_of_the_right_group_counts_for_the_group():
    # classes: micro 1/3, macro (0 + 0 + 1) / 3; groups: micro 1, macro 1
    values = values_of(one_hot([1, 0, 2]), np.array([0, 1, 2]))
    assert values == pytest.approx({"f1_mean": (1 / 3 + 1 / 3 + 1 + 1) / 4, "group_accuracy": 1, "group_macro_f1": 1})


def test_row_without_a_prediction_has_no_group():
    tied = np.zeros((1, 3), dtype=np.float32)
    assert values_of(tied, np.array([0]), ["head"] * 3) == {"f1_mean": 0, "group_accuracy": 0, "group_macro_f1": 0}


def test_scores_of_ma52_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(52), rng.integers(52, size=900)])  # each class has rows
    logits = rng.normal(size=(len(labels), 52)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += 2
    predicted = logits.argmax(axis=1)
    part_of = np.repeat(np.arange(7), [5, 6, 13, 8, 6, 10, 4])
    micro, macro = (f1_score(labels, predicted, average=average) for average in ("micro", "macro"))
    parts = part_of[labels], part_of[predicted]
    part_micro, part_macro = (f1_score(*parts, average=average) for average in ("micro", "macro"))
    values = values_of(logits, labels, BODY_PARTS)
    assert values["f1_mean"] == pytest.approx((micro + macro + part_micro + part_macro) / 4)
    assert values["group_accuracy"] == pytest.approx(accuracy_score(*parts)) == pytest.approx(part_micro)
    assert values["group_macro_f1"] == pytest.approx(part_macro)


def test_groups_are_listed_in_the_order_of_classes_with_null_where_no_row_is():
    scored = score_class_groups(one_hot([0, 0]), np.array([0, 1]), GROUPS)
    assert scored["groups"] == [
        {"name": "head", "num_classes": 2, "recall": 1.0, "f1": 1.0, "support": 2},
        {"name": "hand", "num_classes": 1, "recall": None, "f1": None, "support": 0},
    ]


def test_interval_resamples_clips():
    labels, clips = np.repeat([0, 2, 0, 2], 8), np.repeat(["a", "b", "c", "d"], 8).tolist()
    logits = one_hot([0] * len(labels))
    by_clip = score_class_groups(logits, labels, GROUPS, clips)["scores"]["group_accuracy"]
    by_row = score_class_groups(logits, labels, GROUPS)["scores"]["group_accuracy"]
    assert by_clip["high"] - by_clip["low"] > by_row["high"] - by_row["low"]


def test_groups_are_those_of_the_labels_file_in_the_order_of_the_model(tmp_path):
    (tmp_path / "labels.csv").write_text("id,name,group\n1,nodding,head\n2,waving,hand\n")
    assert find_class_groups(["Waving", "nodding"], str(tmp_path), None) == ["hand", "head"]


def test_given_labels_file_precedes_that_of_the_folder(tmp_path):
    (tmp_path / "labels.csv").write_text("id,name,group\n1,nodding,head\n2,waving,hand\n")
    other = tmp_path / "other.csv"
    other.write_text("id,name,group\n1,nodding,up\n2,waving,down\n")
    assert find_class_groups(["nodding", "waving"], str(tmp_path), str(other)) == ["up", "down"]


def test_ma52_is_known_by_its_names_without_a_file():
    assert find_class_groups([name.upper() for name in MA52_CLASS_NAMES], "org/data", None) == list(BODY_PARTS)


def test_labels_file_is_that_of_the_loader_for_a_split_too(tmp_path):
    (tmp_path / "validation").mkdir()
    (tmp_path / "labels.csv").write_text("id,name,group\n1,nodding,head\n2,waving,hand\n")
    assert find_class_groups(["nodding", "waving"], str(tmp_path / "validation"), None) == ["head", "hand"]
    (tmp_path / "labels.csv").rename(tmp_path / "validation" / "labels.csv")
    assert find_class_groups(["nodding", "waving"], str(tmp_path), None) == ["head", "hand"]


def test_score_with_equal_resamples_has_an_exact_interval():
    scores = score_class_groups(one_hot([0] * 6), np.array([0] * 6), GROUPS)["scores"]
    expected = {"value": 1.0, "low": pytest.approx(0.025 ** (1 / 6)), "high": 1.0, "method": "exact"}
    assert list(scores.values()) == [expected] * 3


@pytest.mark.parametrize("names", [IMIGUE_CLASS_NAMES, MA52_CLASS_NAMES[:5], ["bowing", "waving"]])
def test_other_classes_have_no_groups(names, tmp_path):
    assert find_class_groups(names, str(tmp_path), None) is None


def test_class_without_a_group_in_the_file_is_named(tmp_path):
    (tmp_path / "labels.csv").write_text("id,name,group\n1,nodding,head\n2,waving,hand\n")
    with pytest.warns(UserWarning, match=r"Groups of classes are not scored: .*labels\.csv has none for 'bowing'"):
        assert find_class_groups(["nodding", "waving", "bowing"], str(tmp_path), None) is None


def test_stray_labels_file_costs_the_groups_alone(tmp_path, monkeypatch):
    (tmp_path / "labels.txt").write_text("nodding\nwaving\n")  # which the loader of Parquet files does not read
    with pytest.warns(UserWarning, match=r"Groups of classes are not scored: .*labels\.txt"):
        assert find_class_groups(["nodding", "waving"], str(tmp_path), None) is None
    monkeypatch.chdir(tmp_path)
    assert find_class_groups(["nodding", "waving"], "", None) is None  # data without a name are not the working folder
