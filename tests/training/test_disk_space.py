"""A disk that is too small is refused before the training; one that becomes full costs no whole checkpoint."""

import os
import resource
import shutil
import subprocess
import sys

import pytest
import torch
from chaos_runs import TINY, draw_images, flags_of

from mg_vtc import MgVtcTrainingArguments, train
from mg_vtc.runs.manifest import find_damage
from mg_vtc.training.disk_space import DiskFull, check_disk_space, measure_checkpoint, naming_full_disk


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("drawn"))


def make_huge():
    with torch.device("meta"):
        return torch.nn.Linear(2**21, 2**21)  # 17.6 TB of weights


def make_arguments(folder, **settings):
    return MgVtcTrainingArguments(output_dir=str(folder), use_cpu=True, report_to="none", **settings)


def test_training_whose_checkpoints_cannot_fit_is_refused_with_both_sizes(tmp_path):
    with pytest.raises(ValueError, match=r"needs 175\d{3}\.\d GB for 3 checkpoints and the model, but .* GB are free"):
        check_disk_space(make_huge(), make_arguments(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({}, 3),  # weights and two states of Adam
        ({"ema_decay": 0.9}, 4),
        ({"optim": "sgd"}, 1),
        ({"save_only_model": True}, 1),
    ],
)
def test_checkpoint_has_weights_states_and_average(settings, parts, tmp_path):
    model = torch.nn.Linear(4, 4)
    weights, checkpoint = measure_checkpoint(model, make_arguments(tmp_path, **settings))
    assert checkpoint == parts * weights == parts * 80


def test_no_more_space_is_asked_for_than_a_run_takes(images, tmp_path):
    run = train(TINY, train_dir=str(images), output_dir=str(tmp_path / "run"), num_train_epochs=1)
    files = list((run / "checkpoint-5").iterdir())
    from mg_vtc import MgVtcForImageClassification

    model = MgVtcForImageClassification.from_pretrained(run)
    assert measure_checkpoint(model, make_arguments(tmp_path))[1] <= sum(path.stat().st_size for path in files)


def test_error_that_is_not_of_a_full_disk_passes(tmp_path):
    with pytest.raises(RuntimeError, match="another"), naming_full_disk(tmp_path):
        raise RuntimeError("another")
    with pytest.raises(PermissionError), naming_full_disk(tmp_path):
        raise PermissionError(13, "Permission denied")


def limit_files(num_bytes):
    """Limit the size of a file in this process, as a disk without room does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def start_training(images, folder, *flags, limit=None):
    command = [sys.executable, "-m", "mg_vtc", "train", *flags_of(TINY), *flags, "--train_dir", images]
    return subprocess.run(
        [*command, "--output_dir", folder, "--resume_from_checkpoint", "auto"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        preexec_fn=None if limit is None else lambda: limit_files(limit),
    )


@pytest.mark.slow
def test_full_disk_is_named_and_the_last_whole_checkpoint_is_resumed_from(images, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert start_training(images, whole, "--save_total_limit", "3").returncode == 0
    folder.mkdir()
    for name in ("recipe.yaml", "split.json"):
        shutil.copyfile(whole / name, folder / name)
    shutil.copytree(whole / "checkpoint-5", folder / "checkpoint-5")
    limit = (whole / "checkpoint-10" / "optimizer.pt").stat().st_size - 1
    full = start_training(images, folder, limit=limit)
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert f"The disk of {folder} is full, so checkpoint-10/optimizer.pt could not be written" in full.stderr
    assert "(checkpoint-5 is whole)" in full.stderr
    assert "--resume_from_checkpoint auto" in full.stderr
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-5"]
    assert find_damage(folder / "checkpoint-5") == []
    assert start_training(images, folder).returncode == 0
    assert (folder / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 900 kB, which only some machines let a test mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine lets no test mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_small_disk_that_fills_is_named(small_disk, images):
    with pytest.raises(DiskFull, match=r"The disk of .* is full, so checkpoint-\d+/\S+ could not be written"):
        train(TINY, train_dir=str(images), output_dir=str(small_disk / "run"), save_total_limit=3)
    assert all(find_damage(path) == [] for path in (small_disk / "run").glob("checkpoint-*"))


def test_small_disk_is_refused_before_anything_is_written(small_disk, images):
    (small_disk / "other").write_bytes(bytes(800_000))
    with pytest.raises(ValueError, match=r"for 3 checkpoints and the model, but 0\.1 MB are free"):
        train(TINY, train_dir=str(images), output_dir=str(small_disk / "run"))
    assert list((small_disk / "run").iterdir()) == []


def test_read_only_output_folder_is_refused_before_the_images_are_read(small_disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(ValueError, match=r"output_dir .* cannot be written to \(.* is read-only\): choose another"):
        train(TINY, train_dir=str(tmp_path), output_dir=str(small_disk / "run"))
