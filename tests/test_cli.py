"""The `mg-vtc` command: what it writes and prints, and that a user's mistake is told in one line."""

import json
import re
import shutil
import subprocess
import sys
import warnings

import datasets
import pytest
from conftest import CLASS_NAMES, TINY_RESNET
from saved_models import save_model
from transformers import AutoConfig
from transformers.utils import logging

from mg_vtc import load_image_folder
from mg_vtc.cli import main

COMMAND = [sys.executable, "-m", "mg_vtc.cli"]


@pytest.fixture(scope="module")
def run_folder(processor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mine"
    save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer, id2label=dict(enumerate(CLASS_NAMES[:2])))
    return folder


@pytest.fixture(autouse=True)
def _settings_of_the_process(monkeypatch):
    """The command sets them for all of its process, which here is that of the tests."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    yield
    logging.enable_progress_bar()
    datasets.enable_progress_bars()


@pytest.fixture
def refusal():
    """The words with which the command refuses arguments."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        assert isinstance(stop.value.code, str)  # a text as exit code is printed, and 1 is returned
        assert "\n" not in stop.value.code
        return stop.value.code

    return run


def test_help_needs_no_library_and_names_the_verbs():
    code = "import sys; from mg_vtc.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert {"export", "evaluate"} <= set(done.stdout.split())
    assert not {"torch", "transformers", "datasets", "numpy", "onnx", "matplotlib", "sklearn"} & set(
        done.stdout.split()
    )


