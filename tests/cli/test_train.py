"""`mg-vtc train`: recipes by name, and flags of the launcher."""

import json
import subprocess
import sys

import pytest

from mg_vtc.cli.train import _launch, _split_launcher_flags
from mg_vtc.recipes import list_recipes
from mg_vtc.training.recipe import list_flags, parse_recipe


def test_without_a_recipe_each_is_listed_in_a_line(mg_vtc_command, capsys):
    mg_vtc_command("train")
    lines = capsys.readouterr().out.splitlines()
    for name, sentence in list_recipes().items():
        assert [line.split(maxsplit=1) for line in lines if line.startswith(f"  {name} ")] == [[name, sentence]]


def test_recipe_of_the_package_is_found_by_name_and_one_of_the_user_by_path(tmp_path):
    recipe = tmp_path / "demo.yaml"
    recipe.write_text("dataset_name: demo\noutput_dir: here\n")
    assert parse_recipe(["demo"]).training.output_dir == "runs/demo"
    assert parse_recipe(["--seed", "3", "demo"]).training.seed == 3
    assert parse_recipe([str(recipe)]).training.output_dir == "here"


def test_name_of_a_recipe_may_be_the_value_of_a_flag():
    assert parse_recipe(["demo", "--output_dir", "small"]).training.output_dir == "small"


def test_flags_of_the_launcher_are_reported_from_those_of_the_run():
    arguments = ["demo", "--num_processes", "2", "--seed", "1", "--main_process_port=1234", "--nonsense", "x"]
    launcher, rest = _split_launcher_flags(arguments, list_flags())
    assert launcher == ["--num_processes", "2", "--main_process_port=1234"]
    assert rest == ["demo", "--seed", "1", "--nonsense", "x"]


@pytest.mark.parametrize("flag", ["--mixed_precision", "--mixed-precision"])
def test_precision_of_the_launcher_is_refused_with_the_runs_own(flag):
    with pytest.raises(SystemExit, match="give --bf16 or --fp16"):
        _split_launcher_flags(["demo", flag, "bf16"], list_flags())


def test_flags_of_the_launcher_count_before_the_defaults(monkeypatch):
    launched = []
    monkeypatch.setattr("accelerate.commands.launch.launch_command", launched.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    _launch(["--num-machines", "2", "--machine-rank", "1", "--num-processes", "8"], ["demo"])
    (options,) = launched
    assert (options.num_machines, options.machine_rank, options.num_processes) == (2, 1, 8)
    assert options.training_script_args == ["demo"]


def test_help_is_that_of_recipes(mg_vtc_command, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        mg_vtc_command("train", "-h")
    assert "usage: mg-vtc train [RECIPE] [--flag value ...]" in capsys.readouterr().out


def start(*arguments):
    command = [sys.executable, "-m", "mg_vtc", "train", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def test_refusal_is_one_line_without_the_launchers_notice_and_traceback(tmp_path):
    (tmp_path / "notes.txt").touch()
    done = start("demo", "--num_processes", 2, "--output_dir", tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("mg-vtc train: ")
    assert len(done.stderr.splitlines()) == 1


def test_value_of_the_launchers_flag_is_refused_in_a_line():
    done = start("demo", "--num_processes", "two")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "mg-vtc train: argument --num_processes/--num-processes: invalid int value: 'two'\n"


def test_processes_of_the_launcher_are_one_run(tmp_path):
    done = start("demo", "--num_processes", 2, "--output_dir", tmp_path / "run", "--num_train_epochs", 1)
    assert done.returncode == 0, done.stderr
    assert "on each of 2 processes" in done.stdout
    assert "accelerate launch" not in done.stderr
    assert json.loads((tmp_path / "run" / "provenance.json").read_text())["num_processes"] == 2
