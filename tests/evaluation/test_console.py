"""What the screen shows of an evaluation."""

import pytest

from mg_vtc.evaluation.console import summarize


@pytest.fixture
def results():
    score = {"value": 0.75, "low": 0.5, "high": 1.0, "method": "bootstrap"}
    return {
        "model": "runs/mine",
        "data": "images",
        "conditions": {
            "split": "validation",
            "split_by": "frame",
            "frame_level_split": True,
            "seed": 7,
            "num_images": 20,
            "num_clips": 5,
            "num_training_rows": 0,
            "training_rows_known": True,
            "leakage": {"same_clip": 20, "same_bytes": 0},
            "num_classes": 4,
            "task": "image-classification",
            "chosen_on_these": True,
            "baselines_from": "training rows",
            "interval": {"level": 0.95, "resampled_by": "clip", "num_resamples": 2000},
        },
        "scores": {"top1_accuracy": score, "top5_accuracy": score, "macro_f1": score},
        "baselines": {
            "majority_class": {"top1_accuracy": 0.25, "top5_accuracy": None},
            "five_most_frequent": {"top1_accuracy": None, "top5_accuracy": 0.6},
        },
    }


def test_every_score_has_its_interval_and_a_baseline_where_there_is_one(results):
    rows = {line[:28].strip(): line[28:].split() for line in summarize(results).splitlines() if "%" in line}
    assert rows["top-1 accuracy"] == ["75.0%", "50.0%", "to", "100.0%", "25.0%"]
    assert rows["top-5 accuracy"][-1] == "60.0%"
    assert rows["macro F1"] == ["75.0%", "50.0%", "to", "100.0%"]


def test_conditions_stand_above_the_scores(results):
    lines = summarize(results).splitlines()
    assert lines[0] == (
        "runs/mine on images: 20 images of 5 clips, split validation, seed 7; 4 classes, image-classification"
    )
    assert "frame-level split" in lines[1]
    assert lines[2] == "of these, 20 are from the same clips as training images"
    assert "chosen on these images" in lines[3]
    assert "2000 resamples by clip" in lines[-1]
    assert "of the training rows" in lines[-1]


def test_nothing_is_said_of_what_is_not_known(results):
    results["conditions"] |= {"split_by": None, "seed": None, "frame_level_split": False, "chosen_on_these": False}
    results["conditions"] |= {"num_clips": None, "split": "all", "leakage": None}
    lines = summarize(results).splitlines()
    assert lines[0] == "runs/mine on images: 20 images, split all; 4 classes, image-classification"
    assert lines[1] == ""


def test_training_images_are_called_so(results):
    results["conditions"] |= {"split": "train", "split_by": None, "num_training_rows": 20, "leakage": None}
    lines = summarize(results).splitlines()
    assert "trained on 20 of these images" in lines[1]
    assert not [line for line in lines if "held out" in line]


def test_score_without_an_interval_says_none(results):
    results["scores"] = {"top1_accuracy": {"value": 1.0, "low": None, "high": None, "method": "bootstrap"}}
    assert [line.split()[2:] for line in summarize(results).splitlines() if line.startswith("top-1")] == [
        ["100.0%", "none", "25.0%"]
    ]


def test_groups_and_subsets_are_shown_if_they_are_scored(results):
    score = {"value": 0.5, "low": 0.25, "high": 0.75, "method": "exact"}
    names = {"f1_mean": score, "group_accuracy": score, "group_macro_f1": score}
    results["class_groups"] = {"scores": names, "groups": [{"name": "head", "num_classes": 3}]}
    results["clips"] = {"vote": "mean", "num_clips": 5, "scores": {}, "class_groups": {"scores": names}}
    subset = {"num_images": 4, "num_clips": None, "num_classes": 2, "mean_class_accuracy": 0.5}
    accuracies = [0.1 + number / 100 for number in range(25)]
    results["subsets"] = {
        "column": "subject",
        "top1_accuracy": {"mean": 0.22, "lowest": 0.1, "highest": 0.34, "standard_deviation": 0.07},
        "subsets": [
            subset | {"value": f"s{number}", "top1_accuracy": score | {"value": value}}
            for number, value in reversed([*enumerate(accuracies)])
        ],
    }
    lines = summarize(results).splitlines()
    assert "groups of classes: head (3)" in lines
    assert [line.split()[:2] for line in lines].count(["F1_mean", "50.0%"]) == 2
    shown = [line.split()[0] for line in lines if line.startswith("s") and "25.0% to 75.0%*" in line]
    assert shown == [f"s{number}" for number in range(20)]
    assert "and 5 more, with higher scores" in lines
    assert lines[-1] == "top-1 over 25 values of subject: 22.0% ± 7.0%, 10.0% to 34.0%"
