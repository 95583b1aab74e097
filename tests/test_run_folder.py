"""The folder of a run: nothing is lost, nothing is taken for what it is not."""

import json

import pytest
import yaml

from mg_vtc.run_folder import (
    check_processes,
    check_run_folder,
    clear_run_folder,
    find_checkpoint,
    write_recipe,
    write_split,
)


def make_checkpoint(folder, step, complete=True):
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    if complete:
        (checkpoint / "trainer_state.json").write_text("{}")
    return checkpoint


def test_empty_and_missing_folders_are_open_to_a_run(tmp_path):
    check_run_folder(tmp_path, overwrite=False, resume=False)
    check_run_folder(tmp_path / "new", overwrite=False, resume=False)


@pytest.mark.parametrize(
    ("files", "state"), [(["recipe.yaml"], "not finished"), (["recipe.yaml", "all_results.json"], "a finished run")]
)
def test_folder_with_a_run_is_refused_unless_told(tmp_path, files, state):
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=state):
        check_run_folder(tmp_path, overwrite=False, resume=False)
    check_run_folder(tmp_path, overwrite=True, resume=False)
    check_run_folder(tmp_path, overwrite=False, resume=True)


@pytest.mark.parametrize("told", [{"overwrite": True, "resume": False}, {"overwrite": False, "resume": False}])
def test_folder_of_something_else_is_refused_always(tmp_path, told):
    (tmp_path / "checkpoint-of-my-thesis").mkdir()
    with pytest.raises(ValueError, match="not the folder of a run"):
        check_run_folder(tmp_path, **told)


def test_overwriting_and_resuming_exclude_each_other(tmp_path):
    with pytest.raises(ValueError, match="exclude each other"):
        check_run_folder(tmp_path, overwrite=True, resume=True)


def test_clearing_deletes_what_a_run_writes_and_nothing_else(tmp_path):
    make_checkpoint(tmp_path, 3)
    for name in (
        "all_results.json",
        "split.json",
        "recipe.yaml",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ):
        (tmp_path / name).write_text("{}")
    for name in ("report", "results", "figures", "samples"):
        (tmp_path / name).mkdir()
    for name in ("results/test.json", "figures/confusion.png", "samples/drawn-head-up.png", "README.md"):
        (tmp_path / name).write_text("")
    for name in ("figures/mine.png", "samples/mine.png"):
        (tmp_path / name).write_text("")
    for name in ("thesis.tex", "notes.json", "report/notes.txt", "report/report.html", "report/results.json"):
        (tmp_path / name).write_text("")
    clear_run_folder(tmp_path)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["figures/mine.png", "notes.json", "report/notes.txt", "samples/mine.png", "thesis.tex"]


def test_last_checkpoint_is_that_of_the_highest_step(tmp_path):
    for step in (9, 100, 20):
        make_checkpoint(tmp_path, step)
    assert find_checkpoint(tmp_path, "true") == str(tmp_path / "checkpoint-100")


def test_checkpoint_that_was_not_finished_is_passed_over(tmp_path):
    make_checkpoint(tmp_path, 20)
    make_checkpoint(tmp_path, 40, complete=False)
    assert find_checkpoint(tmp_path, "true") == str(tmp_path / "checkpoint-20")


def test_named_checkpoint_must_be_complete(tmp_path):
    complete, incomplete = make_checkpoint(tmp_path, 20), make_checkpoint(tmp_path, 40, complete=False)
    assert find_checkpoint(tmp_path, str(complete)) == str(complete)
    with pytest.raises(FileNotFoundError, match="no complete checkpoint"):
        find_checkpoint(tmp_path, str(incomplete))


def test_folder_without_checkpoints_can_not_be_resumed(tmp_path):
    with pytest.raises(FileNotFoundError, match="no complete checkpoint"):
        find_checkpoint(tmp_path, "true")


def test_split_names_the_rows_of_both_parts_in_their_order(tmp_path):
    split = {"split_by": "frame", "seed": 3, "train": ["b", "a"], "validation": ["c"]}
    write_split(tmp_path, split, resume=False)
    assert json.loads((tmp_path / "split.json").read_text()) == split


def test_resuming_with_other_rows_is_refused(tmp_path):
    split = {"split_by": "frame", "seed": 3, "train": ["a", "b"], "validation": ["c"]}
    write_split(tmp_path, split, resume=False)
    write_split(tmp_path, split, resume=True)
    with pytest.raises(ValueError, match="mix validation and training rows"):
        write_split(tmp_path, split | {"train": ["a", "c"], "validation": ["b"]}, resume=True)


def test_recipe_keeps_what_repeats_the_run_and_no_token(tmp_path):
    settings = {"loss_type": "kl", "hub_token": "secret", "overwrite_output_dir": True, "text_config": None}
    write_recipe(tmp_path, settings, resume=False)
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text()) == {"loss_type": "kl"}


def test_run_goes_on_longer_but_not_otherwise(tmp_path):
    write_recipe(tmp_path, {"loss_type": "kl", "num_train_epochs": 2}, resume=False)
    before = (tmp_path / "recipe.yaml").read_text()
    with pytest.raises(ValueError, match="began with loss_type 'kl', now it is 'ce'"):
        write_recipe(tmp_path, {"loss_type": "ce", "num_train_epochs": 2}, resume=True)
    with pytest.raises(ValueError, match="began with max_shift None, now it is 4"):
        write_recipe(tmp_path, {"loss_type": "kl", "num_train_epochs": 2, "max_shift": 4}, resume=True)
    assert (tmp_path / "recipe.yaml").read_text() == before
    write_recipe(tmp_path, {"loss_type": "kl", "num_train_epochs": 3}, resume=True)
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text())["num_train_epochs"] == 3


def test_checkpoint_of_another_run_is_refused(tmp_path):
    other = make_checkpoint(tmp_path / "other", 20)
    with pytest.raises(FileNotFoundError, match="no complete checkpoint of the run in output_dir"):
        find_checkpoint(tmp_path / "run", str(other))


@pytest.mark.parametrize(("begun", "now"), [(1, 2), (2, 1), (2, 3)])
def test_run_goes_on_with_as_many_processes_as_it_had(tmp_path, begun, now):
    names = ["rng_state.pth"] if begun == 1 else [f"rng_state_{rank}.pth" for rank in range(begun)]
    for name in names:
        (tmp_path / name).touch()
    check_processes(tmp_path, begun)
    with pytest.raises(ValueError, match=f"began with {begun} process.*, now there are {now}"):
        check_processes(tmp_path, now)


def test_stream_goes_on_with_as_many_workers_as_it_had(tmp_path):
    begun = {"streaming": True, "dataloader_num_workers": 2}
    write_recipe(tmp_path, begun, resume=False)
    with pytest.raises(ValueError, match="began with dataloader_num_workers 2, now it is 1"):
        write_recipe(tmp_path, begun | {"dataloader_num_workers": 1}, resume=True)
    write_recipe(tmp_path, {"dataloader_num_workers": 2}, resume=False)
    write_recipe(tmp_path, {"dataloader_num_workers": 1}, resume=True)
