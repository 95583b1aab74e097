"""The folder of a run: nothing is lost, nothing is taken for what it is not."""

import json

import pytest
import torch
import yaml
from safetensors.torch import save_file

from mg_vtc.runs.checkpoints import check_checkpoint, find_checkpoint, remove_old_checkpoints
from mg_vtc.runs.directory import begin_run, check_run_folder, clear_run_folder, read_record

STATE_FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")


def make_checkpoint(folder, step, complete=True, state="{}"):
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    for name in STATE_FILES:
        if name == "model.safetensors":
            save_file({"weight": torch.zeros(1)}, checkpoint / name)
        else:
            torch.save({}, checkpoint / name)
    if complete:
        (checkpoint / "trainer_state.json").write_text(state)
    return checkpoint


def begin(folder, settings, split=None, *, overwrite=False, resume=False):
    begin_run(folder, settings, split or {"split_by": "frame"}, overwrite=overwrite, resume=resume)


def test_empty_and_missing_folders_are_open_to_a_run(tmp_path):
    check_run_folder(tmp_path, overwrite=False, resume=False)
    check_run_folder(tmp_path / "new", overwrite=False, resume=False)


@pytest.mark.parametrize(
    ("files", "state"),
    [(["recipe.yaml"], "an unfinished run"), (["recipe.yaml", "all_results.json", "README.md"], "a finished run")],
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
        "results.csv",
        "split.json",
        "recipe.yaml",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ):
        (tmp_path / name).write_text("{}")
    for name in ("report", "results", "figures", "samples"):
        (tmp_path / name).mkdir()
    for name in (
        "results/test.json",
        "figures/confusion.png",
        "figures/training_curves.png",
        "samples/drawn-head-up.png",
        "README.md",
        "train_batch.jpg",
    ):
        (tmp_path / name).write_text("")
    for name in ("figures/mine.png", "samples/mine.png"):
        (tmp_path / name).write_text("")
    for name in ("my_config.json", "analysis.py", "model_of_mine.safetensors"):
        (tmp_path / name).write_text("")
    for name in ("thesis.tex", "notes.json", "report/notes.txt", "report/report.html", "report/results.json"):
        (tmp_path / name).write_text("")
    clear_run_folder(tmp_path)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == [
        *("analysis.py", "figures/mine.png", "model_of_mine.safetensors", "my_config.json", "notes.json"),
        *("recipe.yaml", "report/notes.txt", "samples/mine.png", "thesis.tex"),
    ]


@pytest.fixture
def beside_checkpoints(tmp_path):
    """What a user may keep beside the checkpoints of a run: a copy, notes, and a link to another disk."""
    elsewhere = make_checkpoint(tmp_path / "elsewhere", 7)
    folder = tmp_path / "run"
    make_checkpoint(folder, 3)
    (folder / "checkpoint-best").mkdir()
    (folder / "checkpoint-9-copy").mkdir()
    (folder / "checkpoint-notes.txt").write_text("mine")
    (folder / "checkpoint-7").symlink_to(elsewhere)
    return folder


def test_what_is_not_a_checkpoint_of_the_run_is_neither_resumed_nor_deleted(beside_checkpoints):
    kept = {"checkpoint-best", "checkpoint-9-copy", "checkpoint-notes.txt", "checkpoint-7"}
    assert find_checkpoint(beside_checkpoints, "true") == str(beside_checkpoints / "checkpoint-3")
    make_checkpoint(beside_checkpoints, 5)
    remove_old_checkpoints(beside_checkpoints, 1, best_step=None, last_step=5)
    assert {path.name for path in beside_checkpoints.iterdir()} == kept | {"checkpoint-5"}
    clear_run_folder(beside_checkpoints)
    assert {path.name for path in beside_checkpoints.iterdir()} == kept


@pytest.mark.parametrize(("keep", "left"), [(None, {1, 2, 10}), (0, {1, 2, 10}), (1, {1, 10}), (2, {1, 2, 10})])
def test_the_last_checkpoints_and_the_best_one_stay(keep, left, tmp_path):
    for step in (1, 2, 10):
        make_checkpoint(tmp_path, step)
    remove_old_checkpoints(tmp_path, keep, best_step=1, last_step=10)
    assert {path.name for path in tmp_path.iterdir()} == {f"checkpoint-{step}" for step in left}


