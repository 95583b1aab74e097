"""`mg-vtc benchmark`: what it measures, prints and refuses."""

import shutil

import pytest
from pages import train_on_colours

from mg_vtc.exporters import rounds
from mg_vtc.exporters.onnx import export_onnx


@pytest.fixture(scope="module")
def folder(images_dir, tmp_path_factory):
    folder = train_on_colours(tmp_path_factory.mktemp("run"), images_dir)
    export_onnx(str(folder), folder / "onnx", int8=True, calibration_data=images_dir)
    return folder


@pytest.fixture
def patient(monkeypatch):
    """Whatever else this machine does."""
    monkeypatch.setattr(rounds, "MAX_SPREAD", float("inf"))


def test_forms_are_measured_and_scored(mg_vtc_command, patient, folder, images_dir, capsys):
    mg_vtc_command("benchmark", folder, images_dir, "--rounds", "2")
    header, *rows, note = capsys.readouterr().out.splitlines()
    assert header.split() == ["form", "MB", "ms", "images/s", "speed", "spread", "top-1"]
    rows = [row.split() for row in rows]
    assert [row[0] for row in rows] == ["torch", "classifier.onnx", "classifier.int8.onnx"]
    assert [row[-1] for row in rows] == ["100.0%"] * 3  # the model knows these images
    assert rows[0][4] == "1.00"
    assert all(float(row[2]) > 0 and float(row[3]) > 0 for row in rows)
    assert "batches of 32" in note


def test_accuracy_needs_data_and_is_left_out_without(mg_vtc_command, refusal, patient, folder, capsys):
    mg_vtc_command("benchmark", folder, "--rounds", "2")
    rows = capsys.readouterr().out.splitlines()[1:-1]
    assert all(len(row.split()) == 6 for row in rows)
    assert refusal("benchmark", folder, "--split", "test") == "mg-vtc: --split selects images of DATA: give DATA, too."


@pytest.mark.filterwarnings("ignore:2 of the model's 4 classes are not in the data")
@pytest.mark.parametrize(("swapped", "accuracy"), [(False, "100.0%"), (True, "0.0%")])
def test_classes_are_matched_by_name(mg_vtc_command, patient, folder, images_dir, tmp_path, capsys, swapped, accuracy):
    """The last two classes of the model, which are the first two of the data; or each with the other's images."""
    names = sorted(path.name for path in images_dir.iterdir())[-2:]
    for name, images in zip(names, reversed(names) if swapped else names, strict=True):
        shutil.copytree(images_dir / images, tmp_path / "data" / name)
    mg_vtc_command("benchmark", folder, tmp_path / "data", "--rounds", "2", "--split", "all")
    assert [row.split()[-1] for row in capsys.readouterr().out.splitlines()[1:-1]] == [accuracy] * 3


def test_noisy_machine_is_refused(refusal, folder, monkeypatch):
    monkeypatch.setattr(rounds, "MAX_SPREAD", -1.0)
    assert "The machine is too noisy to print a table: after 4 rounds" in refusal("benchmark", folder, "--rounds", "2")


def test_model_without_an_export_says_how_to_get_one(refusal, folder, tmp_path):
    assert f"mg-vtc export {tmp_path} --format onnx" in refusal("benchmark", tmp_path)


def test_damaged_export_is_not_measured(refusal, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    damaged = tmp_path / "run" / "onnx" / "classifier.int8.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert f"{damaged} is damaged: it h" in refusal("benchmark", tmp_path / "run")


def test_one_round_is_too_few(refusal, folder):
    assert refusal("benchmark", folder, "--rounds", "1") == "mg-vtc: --rounds must be at least 2, got 1."
