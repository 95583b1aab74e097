"""`mg-vtc predict`: what it prints, writes and returns, alone, killed, and on two processes."""

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import CLASS_NAMES, TINY_RESNET
from made_releases import make_video
from saved_models import save_model

from mg_vtc.cli import predict, prepare
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.inference.output import write_predictions
from mg_vtc.models.processing_mg_vtc import build_tokenizer

COMMAND = ["-m", "mg_vtc", "predict"]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def test_table_fits_the_terminal(mg_vtc_command, two_class_run, images_dir, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    mg_vtc_command("predict", two_class_run, images_dir)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["image", "prediction", "score", "next"]
    assert len(lines) == 32
    assert all(len(line) <= 80 for line in lines)
    assert all(CLASS_NAMES[0] in line and CLASS_NAMES[1] in line for line in lines)
    mg_vtc_command("predict", two_class_run, images_dir, "--vote", "majority", "--top_k", "1")
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.startswith("clip (frames)")
    assert len(lines) == 16
    assert lines[0].startswith("Coverin…ace/0000 (2)  ")


def test_candidates_are_split_at_commas(mg_vtc_command, two_class_run, images_dir, capsys):
    flags = ("--candidate_labels", "Head up,  rubbing eyes", "--prompt_template", "a person with {}")
    mg_vtc_command("predict", two_class_run, images_dir / "Head up" / "0000.0.png", *flags)
    assert {"Head up", "rubbing eyes"} & {line[20:46].strip() for line in capsys.readouterr().out.splitlines()}


@pytest.fixture
def bad_image(images_dir, tmp_path):
    """Frames of six clips in one folder, of which 2.1.png is no image."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, path in enumerate(sorted(images_dir.rglob("*.png"))[:23]):
        shutil.copyfile(path, folder / f"{number // 4}.{number % 4}.png")
    (folder / "2.1.png").write_bytes(b"no image")
    return folder


def test_errors_do_not_command_the_terminal(mg_vtc_command, two_class_run, tmp_path, capsys):
    (tmp_path / "\x1b[31m\n.png").write_bytes(b"no image")
    with pytest.raises(SystemExit):
        mg_vtc_command("predict", two_class_run, tmp_path)
    assert capsys.readouterr().err.endswith("\\x1b[31m\\n.png cannot be read: not an image\n")


def test_bad_images_are_reported_at_the_end_and_the_rest_is_predicted(
    mg_vtc_command, two_class_run, bad_image, tmp_path, capsys
):
    for flags, last_line in ((), "5.2.png"), (("--output", tmp_path / "a.csv"), f"{tmp_path / 'a.csv'}: 22 rows"):
        with pytest.raises(SystemExit) as stop:
            mg_vtc_command("predict", two_class_run, bad_image, *flags)
        assert stop.value.code == 1
        printed = capsys.readouterr()
        assert printed.err.endswith("2.1.png cannot be read: not an image\n")
        assert printed.out.splitlines()[-1].startswith(last_line)
    with (tmp_path / "a.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 22


def test_killed_command_goes_on_to_the_same_bytes(mg_vtc_command, two_class_run, images_dir, tmp_path, capsys):
    many = tmp_path / "many"
    many.mkdir()
    images = sorted(images_dir.rglob("*.png"))
    for number in range(900):
        os.link(images[number % 32], many / f"{number // 3}.{number % 3}.png")
    flags = (two_class_run, many, "--vote", "max", "--batch_size", "4")
    out, partial = tmp_path / "a.csv", tmp_path / "a.csv.partial"
    command = [sys.executable, *COMMAND, *map(str, flags), "--output", str(out)]
    process = subprocess.Popen(command, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while not partial.exists() or partial.stat().st_size < 2000:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    mg_vtc_command("predict", *flags, "--output", out)
    assert capsys.readouterr().out.startswith(f"{out}: 300 rows, resumed after ")
    mg_vtc_command("predict", *flags, "--output", tmp_path / "whole.csv")
    assert capsys.readouterr().out == f"{tmp_path / 'whole.csv'}: 300 rows\n"
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not partial.exists()


def test_image_that_cannot_be_read_is_reported_and_then_given_a_class(
    mg_vtc_command, refusal, bad_image, tmp_path, capsys
):
    model = tmp_path / "model"
    save_model(
        model, TINY_RESNET, tokenizer=build_tokenizer(IMIGUE_CLASS_NAMES), id2label=dict(enumerate(IMIGUE_CLASS_NAMES))
    )
    flags = ("predict", model, bad_image, "--submission", "lut", "--output", tmp_path / "s.csv")
    assert "1 of 23 samples have no prediction, so no submission was written: '2.1.png" in refusal(*flags)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        mg_vtc_command(*flags, "--missing_class", "Head up")
    printed = capsys.readouterr()
    assert stop.value.code == 1
    assert printed.out == (
        f"{tmp_path / 's.csv'}: 23 rows, 1 of them unreadable and set to 'Head up', resumed after 23\n"
    )
    assert printed.err.endswith("2.1.png cannot be read: not an image\n")
    assert "2.1.png,28\n" in (tmp_path / "s.csv").read_text()


def test_two_processes_write_what_one_does(mg_vtc_command, two_class_run, bad_image, tmp_path):
    flags = (two_class_run, bad_image, "--batch_size", "4", "--output")
    with pytest.raises(SystemExit):
        mg_vtc_command("predict", *flags, tmp_path / "one.csv")
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command = [sys.executable, *launcher, *COMMAND, *map(str, flags), str(tmp_path / "two.csv")]
    done = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert done.stderr.count("2.1.png cannot be read: not an image") == 1  # which the second process found
    assert done.stdout == f"{tmp_path / 'two.csv'}: 22 rows\n"
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_refusal_of_two_processes_is_reported_once(two_class_run, bad_image, tmp_path):
    (tmp_path / "a.csv.partial").write_text("mine\n")  # which the first process alone looks at
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    flags = [str(two_class_run), str(bad_image), "--output", str(tmp_path / "a.csv")]
    command = [sys.executable, *launcher, *COMMAND, *flags]
    done = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert done.stderr.count("was not written by this command") == 1
    assert "gloo" not in done.stderr
    assert "[rank1]" not in done.stderr
    assert (tmp_path / "a.csv.partial").read_text() == "mine\n"


def test_reader_that_has_seen_enough_is_no_error(two_class_run, images_dir, tmp_path):
    image = next(images_dir.rglob("*.png"))
    for number in range(200):  # whose lines are more than the pipe holds, so that the command waits for the reader
        os.link(image, tmp_path / f"{number}.png")
    command = [sys.executable, *COMMAND, str(two_class_run), str(tmp_path), "--batch_size", "4"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "pipesize": 4096}
    process = subprocess.Popen(command, env=ONE_THREAD, text=True, **pipes)
    assert process.stdout.readline().startswith("image")
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=300) == 1


def test_errors_are_reported_in_one_line(refusal, two_class_run, images_dir, tmp_path):
    def refuse(*flags, data=images_dir):
        return refusal("predict", two_class_run, data, *flags)

    assert "--submission needs --output" in refuse("--submission", "lut")
    assert "--missing_class needs --submission and --output" in refuse("--missing_class", "Head up")
    assert "requires --submission" in refuse("--missing_class", "Head up", "--output", tmp_path / "a.csv")
    assert "this model has 2" in refuse("--submission", "lut", "--output", tmp_path / "s.csv")
    assert "must end in .csv or .jsonl or .parquet" in refuse("--output", tmp_path / "a.xlsx")
    assert "top_k must be 1 or more" in refuse("--top_k", "0")
    assert "No webcam 'webcam:99'" in refuse(data="webcam:99")
    assert "No file or folder 'absent'" in refuse(data="absent")
    assert "No file of segments" in refuse("--segments", tmp_path / "absent.csv")
    assert "the inputs contain none" in refuse("--frames_per_clip", "3")
    assert "no crop file" in refuse("--crop", tmp_path / "absent.csv")
    assert not list(tmp_path.iterdir())
    (tmp_path / "boxes.csv").write_text("video,x,y,w,h\n1,0,0,8,8\n")
    assert "the inputs contain none" in refuse("--crop", tmp_path / "boxes.csv")


def test_box_that_reaches_out_is_reported_with_its_video(mg_vtc_command, two_class_run, tmp_path, capsys):
    make_video(tmp_path / "v.mp4", 3)
    make_video(tmp_path / "w.mp4", 3)
    (tmp_path / "boxes.csv").write_text("video,x,y,w,h\nv,60,0,8,8\nw,0,0,8,8\n")
    with pytest.raises(SystemExit), pytest.warns(UserWarning, match="'boxes.csv'"):
        mg_vtc_command("predict", two_class_run, tmp_path, "--crop", tmp_path / "boxes.csv")
    printed = capsys.readouterr()
    assert "v.mp4 cannot be read: VideoError: The box x, y, width, height = 60, 0, 8, 8 extends beyond" in printed.err
    assert [line.split()[0] for line in printed.out.splitlines()] == ["image", *["w.mp4"] * 3]


def test_flags_that_prepare_has_too_are_the_same_there():
    verbs = argparse.ArgumentParser().add_subparsers()
    predict.add_parser(verbs)
    prepare.add_parser(verbs)
    (kinds,) = (action for action in verbs.choices["prepare"]._actions if isinstance(action.choices, dict))
    flags = [
        {action.dest: action for action in parser._actions if action.option_strings}
        for parser in (verbs.choices["predict"], kinds.choices["smg"])
    ]
    for dest in ("crop", "first_frame", "frames_per_clip"):
        one, other = (vars(actions[dest]) for actions in flags)
        different = {name for name in one if one[name] != other[name]} - {"container"}
        assert different == ({"help"} if dest == "frames_per_clip" else set())  # whose default is not the same


def test_missing_extra_is_named(refusal, two_class_run, tmp_path, monkeypatch):
    (tmp_path / "v.mp4").touch()
    monkeypatch.setitem(sys.modules, "av", None)
    for module in ("frames", "video"):
        monkeypatch.delitem(sys.modules, f"mg_vtc.data.releases.{module}", raising=False)
    words = refusal("predict", two_class_run, tmp_path)
    assert words == 'mg-vtc: av is not installed: pip install "mg-vtc[video]"'


@pytest.fixture
def second_run(processor, tmp_path):
    """Another model of the same two classes."""
    save_model(
        tmp_path / "second",
        TINY_RESNET,
        tokenizer=processor.tokenizer,
        id2label={0: CLASS_NAMES[1], 1: CLASS_NAMES[0]},
        seed=1,
    )
    return tmp_path / "second"


def test_first_words_are_the_models_of_an_ensemble_and_weights_are_theirs(
    mg_vtc_command, two_class_run, second_run, images_dir, tmp_path
):
    def scores(*words):
        mg_vtc_command("predict", *words, "--output", tmp_path / "a.csv", "--overwrite")
        with (tmp_path / "a.csv").open(newline="") as file:
            return [{row[f"label_{n}"]: float(row[f"score_{n}"]) for n in (1, 2)} for row in csv.DictReader(file)]

    first, second = scores(two_class_run, images_dir), scores(second_run, images_dir)
    together = scores(two_class_run, second_run, images_dir, "--weights", "3", "1")
    for a, b, mean in zip(first, second, together, strict=True):
        assert mean == pytest.approx({name: 0.75 * a[name] + 0.25 * b[name] for name in a}, abs=2e-6)
    assert scores(two_class_run, two_class_run, images_dir, "--weights", "3", "1") == first


def test_ensemble_with_other_weights_does_not_resume(two_class_run, second_run, images_dir, tmp_path, monkeypatch):
    models, out = [str(two_class_run), str(second_run)], tmp_path / "a.csv"
    with monkeypatch.context() as patch:
        patch.setattr("mg_vtc.inference.output.write_predictions_file", _fail)
        with pytest.raises(OSError, match="All predictions are in"):
            write_predictions(models, images_dir, out, weights=[2, 1])
    with pytest.raises(ValueError, match=r"other settings \(weights \[2, 1\], now \[1, 1\]\)"):
        write_predictions(models, images_dir, out, weights=[1, 1])
    assert write_predictions(models, images_dir, out, weights=[2, 1]).num_resumed == 32


def _fail(*_arguments, **_settings):
    raise OSError("disk full")


def test_words_that_are_no_ensemble_are_refused(refusal, two_class_run, second_run, images_dir):
    assert refusal("predict", two_class_run, second_run, images_dir) == (
        f"mg-vtc: {second_run} is a model, not images: for an ensemble, give --weights with one number for each "
        "model, such as --weights 1 1."
    )
    assert "--weights has 2 numbers, so the first 2 words are models, but there are only 2 words" in refusal(
        "predict", two_class_run, images_dir, "--weights", "1", "1"
    )
    assert "--weights must be positive, got 0" in refusal(
        "predict", two_class_run, second_run, images_dir, "--weights", "1", "0"
    )


def test_views_are_averaged_and_missing_mirror_images_named(mg_vtc_command, two_class_run, images_dir, capsys):
    with pytest.warns(UserWarning, match="no mirror images"):
        mg_vtc_command("predict", two_class_run, images_dir, "--tta")
    assert len(capsys.readouterr().out.splitlines()) == 33
