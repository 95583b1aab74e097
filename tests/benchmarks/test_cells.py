"""Cells of a campaign: each once, and again where it was broken off."""

import os
import signal
import subprocess
import sys
import time

import cells
import pytest

# Cell "--value V --output_dir FOLDER" scores V, says so in a file that lists who ran, and takes --nap seconds.
CELL = """
import argparse, json, os, pathlib, sys, time
parser = argparse.ArgumentParser()
for name in ("--value", "--nap"):
    parser.add_argument(name, type=float, default=0)
parser.add_argument("--output_dir", type=pathlib.Path)
cell = parser.parse_args()
cell.output_dir.mkdir()
(cell.output_dir / "pid").write_text(str(os.getpid()))
with open(cell.output_dir.parent / "ran", "a") as ran:
    print(cell.output_dir.name, file=ran)
time.sleep(cell.nap)
if cell.value < 0:
    sys.exit("a value below zero")
results = {"score": cell.value, "threads": os.environ["OMP_NUM_THREADS"]}
(cell.output_dir / "all_results.json").write_text(json.dumps(results))
"""
COMMAND = (sys.executable, "-c", CELL)


def run_cells(folder, jobs=2, **values):
    flags = {name: ["--value", str(value)] for name, value in values.items()}
    return cells.run_cells(flags, folder, jobs=jobs, command=COMMAND)


def ran(folder):
    return sorted((folder / "ran").read_text().split())


def test_cells_are_run_once_each_on_one_thread_and_read_back_in_their_order(tmp_path):
    results = run_cells(tmp_path / "new", c=3, a=1, b=2)
    assert list(results) == ["c", "a", "b"]
    assert results["a"] == {"score": 1, "threads": "1"}
    assert ran(tmp_path / "new") == ["a", "b", "c"]


def test_campaign_goes_on_with_the_cells_that_are_missing(tmp_path, capsys):
    first = run_cells(tmp_path, a=1, b=2)
    (tmp_path / "b" / "all_results.json").unlink()  # as a kill leaves it
    (tmp_path / "b" / "half of a file").touch()
    assert run_cells(tmp_path, a=1, b=2, c=3) == first | {"c": {"score": 3, "threads": "1"}}
    assert ran(tmp_path) == ["a", "b", "b", "c"]
    assert not (tmp_path / "b" / "half of a file").exists()
    assert "1 of 3 cells are done" in capsys.readouterr().err


def test_cell_that_fails_is_named_with_its_screen(tmp_path):
    with pytest.raises(SystemExit, match=r"Cell 'bad' failed; its screen is in .*bad\.log"):
        run_cells(tmp_path, jobs=1, good=1, bad=-1, later=2)
    assert ran(tmp_path) == ["bad", "good"]
    flags, revision, screen = (tmp_path / "bad.log").read_text().splitlines()
    assert (flags, screen) == ("--value -1", "a value below zero")
    assert [f"at revision {one}" for one in cells.revisions_of(["bad"], tmp_path)] == [revision]
    with pytest.raises(SystemExit, match="'bad' failed"):
        run_cells(tmp_path, jobs=1, good=1, bad=-1, later=2)
    assert ran(tmp_path) == ["bad", "bad", "good"]


def test_cell_of_other_flags_is_neither_taken_nor_replaced(tmp_path):
    run_cells(tmp_path, a=1)
    with pytest.raises(ValueError, match="was run with other flags, '--value 1' instead of '--value 2'"):
        run_cells(tmp_path, a=2)
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="mine was run with other flags, None instead of"):
        run_cells(tmp_path, mine=2)
    assert (tmp_path / "mine").is_dir()


def test_campaign_that_is_reported_to_stop_takes_its_cells_along(tmp_path):
    campaign = (
        f"import runpy, pathlib; run_cells = runpy.run_path({cells.__file__!r})['run_cells']\n"
        f"run_cells({{'slow': ['--nap', '60']}}, pathlib.Path({str(tmp_path)!r}), jobs=1, command={COMMAND!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", campaign], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "ran").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert "stopped" in process.communicate(timeout=300)[1]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "slow" / "pid").read_text()), 0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_campaign_that_is_to_stop_while_a_cell_starts_or_ends_stops(when, tmp_path, monkeypatch):
    started = []

    def start(*args):
        if when == "before":
            signal.raise_signal(signal.SIGTERM)
        started.append(_start(*args))
        if when == "after":
            started[0].wait()
            signal.raise_signal(signal.SIGTERM)
        return started[0]

    _start = cells._start
    monkeypatch.setattr(cells, "_start", start)
    with pytest.raises(SystemExit, match="stopped"):
        run_cells(tmp_path, jobs=1, a=1)
    assert started[0].poll() is not None


@pytest.mark.parametrize(("values", "text"), [([0.5], "50.0"), ([0.1, 0.2, 0.3], "20.0 ± 10.0")])
def test_spread_of_seeds_is_their_standard_deviation(values, text):
    assert cells.mean_and_spread(values) == text
