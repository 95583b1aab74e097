"""Checkpoints: written whole or not at all, and the newest whole one is resumed from."""

import json
import os
import shutil

import pytest
import torch
from damage import DAMAGES, flip_bit
from safetensors.torch import save_file

from mg_vtc.runs.checkpoints import (
    find_checkpoint,
    finish_checkpoint,
    remove_old_checkpoints,
    removing_unfinished,
    stage_checkpoint,
)
from mg_vtc.runs.manifest import find_damage

STATES = ("optimizer.pt", "scheduler.pt", "rng_state.pth")


def make_checkpoint(folder, step, **state):
    """Write a checkpoint as the trainer does."""
    staged = stage_checkpoint(folder, step)
    staged.mkdir(parents=True)
    save_file({"weight": torch.full((2,), float(step))}, staged / "model.safetensors")
    for name in STATES:
        torch.save({"step": step}, staged / name)
    (staged / "trainer_state.json").write_text(json.dumps({"global_step": step} | state))
    finish_checkpoint(staged)
    return folder / f"checkpoint-{step}"


def save_without_space(folder):
    stage_checkpoint(folder, 9).mkdir(parents=True)
    raise OSError("No space left on device")


@pytest.mark.parametrize("name", ["model.safetensors", "trainer_state.json", *STATES])
@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_checkpoint_is_named_and_the_newest_whole_one_is_taken(kind, name, tmp_path):
    for step in (3, 6, 9):
        make_checkpoint(tmp_path, step)
    damaged = tmp_path / "checkpoint-9"
    DAMAGES[kind][0](damaged / name)
    with pytest.warns(UserWarning, match=r"Resuming from .*checkpoint-6 instead") as warned:
        assert find_checkpoint(tmp_path, "true") == str(tmp_path / "checkpoint-6")
    assert str(warned[0].message).startswith(f"{damaged / name} ")
    with pytest.raises((ValueError, FileNotFoundError), match="checkpoint-9"):
        find_checkpoint(tmp_path, str(damaged))


@pytest.mark.parametrize("name", ["model.safetensors", "trainer_state.json", "manifest.json", *STATES])
def test_file_of_another_step_is_found(name, tmp_path):
    first, second = make_checkpoint(tmp_path, 3), make_checkpoint(tmp_path, 6)
    shutil.copyfile(first / name, second / name)
    with pytest.warns(UserWarning, match=r"checkpoint-6/.* its SHA-256 is not that in manifest\.json"):
        assert find_checkpoint(tmp_path, "true") == str(first)


def test_where_none_is_whole_each_damaged_file_is_named_with_the_way_out(tmp_path):
    flip_bit(make_checkpoint(tmp_path, 3) / "optimizer.pt")
    (make_checkpoint(tmp_path, 6) / "scheduler.pt").unlink()
    with pytest.raises(FileNotFoundError, match="copy the damaged files back, or start again") as refused:
        find_checkpoint(tmp_path, "true")
    assert "checkpoint-3/optimizer.pt is damaged" in str(refused.value)
    assert "checkpoint-6/scheduler.pt is missing" in str(refused.value)


def test_run_that_ends_with_its_best_checkpoint_goes_back_to_before_that_was_damaged(tmp_path):
    make_checkpoint(tmp_path, 3, best_global_step=3)
    best = make_checkpoint(tmp_path, 6, best_global_step=6)
    last = make_checkpoint(tmp_path, 9, best_global_step=6)
    flip_bit(best / "model.safetensors")
    assert find_checkpoint(tmp_path, "true") == str(last)
    with pytest.warns(UserWarning, match=r"checkpoint-6/model\.safetensors"):
        assert find_checkpoint(tmp_path, "true", needs_best=True) == str(tmp_path / "checkpoint-3")


def test_checkpoint_of_an_earlier_revision_is_whole_if_its_files_open(tmp_path):
    make_checkpoint(tmp_path, 3)
    newest = make_checkpoint(tmp_path, 6)
    (newest / "manifest.json").unlink()
    assert find_checkpoint(tmp_path, "true") == str(newest)
    (newest / "optimizer.pt").write_bytes(b"PK")
    with pytest.warns(UserWarning, match=r"checkpoint-6/optimizer\.pt is damaged"):
        assert find_checkpoint(tmp_path, "true") == str(tmp_path / "checkpoint-3")


def test_checkpoint_replaces_one_of_the_same_step(tmp_path):
    (make_checkpoint(tmp_path, 3) / "left.txt").touch()
    checkpoint = make_checkpoint(tmp_path, 3, again=True)
    assert find_damage(checkpoint) == []
    assert not (checkpoint / "left.txt").exists()
    assert os.listdir(tmp_path) == ["checkpoint-3"]


def test_error_while_a_checkpoint_is_written_leaves_nothing_of_it(tmp_path):
    make_checkpoint(tmp_path, 3)
    with pytest.raises(OSError, match="No space left"), removing_unfinished(tmp_path):
        save_without_space(tmp_path)
    assert os.listdir(tmp_path) == ["checkpoint-3"]


def test_leftovers_of_a_kill_are_removed_and_nothing_of_the_users(tmp_path):
    stage_checkpoint(tmp_path, 6).mkdir(parents=True)
    for name in ("checkpoint-best.part", "checkpoint-6-copy.part"):
        (tmp_path / name).mkdir()
    with removing_unfinished(tmp_path):
        assert sorted(os.listdir(tmp_path)) == ["checkpoint-6-copy.part", "checkpoint-best.part"]


@pytest.mark.parametrize("times", [(9, 9, 9), (9, 6, 3)])
def test_rotation_and_resumption_go_by_the_steps_whatever_the_times_of_the_folders(times, tmp_path):
    for step, seconds in zip((3, 6, 9), times, strict=True):
        os.utime(make_checkpoint(tmp_path, step), (seconds, seconds))
    assert find_checkpoint(tmp_path, "true") == str(tmp_path / "checkpoint-9")
    remove_old_checkpoints(tmp_path, 1, best_step=None, last_step=9)
    assert os.listdir(tmp_path) == ["checkpoint-9"]


def test_later_checkpoint_that_was_passed_over_is_not_kept_in_place_of_the_one_just_written(tmp_path):
    for step in (3, 6, 9):
        make_checkpoint(tmp_path, step)
    flip_bit(tmp_path / "checkpoint-9" / "optimizer.pt")
    remove_old_checkpoints(tmp_path, 1, best_step=None, last_step=6)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-6", "checkpoint-9"]
