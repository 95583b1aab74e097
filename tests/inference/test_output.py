"""A run that ends with a file: what it may not lose, and that an interruption changes nothing."""

import csv
import os
import resource
import shutil
import signal
import zipfile

import numpy as np
import pytest
from conftest import TINY_RESNET
from made_releases import make_video
from saved_models import save_model

from mg_vtc import predict, write_predictions
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.inference.prediction_files import Journal
from mg_vtc.inference.predictor import Predictor
from mg_vtc.models.processing_mg_vtc import build_tokenizer


@pytest.fixture(scope="module")
def folder(processor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer)
    return folder


@pytest.fixture(scope="module")
def imigue(tmp_path_factory):
    """A model that knows the classes of iMiGUE in an order of its own."""
    folder = tmp_path_factory.mktemp("imigue")
    names = [str(name) for name in np.random.default_rng(3).permutation(IMIGUE_CLASS_NAMES)]
    tokenizer = build_tokenizer(names)
    save_model(folder, TINY_RESNET, tokenizer=tokenizer, id2label=dict(enumerate(names)))
    return folder


def interrupt_after(monkeypatch, num_lines):
    """Let the journal fail as on a full disk, once it has taken some lines."""
    add = Journal.add

    def add_some(journal, *predictions):
        nonlocal num_lines
        if num_lines == 0:
            raise OSError("No space left on device")
        num_lines -= 1
        add(journal, *predictions)

    monkeypatch.setattr(Journal, "add", add_some)


@pytest.mark.parametrize("vote", [None, "mean"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_interrupted_run_ends_with_the_same_bytes(folder, images_dir, tmp_path, monkeypatch, vote, suffix):
    settings = {"vote": vote, "batch_size": 3}
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    assert write_predictions(folder, images_dir, whole, **settings).num_resumed == 0
    for num_lines in (2, 3):
        with monkeypatch.context() as patch:
            interrupt_after(patch, num_lines)
            with pytest.raises(OSError, match="No space left"):
                write_predictions(folder, images_dir, out, **settings)
        assert not out.exists()
    written = write_predictions(folder, images_dir, out, **settings)
    assert 10 < written.num_resumed < 32
    assert written.num_rows == (16 if vote else 32)
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, whole.name]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_disk_that_is_full_at_the_end_is_reported_with_the_way_out(folder, images_dir, tmp_path, monkeypatch, suffix):
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    write_predictions(folder, images_dir, whole, top_k=6)
    num_bytes = whole.stat().st_size

    end = Journal.end

    def fill_disk(journal):  # from the end of the predictions on, no file may be as long as the table
        end(journal)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes - 1, limits[1]))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "end", fill_disk)
        try:
            with pytest.raises(
                OSError, match=rf"out.{suffix} cannot be written .*All predictions are in .*repeat the command"
            ):
                write_predictions(folder, images_dir, out, top_k=6)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"out.{suffix}.partial", whole.name]
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "predict", None)  # nothing is predicted again
        assert write_predictions(folder, images_dir, out, top_k=6).num_resumed == 32
    assert out.read_bytes() == whole.read_bytes()


def test_rows_are_those_of_predict(folder, images_dir, tmp_path):
    write_predictions(folder, images_dir, tmp_path / "a.csv", top_k=3)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    predictions = list(predict(folder, images_dir, top_k=3))
    assert [row["file"] for row in rows] == [prediction.file for prediction in predictions]
    for row, prediction in zip(rows, predictions, strict=True):
        assert [row[f"label_{rank}"] for rank in (1, 2, 3)] == prediction.labels
        assert [float(row[f"score_{rank}"]) for rank in (1, 2, 3)] == pytest.approx(prediction.scores, abs=1e-6)


def test_bad_images_are_reported_also_by_a_run_that_goes_on(folder, images_dir, tmp_path, monkeypatch):
    images = tmp_path / "images"
    shutil.copytree(images_dir / "Head up", images)
    for name in ("0000.1.png", "0003.0.png"):
        (images / name).write_bytes(b"no image")
    out = tmp_path / "a.csv"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(OSError, match="No space left"):
            write_predictions(folder, images, out, batch_size=2)
    written = write_predictions(folder, images, out, batch_size=2)
    assert (written.num_rows, written.num_resumed) == (6, 4)
    assert [fault.file for fault in written.errors] == ["0000.1.png", "0003.0.png"]
    assert "0000.1.png" not in out.read_text()


