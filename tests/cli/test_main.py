"""The `mg-vtc` command: what its verbs share, and a line for each mistake of a user."""

import subprocess
import sys

import pytest

import mg_vtc

COMMAND = [sys.executable, "-m", "mg_vtc"]


def test_help_needs_no_library_and_names_the_verbs():
    code = (
        "import sys; from mg_vtc.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert {"prepare", "export", "evaluate"} <= set(done.stdout.split())
    assert not {"torch", "transformers", "datasets", "numpy", "av", "onnx", "matplotlib", "sklearn"} & set(
        done.stdout.split()
    )


def test_version_is_that_of_the_package(mg_vtc_command, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        mg_vtc_command("--version")
    assert capsys.readouterr().out == f"mg-vtc {mg_vtc.__version__}\n"


def test_misclassification_ends_the_process_with_one_line_and_exit_code_1(tmp_path):
    done = subprocess.run(
        [*COMMAND, "export", str(tmp_path / "absent"), "--format", "onnx"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"mg-vtc: There is no folder {tmp_path / 'absent'}: for a Hub id, give --output_dir.\n"


def test_missing_extra_is_reported_with_the_command_that_installs_it(two_class_run):
    code = "import sys; sys.modules['onnxruntime'] = None; from mg_vtc.cli.main import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "export", str(two_class_run), "--format", "onnx"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr == 'mg-vtc: onnxruntime is not installed: pip install "mg-vtc[onnx]"\n'


def test_error_of_the_code_keeps_its_traceback(mg_vtc_command, monkeypatch, two_class_run):
    monkeypatch.setitem(sys.modules, "mg_vtc.exporters.classifier", None)
    with pytest.raises(ModuleNotFoundError):
        mg_vtc_command("export", two_class_run, "--format", "classifier")


def test_ctrl_c_ends_a_command_in_one_line(mg_vtc_command, monkeypatch, two_class_run, capsys):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("mg_vtc.cli.evaluate._evaluate", interrupt)
    with pytest.raises(SystemExit) as stop:
        mg_vtc_command("evaluate", two_class_run, "demo")
    assert stop.value.code == 130
    assert capsys.readouterr().err == "mg-vtc: ended by Ctrl-C\n"
