"""Folder of a run: its files, and checks that nothing is lost."""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..files import UNFINISHED, atomic_write
from .manifest import MANIFEST, OF_MODEL, read_manifest
from .results_table import RESULTS_TABLE

RECIPE, SPLIT, RESULTS = "recipe.yaml", "split.json", "all_results.json"
# Settings that may change when a run is resumed.
MAY_CHANGE = (
    *("num_train_epochs", "max_steps", "early_stopping_patience", "output_dir", "report_to", "save_total_limit"),
    *(
        "dataloader_num_workers",
        "cache_images",
        "disable_tqdm",
        "push_to_hub",
        "hub_model_id",
        "hub_private_repo",
        "hub_revision",
        "hub_strategy",
        "per_device_eval_batch_size",
    ),
)
OF_A_CPU = {"bf16": False, "dataloader_num_workers": 0}  # of recipes from before these were recorded
REPORT_FILES = tuple(f"report/{name}" for name in ("results.json", "report.html", "predictions.parquet"))
EXPORTED = ("onnx/*.onnx", "onnx/*.onnx.data", "onnx/tokenizer.json", f"onnx/{MANIFEST}")  # default of `mg-vtc export`
CALIBRATION = "calibration.json"  # of `mg-vtc calibrate`; not uploaded
FIRST_BATCH = "train_batch.jpg"  # images of the training; never uploaded
CARD, PROVENANCE, CONFUSION, SAMPLES = "README.md", "provenance.json", "figures/confusion.png", "samples"
CURVES = "figures/training_curves.png"
SPLIT_RESULTS = ("results/test.json", "results/validation.json")  # test images first: they did not select a checkpoint
PAGE_FILES = (  # of the model's page
    *(CARD, PROVENANCE, RESULTS_TABLE, CONFUSION, CURVES, *SPLIT_RESULTS),
    f"{SAMPLES}/drawn-*.png",
)
RECORDS = (  # of a finished run, which its manifest covers beside the model
    *(RECIPE, SPLIT, RESULTS, RESULTS_TABLE, "trainer_state.json", PROVENANCE, CONFUSION, CURVES, *SPLIT_RESULTS),
    CALIBRATION,
    f"{SAMPLES}/drawn-*.png",
)
ADAPTER_FOLDER = "adapter"  # of LoRA
ADAPTER_CONFIG, ADAPTER = f"{ADAPTER_FOLDER}/adapter_config.json", f"{ADAPTER_FOLDER}/adapter_model.safetensors"
MODEL_STAGING = f"model{UNFINISHED}"  # folder in which a model is written
CHECKPOINT_NAME = re.compile("checkpoint-([0-9]+)")
MODEL_FILES = (*OF_MODEL, "trainer_state.json", "training_args.bin", MANIFEST)


