"""A long-tailed part of a folder, and the campaign on it with one cell."""

import json
import sys

import imbalance
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

pytestmark = pytest.mark.slow

FEATURES = Features(label=ClassLabel(num_classes=4), clip=Value("string"), file_name=Value("string"))


@pytest.fixture
def rows():
    """Four classes of five clips of four frames."""
    keys = [(label, f"{label}/{clip}", f"{label}/{clip}.{frame}") for label in range(4) for clip in range(5)
            for frame in range(4)]  # fmt: skip
    return Dataset.from_list([dict(zip(FEATURES, key, strict=True)) for key in keys], features=FEATURES)


def test_shares_fall_geometrically_from_all_to_one_of_the_imbalance(rows):
    kept = imbalance.thin_out(rows, 8, seed=0)
    assert sorted(np.bincount(kept["label"][:])) == [2, 5, 10, 20]  # 20 over 8, 4, 2 and 1, 2.5 rounded to even


def test_whole_clips_are_kept_as_far_as_they_go(rows):
    kept = imbalance.thin_out(rows, 8, seed=1)
    for label in range(4):
        own = kept.filter(lambda row, label=label: row["label"] == label)
        assert len(set(own["clip"])) == -(-len(own) // 4)


def test_no_class_is_without_a_row(rows):
    assert np.bincount(imbalance.thin_out(rows, 1e6, seed=0)["label"][:]).min() == 1


def test_order_of_the_classes_is_the_seeds(rows):
    counts = [np.bincount(imbalance.thin_out(rows, 8, seed)["label"][:]).tolist() for seed in (0, 0, 1, 2, 3)]
    assert counts[0] == counts[1]
    assert len({tuple(count) for count in counts}) > 1


def test_adjusted_logits_are_compared_where_they_are_allowed():
    assert ("js", "classes", "adjusted logits") in imbalance.ROWS
    assert ("js", "unique", "adjusted logits") not in imbalance.ROWS
    assert len(imbalance.ROWS) == 10


def test_campaign_prints_a_row_a_treatment(images_dir, tiny_recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(imbalance, "SMALL", tiny_recipe)
    monkeypatch.setattr(imbalance, "ROWS", [("ce", "classes", "as they are"), ("ce", "classes", "adjusted logits")])
    flags = ["--seeds", "0", "--epochs", "1", "--jobs", "1", "--imbalance", "2", "--output_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["imbalance.py", str(images_dir), *flags])
    imbalance.main()
    *_, first, second = capsys.readouterr().out.splitlines()
    shown, accuracies = [], []
    for row, treatment in ((first, "as they are"), (second, "adjusted logits")):
        objective, text_batch, treated, *scores = (part.strip() for part in row.strip("|").split("|"))
        assert (objective, text_batch, treated) == ("`ce`", "classes", treatment)
        name = f"ce-classes-{treatment.replace(' ', '-')}-0"
        results = json.loads((tmp_path / name / "all_results.json").read_text())
        accuracies.append(results["eval_mean_class_accuracy"])
        assert scores[0] == imbalance.mean_and_spread([results["eval_top1_accuracy"]])
        assert scores[1] == imbalance.mean_and_spread(accuracies[-1:])
        assert all(0 <= float(score) <= 100 for score in scores[3::2])
        assert len(scores) == 7
        shown.append(scores)
    untreated, treated = shown
    assert untreated[2::2] == [""] * 3
    assert treated[2] == f"{100 * (accuracies[1] - accuracies[0]):+.1f}"
    for column in (3, 5):  # the thirds, whose differences follow them
        change = float(treated[column]) - float(untreated[column])
        assert float(treated[column + 1]) == pytest.approx(change, abs=0.11)
