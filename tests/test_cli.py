"""The `mg-vtc` command: what it writes and prints, and that a user's mistake is told in one line."""

import re
import subprocess
import sys
import warnings

import pytest
from conftest import CLASS_NAMES, TINY_RESNET
from saved_models import save_model
from transformers import AutoConfig
from transformers.utils import logging

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
    assert "export" in done.stdout
    assert not {"torch", "transformers", "datasets", "numpy", "onnx"} & set(done.stdout.split())


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
