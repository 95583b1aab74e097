"""Cross-validation: one run for each fold, and their mean."""

import json
import statistics
from pathlib import Path
from typing import Any

from ..runs.directory import RECIPE, RESULTS, SPLIT, check_settings, has_checkpoint, read_record
from .recipe import Recipe, parse_recipe

SUMMARY = "cross_validation.json"
SCORES = ("eval_top1_accuracy", "eval_top5_accuracy", "eval_mean_class_accuracy", "eval_macro_f1")


def fold_folder(recipe: Recipe, fold: int) -> Path:
    """Return the folder of the run of a fold."""
    return Path(recipe.training.output_dir) / f"fold-{fold}"


def plan_fold(arguments: list[str], recipe: Recipe, fold: int) -> list[str] | None:
    """Return the arguments of the run of a fold; `None` if it is finished and the cross-validation is resumed.

    Args:
        arguments: Arguments of the cross-validation.
        recipe: The same, parsed.
        fold: Number of the fold, from 0.

    Raises:
        ValueError: `push_to_hub` is set, `output_dir` holds a single run, a checkpoint is named to resume from, or a
            fold was finished with other settings.
    """
    if recipe.training.push_to_hub:
        raise ValueError("push_to_hub pushes one model, but num_folds trains several: leave one of them out.")
    if (Path(recipe.training.output_dir) / RECIPE).exists():
        raise ValueError(f"output_dir {recipe.training.output_dir} holds a single run: choose another folder.")
    if any(Path(recipe.training.output_dir).glob("seed-*/recipe.yaml")):
        raise ValueError(f"output_dir {recipe.training.output_dir} holds several seeds: choose another folder.")
    folder, resume = fold_folder(recipe, fold), recipe.training.resume_from_checkpoint
    plan = [*arguments, "--fold", str(fold), "--output_dir", str(folder)]
    if resume is None:
        return plan
    if resume.lower() != "true":
        raise ValueError(f"A cross-validation resumes with resume_from_checkpoint true, not {resume!r}.")
    if (folder / RESULTS).exists():
        if check_settings(folder, parse_recipe(plan).settings):
            raise ValueError(f"{folder} was finished with another length, so the folds have no common mean.")
        return None
    return plan if has_checkpoint(folder) else [*plan, "--resume_from_checkpoint", "false", "--overwrite"]


def summarize_folds(recipe: Recipe) -> dict[str, Any]:
    """Write mean and sample standard deviation of the scores over the folds to `cross_validation.json`.

    Returns:
        `num_folds`, `split_by`, the number of held-out images that leak into the training of their fold (`leakage`, by
        kind), whether checkpoints were `chosen_on_these` images and, for each score, `mean`, `std` and those of the
        `folds`, fractions in [0, 1].

    Raises:
        ValueError: The folds are not of one set of images.
    """
    assert recipe.data.num_folds is not None
    folders = [fold_folder(recipe, fold) for fold in range(recipe.data.num_folds)]
    results = [read_record(folder / RESULTS) for folder in folders]
    splits = [read_record(folder / SPLIT) for folder in folders]
    _check_folds(splits, recipe.training.output_dir)
    summary: dict[str, Any] = {"num_folds": len(folders), "split_by": splits[0]["split_by"]}
    leakage = [split["leakage"]["validation"] for split in splits]
    summary["leakage"] = {kind: sum(of_fold[kind] for of_fold in leakage) for kind in leakage[0]}
    summary["chosen_on_these"] = any("best_step" in result for result in results)
    for name in SCORES:
        scores = [result[name] for result in results]
        summary[name] = {"mean": statistics.mean(scores), "std": statistics.stdev(scores), "folds": scores}
    path = Path(recipe.training.output_dir) / SUMMARY
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _check_folds(splits: list[dict[str, Any]], output_dir: str) -> None:
    """Refuse folds of different images, and images that two folds hold out."""
    rows = [
        {name: set(zip(split[name], split["digests"][name], strict=True)) for name in ("train", "validation")}
        for split in splits
    ]
    for fold, one in enumerate(rows):
        held_out_before = set().union(*(other["validation"] for other in rows[:fold]))
        if one["train"] | one["validation"] != rows[0]["train"] | rows[0]["validation"] or (
            one["validation"] & held_out_before
        ):
            raise ValueError(
                f"fold-{fold} in {output_dir} has other images than the folds before it, so they have no common "
                "mean: the data changed. Repeat with `overwrite`, or another folder."
            )
