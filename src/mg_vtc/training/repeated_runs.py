"""Several runs of one recipe: their plans, the mean of their scores, and those of several seeds."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..runs.checkpoints import has_checkpoint
from ..runs.directory import RECIPE, RESULTS, check_settings, has_finished, read_record
from .recipe import Recipe, parse_recipe

SUMMARY = "seeds.json"
SCORES = ("eval_top1_accuracy", "eval_top5_accuracy", "eval_mean_class_accuracy", "eval_macro_f1")


def plan_run(arguments: list[str], recipe: Recipe, folder: Path, flags: Sequence[str]) -> list[str] | None:
    """Return the arguments of a fold or a seed; `None` if it is finished and the command is resumed.

    Args:
        arguments: Arguments of the command.
        recipe: The same, parsed.
        folder: Folder of the run, in `output_dir`.
        flags: Flags of the run.

    Raises:
        ValueError: `push_to_hub` is set, `output_dir` holds something else, one checkpoint is named to resume from, or
            the run was finished with other settings.
    """
    output_dir, resume = Path(recipe.training.output_dir), recipe.training.resume_from_checkpoint
    setting, others = ("num_folds", "seed-*") if recipe.data.num_folds else ("num_seeds", "fold-*")
    if recipe.training.push_to_hub:
        raise ValueError(f"push_to_hub pushes one model, but {setting} trains several: leave one of them out.")
    if (output_dir / RECIPE).exists():
        raise ValueError(f"output_dir {output_dir} holds a single run: choose another folder.")
    if any(output_dir.glob(f"{others}/{RECIPE}")):
        raise ValueError(f"output_dir {output_dir} holds the runs {others}: choose another folder.")
    plan = [*arguments, *flags, "--output_dir", str(folder)]
    if resume is None:
        return plan
    if resume.lower() not in ("true", "auto"):
        raise ValueError(f"Several runs resume with resume_from_checkpoint true or auto, not {resume!r}.")
    if has_finished(folder):
        if check_settings(folder, parse_recipe(plan).settings):
            raise ValueError(f"{folder} was finished with another length, so the runs have no common mean.")
        return None
    return plan if has_checkpoint(folder) else [*plan, "--resume_from_checkpoint", "false", "--overwrite"]


def average_scores(folders: Sequence[Path], runs: str) -> dict[str, dict[str, Any]]:
    """Return for each of `SCORES` the `mean`, the sample standard deviation `std` and, named by `runs`, the values."""
    results = [read_record(folder / RESULTS) for folder in folders]
    scores = {name: [result[name] for result in results] for name in SCORES}
    return {
        name: {"mean": statistics.mean(values), "std": statistics.stdev(values), runs: values}
        for name, values in scores.items()
    }


def write_summary(path: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """Write a summary of several runs as JSON, and return it."""
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def seed_folder(recipe: Recipe, number: int) -> Path:
    """Return the folder of the run of a seed."""
    return Path(recipe.training.output_dir) / f"seed-{recipe.training.seed + number}"


def plan_seed(arguments: list[str], recipe: Recipe, number: int) -> list[str] | None:
    """Return the arguments of the run of a seed, from 0; see `plan_run`."""
    flags = ("--num_seeds", "1", "--seed", str(recipe.training.seed + number))
    return plan_run(arguments, recipe, seed_folder(recipe, number), flags)


def summarize_seeds(recipe: Recipe) -> dict[str, Any]:
    """Write mean and sample standard deviation of the scores over the seeds to `seeds.json` in `output_dir`.

    Returns:
        `seeds`, whether the `split` was "fixed" or drawn by "each seed" and, for each score, `mean`, `std` and those
        of the `runs`, fractions in [0, 1].
    """
    folders = [seed_folder(recipe, number) for number in range(recipe.data.num_seeds)]
    given = recipe.data.split_seed is not None or recipe.data.validation_dir is not None or recipe.data.streaming
    summary = {
        "seeds": [recipe.training.seed + number for number in range(recipe.data.num_seeds)],
        "split": "fixed" if given else "each seed",
        **average_scores(folders, "runs"),
    }
    return write_summary(Path(recipe.training.output_dir) / SUMMARY, summary)
