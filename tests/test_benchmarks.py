"""The benchmarks: how they measure, the cells of a campaign that is broken off, how the real pictures are built."""

import io
import itertools
import json
import os
import runpy
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CELLS = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "cells.py"))
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
ROUNDS = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "rounds.py"))
GESTURES = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "gestures.py"))


def test_ratio_is_that_of_equal_work_in_the_same_round():
    seconds = {"reference": [1.0, 4.0, 2.0], "faster": [0.5, 2.0, 1.0]}
    assert ROUNDS["speed_ratios"](seconds, "faster") == [2, 2, 2]
    assert ROUNDS["speed_ratios"](seconds, "reference") == [1, 1, 1]


def test_spread_is_the_interquartile_range_over_the_median_of_the_ratios():
    seconds = {"reference": [1.0] * 5, "other": [1 / ratio for ratio in (1, 2, 3, 4, 5)]}
    assert ROUNDS["spread"](seconds, "other") == pytest.approx((4 - 2) / 3)
    assert ROUNDS["spread"](seconds, "reference") == 0


def test_a_drift_that_all_share_is_no_spread():
    drift = [1.0, 3.0, 9.0]
    assert ROUNDS["spread"]({"reference": drift, "other": [2 * value for value in drift]}, "other") == 0


def test_noise_that_stays_is_refused_after_some_patience():
    naps = itertools.cycle([0.001, 0.03])
    calls = []

    def nap():
        calls.append(1)
        time.sleep(next(naps))

    with pytest.raises(SystemExit, match="too noisy to print a table: after 8 rounds the spread of 'uneven' is"):
        ROUNDS["measure_rounds"]({"even": lambda: time.sleep(0.01), "uneven": nap}, 4)
    assert len(calls) == 1 + ROUNDS["PATIENCE"] * 4


def test_every_arrangement_runs_once_a_round_each_round_in_another_order(monkeypatch):
    monkeypatch.setitem(ROUNDS["measure_rounds"].__globals__, "MAX_SPREAD", float("inf"))  # whatever else runs
    order = []
    arrangements = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = ROUNDS["measure_rounds"](arrangements, 3, warm_up=0)
    rounds = ["".join(order[start : start + 3]) for start in range(0, len(order), 3)]
    assert rounds == ["abc", "bca", "cab"]
    assert [len(values) for values in seconds.values()] == [3, 3, 3]


def test_peak_memory_is_that_of_this_process():
    before = ROUNDS["peak_memory"]()
    block = bytearray(200_000_000)
    block[::4096] = b"x" * len(block[::4096])
    assert ROUNDS["peak_memory"]() >= before
    assert ROUNDS["peak_memory"]() > 200_000_000


def run_cells(folder, jobs=2, **values):
    cells = {name: ["--value", str(value)] for name, value in values.items()}
    return CELLS["run_cells"](cells, folder, jobs=jobs, command=COMMAND)


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
    assert (tmp_path / "bad.log").read_text() == "--value -1\na value below zero\n"
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


def test_campaign_that_is_told_to_stop_takes_its_cells_along(tmp_path):
    campaign = (
        f"import runpy, pathlib; run_cells = runpy.run_path({str(CELLS['__file__'])!r})['run_cells']\n"
        f"run_cells({{'slow': ['--nap', '60']}}, pathlib.Path({str(tmp_path)!r}), jobs=1, command={COMMAND!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", campaign], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "ran").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert "stopped" in process.communicate(timeout=10)[1]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "slow" / "pid").read_text()), 0)


@pytest.mark.parametrize(("values", "text"), [([0.5], "50.0"), ([0.1, 0.2, 0.3], "20.0 ± 10.0")])
def test_spread_of_seeds_is_their_standard_deviation(values, text):
    assert CELLS["mean_and_spread"](values) == text


# The set of real pictures


WAVE = {
    "id": "7",
    "name": "waving",
    "clip": "0003",
    "package": "some-emoji@1.0.0",
    "short_name": "wave",
    "frames": "3",
}


