"""Two runs on the same images: equal ones differ by nothing, and images that differ are refused."""

import numpy as np
import pytest

from mg_vtc.evaluation.comparison import compare
from mg_vtc.evaluation.predictions_table import digest_weights, write_predictions_table
from mg_vtc.evaluation.results import Predictions


def write(folder, logits, labels, clips=None, names=("a", "b", "c"), digests=None, weights=None):
    folder.mkdir()
    rows = [str(number) for number in range(len(labels))]
    predictions = Predictions(np.asarray(logits, dtype=np.float32), np.asarray(labels), list(names), rows, clips)
    write_predictions_table(
        folder / "predictions.parquet", predictions, digests or [f"{row:>016}" for row in rows], weights
    )
    return folder


def one_hot(predicted):
    return 9 * np.eye(3)[predicted] + [0.2, 0.1, 0.0]  # without ties


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(3, size=60)


def test_a_run_differs_from_itself_by_nothing(tmp_path, labels):
    logits = np.random.default_rng(1).normal(size=(60, 3))
    result = compare(write(tmp_path / "a", logits, labels), write(tmp_path / "b", logits, labels))
    for score in result["scores"].values():
        assert (score["difference"], score["low"], score["high"]) == (0, 0, 0)
    assert (result["scores"]["top1_accuracy"]["only_a"], result["scores"]["top1_accuracy"]["only_b"]) == (0, 0)


def test_differences_are_those_of_the_scores_whatever_the_order_of_rows_and_classes(tmp_path, labels):
    wrong = (labels + 1) % 3
    a = np.where(np.arange(60) < 30, labels, wrong)
    b = np.where(np.arange(60) < 40, labels, wrong)
    order = np.random.default_rng(2).permutation(60)
    digests = [f"{row:>016}" for row in order]
    first = write(tmp_path / "a", one_hot(a), labels)
    second = write(
        tmp_path / "b", one_hot((b + 1) % 3)[order], (labels[order] + 1) % 3, None, ("c", "a", "b"), digests
    )
    result = compare(first, second)
    assert (result["num_images"], result["resampled_by"]) == (60, "image")
    top1 = result["scores"]["top1_accuracy"]
    assert (top1["a"], top1["b"]) == (0.5, pytest.approx(40 / 60))
    assert (top1["only_a"], top1["only_b"]) == (0, 10)
    # ten of sixty: the normal approximation of a share
    half = 1.96 * np.sqrt(1 / 6 * 5 / 6 / 60)
    assert (top1["low"], top1["high"]) == (
        pytest.approx(1 / 6 - half, abs=0.03),
        pytest.approx(1 / 6 + half, abs=0.03),
    )


def test_clips_are_resampled_as_a_whole(tmp_path, labels):
    clips = [f"{label}/{number // 6}" for number, label in enumerate(labels)]
    a, b = one_hot(labels), one_hot(np.where(np.arange(60) < 6, (labels + 1) % 3, labels))
    result = compare(write(tmp_path / "a", a, labels, clips), write(tmp_path / "b", b, labels, clips))
    assert result["resampled_by"] == "clip"
    assert result["num_groups"] == len(set(clips))


def test_other_images_labels_and_classes_are_refused(tmp_path, labels):
    logits = one_hot(labels)
    first = write(tmp_path / "a", logits, labels)
    with pytest.raises(ValueError, match=r"on 60 images and .* on 59, with 59 in common"):
        compare(first, write(tmp_path / "fewer", logits[1:], labels[1:], digests=[f"{n:>016}" for n in range(1, 60)]))
    with pytest.raises(ValueError, match="different labels"):
        compare(first, write(tmp_path / "labels", logits, (labels + 1) % 3))
    with pytest.raises(ValueError, match="different classes: only one of them has c, d"):
        compare(first, write(tmp_path / "classes", logits, labels, names=("a", "b", "d")))
    with pytest.raises(FileNotFoundError, match="mg-vtc evaluate"):
        compare(first, tmp_path)


def test_model_that_changed_since_its_evaluation_is_refused(tmp_path, labels):
    other = write(tmp_path / "b", one_hot(labels), labels)
    run = tmp_path / "run"
    run.mkdir()
    for weights in (b"first", b"second"):
        (run / "model.safetensors").write_bytes(weights)
        if weights == b"first":
            table = write(run / "report", one_hot(labels), labels, weights=digest_weights(run))
            assert compare(run, other)["num_images"] == compare(table, other)["num_images"] == 60
    for path in (run, table):
        with pytest.raises(ValueError, match="changed since it was evaluated: run `mg-vtc evaluate` again"):
            compare(path, other)


def test_few_clips_that_all_differ_alike_have_no_interval(tmp_path):
    labels, clips = np.array([0, 1, 2, 0]), ["a", "b", "c", "d"]
    wrong, right = write(tmp_path / "a", one_hot((labels + 1) % 3), labels, clips), one_hot(labels)
    top1 = compare(wrong, write(tmp_path / "b", right, labels, clips))["scores"]["top1_accuracy"]
    assert (top1["difference"], top1["low"], top1["high"]) == (1, None, None)


def test_images_of_one_clip_show_no_difference_and_no_equality(tmp_path):
    logits, labels, clips = one_hot([0, 1, 0]), np.array([0, 1, 2]), ["a"] * 3
    result = compare(write(tmp_path / "a", logits, labels, clips), write(tmp_path / "b", logits, labels, clips))
    assert [(score["low"], score["high"]) for score in result["scores"].values()] == [(None, None)] * 3


def test_order_of_unlikely_classes_is_kept(tmp_path):
    logits = [[200.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0]]  # in float32, all but one have the probability 0
    run = write(tmp_path / "a", logits, np.array([2]), names="abcdefg")
    assert compare(run, run)["scores"]["top5_accuracy"]["a"] == 1
