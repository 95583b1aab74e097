"""The table of calibration: errors as `calibrate` and `evaluate` state them, and models that stay as they were."""

import json
import sys

import calibration as benchmark
import pytest
from conftest import CLASS_NAMES
from saved_models import copy_with_wrong_labels, save_taught_model

import mg_vtc


@pytest.fixture
def images(images_dir, tmp_path):
    """A folder with wrong labels, and another one in which other clips have them."""
    first, further = (copy_with_wrong_labels(images_dir, tmp_path / name) for name in ("first", "further"))
    for path in sorted(further.rglob("*.png")):
        path.rename(path.with_name(f"1{path.name}"))  # other clips
    (further / CLASS_NAMES[0] / "10000.0.png").rename(further / CLASS_NAMES[1] / "10009.0.png")
    return first, further


@pytest.fixture
def save_cells(processor, images_dir, images, monkeypatch):
    """Save a model for each cell instead of training it."""

    def save(cells, folder, *, jobs):
        for name in cells:
            if (folder / name).exists():
                continue
            save_taught_model(folder / name, processor, images_dir, seed=int(name[-1]))
            held_out = [path.relative_to(images[0]).as_posix() for path in images[0].rglob("*.png")]
            (folder / name / "split.json").write_text(
                json.dumps({"split_by": "clip", "train": ["other/1.png"], "validation": held_out})
            )
            (folder / f"{name}.log").write_text("flags\nat revision abc\n")

    monkeypatch.setattr(benchmark, "run_cells", save)
    monkeypatch.setattr(benchmark, "tune", lambda folder, *_: (dict.fromkeys(benchmark.ROWS, 1.0), []))


def test_errors_are_those_that_calibrate_and_evaluate_state(save_cells, images, tmp_path, monkeypatch, capsys):
    runs = tmp_path / "runs"
    flags = ["--rows", "`js`", "`ce`", "--seeds", "1", "--precision", "0.7", "--output_dir", str(runs)]
    monkeypatch.setattr(sys, "argv", ["calibration.py", *map(str, images), *flags])
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `js`")]
    assert lines[-1] == "Revision of the models: abc."

    model = runs / "gestures-clip-js-1"
    assert json.loads((model / "config.json").read_text())["logit_temperature"] == 1.0
    before = mg_vtc.evaluate(str(model), images[1], split="all").results["scores"]
    calibration = mg_vtc.calibrate(model, images[0], split="validation", precision=0.7)
    after = mg_vtc.evaluate(str(model), images[1], split="all").results["scores"]
    percents = [f"{100 * value:.1f}" for value in (calibration.error_before, calibration.error_after)]
    assert rows[0][1:4] == [f"{calibration.temperature:.2f}", *percents]
    percents = [f"{100 * scores['expected_calibration_error']['value']:.1f}" for scores in (before, after)]
    assert rows[1][1:4] == [f"{100 * before['top1_accuracy']['value']:.1f}", *percents]
    assert rows[2][1:3] == [f"{100 * value:.1f}" for value in calibration.by_folds]
    own = mg_vtc.calibrate(model, images[1], split="all")
    assert rows[1][5:] == [f"{100 * own.error_after:.1f}", f"{own.temperature:.2f}"]

    monkeypatch.setattr(benchmark, "score", None)  # models that are scored are not scored again
    benchmark.main()
    again = capsys.readouterr().out.splitlines()
    assert again == lines