@pytest.mark.parametrize("name", STATE_FILES)
def test_checkpoint_without_a_part_of_its_state_is_refused_by_name(name, tmp_path):
    checkpoint = make_checkpoint(tmp_path, 3)
    check_checkpoint(checkpoint, 1, needs_best=True)
    (checkpoint / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {name}"):
        check_checkpoint(checkpoint, 1, needs_best=True)


def test_best_checkpoint_is_looked_for_beside_the_last_one_and_missed(tmp_path):
    state = json.dumps({"best_global_step": 3, "best_model_checkpoint": "/nowhere/checkpoint-3"})
    checkpoint = make_checkpoint(tmp_path, 5, state=state)
    with pytest.raises(FileNotFoundError, match="checkpoint-3, is not beside"):
        check_checkpoint(checkpoint, 1, needs_best=True)
    check_checkpoint(checkpoint, 1, needs_best=False)
    make_checkpoint(tmp_path, 3)
    check_checkpoint(checkpoint, 1, needs_best=True)


@pytest.mark.parametrize("content", ["", '{"train": [', "[1, 2]", "\x00"])
def test_damaged_record_is_refused_by_name(content, tmp_path):
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(ValueError, match=r"split\.json is damaged"):
        read_record(tmp_path / "split.json")


def test_damaged_state_of_the_only_checkpoint_is_named(tmp_path):
    make_checkpoint(tmp_path, 3, state='{"epoch": 1')
    with pytest.raises(FileNotFoundError, match=r"checkpoint-3/trainer_state\.json is damaged"):
        find_checkpoint(tmp_path, "true")


@pytest.mark.parametrize("left", [["split.json"], ["recipe.yaml.part"], ["split.json", "recipe.yaml.part"]])
def test_start_that_was_broken_off_may_be_repeated(left, tmp_path):
    for name in left:
        (tmp_path / name).write_text("{")
    check_run_folder(tmp_path, overwrite=False, resume=False)
    begin(tmp_path, {"loss_type": "kl"})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {*left, "recipe.yaml", "split.json"} - {"recipe.yaml.part"}
    )


def test_earlier_run_stays_where_the_new_one_cannot_be_written_down(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "recipe.yaml").write_text("loss_type: kl\n")
    with pytest.raises(ValueError, match=r"cannot be saved in recipe\.yaml"):
        begin(tmp_path, {"loss_type": object()}, overwrite=True)
    assert (tmp_path / "model.safetensors").read_bytes() == b"weights"
    assert (tmp_path / "recipe.yaml").read_text() == "loss_type: kl\n"
    begin(tmp_path, {"loss_type": "ce"}, overwrite=True)
    assert not (tmp_path / "model.safetensors").exists()


def test_run_becomes_no_shorter(tmp_path):
    begin(tmp_path, {"num_train_epochs": 4})
    for shorter in ({"num_train_epochs": 1}, {"num_train_epochs": 4, "max_steps": 2}):
        with pytest.raises(ValueError, match="began with num_train_epochs 4, now"):
            begin(tmp_path, shorter, resume=True)
    assert (tmp_path / "recipe.yaml").read_text() == "num_train_epochs: 4\n"


def test_recipe_of_an_extended_run_says_that_it_does_not_repeat_it(tmp_path):
    begin(tmp_path, {"num_train_epochs": 4})
    for longer in (6, 8):
        with pytest.warns(UserWarning, match=f"extended to {longer}.* longer schedule"):
            begin(tmp_path, {"num_train_epochs": longer}, resume=True)
    begin(tmp_path, {"num_train_epochs": 8}, resume=True)
    assert (tmp_path / "recipe.yaml").read_text().splitlines() == [
        "# Begun with num_train_epochs 4 and extended to 6: this recipe does not repeat the run.",
        "# Begun with num_train_epochs 6 and extended to 8: this recipe does not repeat the run.",
        "num_train_epochs: 8",
    ]


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
    with pytest.raises(FileNotFoundError, match="is not a complete checkpoint"):
        find_checkpoint(tmp_path, str(incomplete))


def test_folder_without_checkpoints_cannot_be_resumed(tmp_path):
    with pytest.raises(FileNotFoundError, match="no complete checkpoint"):
        find_checkpoint(tmp_path, "true")


