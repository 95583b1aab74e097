"""Classes that training never saw: what they are compared with, and the campaign with one draw."""

import json
import sys

import numpy as np
import pytest
import zero_shot

pytestmark = pytest.mark.slow


def test_images_are_compared_with_some_classes_alone():
    logits = np.array([[9.0, 1.0, 0.0], [9.0, 0.0, 1.0], [9.0, 0.0, 1.0]])
    labels = np.array([1, 2, 1])
    assert zero_shot.mean_class_accuracy(logits, labels, np.array([1, 2])) == pytest.approx((1 / 2 + 1) / 2)
    assert zero_shot.mean_class_accuracy(logits, labels, np.arange(3)) == 0


def test_tie_is_no_hit():
    assert zero_shot.mean_class_accuracy(np.zeros((2, 3)), np.array([0, 1]), np.array([0, 1])) == 0


def test_unseen_classes_are_in_no_training_and_all_templates_are_scored(
    images_dir, tiny_recipe, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(zero_shot, "SMALL", tiny_recipe)
    flags = ["--seeds", "0", "--epochs", "1", "--held_out", "2", "--output_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["zero_shot.py", str(images_dir), *flags])
    zero_shot.main()
    *_, person, image, ensemble, chance = capsys.readouterr().out.splitlines()
    assert person.startswith("| a person {} |")
    assert image.startswith("| a picture of {} |")
    assert len(ensemble.strip("|").split("|")) == 5
    assert chance == "| chance | 50.0 | 25.0 | 50.0 | 25.0 |"
    split = json.loads((tmp_path / "js-0" / "split.json").read_text())
    classes = {name.split("/")[0] for part in ("train", "validation") for name in split[part]}
    assert len(classes) == 2
    assert len(json.loads((tmp_path / "js-0" / "config.json").read_text())["id2label"]) == 4
