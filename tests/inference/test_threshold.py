"""A threshold changes the predicted class of unsure images to "none of these", and nothing else."""

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from conftest import TINY_DISTILBERT, TINY_RESNET
from saved_models import save_model

import mg_vtc
from mg_vtc import predict, write_predictions
from mg_vtc.inference.console import format_prediction
from mg_vtc.models.configuration_mg_vtc import NONE_OF_THESE

HANDLER = Path(mg_vtc.__file__).parent / "hub" / "handler.py"


@pytest.fixture(scope="module")
def plain(processor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    texts = {"text_config": TINY_DISTILBERT | {"initializer_range": 0.3}, "tokenizer": processor.tokenizer}
    save_model(folder, TINY_RESNET, **texts)
    return folder


@pytest.fixture(scope="module")
def threshold(plain, images_dir):
    """The score that half of the images reach."""
    best = sorted(prediction.scores[0] for prediction in predict(plain, images_dir))
    middle = len(best) // 2
    assert best[middle - 1] < best[middle]
    return (best[middle - 1] + best[middle]) / 2


@pytest.fixture(scope="module")
def stored(plain, threshold, tmp_path_factory):
    """The same model with the threshold in its configuration."""
    folder = shutil.copytree(plain, tmp_path_factory.mktemp("stored") / "model")
    (folder / "config.json").write_text(
        json.dumps(json.loads((folder / "config.json").read_text()) | {"threshold": threshold})
    )
    return folder


def labels_of(predictions):
    return [prediction.label for prediction in predictions]


def test_label_below_the_threshold_is_none_of_these_and_the_scores_stay(plain, images_dir, threshold):
    before = list(predict(plain, images_dir))
    after = list(predict(plain, images_dir, threshold=threshold))
    expected = [NONE_OF_THESE if one.scores[0] < threshold else one.labels[0] for one in before]
    assert labels_of(after) == expected
    assert expected.count(NONE_OF_THESE) == len(expected) // 2
    assert [one._replace(below_threshold=False) for one in after] == before
    assert NONE_OF_THESE not in labels_of(before)


def test_stored_threshold_is_used_for_the_classes_of_the_model_until_another_one_is_given(
    plain, stored, images_dir, threshold
):
    expected = labels_of(predict(plain, images_dir, threshold=threshold))
    assert labels_of(predict(stored, images_dir)) == expected
    assert NONE_OF_THESE not in labels_of(predict(stored, images_dir, threshold=0))
    assert set(labels_of(predict(stored, images_dir, threshold=1.0))) == {NONE_OF_THESE}
    names = ["Head up", "Rubbing eyes", "Pressing lips", "Arms akimbo", "Folding arms", "Covering face"]
    assert NONE_OF_THESE not in labels_of(predict(stored, images_dir, candidate_labels=names))


def test_ensemble_has_no_stored_threshold_and_compares_a_given_one_with_its_averages(stored, images_dir, tmp_path):
    other = tmp_path / "other"
    save_model(other, TINY_RESNET)
    averages = list(predict([stored, other], images_dir))
    assert NONE_OF_THESE not in labels_of(averages)
    middle = sorted(one.scores[0] for one in averages)[len(averages) // 2]
    expected = [NONE_OF_THESE if one.scores[0] < middle else one.labels[0] for one in averages]
    assert labels_of(predict([stored, other], images_dir, threshold=middle)) == expected
    assert 0 < expected.count(NONE_OF_THESE) < len(expected)


def test_score_of_a_clip_is_compared(plain, images_dir):
    clips = list(predict(plain, images_dir, vote="mean"))
    best = max(clip.scores[0] for clip in clips)
    kept = labels_of(predict(plain, images_dir, vote="mean", threshold=best))
    assert kept.count(NONE_OF_THESE) == len(clips) - 1


def test_file_that_cannot_be_read_has_no_label(plain, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert labels_of(predict(plain, tmp_path, threshold=0.5)) == [None]


def test_threshold_out_of_range_is_refused(plain, images_dir):
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\], got 50"):
        predict(plain, images_dir, threshold=50)


def test_line_of_the_table_shows_none_of_these_and_then_all_classes(plain, images_dir):
    [prediction, *_] = predict(plain, images_dir, threshold=1.0)
    line = format_prediction(prediction, 100)
    score = f"{100 - 100 * prediction.scores[0]:.1f} %"  # of all that is not the best class
    assert NONE_OF_THESE in line.partition(score)[0]
    assert line.partition(score)[2].strip().startswith(prediction.labels[0])


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_have_a_column_more_with_a_threshold_alone(plain, images_dir, threshold, tmp_path):
    for name, given in (("plain", None), ("threshold", threshold)):
        write_predictions(str(plain), str(images_dir), tmp_path / f"{name}.csv", threshold=given)
    rows = read(tmp_path / "threshold.csv")
    assert [row.pop("prediction") for row in rows] == labels_of(predict(plain, images_dir, threshold=threshold))
    assert rows == read(tmp_path / "plain.csv")


def test_submission_has_no_place_for_none_of_these(plain, images_dir, tmp_path):
    with pytest.raises(ValueError, match="`threshold` cannot be used with `submission`"):
        write_predictions(str(plain), str(images_dir), tmp_path / "out.csv", submission="lut", threshold=0.5)


def test_command_has_the_flag(plain, images_dir, mg_vtc_command, capsys):
    mg_vtc_command("predict", plain, images_dir, "--threshold", "1")
    lines = capsys.readouterr().out.splitlines()
    assert all(NONE_OF_THESE in line for line in lines[1:])
    assert len(lines) == 33


def test_endpoint_puts_none_of_these_first(plain, stored, images_dir, threshold):
    spec = importlib.util.spec_from_file_location("handler", HANDLER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.NONE_OF_THESE == NONE_OF_THESE
    handlers = [module.EndpointHandler(str(folder)) for folder in (plain, stored)]
    images = [path.read_bytes() for path in sorted(images_dir.rglob("*.png"))]
    before, after = (handler({"inputs": images}) for handler in handlers)
    for rows, changed in zip(before, after, strict=True):
        best = rows[0]["score"]
        none = [{"label": NONE_OF_THESE, "score": 1 - best}] if best < threshold else []
        assert changed == none + rows
    [rows] = handlers[0]({"inputs": images[:1], "parameters": {"threshold": 1}})
    assert rows[0]["label"] == NONE_OF_THESE
    parameters = {"candidate_labels": ["Head up", "Rubbing eyes"]}
    assert len(handlers[1]({"inputs": images[0], "parameters": parameters})) == 2
    with pytest.raises(ValueError, match="'threshold' must be in"):
        handlers[0]({"inputs": images[0], "parameters": {"threshold": 50}})