def test_export_writes_the_files_and_a_table_and_nothing_else(run_folder, picture_folder):
    # random weights tell two classes apart on pictures of one colour, whichever it is
    pictures = picture_folder / CLASS_NAMES[0]
    command = [*COMMAND, "export", str(run_folder), "--to", "onnx", "--int8", "--calibration", str(pictures)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    folder, _, *rows = done.stdout.splitlines()
    assert folder == str(run_folder / "onnx")
    assert {row.split()[0] for row in rows} == {path.name for path in (run_folder / "onnx").iterdir()}
    assert re.search(r"^classifier\.int8\.onnx .*the best class is the same for 100\.0%$", done.stdout, re.MULTILINE)


def test_classifier_lies_beside_the_model_and_sizes_are_told(run_folder, capsys):
    main(["export", str(run_folder), "--to", "classifier"])
    folder = run_folder.with_name("mine-classifier")
    assert AutoConfig.from_pretrained(folder).vision_only
    assert re.fullmatch(rf"{folder}\nweights: \d+\.\d MB before, \d+\.\d MB now\n", capsys.readouterr().out)


def test_classifier_of_the_folder_where_one_is_lies_beside_it_too(run_folder, monkeypatch, capsys):
    monkeypatch.chdir(run_folder)
    main(["export", ".", "--to", "classifier", "--overwrite"])
    assert capsys.readouterr().out.splitlines()[0] == f"{run_folder}-classifier"


def test_files_of_the_model_are_not_replaced_by_its_export(refusal, run_folder):
    before = (run_folder / "tokenizer.json").read_text()
    assert "is the model itself" in refusal("export", run_folder, "--to", "onnx", "--out", run_folder, "--overwrite")
    assert (run_folder / "tokenizer.json").read_text() == before


def test_mistake_ends_the_process_with_one_line_and_exit_code_1(tmp_path):
    done = subprocess.run(
        [*COMMAND, "export", str(tmp_path / "absent"), "--to", "onnx"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == f"mg-vtc: There is no folder {tmp_path / 'absent'}: for a Hub id, say with --out where to write.\n"
    )


def test_folder_that_is_no_model_is_refused(refusal, tmp_path):
    assert re.match(rf"mg-vtc: .*{tmp_path}.* config\.json", refusal("export", tmp_path, "--to", "onnx"))


def test_int8_without_pictures_is_refused(refusal, run_folder):
    assert "--calibration" in refusal("export", run_folder, "--to", "onnx", "--int8", "--out", run_folder / "other")


def test_flags_of_onnx_are_refused_for_a_classifier(refusal, run_folder):
    assert refusal("export", run_folder, "--to", "classifier", "--int8") == (
        "mg-vtc: --int8 and --calibration go with --to onnx."
    )


def test_missing_extra_is_told_with_the_command_that_installs_it(run_folder):
    code = "import sys; sys.modules['onnxruntime'] = None; from mg_vtc.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "export", str(run_folder), "--to", "onnx"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == 'mg-vtc: onnxruntime is not installed: pip install "mg-vtc[onnx]"\n'


def test_fault_of_the_code_keeps_its_traceback(monkeypatch, run_folder):
    monkeypatch.setitem(sys.modules, "mg_vtc.inference.export_classifier", None)
    with pytest.raises(ModuleNotFoundError):
        main(["export", str(run_folder), "--to", "classifier"])


# evaluate


@pytest.fixture(scope="module")
def two_classes(picture_folder, tmp_path_factory):
    """Pictures of the classes that the model knows."""
    folder = tmp_path_factory.mktemp("two")
    for name in CLASS_NAMES[:2]:
        shutil.copytree(picture_folder / name, folder / name)
    return folder


def test_evaluation_writes_a_report_beside_the_model_and_shows_scores(run_folder, two_classes):
    command = [*COMMAND, "evaluate", str(run_folder), str(two_classes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert (
        lines[0] == f"{run_folder} on {two_classes}: 16 pictures of 8 clips, part all; 2 classes, image-classification"
    )
    assert lines[-1] == str(run_folder / "report" / "report.html")
    top1 = json.loads((run_folder / "report" / "results.json").read_text())["scores"]["top1_accuracy"]
    assert re.search(rf"^top-1 accuracy +{top1['value']:.1%} ", done.stdout, re.MULTILINE)


def test_files_are_kept_before_anything_is_computed(refusal, run_folder, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    words = refusal("evaluate", run_folder, "absent", "--out", tmp_path)
    assert words == f"mg-vtc: {tmp_path} holds report.html already: choose another --out, or add --overwrite."
    assert "is the model itself" in refusal("evaluate", run_folder, "absent", "--out", run_folder, "--overwrite")


def test_flags_of_an_evaluation_reach_it(refusal, run_folder, two_classes, picture_folder, tmp_path):
    def refuse(*flags, data=two_classes):
        return refusal("evaluate", run_folder, data, "--out", tmp_path / "report", *flags)

    assert "no part 'test'" in refuse("--part", "test")
    assert "There is no labels file absent.csv" in refuse("--labels_file", "absent.csv")
    assert "--prompt_template goes with --zero_shot" in refuse("--prompt_template", "a {}")
    assert "needs one '{}'" in refuse("--zero_shot", "--prompt_template", "a")
    assert "batch_size should be a positive integer" in refuse("--batch_size", "0")
    assert "no folder 'absent'" in refuse(data="absent")
    assert "The model's 2: 'Covering face', 'Folding arms'." in refuse(data=picture_folder)
    assert not (tmp_path / "report").exists()


def test_columns_of_a_data_set_can_be_named(refusal, run_folder, two_classes, tmp_path):
    rows = load_image_folder(two_classes)["train"]
    (tmp_path / "shards").mkdir()
    rows.to_parquet(tmp_path / "shards" / "train.parquet")
    flags = ("--image_column_name", "photo", "--label_column_name", "gesture", "--out", tmp_path / "report")
    assert "has no column 'gesture', 'photo'" in refusal("evaluate", run_folder, tmp_path / "shards", *flags)
    flags = ("--clip_column_name", "video", "--out", tmp_path / "report")
    assert "column 'video'" in refusal("evaluate", run_folder, two_classes, *flags)


def test_folder_that_is_no_model_can_not_be_evaluated(refusal, tmp_path, two_classes):
    assert re.match(rf"mg-vtc: .*{tmp_path}.* config\.json", refusal("evaluate", tmp_path, two_classes))


def test_what_draws_a_report_is_missed_before_the_work(run_folder):
    code = "import sys; sys.modules['matplotlib'] = None; from mg_vtc.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "evaluate", str(run_folder), "absent", "--overwrite"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, 'mg-vtc: matplotlib is not installed: pip install "mg-vtc[report]"\n')
