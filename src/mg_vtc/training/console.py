"""First and last lines on the screen of a run."""

from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME

from ..data.dataset import ImageDataset
from ..data.leakage import describe_leakage
from ..data.splits import describe_split
from ..runs.directory import SPLIT, read_record
from .device import describe_device
from .next_steps import describe_next
from .trainer import MgVtcTrainer


def overview(trainer: MgVtcTrainer) -> str:
    """Return the first line of a run: images, classes, parameters, loss and batch size."""
    config, arguments = trainer.model.config, trainer.args
    texts = "no texts" if config.vision_only else f"{arguments.text_batch} texts"
    data = "a stream of images to train on"
    if isinstance(trainer.train_dataset, ImageDataset):
        held_out = "none" if trainer.eval_dataset is None else len(trainer.eval_dataset)
        data = f"{len(trainer.train_dataset)} images to train on, {held_out} to validate"
    parameters, trained = trainer.model.num_parameters(), trainer.model.num_parameters(only_trainable=True)
    frozen = "" if trained == parameters else f", {trained / 1e6:.2g} M of them trained"
    processes = f" on each of {arguments.world_size} processes" if arguments.world_size > 1 else ""
    return (
        f"{data}, "
        f"{config.num_labels} classes; {parameters / 1e6:.1f} M parameters{frozen}; "
        f"{arguments.loss_type} with {texts}, {arguments.train_batch_size} images a batch{processes}"
        f"; {describe_device(arguments)}"
    )


def describe_resumption(checkpoint: Path) -> str:
    """Return the line of a resumed run."""
    state = read_record(checkpoint / TRAINER_STATE_NAME)
    return f"Resuming from {checkpoint}, after step {state['global_step']} (epoch {state['epoch']:g})"


def summary(results: dict[str, float], folder: str) -> str:
    """Return the last lines of a run: scores beside baselines, its folder, and the next commands."""
    split = read_record(Path(folder) / SPLIT)
    clips_known = "same_clip" in split.get("leakage", {}).get("validation", {})
    majority, five = "", ""
    left_out = split.get("num_left_out", 0)
    next_lines = [f"{left_out} image files were left out; the first lines of the run name them"] if left_out else []
    next_lines += describe_next(Path(folder))
    if "baseline_majority_class_top1_accuracy" in results:
        majority = f"   (majority-class baseline: {results['baseline_majority_class_top1_accuracy']:.1%})"
        five = f"   (top-5 baseline: {results['baseline_five_most_frequent_top5_accuracy']:.1%})"
    if "eval_samples" not in results:
        words = describe_split(split["split_by"], clips_known=clips_known)
        return "\n".join(["", f"{words}, so there is no score; the last weights were kept", *next_lines])
    lines = [
        "",
        f"top-1  {results['eval_top1_accuracy']:6.1%}{majority}",
        f"top-5  {results['eval_top5_accuracy']:6.1%}{five}",
        f"on {results['eval_samples']} images, {describe_split(split['split_by'], clips_known=clips_known)}",
    ]
    if leakage := describe_leakage(split.get("leakage", {}).get("validation", {})):
        lines.append(f"of these, {leakage}")
    if "best_epoch" in results:
        lines.append(f"The best epoch on these images was kept: {results['best_epoch']:g}")
    elif "best_step" in results:
        lines.append(f"The best evaluated step on these images was kept: {results['best_step']}")
    if "test_samples" in results:
        lines.append(
            f"test: top-1 {results['test_top1_accuracy']:.1%}, top-5 {results['test_top5_accuracy']:.1%} on "
            f"{results['test_samples']} images that were not used to choose a checkpoint"
        )
    return "\n".join([*lines, *next_lines])
