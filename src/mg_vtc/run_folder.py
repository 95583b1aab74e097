"""The folder of a run: what it may not overwrite, where it goes on, and the files beside the model."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from transformers.trainer import TRAINER_STATE_NAME

RECIPE, SPLIT, RESULTS = "recipe.yaml", "split.json", "all_results.json"
# Settings with which a run may go on that began with others.
MAY_CHANGE = (
    *("num_train_epochs", "max_steps", "early_stopping_patience", "output_dir", "report_to", "save_total_limit"),
    *(
        "dataloader_num_workers",
        "decode_once",
        "disable_tqdm",
        "push_to_hub",
        "hub_model_id",
        "hub_private_repo",
        "hub_revision",
        "per_device_eval_batch_size",
    ),
)
REPORT_FILES = ("report/results.json", "report/report.html")  # where `mg-vtc evaluate` writes unless told otherwise
CARD, PROVENANCE, CONFUSION, SAMPLES = "README.md", "provenance.json", "figures/confusion.png", "samples"
PART_RESULTS = ("results/test.json", "results/validation.json")  # test pictures chose nothing, so they come first
PAGE_FILES = (CARD, PROVENANCE, CONFUSION, *PART_RESULTS, f"{SAMPLES}/drawn-*.png")  # what the model's page is made of
MODEL_FILES = ("*config.json", "tokenizer.json", "trainer_state.json", "model*.safetensors*", "training_args.bin")


def check_run_folder(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Make sure that a run in this folder would lose nothing; to be called before anything slow.

    Args:
        folder: Folder of the run.
        overwrite: Whether to start anew in a folder that holds something.
        resume: Whether to go on with the run in the folder.

    Raises:
        ValueError: The folder is not empty, and neither `overwrite` nor `resume` was asked for, or both were.
    """
    if overwrite and resume:
        raise ValueError("overwrite_output_dir and resume_from_checkpoint exclude each other; give one.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / RECIPE).exists():
        raise ValueError(f"output_dir {folder} is not empty, and not the folder of a run: choose another folder.")
    if not (overwrite or resume):
        state = "a finished run" if (folder / RESULTS).exists() else "a run that was not finished"
        raise ValueError(
            f"output_dir {folder} holds {state}: choose another folder, go on with its run "
            "(--resume_from_checkpoint true) or replace it (--overwrite_output_dir)."
        )


def clear_run_folder(folder: Path) -> None:
    """Delete what an earlier run left in its folder: some of it would be taken for the new run's."""
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    for pattern in (RESULTS, RECIPE, SPLIT, *REPORT_FILES, *PAGE_FILES, *MODEL_FILES):
        for path in folder.glob(pattern):
            path.unlink()


def find_checkpoint(folder: Path, resume_from: str) -> str:
    """The checkpoint to go on from: the one that is named or, for "true", the last complete one of the run.

    A checkpoint that was being written when the process died lacks `trainer_state.json`, which is written last.

    Raises:
        FileNotFoundError: There is no such checkpoint.
    """
    if resume_from.lower() != "true":
        if not _is_complete(Path(resume_from)) or Path(resume_from).resolve().parent != folder.resolve():
            raise FileNotFoundError(
                f"resume_from_checkpoint {resume_from} is no complete checkpoint of the run in output_dir {folder}."
            )
        return resume_from
    complete = _complete_checkpoints(folder)
    if not complete:
        raise FileNotFoundError(
            f"There is no complete checkpoint in {folder} to go on from: start anew (--overwrite_output_dir)."
        )
    return str(max(complete, key=lambda checkpoint: int(checkpoint.name.removeprefix("checkpoint-"))))


def has_checkpoint(folder: Path) -> bool:
    """Whether the run in the folder, which may not exist, can go on."""
    return bool(_complete_checkpoints(folder))


def check_processes(checkpoint: Path, world_size: int) -> None:
    """Make sure that as many processes go on as began: each knows its own rows and its own random numbers.

    Raises:
        ValueError: They are more or fewer.
    """
    begun = len(list(checkpoint.glob("rng_state_*.pth"))) or 1
    if begun != world_size:
        raise ValueError(
            f"The run began with {begun} process{'es' if begun > 1 else ''}, now there are {world_size}: a run goes "
            "on with as many, as its batches would be others."
        )


def write_split(folder: Path, split: dict[str, Any], *, resume: bool) -> None:
    """Write `split.json`: how the rows were split, and the ids of the parts in the order of their row numbers.

    Args:
        folder: Folder of the run.
        split: As in `RunData`.
        resume: Whether the run goes on: its rows must then be those that it began with.

    Raises:
        ValueError: The rows of a resumed run are other ones.
    """
    path = folder / SPLIT
    if resume and path.exists() and json.loads(path.read_text(encoding="utf-8")) != split:
        raise ValueError(
            f"The rows differ from those in {path} with which the run began, so going on would mix validation and "
            "training rows: use the same data, split and seed, or start another run."
        )
    path.write_text(json.dumps(split, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_recipe(folder: Path, settings: dict[str, Any], *, resume: bool) -> None:
    """Write `recipe.yaml`, which repeats the run: what the recipe and the flags set, merged.

    How a run was started (anew, resumed) is no part of it, and a token never reaches it.

    Args:
        folder: Folder of the run.
        settings: Settings by name.
        resume: Whether the run goes on: what decides its outcome must then be as it began, but for its length.

    Raises:
        ValueError: A setting of a resumed run is another one.
    """
    kept = _kept(settings)
    if resume:
        check_settings(folder, settings)
    (folder / RECIPE).write_text(yaml.safe_dump(kept, sort_keys=True, allow_unicode=True), encoding="utf-8")


def check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Make sure that a run goes on as it began, but for what `MAY_CHANGE`.

    Args:
        folder: Folder of the run.
        settings: Settings by name, with which it is to go on.

    Raises:
        ValueError: A setting that decides the outcome is another one.
    """
    path, kept = folder / RECIPE, _kept(settings)
    begun = yaml.safe_load(path.read_text(encoding="utf-8"))
    may_change = set(MAY_CHANGE) - ({"dataloader_num_workers"} if kept.get("streaming") else set())
    for key in sorted((begun.keys() | kept.keys()) - may_change):
        if begun.get(key) != kept.get(key):
            raise ValueError(
                f"The run began with {key} {begun.get(key)!r}, now it is {kept.get(key)!r}: a run goes on with "
                f"the settings in {path}; start another one for others."
            )


def _kept(settings: dict[str, Any]) -> dict[str, Any]:
    """What of the settings stands in `recipe.yaml`."""
    left_out = ("overwrite_output_dir", "resume_from_checkpoint", "hub_token")
    return {key: value for key, value in settings.items() if key not in left_out and value is not None}


def _complete_checkpoints(folder: Path) -> list[Path]:
    return [checkpoint for checkpoint in folder.glob("checkpoint-*") if _is_complete(checkpoint)]


def _is_complete(checkpoint: Path) -> bool:
    """Whether the file that is written last is there, and whole."""
    try:
        json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return True
