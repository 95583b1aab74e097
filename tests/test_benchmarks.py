"""Every benchmark runs, as small as it can be: those of `make bench`, and the campaigns."""

import importlib
import json
import re
import sys
from pathlib import Path

import datasets
import pytest
import torch
from pages import train_on_colours
from transformers.utils import logging

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BENCHMARKS = re.search(r"for benchmark in ([\w ]+);", (ROOT / "Makefile").read_text())[1].split()
ONE_ROUND = ("--rounds", "1")
SMALLEST = {
    "import_time": ONE_ROUND,
    "train_step": (*ONE_ROUND, "--smallest", "--batch_size", "2"),
    "memory": ("--smallest", "--batch_size", "2"),
    "loader": (*ONE_ROUND, "--images", "4"),
    "inference_speed": (*ONE_ROUND, "--smallest"),
    "classes": (*ONE_ROUND, "--smallest"),
    "streaming": ("--images", "256", "--num_workers", "1"),
}


@pytest.fixture
def run_main(monkeypatch, capsys):
    """The main function of a script, with flags; gives its tables, a list of the cells of each row."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", datasets.config.HF_DATASETS_CACHE)  # one sets it

    def run(name, *flags, **constants):
        script = importlib.import_module(name)
        for constant, value in constants.items():
            monkeypatch.setattr(script, constant, value)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, flags)])
        script.main()
        rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]

    yield run
    torch.set_num_threads(threads)
    logging.enable_progress_bar()
    datasets.enable_progress_bars()


def test_every_script_is_run_by_a_test():
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "\ndef main(" in path.read_text()}
    here = Path(__file__).read_text()
    tests = {name: ROOT / "tests" / "benchmarks" / f"test_{name}.py" for name in scripts - {*BENCHMARKS}}
    campaigns = [name for name, path in tests.items() if f'run_main("{name}"' in here or ".main()" in path.read_text()]
    assert scripts == {*SMALLEST, *campaigns}
    assert set(BENCHMARKS) == set(SMALLEST)


@pytest.mark.filterwarnings("ignore:classifier.int8.onnx was compared on:UserWarning")  # the smallest are too few
@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_prints_a_table_of_numbers(name, run_main):
    rows = run_main(name, *SMALLEST[name])
    assert len(rows) >= 3  # a head, a line below it, and what was measured
    numbers = [cell for row in rows for cell in row if re.fullmatch(r"[\d.,]+(e[+-]\d+)?", cell)]
    assert any(float(number.replace(",", "")) > 0 for number in numbers)


@pytest.mark.filterwarnings("ignore:classifier.int8.onnx was compared on:UserWarning")
def test_scores_of_int8_stand_beside_those_of_torch(images_dir, processor, tmp_path, run_main):
    run = train_on_colours(tmp_path / "run", images_dir, processor.tokenizer)
    names = sorted(path.relative_to(images_dir).as_posix() for path in images_dir.rglob("*.png"))
    (run / "split.json").write_text(json.dumps({"train": names[::2], "validation": names[1::2]}))
    *_, by_torch, by_onnx, by_int8 = run_main("int8_accuracy", run, images_dir)
    assert by_torch == ["torch", "", "100.00", "100.00"]
    assert by_onnx[0::2] == ["classifier.onnx", "100.00"]
    assert by_int8[0] == "classifier.int8.onnx"
    assert float(by_int8[2]) > 25


CAMPAIGN = ("--seeds", "0", "--epochs", "1")


def test_campaign_on_wrong_labels_runs(images_dir, tiny_recipe, tmp_path, run_main):
    flags = (*CAMPAIGN, "--noise", "0.4", "--output_dir", tmp_path / "runs")
    *_, js, ce, between = run_main("label_noise", images_dir, *flags, SMALL=tiny_recipe)
    results = [
        json.loads((tmp_path / "runs" / cell / "all_results.json").read_text()) for cell in ("0-0.4-0", "1-0.4-0")
    ]
    of_js, of_ce = (100 * cell["eval_top1_accuracy"] for cell in results)
    assert js[:2] == ["`js`", f"{of_js:.1f}"]
    assert ce[:2] == ["`ce`", f"{of_ce:.1f}"]
    assert between[:2] == ["`js` against `ce`", f"{of_js - of_ce:+.1f}"]


def test_campaign_on_where_texts_begin_runs(images_dir, tiny_recipe, tmp_path, run_main):
    flags = (*CAMPAIGN, "--output_dir", tmp_path / "runs")
    constants = {"SMALL": tiny_recipe, "ROWS": [("js", "unique")]}
    *_, near, apart = run_main("text_initialization", images_dir, *flags, **constants)
    assert (near[:3], apart[:3]) == (["`js`", "unique", "0.02"], ["`js`", "unique", "0.09"])
    assert float(near[3]) > float(apart[3])


def test_campaign_of_the_method_table_runs(images_dir, tiny_recipe, tmp_path, run_main):
    one = {"ROWS": {"`js`": ("--loss_type", "js")}, "FACTORS": (1.0,), "SEEDS": range(1), "NUM_EPOCHS": 1}
    flags = ("--sets", "gestures", "--output_dir", tmp_path / "runs")
    rows = run_main("method_table", images_dir, *flags, SMALL=tiny_recipe, IMAGE_SIZE=32, **one)
    (js,) = (row for row in rows if row[0].startswith("`js`") and len(row) == 5)
    results = [
        json.loads((tmp_path / "runs" / f"gestures-{split}-js-0" / "all_results.json").read_text())
        for split in ("frame", "clip")
    ]
    assert js[1::2] == [f"{100 * result['eval_top1_accuracy']:.1f}" for result in results]
    assert rows[-1][0] == "`js`"
    assert rows[-1][1].startswith("**")  # the only factor is the best
