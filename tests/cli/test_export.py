"""`mg-vtc export`: what it writes, prints and refuses."""

import re
import subprocess
import sys

from conftest import CLASS_NAMES
from transformers import AutoConfig

COMMAND = [sys.executable, "-m", "mg_vtc"]


def test_export_writes_the_files_and_a_table_and_nothing_else(two_class_run, images_dir):
    # random weights tell two classes apart on images of one colour, whichever it is
    images = images_dir / CLASS_NAMES[0]
    command = [*COMMAND, "export", str(two_class_run), "--format", "onnx", "--int8", "--calibration_data", str(images)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert re.fullmatch(r"warning: classifier\.int8\.onnx was compared on 4 images, .*\n", done.stderr)
    folder, _, *rows = done.stdout.splitlines()
    assert folder == str(two_class_run / "onnx")
    present = {path.name for path in (two_class_run / "onnx").iterdir()}
    assert {row.split()[0] for row in rows} == present - {"manifest.json"}
    assert re.search(
        r"^classifier\.int8\.onnx .*the best class is the same for 100\.0% of 4 images outside of the calibration",
        done.stdout,
        re.MULTILINE,
    )


def test_classifier_lies_beside_the_model_and_sizes_are_reported(mg_vtc_command, two_class_run, capsys):
    mg_vtc_command("export", two_class_run, "--format", "classifier")
    folder = two_class_run.with_name("mine-classifier")
    assert AutoConfig.from_pretrained(folder).vision_only
    assert re.fullmatch(rf"{folder}\nweights: \d+\.\d MB before, \d+\.\d MB now\n", capsys.readouterr().out)


def test_classifier_of_the_folder_where_one_is_lies_beside_it_too(mg_vtc_command, two_class_run, monkeypatch, capsys):
    monkeypatch.chdir(two_class_run)
    mg_vtc_command("export", ".", "--format", "classifier", "--overwrite")
    assert capsys.readouterr().out.splitlines()[0] == f"{two_class_run}-classifier"


def test_files_of_the_model_are_not_replaced_by_its_export(refusal, two_class_run):
    before = (two_class_run / "tokenizer.json").read_text()
    assert "is the folder of the model" in refusal(
        "export", two_class_run, "--format", "onnx", "--output_dir", two_class_run, "--overwrite"
    )
    assert (two_class_run / "tokenizer.json").read_text() == before


def test_folder_that_is_no_model_is_refused(refusal, tmp_path):
    assert re.match(rf"mg-vtc: .*{tmp_path}.* config\.json", refusal("export", tmp_path, "--format", "onnx"))


def test_int8_without_images_is_refused(refusal, two_class_run):
    assert "--calibration_data" in refusal(
        "export", two_class_run, "--format", "onnx", "--int8", "--output_dir", two_class_run / "other"
    )


def test_flags_of_onnx_are_refused_for_a_classifier(refusal, two_class_run):
    assert refusal("export", two_class_run, "--format", "classifier", "--int8") == (
        "mg-vtc: --int8 and --calibration_data go with --format onnx or web."
    )
