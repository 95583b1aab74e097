"""Several seeds: one run for each, and their mean."""

import json
import statistics
from pathlib import Path
from typing import Any

from ..runs.directory import RECIPE, RESULTS, check_settings, has_checkpoint, read_record
from .cross_validation import SCORES
from .recipe import Recipe, parse_recipe

SUMMARY = "seeds.json"


def seed_folder(recipe: Recipe, number: int) -> Path:
    """Return the folder of the run of a seed."""
    return Path(recipe.training.output_dir) / f"seed-{recipe.training.seed + number}"


def plan_seed(arguments: list[str], recipe: Recipe, number: int) -> list[str] | None:
    """Return the arguments of the run of a seed; `None` if it is finished and the command is resumed.

    Args:
        arguments: Arguments of the command.
        recipe: The same, parsed.
        number: Number of the seed, from 0.

    Raises:
        ValueError: `push_to_hub` is set, `output_dir` holds a single run, one checkpoint is named to resume
            from, or a run was finished with other settings.
    """
    if recipe.training.push_to_hub:
        raise ValueError("push_to_hub pushes one model, but num_seeds trains several: leave one of them out.")
    if (Path(recipe.training.output_dir) / RECIPE).exists():
        raise ValueError(f"output_dir {recipe.training.output_dir} holds a single run: choose another folder.")
    if any(Path(recipe.training.output_dir).glob("fold-*/recipe.yaml")):
        raise ValueError(f"output_dir {recipe.training.output_dir} holds a cross-validation: choose another folder.")
    folder, resume = seed_folder(recipe, number), recipe.training.resume_from_checkpoint
    seed = str(recipe.training.seed + number)
    plan = [*arguments, "--num_seeds", "1", "--seed", seed, "--output_dir", str(folder)]
    if resume is None:
        return plan
    if resume.lower() != "true":
        raise ValueError(f"Several seeds resume with resume_from_checkpoint true, not {resume!r}.")
    if (folder / RESULTS).exists():
        if check_settings(folder, parse_recipe(plan).settings):
            raise ValueError(f"{folder} was finished with another length, so the runs have no common mean.")
        return None
    return plan if has_checkpoint(folder) else [*plan, "--resume_from_checkpoint", "false", "--overwrite"]


def summarize_seeds(recipe: Recipe) -> dict[str, Any]:
    """Write mean and sample standard deviation of the scores over the seeds to `seeds.json` in `output_dir`.

    Returns:
        `seeds`, whether the `split` was "fixed" or drawn by "each seed" and, for each score, `mean`, `std` and those
        of the `runs`, fractions in [0, 1].
    """
    folders = [seed_folder(recipe, number) for number in range(recipe.data.num_seeds)]
    results = [read_record(folder / RESULTS) for folder in folders]
    summary: dict[str, Any] = {"seeds": [recipe.training.seed + number for number in range(recipe.data.num_seeds)]}
    given = recipe.data.split_seed is not None or recipe.data.validation_dir is not None or recipe.data.streaming
    summary["split"] = "fixed" if given else "each seed"
    for name in SCORES:
        scores = [result[name] for result in results]
        summary[name] = {"mean": statistics.mean(scores), "std": statistics.stdev(scores), "runs": scores}
    path = Path(recipe.training.output_dir) / SUMMARY
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary
