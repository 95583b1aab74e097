"""The table of calibration: errors as `calibrate` and `evaluate` state them, and models that stay as they were."""

import json
import sys
from pathlib import Path

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
            number = int(name[-1]) + 3 * name.startswith("pretrained")
            save_taught_model(folder / name, processor, images_dir, seed=number)
            held_out = [path.relative_to(images[0]).as_posix() for path in images[0].rglob("*.png")]
            (folder / name / "split.json").write_text(
                json.dumps({"split_by": "clip", "train": ["other/1.png"], "validation": held_out})
            )
            (folder / f"{name}.log").write_text(f"{' '.join(cells[name])}\nat revision abc\n")
            results = {f"eval_top{k}_accuracy": k / 10 + number / 100 for k in (1, 5)}
            (folder / name / "all_results.json").write_text(json.dumps(results))

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
    assert rows[0][1:7] == ["11.0", "", "51.0", f"{calibration.temperature:.2f}", *percents]
    percents = [f"{100 * scores['expected_calibration_error']['value']:.1f}" for scores in (before, after)]
    top = [f"{100 * before[f'top{k}_accuracy']['value']:.1f}" for k in (1, 5)]
    assert rows[1][1:6] == [top[0], "", top[1], *percents]
    assert rows[2][1:3] == [f"{100 * value:.1f}" for value in calibration.by_folds]
    own = mg_vtc.calibrate(model, images[1], split="all")
    assert rows[1][7:] == [f"{100 * own.error_after:.1f}", f"{own.temperature:.2f}"]

    monkeypatch.setattr(benchmark, "score", None)  # models that are scored are not scored again
    benchmark.main()
    again = capsys.readouterr().out.splitlines()
    assert again == lines

    (model / "all_results.json").write_text(json.dumps({"eval_top1_accuracy": 0.5, "eval_top5_accuracy": 1.0}))
    with pytest.raises(TypeError, match="not callable"):  # a model that was trained anew is scored anew
        benchmark.main()


def test_recipes_are_trained_as_they_are_but_for_the_towers(save_cells, images, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "tune", None)  # rows of recipes need no tuned rates
    command = ["calibration.py", *map(str, images), "--seeds", "2", "--output_dir", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", [*command, "--rows", "recommended", "pretrained", "--towers", "TOWERS"])
    benchmark.main()
    out = capsys.readouterr().out
    assert [line.count("|") for line in out.splitlines() if line.startswith("| pretrained")] == [11, 10, 6]
    held_out, further, _ = (
        {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")] for line in table.splitlines()}
        for table in out.split("\n\n")[-4:-1]
    )
    for table in (held_out, further):
        own, reference = (float(table[row][2]) for row in ("pretrained", "recommended"))
        assert table["recommended"][3] == ""
        assert float(table["pretrained"][3]) == pytest.approx(own - reference, abs=0.11)
    assert held_out["pretrained"][3] == "+3.0"

    recommended, pretrained = (
        (tmp_path / "runs" / f"{row}-2.log").read_text().splitlines()[0].split() for row in benchmark.RECIPES
    )
    assert [Path(flags[0]).name for flags in (recommended, pretrained)] == ["recommended.yaml", "pretrained.yaml"]
    assert pretrained[1 : len(recommended)] == recommended[1:]
    assert pretrained[len(recommended) :] == [
        *("--vision_model_name_or_path", "TOWERS/efficientnet-lite0"),
        *("--text_model_name_or_path", "TOWERS/all-minilm-l6-v2"),
    ]

    monkeypatch.setattr(sys, "argv", [*command, "--rows", "pretrained"])
    with pytest.raises(ValueError, match="needs `--towers`"):
        benchmark.main()


def test_seed_in_which_nothing_is_kept_is_counted():
    assert benchmark.show_known([0.5, 0.7]) == "60.0 ± 14.1"
    assert benchmark.show_known([0.5, None]) == "50.0 (1 of 2 seeds)"
    assert benchmark.show_known([None]) == "none"