def test_run_does_not_go_on_with_other_weights_or_images(folder, images_dir, tmp_path, monkeypatch, processor):
    model, images, out = tmp_path / "model", tmp_path / "images", tmp_path / "a.csv"
    shutil.copytree(folder, model)
    shutil.copytree(images_dir / "Head up", images)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(OSError, match="No space left"):
            write_predictions(model, images, out, batch_size=2)
    save_model(model, TINY_RESNET, tokenizer=processor.tokenizer, projection_dim=8)
    with pytest.raises(ValueError, match=r"with other settings \(model '[0-9a-f]{16}', now '[0-9a-f]{16}'\)"):
        write_predictions(model, images, out, batch_size=2)
    (images / "0000.0.png").unlink()
    with pytest.raises(ValueError, match=r"\(files '[0-9a-f]{16}', now"):
        write_predictions(folder, images, out, batch_size=2)
    assert write_predictions(model, images, out, batch_size=2, overwrite=True).num_resumed == 0


def test_run_does_not_go_on_with_another_box(folder, tmp_path, monkeypatch):
    video, boxes, out = make_video(tmp_path / "v.mp4", 12), tmp_path / "boxes.csv", tmp_path / "a.csv"
    boxes.write_text("video,x,y,w,h\nv,0,0,16,24\n")
    settings = {"crop": boxes, "batch_size": 2}
    write_predictions(folder, video, tmp_path / "whole.csv", **settings)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(OSError, match="No space left"):
            write_predictions(folder, video, out, **settings)
    boxes.write_text("video,x,y,w,h\nv,0,0,16,25\n")
    with pytest.raises(ValueError, match="with other settings"):
        write_predictions(folder, video, out, **settings)
    with pytest.raises(ValueError, match="with other settings"):
        write_predictions(folder, video, out, batch_size=2)
    boxes.write_text("video,x,y,w,h\nv,0,0,16,24\n")
    assert write_predictions(folder, video, out, **settings).num_resumed == 4
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_file_is_kept_unless_it_may_be_replaced(folder, images_dir, tmp_path, monkeypatch):
    out = tmp_path / "a.csv"
    out.write_text("mine")
    with pytest.raises(ValueError, match="already exists"):
        write_predictions(tmp_path / "absent", images_dir, out)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as on a disk that is mounted read-only
    with pytest.raises(PermissionError, match=r"b.csv cannot be written, because the folder .* is not writable"):
        write_predictions(tmp_path / "absent", images_dir, tmp_path / "b.csv")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"must end in .csv or .jsonl or .parquet.*a.txt"):
        write_predictions(tmp_path / "absent", images_dir, tmp_path / "a.txt")
    assert out.read_text() == "mine"
    assert write_predictions(folder, images_dir, out, overwrite=True).num_rows == 32


def test_submissions_have_the_ids_of_the_names_that_are_predicted(imigue, images_dir, tmp_path):
    images = images_dir / "Head up"
    for number, path in enumerate(sorted(images.iterdir())):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copyfile(path, tmp_path / "in" / f"0001_{number // 2}.{number % 2}.png")
    top = {row.file: row.labels[0] for row in predict(imigue, tmp_path / "in")}
    write_predictions(imigue, tmp_path / "in", tmp_path / "s.csv", submission="lut")
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["filename"]: IMIGUE_CLASS_NAMES[int(row["class"]) - 1] for row in rows} == top
    voted = {row.clip: row.labels[0] for row in predict(imigue, tmp_path / "in", vote="mean")}
    written = write_predictions(imigue, tmp_path / "in", tmp_path / "s.zip", submission="miga")
    lines = zipfile.Path(tmp_path / "s.zip", "s.csv").read_text().splitlines()
    assert written.num_rows == len(lines) == 4
    assert {line.split(",")[0]: IMIGUE_CLASS_NAMES[int(line.split(",")[1])] for line in lines} == voted


