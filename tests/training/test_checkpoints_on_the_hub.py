"""Checkpoints on the Hub: an empty machine replaces one that vanished, and resumes its run."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from chaos_runs import flags_of
from conftest import TINY_DISTILBERT, TINY_RESNET, make_rows
from local_hub import File, Repo, client_environment
from transformers import TrainerCallback

from mg_vtc import train
from mg_vtc.hub import checkpoints
from mg_vtc.hub.checkpoints import CheckpointUploader
from mg_vtc.hub.push import prepare_repo
from mg_vtc.runs.directory import list_checkpoints
from mg_vtc.runs.manifest import find_damage
from mg_vtc.training import run as run_module
from mg_vtc.training.preemption import Interrupted, deferring_signals, watching_signals

REPO = "org/model"
TOWERS = {"vision_config": TINY_RESNET, "text_config": TINY_DISTILBERT, "projection_dim": 12, "image_size": 32}
SETTINGS = {"per_device_train_batch_size": 4, "num_train_epochs": 3, "seed": 0, "random_shift": 4, "use_cpu": True}
PUSH = {"push_to_hub": True, "hub_model_id": REPO, "hub_strategy": "checkpoint"}
STEPS_OF_EPOCH = 6


class VanishedError(Exception):
    """The machine is gone."""


@pytest.fixture
def train_on(images_dir, tmp_path, hub_client):
    """Train with the same command on a machine, by its name."""

    def run(machine, **settings):
        folder = tmp_path / machine / "run"
        given = {"train_dir": str(images_dir), "output_dir": str(folder), "resume_from_checkpoint": "auto"}
        return train(TOWERS | SETTINGS, **(given | PUSH | settings))

    return run


@pytest.fixture
def vanish(train_on, monkeypatch, tmp_path):
    """Train on a machine that vanishes before the results are written, and return the checkpoints on the Hub."""

    def run(**settings):
        def end(*args, **kwargs):
            raise VanishedError

        with monkeypatch.context() as patch:
            patch.setattr(run_module.MgVtcTrainer, "predict", end)
            with pytest.raises(VanishedError):
                train_on("first", **settings)
        shutil.rmtree(tmp_path / "first")

    return run


def list_folders(hub):
    return {name.split("/")[0] for name in hub.files(REPO) if "/" in name}


def test_empty_machine_goes_on_from_the_checkpoint_and_ends_with_the_weights_of_an_undisturbed_run(
    train_on, vanish, hub_client, images_dir, tmp_path, capsys
):
    weights = (train_on("undisturbed", **dict.fromkeys(PUSH)) / "model.safetensors").read_bytes()
    vanish()
    files = hub_client.files(REPO)
    on_hub = {name: content for name, content in files.items() if name.startswith("last-checkpoint/")}
    listed = json.loads(on_hub["last-checkpoint/manifest.json"])["files"]
    assert set(on_hub) == {f"last-checkpoint/{name}" for name in (*listed, "manifest.json", "run.json")}
    for name, known in listed.items():
        assert hashlib.sha256(on_hub[f"last-checkpoint/{name}"]).hexdigest() == known["sha256"]
    assert hub_client.repos[REPO].private

    capsys.readouterr()
    folder = train_on("second")
    screen = capsys.readouterr().out
    assert f"{REPO} has a checkpoint of this run, which was downloaded to {folder}" in screen
    assert f"checkpoint-{3 * STEPS_OF_EPOCH}, after step {3 * STEPS_OF_EPOCH}" in screen
    assert (folder / "model.safetensors").read_bytes() == weights
    assert find_damage(folder) == []
    assert "split_by" in json.loads((folder / "split.json").read_text())
    assert not list(folder.glob("*.part"))


def test_finished_model_replaces_the_checkpoints(train_on, hub_client):
    train_on("first")
    assert not {"last-checkpoint", "best-checkpoint"} & list_folders(hub_client)
    assert "model.safetensors" in hub_client.files(REPO)
    messages = list(hub_client.repos[REPO].messages.values())
    assert "Training in progress, checkpoint-6" in messages
    assert messages[-1] == "End of training"


def test_best_checkpoint_goes_with_the_last_one(train_on, vanish, hub_client, monkeypatch):
    settings = {"learning_rate": 0.0, "linear_probe_epochs": 0}  # all epochs are equal, so the first one is the best
    vanish(**settings)
    assert {"last-checkpoint", "best-checkpoint"} <= list_folders(hub_client)
    state = json.loads(hub_client.files(REPO)["last-checkpoint/trainer_state.json"])
    assert state["best_global_step"] == STEPS_OF_EPOCH
    assert json.loads(hub_client.files(REPO)["last-checkpoint/run.json"])["best"] == f"checkpoint-{STEPS_OF_EPOCH}"
    folder = train_on("second", **settings)
    assert json.loads((folder / "all_results.json").read_text())["best_step"] == STEPS_OF_EPOCH


def test_what_names_people_or_places_stays_on_the_machine(vanish, hub_client, images_dir):
    vanish()
    run = hub_client.files(REPO)["last-checkpoint/run.json"].decode()
    assert str(images_dir) not in run
    assert ".png" not in run
    assert not [name for name in hub_client.files(REPO) if name.endswith(("split.json", "training_args.bin"))]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "trainer_state.json", "manifest.json"])
def test_damaged_checkpoint_of_the_hub_is_named_and_not_resumed_from(name, vanish, train_on, hub_client, tmp_path):
    vanish()
    repo = hub_client.repos[REPO]
    tree = dict(repo.commits[repo.branches["main"]])
    content = hub_client.content(tree[f"last-checkpoint/{name}"])
    tree[f"last-checkpoint/{name}"] = File(content[: len(content) // 2])
    repo.commit("main", tree, "damage")
    with pytest.raises(ValueError, match=rf"checkpoint in org/model is damaged: last-checkpoint/{name} is damaged"):
        train_on("second")
    assert not (tmp_path / "second" / "run" / "checkpoint-18").exists()


def test_damaged_description_of_a_run_is_named(vanish, train_on, hub_client):
    vanish()
    repo = hub_client.repos[REPO]
    tree = dict(repo.commits[repo.branches["main"]])
    repo.commit("main", tree | {"last-checkpoint/run.json": File(b'{"last": "../../x"}')}, "damage")
    with pytest.raises(ValueError, match=r"last-checkpoint/run\.json of org/model is damaged"):
        train_on("second")


def test_checkpoint_of_other_settings_is_refused_before_anything_is_written(vanish, train_on, tmp_path):
    vanish()
    with pytest.raises(ValueError, match=r"began with loss_type 'js', now it is 'ce'.*last-checkpoint/run.json of"):
        train_on("second", loss_type="ce")
    assert not (tmp_path / "second" / "run").exists()


def test_checkpoint_of_other_images_is_refused(vanish, train_on, images_dir, tmp_path):
    vanish()
    fewer = shutil.copytree(images_dir, tmp_path / "fewer")
    next(fewer.rglob("*.png")).unlink()
    with pytest.raises(ValueError, match=r"The rows differ from those in .*split\.json"):
        train_on("second", train_dir=str(fewer))


def test_upload_that_fails_is_a_warning_and_the_run_goes_on(train_on, hub_client, monkeypatch):
    hub_client.break_off = "commit"
    with (
        pytest.warns(UserWarning, match=r"checkpoint-\d+ could not be uploaded: The connection to the Hub .*goes on"),
        pytest.raises(OSError, match="The connection to the Hub"),  # the final push, of a run that is whole
    ):
        train_on("first")


def test_training_does_not_wait_for_an_upload_and_keeps_the_files_that_it_reads(hub_client, tmp_path):
    prepare_repo(REPO, private=True)
    hub_client.break_off = "upload"  # which the Hub reads half of, and then waits
    first, second, third = (tmp_path / f"checkpoint-{step}" for step in (1, 2, 3))
    for checkpoint in (first, second, third):
        checkpoint.mkdir()
        (checkpoint / "model.safetensors").write_bytes(checkpoint.name.encode() * 1000)
    uploader = CheckpointUploader(REPO)
    uploader.push(first, None)
    assert hub_client.half_way.wait(300)
    uploader.push(second, None)  # given up for the next one
    uploader.push(third, first)
    assert uploader.list_needed() == {"checkpoint-1", "checkpoint-3"}
    hub_client.break_off = None
    hub_client.stop.set()
    uploader.wait()
    assert uploader.list_needed() == set()
    assert all("checkpoint-1 could" in fault for fault in uploader.collect_faults())  # unless the client tried again
    assert hub_client.files(REPO)["last-checkpoint/model.safetensors"] == b"checkpoint-3" * 1000
    assert hub_client.files(REPO)["best-checkpoint/model.safetensors"] == b"checkpoint-1" * 1000


class SendSignal(TrainerCallback):
    """Send this process SIGTERM after a step."""

    def __init__(self, step):
        self._step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self._step:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)


def test_signal_waits_until_its_checkpoint_has_left_the_machine(hub_client, make_trainer):
    trainer = make_trainer(train=make_rows(32), **PUSH, max_steps=12, num_train_epochs=3)
    trainer.add_callback(SendSignal(2))
    with pytest.raises(Interrupted, match="after step 3"), watching_signals(), deferring_signals(trainer):
        trainer.train()
    assert json.loads(hub_client.files(REPO)["last-checkpoint/trainer_state.json"])["global_step"] == 3


@pytest.mark.slow
def test_run_that_fails_ends_after_its_upload_and_says_so(hub, images_dir, tmp_path):
    images, screen = shutil.copytree(images_dir, tmp_path / "images"), tmp_path / "screen.txt"
    settings = TOWERS | SETTINGS | PUSH | {"num_train_epochs": 500, "cache_images": False, "report_to": "none"}
    where = ["--train_dir", str(images), "--output_dir", str(tmp_path / "run")]
    hub.break_off = "pause"
    with screen.open("w") as file:
        run = subprocess.Popen(
            [sys.executable, "-m", "mg_vtc", "train", *flags_of(settings), *where],
            env=client_environment(os.environ | {"OMP_NUM_THREADS": "1"}, hub, tmp_path / "home"),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        while not hub.half_way.wait(0.1):
            assert run.poll() is None, screen.read_text()
        shutil.rmtree(images)
        while "to org/model goes on: the program ends after it" not in screen.read_text():
            assert run.poll() is None, screen.read_text()
            time.sleep(0.1)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(3)
        hub.break_off = None
        hub.stop.set()
        assert run.wait(60) == 1
    finally:
        run.kill()
    files = hub.files(REPO)
    listed = json.loads(files["last-checkpoint/manifest.json"])["files"]
    for name, known in listed.items():
        assert hashlib.sha256(files[f"last-checkpoint/{name}"]).hexdigest() == known["sha256"]
    lines = [line for line in screen.read_text().splitlines() if "%|" not in line]  # bars of the upload may end last
    assert "cannot be decoded" in lines[-1]


def test_public_repository_gets_no_checkpoint_unless_it_shall(train_on, hub_client):
    hub_client.repos[REPO] = Repo()
    hub_client.repos[REPO].commit("main", {}, "mine")
    with pytest.raises(ValueError, match="already exists and is public, so nothing was pushed"):
        train_on("first")
    assert hub_client.files(REPO) == {}
    train_on("first", hub_private_repo=False)
    assert "model.safetensors" in hub_client.files(REPO)


def test_new_run_does_not_replace_the_checkpoints_of_an_unfinished_one(train_on, vanish, hub_client):
    vanish()
    before = hub_client.files(REPO)
    with pytest.raises(ValueError, match=f"{REPO} has the checkpoints of an unfinished run"):
        train_on("second", resume_from_checkpoint=None)
    assert hub_client.files(REPO) == before
    train_on("second", resume_from_checkpoint=None, overwrite=True)
    assert "model.safetensors" in hub_client.files(REPO)


def test_download_that_breaks_off_leaves_no_older_checkpoint_to_resume_from(
    train_on, vanish, hub_client, monkeypatch, tmp_path
):
    settings = {"learning_rate": 0.0, "linear_probe_epochs": 0}  # all epochs are equal, so the first one is the best
    vanish(**settings)
    download = checkpoints.snapshot_download

    def break_off(*args, **kwargs):
        if kwargs["allow_patterns"].startswith("last"):
            raise OSError("the network is gone")
        return download(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "snapshot_download", break_off)
        with pytest.raises(OSError, match="the network is gone"):
            train_on("second", **settings)
    assert list_checkpoints(tmp_path / "second" / "run") == []
