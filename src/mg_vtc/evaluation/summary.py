"""The results of an evaluation in a few lines of text."""

from typing import Any

from ..data.leaks import describe_leaks
from ..data.splits import describe_split

TITLES = {
    "top1_accuracy": "top-1 accuracy",
    "top5_accuracy": "top-5 accuracy",
    "mean_class_accuracy": "mean class accuracy",
    "macro_f1": "macro F1",
    "expected_calibration_error": "expected calibration error",
}


def summarize(results: dict[str, Any]) -> str:
    """Put scores, intervals and constant answers in a table, under the conditions that they hold for.

    Args:
        results: As `evaluate` gives them.
    """
    baselines = {
        score: value
        for answer in results["baselines"].values()
        for score, value in answer.items()
        if value is not None
    }
    lines = [*_describe(results), "", f"{'score':28}{'value':>7}{'95 % interval':>18}{'constant answer':>18}"]
    for name, score in results["scores"].items():
        interval = "none" if score["low"] is None else f"{score['low']:.1%} to {score['high']:.1%}"
        interval += "*" * (score["method"] == "exact")
        constant = f"{baselines[name]:.1%}" if name in baselines else ""
        lines.append(f"{TITLES[name]:28}{score['value']:7.1%}{interval:>18}{constant:>18}".rstrip())
    conditions = results["conditions"]
    if any(score["method"] == "exact" for score in results["scores"].values()):
        by = conditions["interval"]["resampled_by"]
        lines.append(f"* exact (Clopper-Pearson, by {by}), as all resamples are equal")
    lines.append(
        "macro F1: mean over the classes that have images; scikit-learn counts predicted classes without any, too"
    )
    lines.append(
        f"intervals: {conditions['interval']['num_resamples']} resamples by {conditions['interval']['resampled_by']}; "
        f"constant answers: the commonest class, the five commonest, of the {conditions['baselines_from']}"
    )
    if "clips" in results:
        lines += _summarize_clips(results["clips"])
    return "\n".join(lines)


def _summarize_clips(clips: dict[str, Any]) -> list[str]:
    """The scores by clip, below those by image."""
    lines = ["", f"{clips['num_clips']} clips, the {clips['vote']} of their frames".ljust(28)]
    for name, score in clips["scores"].items():
        interval = "none" if score["low"] is None else f"{score['low']:.1%} to {score['high']:.1%}"
        interval += "*" * (score["method"] == "exact")
        lines.append(f"{TITLES[name]:28}{score['value']:7.1%}{interval:>18}".rstrip())
    return lines


def _describe(results: dict[str, Any]) -> list[str]:
    conditions = results["conditions"]
    clips = "" if conditions["num_clips"] is None else f" of {conditions['num_clips']} clips"
    seed = "" if conditions["seed"] is None else f", seed {conditions['seed']}"
    lines = [
        f"{results['model']} on {results['data']}: {conditions['num_pictures']} pictures{clips}, "
        f"part {conditions['part']}{seed}; {conditions['num_classes']} classes, {conditions['task']}"
    ]
    if conditions["split_by"] not in (None, "given"):
        lines.append(describe_split(conditions["split_by"], clips_known=conditions["num_clips"] is not None))
    if conditions["num_training_rows"]:
        lines.append(
            f"the model was trained on {conditions['num_training_rows']} of these pictures: its scores on them say "
            "what it remembers"
        )
    if not conditions["training_rows_known"]:
        lines.append(
            "which images the model was trained on is not known (no split.json): if these are among them, the scores "
            "say what it remembers"
        )
    if leaks := describe_leaks(conditions["leaks"] or {}):
        lines.append(f"of these, {leaks}")
    if conditions["chosen_on_these"]:
        lines.append("the best checkpoint was chosen on these pictures, so the scores are too high")
    return lines
