"""Wrong labels: as many as asked for, all wrong, all other classes alike."""

import sys

import label_noise
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from scipy.stats import chisquare

from mg_vtc.training.recipe import parse_recipe

FEATURES = Features(label=ClassLabel(num_classes=5), file_name=Value("string"))


@pytest.fixture
def rows():
    rows = [{"label": row % 5, "file_name": str(row)} for row in range(1000)]
    return Dataset.from_list(rows, features=FEATURES)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_a_share_of_the_rows_has_another_class(rows, share):
    noisy = label_noise.replace_labels(rows, share, seed=0)
    changed = np.asarray(noisy["label"][:]) != np.asarray(rows["label"][:])
    assert changed.sum() == 1000 * share
    assert noisy["file_name"][:] == rows["file_name"][:]
    assert noisy.features["label"] == rows.features["label"]


def test_wrong_classes_are_uniform(rows):
    noisy = label_noise.replace_labels(rows, 1.0, seed=0)
    moved = (np.asarray(noisy["label"][:]) - np.asarray(rows["label"][:])) % 5
    assert chisquare(np.bincount(moved, minlength=5)[1:]).pvalue > 0.01


def test_cells_are_flags_of_the_command_and_the_table_has_a_row_an_objective(
    images_dir, tmp_path, monkeypatch, capsys
):
    def read(cells, folder, *, jobs):
        recipes = {name: parse_recipe([*flags, "--output_dir", str(folder / name)]) for name, flags in cells.items()}
        assert {recipe.training.loss_type for recipe in recipes.values()} == {"js", "ce"}
        scores = {name: 0.5 if recipe.training.loss_type == "js" else 0.25 for name, recipe in recipes.items()}
        return {name: {"eval_top1_accuracy": score, "eval_mean_class_accuracy": 0} for name, score in scores.items()}

    monkeypatch.setattr(label_noise, "run_cells", read)
    flags = ["--seeds", "0", "1", "--noise", "0", "0.4", "--output_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["label_noise.py", str(images_dir), *flags])
    label_noise.main()
    head, _, js, ce, between = capsys.readouterr().out.splitlines()[-5:]
    assert head == "| objective | top-1, 0% wrong | top-1, 40% wrong | mean class, 0% wrong | mean class, 40% wrong |"
    assert js == "| `js` | 50.0 ± 0.0 | 50.0 ± 0.0 | 0.0 ± 0.0 | 0.0 ± 0.0 |"
    assert ce.startswith("| `ce` | 25.0")
    assert between == "| `js` against `ce` | +25.0 ± 0.0 | +25.0 ± 0.0 | +0.0 ± 0.0 | +0.0 ± 0.0 |"