def check_run_folder(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse to start a run in a folder where something would be lost; call it before anything slow.

    Args:
        folder: Folder of the run.
        overwrite: Whether to replace the run in the folder.
        resume: Whether to resume the run in the folder.

    Raises:
        ValueError: The folder is read-only, it is not empty without `overwrite` or `resume`, or both are set.
    """
    if overwrite and resume:
        raise ValueError("overwrite and resume_from_checkpoint exclude each other: give one.")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"output_dir {folder} is a file: choose a folder.")
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"output_dir {folder} cannot be written to ({existing} is read-only): choose another folder.")
    if not folder.is_dir() or {path.name for path in folder.iterdir()} <= {RECIPE + UNFINISHED, SPLIT}:
        return  # empty, or an interrupted start
    if not (folder / RECIPE).exists():
        raise ValueError(f"output_dir {folder} is not empty and not the folder of a run: choose another folder.")
    if not (overwrite or resume):
        state = "a finished run" if has_finished(folder) else "an unfinished run"
        raise ValueError(
            f"output_dir {folder} holds {state}: choose another folder, resume its run "
            "(`resume_from_checkpoint=True`) or replace it (`overwrite`)."
        )


def clear_run_folder(folder: Path) -> None:
    """Delete the files of an earlier run but its recipe, which marks the folder if the next start is interrupted."""
    for checkpoint in (*list_checkpoints(folder), *list_unfinished(folder)):
        shutil.rmtree(checkpoint)
    _delete(folder, (RESULTS, SPLIT, CALIBRATION, FIRST_BATCH, *REPORT_FILES, *EXPORTED, *PAGE_FILES, *MODEL_FILES))
    shutil.rmtree(folder / MODEL_STAGING, ignore_errors=True)


def has_finished(folder: Path) -> bool:
    """Return whether the run in a folder, which may not exist, was finished: its manifest, written last, has its card.

    A run without a manifest, of an earlier revision or whose user deleted it, has finished if it has its results and
    its card.
    """
    if not all((folder / name).exists() for name in (RESULTS, CARD)):
        return False
    try:
        manifest = read_manifest(folder)
    except ValueError:  # damaged, as a comparison of the files tells
        return True
    return manifest is None or CARD in manifest


def _delete(folder: Path, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()


def list_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a run by step: folders `checkpoint-<step>`, no links."""
    found = {
        int(match[1]): path
        for path in folder.glob("checkpoint-*")
        if (match := CHECKPOINT_NAME.fullmatch(path.name)) and path.is_dir() and not path.is_symlink()
    }
    return [found[step] for step in sorted(found)]


def list_unfinished(folder: Path) -> list[Path]:
    """List the folders in which a run that was killed had begun to write a checkpoint."""
    found = folder.glob(f"checkpoint-*{UNFINISHED}")
    return [path for path in found if CHECKPOINT_NAME.fullmatch(path.stem) and path.is_dir() and not path.is_symlink()]


def read_record(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run.

    Raises:
        FileNotFoundError: It is missing.
        ValueError: It does not hold a JSON object.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Restore it from a copy.") from error
    if not isinstance(record, dict):
        raise ValueError(
            f"{path} is damaged: it holds {type(record).__name__}, not an object. Restore it from a copy."
        )
    return record


def begin_run(folder: Path, settings: dict[str, Any], split: dict[str, Any], *, overwrite: bool, resume: bool) -> None:
    """Create the folder of a run with `recipe.yaml` and `split.json`; an earlier run is deleted after all checks.

    `recipe.yaml` repeats the run. It holds neither tokens nor flags such as `resume_from_checkpoint`.

    Args:
        folder: Folder of the run.
        settings: Settings by name.
        split: Content of `split.json`, as in `RunData`.
        overwrite: Whether to delete an earlier run.
        resume: Whether to resume the run; settings other than `MAY_CHANGE` must then be equal.

    Raises:
        ValueError: A resumed run has other settings or rows, its records are damaged, or a setting cannot be saved.
    """
    notes: list[str] = []
    if resume and (note := check_settings(folder, settings)):
        notes = [note]
    if resume and (folder / SPLIT).exists() and not _is_same_split(read_record(folder / SPLIT), split):
        raise ValueError(
            f"The rows differ from those in {folder / SPLIT} with which the run began, or the texts of classes, so "
            "resuming would mix validation and training rows: use the same data, split and seed, or start another run."
        )
    try:
        recipe = yaml.safe_dump(_kept(settings), sort_keys=True, allow_unicode=True)
    except yaml.YAMLError as error:
        raise ValueError(f"A setting cannot be saved in {RECIPE}: {' '.join(str(error).split())}.") from error
    if notes:
        warnings.warn(
            f"{notes[0]} Its learning rate follows the longer schedule from here on, so its weights differ from "
            "those of a run of that length.",
            stacklevel=3,
        )
    extended = bool(notes)
    if resume:
        notes = read_recipe(folder / RECIPE)[1] + notes
    if overwrite:
        clear_run_folder(folder)
    (folder / MANIFEST).unlink(missing_ok=True)  # of an earlier end of the run, whose records change
    if extended:  # the report and the exports are of a model that will be replaced
        _delete(folder, (RESULTS, CARD, CALIBRATION, *REPORT_FILES, *EXPORTED))
    write_start(folder, recipe, split, notes)


def write_start(folder: Path, recipe: str, split: dict[str, Any], notes: Sequence[str] = ()) -> None:
    """Write `recipe.yaml`, with notes above it, and `split.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / RECIPE, "".join(f"# {note}\n" for note in notes) + recipe)
    _write(folder / SPLIT, json.dumps(split, indent=1, ensure_ascii=False) + "\n")


def digest_split(split: dict[str, Any]) -> str:
    """Return the SHA-256 of the content of `split.json`, which tells no names of images."""
    return hashlib.sha256(json.dumps(split, sort_keys=True).encode()).hexdigest()


def _is_same_split(begun: dict[str, Any], split: dict[str, Any]) -> bool:
    """Return whether a split is that of a run, of which another machine may have told the digest alone."""
    return begun == ({"sha256": digest_split(split)} if begun.keys() == {"sha256"} else split)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


def check_settings(folder: Path, settings: dict[str, Any]) -> str | None:
    """Refuse to resume a run with other settings than it began with, apart from `MAY_CHANGE`, or as a shorter one.

    Args:
        folder: Folder of the run.
        settings: Settings by name.

    Returns:
        A note for the recipe if the run becomes longer, since the recipe then does not repeat it; else None.

    Raises:
        ValueError: A setting changed, or the recipe is damaged.
    """
    return check_same_settings(read_recipe(folder / RECIPE)[0], settings, str(folder / RECIPE))


def check_same_settings(begun: Mapping[str, Any], settings: dict[str, Any], place: str) -> str | None:
    """Compare settings with those that a run began with, which are read from `place`; see `check_settings`."""
    begun, kept = OF_A_CPU | dict(begun), OF_A_CPU | _kept(settings)
    may_change = set(MAY_CHANGE) - ({"dataloader_num_workers"} if kept.get("streaming") else set())
    for key in sorted((begun.keys() | kept.keys()) - may_change):
        if begun.get(key) != kept.get(key):
            raise ValueError(
                f"The run began with {key} {begun.get(key)!r}, now it is {kept.get(key)!r}: resume with "
                f"the settings in {place}, or start another run."
            )
    (unit, before), (unit_now, now) = _length(begun), _length(kept)
    if unit != unit_now or now < before:
        raise ValueError(
            f"The run began with {unit} {before:g}, now {unit_now} is {now:g}: its learning rate followed that "
            "length. A run can be extended; start another run for a shorter one."
        )
    if now == before:
        return None
    return f"Begun with {unit} {before:g} and extended to {now:g}: this recipe does not repeat the run."


def read_recipe(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Read the settings of a run and the notes above them.

    Raises:
        ValueError: It is damaged.
    """
    text = path.read_text(encoding="utf-8")
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}. Restore it from a copy.") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} is damaged: it holds no settings. Restore it from a copy.")
    return settings, [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]


def _length(settings: Mapping[str, Any]) -> tuple[str, float]:
    """Return name and value of the setting that decides the length of a run."""
    unit = "max_steps" if settings.get("max_steps", -1) > 0 else "num_train_epochs"
    return unit, float(settings.get(unit, 3))  # as in transformers' TrainingArguments


def _kept(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that `recipe.yaml` holds."""
    left_out = ("overwrite", "resume_from_checkpoint", "hub_token")
    return {key: value for key, value in settings.items() if key not in left_out and value is not None}