def test_submission_of_the_segments_of_videos(imigue, tmp_path):
    for video in ("0001", "0002"):
        make_video(tmp_path / "test" / video / f"{video}.mp4", 20)
        (tmp_path / "test" / video / f"{video}_label.csv").write_text("99,1,9\n1,5,19\n")
    settings = {"segments": tmp_path / "test", "frames_per_clip": 4, "submission": "miga"}
    with pytest.warns(UserWarning, match="Skipped 2 files"):
        written = write_predictions(imigue, tmp_path / "test", tmp_path / "s.zip", **settings)
    lines = zipfile.Path(tmp_path / "s.zip", "s.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["0001_0", "0001_1", "0002_0", "0002_1"]
    assert not written.errors


@pytest.mark.parametrize("cut", [True, False])
def test_segments_that_cannot_be_read_are_reported_and_then_given_a_class(imigue, tmp_path, monkeypatch, cut):
    for video in ("0001", "0002"):
        make_video(tmp_path / "test" / f"{video}.mp4", 20)
    if cut:
        (tmp_path / "test" / "0002.mp4").write_bytes((tmp_path / "test" / "0002.mp4").read_bytes()[:600])
    segments, out = tmp_path / "segments.csv", tmp_path / "s.zip"
    segments.write_text(f"video,start_frame,end_frame\n1,1,9\n2,{'1,9' if cut else '30,39'}\n1,5,15\n")
    settings = {"segments": segments, "submission": "miga", "batch_size": 4}
    with pytest.raises(
        ValueError, match=r"1 of 3 samples have no prediction.*'0002_0: VideoError: .*`missing_class=NAME`"
    ):
        write_predictions(imigue, tmp_path / "test", out, **settings)
    before = (tmp_path / "s.zip.partial").read_bytes()
    for name, match in (("rubbing ear", "must be one of '.*got 'rubbing ear'"), ("Waving", "'Waving'")):
        with pytest.raises(ValueError, match=match):
            write_predictions(imigue, tmp_path / "test", out, **settings, missing_class=name)
    assert (tmp_path / "s.zip.partial").read_bytes() == before
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "predict", None)  # nothing is predicted again
        written = write_predictions(imigue, tmp_path / "test", out, **settings, missing_class="Head up")
    assert (written.num_rows, written.num_filled, written.num_resumed, len(written.errors)) == (3, 1, 21, 1)
    lines = zipfile.Path(out, "s.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["0001_0", "0001_1", "0002_0"]
    assert lines[2] == f"0002_0,{IMIGUE_CLASS_NAMES.index('Head up')}"
    assert not (tmp_path / "s.zip.partial").exists()


def test_files_whose_names_are_no_utf8_are_predicted_like_others(folder, imigue, images_dir, tmp_path):
    images = tmp_path / os.fsdecode(b"\xe9t\xe9")
    images.mkdir()
    image = images_dir / "Head up" / "0000.0.png"
    for name in ("a.0.png", os.fsdecode(b"caf\xe9.0.png")):
        shutil.copyfile(image, images / name)
    for suffix in ("csv", "jsonl", "parquet"):
        assert write_predictions(folder, images, tmp_path / f"a.{suffix}").num_rows == 2
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (second["file"], second["clip"]) == (r"caf\xe9.0.png", r"caf\xe9")
    assert second["score_1"] == first["score_1"]
    write_predictions(imigue, images, tmp_path / "s.csv", submission="lut")
    assert r"caf\xe9.0.png," in (tmp_path / "s.csv").read_text()
    for name, num_frames in ((b"v\xe9.mp4", 5), (b"cut\xe9.mp4", None)):
        video = make_video(images / os.fsdecode(name), 5)
        if num_frames is None:
            video.write_bytes(video.read_bytes()[:600])
    written = write_predictions(folder, images, tmp_path / "b.csv")
    assert written.num_rows == 7
    assert [fault.file for fault in written.errors] == [r"cut\xe9.mp4"]


def test_class_for_what_is_missing_needs_a_submission(imigue, images_dir, tmp_path):
    with pytest.raises(ValueError, match="`missing_class` requires `submission`"):
        write_predictions(imigue, images_dir, tmp_path / "a.csv", missing_class="Head up")


def test_submission_that_cannot_be_is_refused_before_the_work(folder, imigue, images_dir, tmp_path):
    with pytest.raises(ValueError, match=r"classes of iMiGUE.*this model has 6"):
        write_predictions(folder, images_dir, tmp_path / "s.csv", submission="lut")
    with pytest.raises(ValueError, match=r"must end in .zip.*s.csv"):
        write_predictions(imigue, images_dir, tmp_path / "s.csv", submission="miga")
    with pytest.raises(ValueError, match=r"Two samples are named '0000.0.png'"):
        write_predictions(imigue, images_dir, tmp_path / "s.csv", submission="lut")
    assert not list(tmp_path.iterdir())
