"""Records of a finished training: settings, results, provenance and the model card."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from torch.utils.data import Dataset
from transformers import TrainerState
from transformers.trainer_utils import PredictionOutput

from ..evaluation.run_results import write_run_results
from ..files import atomic_write
from ..hub.model_card import write_model_card
from ..hub.widgets import write_samples
from ..runs.directory import CARD, RECORDS, RESULTS, write_start
from ..runs.manifest import OF_MODEL, write_manifest
from ..runs.provenance import write_provenance
from ..runs.results_table import write_results_table
from .arguments import MgVtcTrainingArguments

PROJECT = Path(__file__).parents[3]  # of a checkout, whose commit a run records
# Settings that a repeated run must share even if their defaults change.
ALWAYS_WRITTEN = (
    *("loss_type", "js_weight", "learning_rate", "lr_scheduler_type", "weight_decay", "max_grad_norm", "warmup_steps"),
    *("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "seed", "optim"),
    *("bf16", "dataloader_num_workers"),
)
IN_PYTHON = "Trained in Python: these settings do not name the images, so they do not repeat the run."


def write_results(folder: Path, results: Mapping[str, float]) -> None:
    """Write the scores and durations of a run, `all_results.json`."""
    with atomic_write(folder / RESULTS) as file:
        file.write((json.dumps(results, indent=4, sort_keys=True)).encode())


def write_records(
    folder: Path,
    arguments: MgVtcTrainingArguments,
    state: TrainerState,
    predictions: Mapping[str, PredictionOutput],
    splits: Mapping[str, Dataset],
    class_names: list[str],
    *,
    seconds: float | None,
) -> None:
    """Write `results.csv`, `results/`, `provenance.json`, the card and the manifest of a run.

    Args:
        folder: Folder of the run, with its model, recipe and split.
        arguments: Of the run.
        state: Of the finished training.
        predictions: Scores of "validation" and "test", as the trainer gave them; either may be missing.
        splits: The rows of "train" and of the same splits.
        class_names: In id order.
        seconds: Duration of the training; None where it was not measured as a whole.
    """
    write_results_table(folder, state.log_history)
    write_run_results(folder, predictions, splits, class_names)
    write_provenance(folder, arguments, project=PROJECT, seconds=seconds)
    write_model_card(folder, write_samples(folder))
    write_manifest(folder, (*OF_MODEL, *RECORDS, CARD))


def write_python_recipe(folder: Path, arguments: MgVtcTrainingArguments, **settings: Any) -> None:
    """Write `recipe.yaml` and `split.json` of a training that was started in Python.

    Args:
        folder: Folder of the run.
        arguments: Of the run.
        settings: Other known settings, such as `vision_model_name_or_path`; None is left out.
    """
    defaults = MgVtcTrainingArguments(output_dir=arguments.output_dir)
    known = {name: value for name, value in settings.items() if value is not None}
    for name in (one.name for one in fields(arguments) if one.init):
        value = getattr(arguments, name)
        if isinstance(value, (str, int, float)) and (name in ALWAYS_WRITTEN or value != getattr(defaults, name)):
            known[name] = getattr(value, "value", value)  # of an enumeration
    write_start(folder, yaml.safe_dump(known, allow_unicode=True), {"split_by": "given"}, [IN_PYTHON])
