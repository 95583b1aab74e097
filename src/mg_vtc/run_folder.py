"""The folder of a run: what it may not overwrite, where it goes on, and the files beside the model."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from datasets import DatasetDict
from transformers.trainer import TRAINER_STATE_NAME


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
    if folder.is_dir() and any(folder.iterdir()) and not (overwrite or resume):
        state = "holds a finished run" if (folder / "all_results.json").exists() else "is not empty"
        raise ValueError(
            f"output_dir {folder} {state}: choose another folder, go on with its run "
            "(--resume_from_checkpoint true) or replace it (--overwrite_output_dir)."
        )


def clear_run_folder(folder: Path) -> None:
    """Delete checkpoints and results of an earlier run, which would be taken for those of the new one."""
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    (folder / "all_results.json").unlink(missing_ok=True)


def find_checkpoint(folder: Path, resume_from: str) -> str:
    """The checkpoint to go on from: the one that is named or, for "true", the last complete one of the run.

    A checkpoint that was being written when the process died lacks `trainer_state.json`, which is written last.

    Raises:
        FileNotFoundError: There is no such checkpoint.
    """
    if resume_from.lower() != "true":
        if not (Path(resume_from) / TRAINER_STATE_NAME).is_file():
            raise FileNotFoundError(f"resume_from_checkpoint {resume_from} is no complete checkpoint of a run.")
        return resume_from
    complete = [state.parent for state in folder.glob(f"checkpoint-*/{TRAINER_STATE_NAME}")]
    if not complete:
        raise FileNotFoundError(f"There is no complete checkpoint in {folder} to go on from; start without resuming.")
    return str(max(complete, key=lambda checkpoint: int(checkpoint.name.removeprefix("checkpoint-"))))


def write_split(folder: Path, splits: DatasetDict, *, kind: str, seed: int, resume: bool) -> None:
    """Write `split.json`: how the rows were split, and the ids of both parts in the order of their row numbers.

    Args:
        folder: Folder of the run.
        splits: The parts "train" and "validation", whose rows have a `file_name`.
        kind: "frame" (pictures at random, whatever clip they are of) or "given" (the user's own split).
        seed: Seed of a "frame" split.
        resume: Whether the run goes on: its rows must then be those that it began with.

    Raises:
        ValueError: The rows of a resumed run are other ones.
    """
    path = folder / "split.json"
    split = {"split_by": kind} | ({"seed": seed} if kind == "frame" else {})
    split |= {part: splits[part]["file_name"][:] for part in ("train", "validation")}
    if resume and path.exists() and json.loads(path.read_text(encoding="utf-8")) != split:
        raise ValueError(
            f"The rows differ from those in {path} with which the run began, so going on would mix validation and "
            "training rows: use the same data, split and seed, or start another run."
        )
    path.write_text(json.dumps(split, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_recipe(folder: Path, settings: dict[str, Any]) -> None:
    """Write `recipe.yaml`, which repeats the run: what the recipe and the flags set, merged.

    How a run was started (anew, resumed) is no part of it, and a token never reaches a file.
    """
    left_out = ("overwrite_output_dir", "resume_from_checkpoint", "hub_token")
    kept = {key: value for key, value in settings.items() if key not in left_out}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(kept, sort_keys=True, allow_unicode=True), encoding="utf-8")