@pytest.fixture
def tarball(tmp_path):
    """A package with an emoji in three tones, half of each picture transparent."""
    tones = {tone: {"image": f"wave-{tone}.png"} for tone in ("light", "dark")}
    files = {
        "emoji.json": json.dumps([{"short_name": "wave", "image": "wave.png", "skin_variations": tones}]).encode(),
        "LICENSE": b"Do as you like.",
    }
    for shade, name in ((90, "wave"), (200, "wave-light"), (20, "wave-dark")):
        pixels = np.full((64, 64, 4), (shade, 0, 0, 255), dtype=np.uint8)
        pixels[32:, :, 3] = 0
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files[f"img/emoji/64/{name}.png"] = file.getvalue()
    with tarfile.open(tmp_path / "some-emoji-1.0.0.tgz", "w:gz") as package:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            package.addfile(entry, io.BytesIO(content))
    return tmp_path / "some-emoji-1.0.0.tgz"


def test_set_has_864_pictures_of_144_clips_and_32_names():
    clips = GESTURES["read_clips"]()
    assert len({(clip["id"], clip["clip"]) for clip in clips}) == len(clips) == 144
    assert sum(int(clip["frames"]) for clip in clips) == 864
    assert len({clip["name"] for clip in clips}) == len({(clip["id"], clip["name"]) for clip in clips}) == 32


def test_frames_are_the_emoji_and_its_tones_on_white(tarball):
    pictures = dict(GESTURES["draw_clips"](tarball, [WAVE]))
    assert list(pictures) == [f"training/7/0003.{frame}.jpg" for frame in range(3)]
    assert [picture.getpixel((5, 5))[0] for picture in pictures.values()] == [90, 200, 20]
    assert {picture.getpixel((5, 60)) for picture in pictures.values()} == {(255, 255, 255)}


@pytest.mark.parametrize("change", [{"short_name": "nod"}, {"frames": "6"}])
def test_package_without_the_frames_of_a_clip_is_refused(tarball, change):
    clip = WAVE | change
    with pytest.raises(SystemExit, match=rf"no {clip['frames']} frames of '{clip['short_name']}'"):
        GESTURES["draw_clips"](tarball, [clip])


def test_pictures_that_were_not_measured_are_refused_and_nothing_is_written(tarball, tmp_path, monkeypatch):
    functions = GESTURES["main"].__globals__
    monkeypatch.setitem(functions, "fetch", lambda package, folder: tarball)
    monkeypatch.setitem(functions, "read_clips", lambda: [WAVE])
    monkeypatch.setattr(sys, "argv", ["gestures.py", str(tmp_path / "set")])
    with pytest.raises(SystemExit, match="not the pictures that were measured"):
        GESTURES["main"]()
    assert not (tmp_path / "set").exists()


def test_set_has_names_sources_and_licences_beside_its_pictures(tarball, tmp_path, monkeypatch, capsys):
    functions = GESTURES["main"].__globals__
    pixels = GESTURES["digest"](picture.tobytes() for _, picture in GESTURES["draw_clips"](tarball, [WAVE]))
    monkeypatch.setitem(functions, "PIXELS_DIGEST", pixels)
    monkeypatch.setitem(functions, "fetch", lambda package, folder: tarball)
    monkeypatch.setitem(functions, "read_clips", lambda: [WAVE])
    monkeypatch.setattr(sys, "argv", ["gestures.py", str(tmp_path / "set")])
    GESTURES["main"]()
    printed = capsys.readouterr().out
    written = (tmp_path / "set" / "LICENSES.txt").read_text()
    assert written.endswith("Do as you like.")
    for line in (
        "Noto Emoji, copyright Google Inc. Apache License 2.0",
        "Twemoji, copyright Twitter, Inc",
        "CC-BY 4.0",
    ):
        assert line in written
        assert line in printed
    assert (tmp_path / "set" / "labels.csv").read_text() == "id,name\n7,waving\n"
    assert "7,0003,some-emoji@1.0.0,wave,3" in (tmp_path / "set" / "sources.csv").read_text()
    assert len(list((tmp_path / "set" / "training" / "7").glob("0003.*.jpg"))) == 3
    assert "not as measured" in printed  # the digest of the files is that of the real set


def test_folder_that_holds_something_is_left_as_it_is(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="is left as it is"):
        GESTURES["write_set"](tmp_path, {"mine.txt": b"other"})
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_missing_npm_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"npm is not here: install Node\.js"):
        GESTURES["fetch"]("some-emoji@1.0.0", tmp_path)


def test_fault_of_npm_is_passed_on(tmp_path, monkeypatch):
    (tmp_path / "npm").write_text("#!/bin/sh\necho npm error code E404 >&2\nexit 1\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"could not fetch some-emoji@1\.0\.0:\nnpm error code E404"):
        GESTURES["fetch"]("some-emoji@1.0.0", tmp_path)