def test_split_names_the_rows_of_both_parts_in_their_order(tmp_path):
    split = {"split_by": "frame", "seed": 3, "train": ["b", "a"], "validation": ["c"]}
    begin(tmp_path, {}, split)
    assert json.loads((tmp_path / "split.json").read_text()) == split


def test_resuming_with_other_rows_is_refused(tmp_path):
    split = {"split_by": "frame", "seed": 3, "train": ["a", "b"], "validation": ["c"]}
    begin(tmp_path, {}, split)
    begin(tmp_path, {}, split, resume=True)
    with pytest.raises(ValueError, match="mix validation and training rows"):
        begin(tmp_path, {}, split | {"train": ["a", "c"], "validation": ["b"]}, resume=True)


def test_recipe_keeps_what_repeats_the_run_and_no_token(tmp_path):
    settings = {"loss_type": "kl", "hub_token": "secret", "overwrite": True, "text_config": None}
    begin(tmp_path, settings)
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text()) == {"loss_type": "kl"}


def test_run_goes_on_longer_but_not_otherwise(tmp_path):
    begin(tmp_path, {"loss_type": "kl", "num_train_epochs": 2})
    before = (tmp_path / "recipe.yaml").read_text()
    with pytest.raises(ValueError, match="began with loss_type 'kl', now it is 'ce'"):
        begin(tmp_path, {"loss_type": "ce", "num_train_epochs": 2}, resume=True)
    with pytest.raises(ValueError, match="began with random_shift None, now it is 4"):
        begin(tmp_path, {"loss_type": "kl", "num_train_epochs": 2, "random_shift": 4}, resume=True)
    assert (tmp_path / "recipe.yaml").read_text() == before
    with pytest.warns(UserWarning, match="extended to 3"):
        begin(tmp_path, {"loss_type": "kl", "num_train_epochs": 3}, resume=True)
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text())["num_train_epochs"] == 3


def test_checkpoint_of_another_run_is_refused(tmp_path):
    other = make_checkpoint(tmp_path / "other", 20)
    with pytest.raises(FileNotFoundError, match="is not a complete checkpoint of the run in output_dir"):
        find_checkpoint(tmp_path / "run", str(other))


@pytest.mark.parametrize(("begun", "now"), [(1, 2), (2, 1), (2, 3)])
def test_run_goes_on_with_as_many_processes_as_it_had(tmp_path, begun, now):
    checkpoint = make_checkpoint(tmp_path, 3)
    for rank in range(begun) if begun > 1 else ():
        torch.save({}, checkpoint / f"rng_state_{rank}.pth")
    check_checkpoint(checkpoint, begun, needs_best=True)
    with pytest.raises(ValueError, match=f"began with {begun} process.*, now there are {now}"):
        check_checkpoint(checkpoint, now, needs_best=True)


def test_stream_goes_on_with_as_many_workers_as_it_had(tmp_path):
    begun = {"streaming": True, "dataloader_num_workers": 2}
    begin(tmp_path, begun)
    with pytest.raises(ValueError, match="began with dataloader_num_workers 2, now it is 1"):
        begin(tmp_path, begun | {"dataloader_num_workers": 1}, resume=True)
    begin(tmp_path, {"dataloader_num_workers": 2})
    begin(tmp_path, {"dataloader_num_workers": 1}, resume=True)


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth", "model.safetensors"])
def test_truncated_state_is_refused_before_anything_is_written(name, tmp_path):
    checkpoint = make_checkpoint(tmp_path, 3)
    whole = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"cannot be resumed from: {name} is damaged"):
        check_checkpoint(checkpoint, 1, needs_best=False)


def test_report_and_export_of_an_overwritten_run_are_deleted(tmp_path):
    begin(tmp_path, {"seed": 0})
    derived = ("report/results.json", "report/predictions.parquet", "onnx/classifier.onnx")
    for name in (*derived, "onnx/mine.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    begin(tmp_path, {"seed": 1}, overwrite=True)
    assert not [name for name in derived if (tmp_path / name).exists()]
    assert (tmp_path / "onnx" / "mine.txt").exists()


def test_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "image.jpg").touch()
    with pytest.raises(ValueError, match=r"image\.jpg is a file: choose a folder"):
        check_run_folder(tmp_path / "image.jpg", overwrite=False, resume=False)
