"""`resume_from_checkpoint auto`: one command starts a run, resumes it, and does nothing once it is finished."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY_DISTILBERT, TINY_RESNET
from damage import flip_bit

from mg_vtc import evaluate, train
from mg_vtc.runs.manifest import find_damage

TOWERS = {"vision_config": TINY_RESNET, "text_config": TINY_DISTILBERT, "projection_dim": 12, "image_size": 32}
SETTINGS = {"per_device_train_batch_size": 4, "num_train_epochs": 2, "seed": 0, "random_shift": 4, "use_cpu": True}


@pytest.fixture
def auto(images_dir, tmp_path):
    """Train with the same settings whatever is in the folder."""
    folder = tmp_path / "run"

    def run(**settings):
        given = {"train_dir": str(images_dir), "output_dir": str(folder), "resume_from_checkpoint": "auto"}
        return train(TOWERS | SETTINGS, **(given | settings))

    run.folder = folder
    return run


def read_weights(folder):
    return (folder / "model.safetensors").read_bytes()


def unfinish(folder, *steps):
    """Leave what a run that was killed after these steps leaves."""
    for path in folder.iterdir():
        if path.name not in ("recipe.yaml", "split.json", *(f"checkpoint-{step}" for step in steps)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_one_command_starts_resumes_and_leaves_a_finished_run_alone(auto, capsys):
    weights = read_weights(auto())
    assert "Resuming from" not in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in auto.folder.rglob("*")}
    auto()
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"{auto.folder} holds the finished run of this command: nothing is left to train"
    assert before == {path: path.stat().st_mtime_ns for path in auto.folder.rglob("*")}

    shutil.rmtree(auto.folder)
    auto(save_total_limit=5)
    unfinish(auto.folder, 6)
    auto(save_total_limit=5)
    assert "checkpoint-6, after step 6" in capsys.readouterr().out
    assert read_weights(auto.folder) == weights


def test_run_that_was_killed_before_its_first_checkpoint_starts_again(auto, capsys):
    weights = read_weights(auto())
    unfinish(auto.folder)
    (auto.folder / "checkpoint-6.part" / "checkpoint-6").mkdir(parents=True)
    auto()
    assert "Resuming from" not in capsys.readouterr().out
    assert read_weights(auto.folder) == weights
    assert not (auto.folder / "checkpoint-6.part").exists()


def test_run_that_was_killed_before_its_card_was_written_writes_it(auto):
    weights = read_weights(auto())
    (auto.folder / "README.md").unlink()
    auto()
    assert (auto.folder / "README.md").exists()
    assert read_weights(auto.folder) == weights


def test_run_that_was_killed_after_its_last_step_takes_no_further_one(auto):
    steps = {"max_steps": 4, "save_steps": 2, "save_strategy": "steps", "eval_strategy": "no"}
    steps |= {"load_best_model_at_end": False, "save_total_limit": 2}
    weights = read_weights(auto(**steps))
    unfinish(auto.folder, 2, 4)
    auto(**steps)
    assert read_weights(auto.folder) == weights
    assert sorted(path.name for path in auto.folder.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]


def test_run_of_which_no_checkpoint_is_whole_is_not_started_again_in_silence(auto):
    auto()
    unfinish(auto.folder, 12)
    (auto.folder / "checkpoint-12" / "optimizer.pt").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"checkpoint-12/optimizer\.pt is empty.*start again"):
        auto()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "split.json", "results/validation.json"])
def test_finished_run_with_a_damaged_file_is_not_left_alone_in_silence(name, auto):
    flip_bit(auto() / name)
    with pytest.raises(ValueError, match=rf"{name} is damaged or of another run or step"):
        auto()


def test_records_of_a_finished_run_are_compared_before_they_are_read(auto, images_dir):
    path = auto() / "split.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 9}))
    with pytest.raises(ValueError, match=r"split\.json is damaged.* delete .*manifest\.json"):
        evaluate(auto.folder, images_dir)
    (auto.folder / "manifest.json").unlink()  # accepted as a change
    evaluate(auto.folder, images_dir)


@pytest.mark.parametrize("finished", [True, False])
def test_run_with_other_settings_is_refused_and_kept(finished, auto):
    weights = read_weights(auto())
    unfinish(auto.folder) if not finished else None
    with pytest.raises(ValueError, match="began with loss_type 'js', now it is 'ce'"):
        auto(loss_type="ce")
    assert not finished or read_weights(auto.folder) == weights


def test_finished_run_goes_on_if_it_shall_be_longer(auto, capsys):
    auto()
    with pytest.warns(UserWarning, match="extended to 3"):
        auto(num_train_epochs=3)
    assert "checkpoint-12, after step 12" in capsys.readouterr().out


def test_extension_that_was_interrupted_is_not_finished(auto, monkeypatch):
    auto()

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mg_vtc.training.run.run", interrupt)  # after the folder was prepared
        with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="extended to 3"):
            auto(num_train_epochs=3)
    assert not (auto.folder / "all_results.json").exists()
    assert not (auto.folder / "README.md").exists()
    auto(num_train_epochs=3)
    assert json.loads((auto.folder / "all_results.json").read_text())["epoch"] == 3


def test_finished_run_without_checkpoints_is_not_replaced_by_a_longer_one(auto):
    weights = read_weights(auto())
    for checkpoint in auto.folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    with pytest.raises(ValueError, match="holds a finished run without checkpoints, which cannot be extended"):
        auto(num_train_epochs=3)
    assert read_weights(auto.folder) == weights


def test_other_descriptions_are_not_mixed_into_a_run(auto, images_dir, tmp_path):
    names, path = sorted(one.name for one in images_dir.iterdir()), tmp_path / "texts.json"
    path.write_text(json.dumps({name: f"someone {name}" for name in names}))
    auto(descriptions_file=str(path), save_total_limit=5)
    unfinish(auto.folder, 6)
    path.write_text(json.dumps({name: f"a drawing of {name}" for name in names}))
    with pytest.raises(ValueError, match=r"differ from those in .*split\.json .*, or the texts of classes"):
        auto(descriptions_file=str(path), save_total_limit=5)


def test_folder_of_something_else_is_refused(auto):
    auto.folder.mkdir()
    (auto.folder / "thesis.tex").touch()
    with pytest.raises(ValueError, match="not the folder of a run"):
        auto()


def test_overwriting_and_auto_exclude_each_other(auto):
    auto()
    with pytest.raises(ValueError, match="exclude each other"):
        auto(overwrite=True)


def test_finished_run_whose_push_was_interrupted_is_pushed(auto, hub_client):
    auto()
    auto(push_to_hub=True, hub_model_id="org/model")
    assert "model.safetensors" in hub_client.files("org/model")
    assert set(json.loads(hub_client.files("org/model")["manifest.json"])["files"]) <= set(
        hub_client.files("org/model")
    )


def test_finished_run_that_was_pushed_is_not_pushed_twice(auto, hub_client, capsys):
    push = {"push_to_hub": True, "hub_model_id": "org/model"}
    auto(**push)
    pushed = hub_client.repos["org/model"].branches["main"]
    capsys.readouterr()
    auto(**push)
    finished, has_it = capsys.readouterr().out.splitlines()
    assert finished.endswith("holds the finished run of this command: nothing is left to train")
    assert has_it == "org/model has its model already: nothing is left to push"
    assert hub_client.repos["org/model"].branches["main"] == pushed
    auto(**push, hub_revision="other")
    assert "The model was pushed" in capsys.readouterr().out


def test_seed_whose_end_was_interrupted_is_not_finished(auto, capsys):
    auto(num_seeds=2)
    (auto.folder / "seed-1" / "README.md").unlink()
    capsys.readouterr()
    auto(num_seeds=2)
    assert "seed 1 (2 of 2)" in capsys.readouterr().out
    assert (auto.folder / "seed-1" / "README.md").exists()


def test_seeds_are_trained_by_one_command_too(auto, capsys):
    auto(num_seeds=2)
    unfinish(auto.folder / "seed-1", 12)
    capsys.readouterr()
    auto(num_seeds=2)
    assert "checkpoint-12, after step 12" in capsys.readouterr().out
    assert (auto.folder / "seeds.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked and killed at each write")
def test_run_that_is_killed_at_any_of_its_last_writes_is_unfinished_or_whole_and_repaired(tmp_path):
    command = [sys.executable, str(Path(__file__).parents[1] / "killed_finish.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert len(outcomes) > 40
    assert not outcomes[-1]["killed"]
    assert {"old", "new"} <= {outcome["state"] for outcome in outcomes}
    assert any(outcome["named"] for outcome in outcomes)
    for outcome in outcomes:
        assert outcome["state"] != "mixed" or outcome["named"], outcome
        assert outcome["damaged"] == [], outcome
        assert outcome["repaired"], outcome


def test_killed_finish_of_a_run_without_checkpoints_starts_again(auto):
    settings = {"save_strategy": "no", "load_best_model_at_end": False}
    weights = read_weights(auto(**settings))
    manifest = json.loads((auto.folder / "manifest.json").read_text())
    del manifest["files"]["README.md"]  # as it is before the end
    (auto.folder / "manifest.json").write_text(json.dumps(manifest))
    (auto.folder / "all_results.json").write_text('{"epo')
    auto(**settings)
    assert read_weights(auto.folder) == weights
    assert find_damage(auto.folder) == []


def test_files_of_the_user_in_the_folder_of_a_run_are_no_part_of_its_model(auto):
    auto()
    for name in ("analysis.py", "my_config.json"):
        (auto.folder / name).write_text("{}")
        auto()
        (auto.folder / name).write_text("[]")


@pytest.mark.slow
def test_elastic_restart_after_a_killed_worker_ends_with_the_weights_of_an_undisturbed_run(images_dir, tmp_path):
    settings = (
        TOWERS | SETTINGS | {"per_device_train_batch_size": 2, "num_train_epochs": 16, "train_dir": str(images_dir)}
    )
    flags = [
        word
        for name, value in settings.items()
        for word in (f"--{name}", json.dumps(value) if isinstance(value, dict) else str(value))
    ]

    def launch(folder):
        command = [sys.executable, "-m", "mg_vtc", "train", "--num_processes", "2", "--max_restarts", "2", *flags]
        return subprocess.Popen(
            [*command, "--output_dir", str(folder), "--resume_from_checkpoint", "auto"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    undisturbed = launch(tmp_path / "undisturbed")
    assert undisturbed.communicate(timeout=200)
    assert undisturbed.returncode == 0
    disturbed = launch(tmp_path / "disturbed")
    while not list((tmp_path / "disturbed").glob("checkpoint-*/manifest.json")):
        assert disturbed.poll() is None
        time.sleep(0.01)
    children = subprocess.run(["pgrep", "-P", str(disturbed.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
    screen, errors = disturbed.communicate(timeout=200)
    assert disturbed.returncode == 0, errors
    assert screen.count("Resuming from") == 1
    assert read_weights(tmp_path / "disturbed") == read_weights(tmp_path / "undisturbed")
    assert find_damage(tmp_path / "disturbed") == []
