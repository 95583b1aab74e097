"""Cross-validation: a run a fold, each in a folder of its own, and what they say together."""

import json
import statistics
from pathlib import Path
from typing import Any

from ..runs.directory import RECIPE, RESULTS, SPLIT, check_settings, has_checkpoint, read_record
from .recipe import Recipe, parse_recipe

SUMMARY = "cross_validation.json"
SCORES = ("eval_top1_accuracy", "eval_top5_accuracy", "eval_mean_class_accuracy", "eval_macro_f1")


def fold_folder(recipe: Recipe, fold: int) -> Path:
    """Folder of the run of a fold."""
    return Path(recipe.training.output_dir) / f"fold-{fold}"


def plan_fold(arguments: list[str], recipe: Recipe, fold: int) -> list[str] | None:
    """Arguments of the run of a fold; `None` where it is done and the cross-validation goes on.

    Args:
        arguments: Those of the whole cross-validation.
        recipe: What `parse_recipe` made of them.
        fold: Number of the fold, from 0.

    Raises:
        ValueError: A model shall be published, `output_dir` holds a run that is no cross-validation, one checkpoint is
            named to go on from, or a fold was finished with other settings.
    """
    if recipe.training.push_to_hub:
        raise ValueError("push_to_hub publishes one model, and num_folds trains several: leave one of them out.")
    if (Path(recipe.training.output_dir) / RECIPE).exists():
        raise ValueError(f"output_dir {recipe.training.output_dir} holds a single run: choose another folder.")
    folder, resume = fold_folder(recipe, fold), recipe.training.resume_from_checkpoint
    plan = [*arguments, "--fold", str(fold), "--output_dir", str(folder)]
    if resume is None:
        return plan
    if resume.lower() != "true":
        raise ValueError(f"A cross-validation goes on with resume_from_checkpoint true, not {resume!r}.")
    if (folder / RESULTS).exists():
        if check_settings(folder, parse_recipe(plan).settings):
            raise ValueError(f"{folder} was finished with another length: a mean over folds of two would say nothing.")
        return None
    return plan if has_checkpoint(folder) else [*plan, "--resume_from_checkpoint", "false", "--overwrite_output_dir"]


def summarize_folds(recipe: Recipe) -> dict[str, Any]:
    """Mean and sample standard deviation of the scores over the folds, in `cross_validation.json` of `output_dir`.

    Returns:
        `num_folds`, `split_by`, how many of the pictures held out the training of their fold knew (`leaks`, by kind),
        whether checkpoints were `chosen_on_these` pictures and, for each score, `mean`, `std` and the `folds`' own,
        fractions in [0, 1].

    Raises:
        ValueError: The folds are not those of one set of pictures.
    """
    assert recipe.data.num_folds is not None
    folders = [fold_folder(recipe, fold) for fold in range(recipe.data.num_folds)]
    results = [read_record(folder / RESULTS) for folder in folders]
    splits = [read_record(folder / SPLIT) for folder in folders]
    _check_folds(splits, recipe.training.output_dir)
    summary: dict[str, Any] = {"num_folds": len(folders), "split_by": splits[0]["split_by"]}
    leaks = [split["leaks"]["validation"] for split in splits]
    summary["leaks"] = {kind: sum(of_fold[kind] for of_fold in leaks) for kind in leaks[0]}
    summary["chosen_on_these"] = any("best_step" in result for result in results)
    for name in SCORES:
        scores = [result[name] for result in results]
        summary[name] = {"mean": statistics.mean(scores), "std": statistics.stdev(scores), "folds": scores}
    path = Path(recipe.training.output_dir) / SUMMARY
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _check_folds(splits: list[dict[str, Any]], output_dir: str) -> None:
    """Make sure that the folds share out one set of pictures, each of which at most one of them holds out."""
    rows = [
        {part: set(zip(split[part], split["digests"][part], strict=True)) for part in ("train", "validation")}
        for split in splits
    ]
    for fold, one in enumerate(rows):
        held_out_before = set().union(*(other["validation"] for other in rows[:fold]))
        if one["train"] | one["validation"] != rows[0]["train"] | rows[0]["validation"] or (
            one["validation"] & held_out_before
        ):
            raise ValueError(
                f"fold-{fold} in {output_dir} is of other pictures than those before it, which were changed since: a "
                "mean of them would say nothing. Give the command with --overwrite_output_dir, or another folder."
            )
