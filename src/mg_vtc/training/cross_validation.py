"""Cross-validation: one run for each fold, and their mean."""

from pathlib import Path
from typing import Any

from ..runs.directory import RESULTS, SPLIT, read_record
from .recipe import Recipe
from .repeated_runs import average_scores, plan_run, write_summary

SUMMARY = "cross_validation.json"


def fold_folder(recipe: Recipe, fold: int) -> Path:
    """Return the folder of the run of a fold."""
    return Path(recipe.training.output_dir) / f"fold-{fold}"


def plan_fold(arguments: list[str], recipe: Recipe, fold: int) -> list[str] | None:
    """Return the arguments of the run of a fold, from 0; see `plan_run`."""
    return plan_run(arguments, recipe, fold_folder(recipe, fold), ("--fold", str(fold)))


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
    summary |= average_scores(folders, "folds")
    return write_summary(Path(recipe.training.output_dir) / SUMMARY, summary)


def _check_folds(splits: list[dict[str, Any]], output_dir: str) -> None:
    """Refuse folds of different images, and images that two folds hold out."""
    rows = [
        {
            "train": {row for name in ("train", "selection") if name in split for row in _list_rows(split, name)},
            "validation": set(_list_rows(split, "validation")),
        }
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


def _list_rows(split: dict[str, Any], name: str) -> list[tuple[str, str]]:
    """Return name and digest of each image of a part of a split."""
    return list(zip(split[name], split["digests"][name], strict=True))
