"""Text summary of the results of an evaluation."""

from typing import Any

from ..data.leakage import describe_leakage
from ..data.splits import describe_split
from .class_groups import GROUP_SCORES

TITLES = {
    "top1_accuracy": "top-1 accuracy",
    "top5_accuracy": "top-5 accuracy",
    "mean_class_accuracy": "mean class accuracy",
    "macro_f1": "macro F1",
    "expected_calibration_error": "expected calibration error",
    **GROUP_SCORES,
}
NUM_LISTED = 20  # subsets in a table; others are in results.json


def summarize(results: dict[str, Any]) -> str:
    """Format the conditions of an evaluation and a table of its scores, intervals and baselines.

    Args:
        results: Results of `evaluate`.
    """
    baselines = {
        score: value
        for baseline in results["baselines"].values()
        for score, value in baseline.items()
        if value is not None
    }
    lines = [*_describe(results), "", f"{'score':28}{'value':>7}{'95 % interval':>18}{'baseline':>18}"]
    for name, score in results["scores"].items():
        constant = f"{baselines[name]:.1%}" if name in baselines else ""
        lines.append(f"{TITLES[name]:28}{_format_score(score)}{constant:>18}".rstrip())
    conditions = results["conditions"]
    if any(score["method"] == "exact" for score in results["scores"].values()):
        by = conditions["interval"]["resampled_by"]
        lines.append(f"* exact (Clopper-Pearson, by {by}), because all resamples are equal")
    lines.append(
        "macro F1: mean over the classes with images; scikit-learn also counts classes that are only predicted"
    )
    lines.append(
        f"intervals: {conditions['interval']['num_resamples']} resamples by {conditions['interval']['resampled_by']}; "
        "baseline: the most frequent class (top-5: the five most frequent) of the "
        f"{conditions['baselines_from']}"
    )
    if "class_groups" in results:
        lines += _summarize_class_groups(results["class_groups"])
    if "temperature_scaling" in results:
        lines += _summarize_temperature(results["temperature_scaling"])
    if "clips" in results:
        lines += _summarize_clips(results["clips"])
    if "subsets" in results:
        lines += _summarize_subsets(results["subsets"])
    return "\n".join(lines)


def _summarize_temperature(scaling: dict[str, Any]) -> list[str]:
    """Format what the temperature and the threshold of the model do."""
    fitted = f"; it was fitted on {scaling['num_fitted']} of these images" if scaling["num_fitted"] else ""
    before = f"{scaling['expected_calibration_error_before']:.1%}"
    lines = [f"temperature {scaling['temperature']:.3f}: before it, the calibration error is {before}{fitted}"]
    if (threshold := scaling["threshold"]) is not None:
        correct = "" if threshold["precision"] is None else f", {threshold['precision']:.1%} of them correctly"
        reached = f"{threshold['coverage']:.1%} of the images reach it{correct}"
        lines.append(f"threshold {threshold['value']:.3f}: {reached}")
    return lines


def _summarize_clips(clips: dict[str, Any]) -> list[str]:
    """Format the scores by clip."""
    lines = ["", f"{clips['num_clips']} clips, the {clips['vote']} of their frames".ljust(28)]
    lines += _format_scores(clips["scores"])
    return lines + _format_scores(clips.get("class_groups", {}).get("scores", {}))


def _summarize_class_groups(scored: dict[str, Any]) -> list[str]:
    """Format the scores of groups of classes and F1_mean."""
    names = ", ".join(f"{group['name']} ({group['num_classes']})" for group in scored["groups"])
    return [
        "",
        f"groups of classes: {names}",
        *_format_scores(scored["scores"]),
        "F1_mean: mean of micro and macro F1 of classes and groups, as for Micro-Action-52",
    ]


def _summarize_subsets(subsets: dict[str, Any]) -> list[str]:
    """Format the top-1 accuracy of each subset, lowest first, and its spread."""
    rows = sorted(subsets["subsets"], key=lambda subset: subset["top1_accuracy"]["value"])
    width = max(28, *(len(row["value"]) + 2 for row in rows[:NUM_LISTED]))
    lines = [
        "",
        f"{subsets['column']:{width}}{'top-1':>7}{'95 % interval':>18}{'images':>9}{'clips':>7}{'classes':>9}",
    ]
    for row in rows[:NUM_LISTED]:
        clips = "" if row["num_clips"] is None else row["num_clips"]
        scored = _format_score(row["top1_accuracy"])
        lines.append(f"{row['value']:{width}}{scored}{row['num_images']:9}{clips:>7}{row['num_classes']:9}")
    if len(rows) > NUM_LISTED:
        lines.append(f"and {len(rows) - NUM_LISTED} more, with higher scores")
    spread = subsets["top1_accuracy"]
    deviation = "" if spread["standard_deviation"] is None else f" ± {spread['standard_deviation']:.1%}"
    lines.append(
        f"top-1 over {len(rows)} values of {subsets['column']}: {spread['mean']:.1%}{deviation}, "
        f"{spread['lowest']:.1%} to {spread['highest']:.1%}"
    )
    return lines


def _format_scores(scores: dict[str, dict[str, Any]]) -> list[str]:
    return [f"{TITLES[name]:28}{_format_score(score)}".rstrip() for name, score in scores.items()]


def _format_score(score: dict[str, Any]) -> str:
    interval = "none" if score["low"] is None else f"{score['low']:.1%} to {score['high']:.1%}"
    interval += "*" * (score["method"] == "exact")
    return f"{score['value']:7.1%}{interval:>18}"


def _describe(results: dict[str, Any]) -> list[str]:
    conditions = results["conditions"]
    clips = "" if conditions["num_clips"] is None else f" of {conditions['num_clips']} clips"
    seed = "" if conditions["seed"] is None else f", seed {conditions['seed']}"
    lines = [
        f"{results['model']} on {results['data']}: {conditions['num_images']} images{clips}, "
        f"split {conditions['split']}{seed}; {conditions['num_classes']} classes, {conditions['task']}"
    ]
    if conditions["split_by"] not in (None, "given"):
        lines.append(describe_split(conditions["split_by"], clips_known=conditions["num_clips"] is not None))
    if conditions.get("tta"):
        lines.append("class probabilities are the mean over several views of each image (test-time augmentation)")
    if conditions["num_training_rows"]:
        lines.append(
            f"the model was trained on {conditions['num_training_rows']} of these images: the scores show what it "
            "memorized"
        )
    if not conditions["training_rows_known"]:
        lines.append(
            "the training images of the model are unknown (no split.json): if these images are among them, the scores "
            "show what it memorized"
        )
    if leakage := describe_leakage(conditions["leakage"] or {}):
        lines.append(f"of these, {leakage}")
    if conditions["chosen_on_these"]:
        lines.append("the best checkpoint was chosen on these images, so the scores are too high")
    return lines
