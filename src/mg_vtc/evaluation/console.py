"""Text summary of the results of an evaluation."""

from typing import Any

from ..data.leakage import describe_leakage
from ..data.splits import describe_split

TITLES = {
    "top1_accuracy": "top-1 accuracy",
    "top5_accuracy": "top-5 accuracy",
    "mean_class_accuracy": "mean class accuracy",
    "macro_f1": "macro F1",
    "expected_calibration_error": "expected calibration error",
}


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
        interval = "none" if score["low"] is None else f"{score['low']:.1%} to {score['high']:.1%}"
        interval += "*" * (score["method"] == "exact")
        constant = f"{baselines[name]:.1%}" if name in baselines else ""
        lines.append(f"{TITLES[name]:28}{score['value']:7.1%}{interval:>18}{constant:>18}".rstrip())
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
    if "temperature_scaling" in results:
        lines += _summarize_temperature(results["temperature_scaling"])
    if "clips" in results:
        lines += _summarize_clips(results["clips"])
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
