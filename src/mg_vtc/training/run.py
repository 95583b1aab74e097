"""Training runs: a single run, one for each fold, or one for each seed."""

import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import datasets
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers.utils import logging

from ..data.dataset import ImageDataset
from ..data.leakage import describe_leakage
from ..data.splits import describe_split
from ..data.streaming import ImageStream
from ..evaluation.metrics import class_frequency_baselines
from ..hub.push import is_pushed, push_to_hub
from ..messages import name_flags
from .arguments import MgVtcTrainingArguments
from .build import build_trainer, check_folder, is_finished
from .console import describe_resumption, overview, summary
from .cross_validation import fold_folder, plan_fold, summarize_folds
from .disk_space import DiskFull, naming_full_disk
from .distributed import is_lost_connection, is_timeout
from .preemption import (
    EXIT_CODE,
    GO_ON,
    Interrupted,
    check_signals,
    deferring_signals,
    ignore_signals,
    watching_signals,
)
from .recipe import Recipe, as_flags, override, parse_recipe
from .repeated_runs import SCORES, plan_seed, seed_folder, summarize_seeds
from .run_data import check_folds
from .trainer import MgVtcTrainer
from .write_records import write_records, write_results

LAUNCHER_ENDS = 20  # seconds within which a launcher ends the other processes of one that has ended
PROCESS_HANGS = (
    "A process of the run did not take part within `ddp_timeout` seconds: it hangs, was suspended, or is slow. Repeat "
    "the command with `resume_from_checkpoint` 'auto', and with a longer `ddp_timeout` if a process has more to do."
)


def run(trainer: MgVtcTrainer, splits: Mapping[str, ImageDataset | ImageStream]) -> dict[str, float]:
    """Train, evaluate the best checkpoint, and write the model, `all_results.json` and the card.

    Raises:
        Interrupted: A signal ended the run, after a checkpoint or before anything was written.
    """
    resume_from = trainer.args.resume_from_checkpoint
    training = trainer.train(resume_from_checkpoint=resume_from)
    prefixes = {"validation": "eval", "test": "test"}
    predictions = {
        split: trainer.predict(rows, metric_key_prefix=prefixes[split])
        for split, rows in splits.items()
        if split in prefixes
    }
    trainer.save_model()  # from here on to the end, which is near, a signal is ignored
    trainer.save_state()
    results = training.metrics | {
        name: value for output in predictions.values() for name, value in output.metrics.items()
    }
    if isinstance(trainer.train_dataset, ImageDataset) and trainer.eval_dataset is not None:
        results |= class_frequency_baselines(trainer.train_dataset.labels.numpy(), trainer.eval_dataset.labels.numpy())
    kept_best = trainer.args.load_best_model_at_end and trainer.state.best_model_checkpoint is not None
    for log in trainer.state.log_history if kept_best else ():
        if "eval_loss" in log and log["step"] == trainer.state.best_global_step:
            results["best_step"] = log["step"]
            if isinstance(trainer.train_dataset, ImageDataset):  # a stream has no epochs
                results["best_epoch"] = log["epoch"]
            break
    if trainer.is_world_process_zero():
        write_results(Path(trainer.args.output_dir), results)
        seconds = training.metrics["train_runtime"] if resume_from is None else None  # of the last part alone
        class_names = list(trainer.model.config.id2label.values())
        folder, arguments = Path(trainer.args.output_dir), trainer.args
        write_records(folder, arguments, trainer.state, predictions, splits, class_names, seconds=seconds)
    return results


class Refusal(Exception):
    """A fault of the user's input that was found before training; its cause is the original error."""


@contextmanager
def _refusing() -> Iterator[None]:
    """Mark errors of the user's input, which are shown in one line; later errors keep their traceback."""
    try:
        yield
    except StrictDataclassError as error:  # a check of a configuration, wrapped in the name of the check
        raise Refusal(str(error.__cause__ or error)) from (error.__cause__ or error)
    except (ValueError, OSError) as error:
        raise Refusal(str(error)) from error


def train_once(recipe: Recipe) -> None:
    """Train one model, and print the first and last lines of its run."""
    with _refusing():
        if is_finished(recipe):
            _leave_finished(recipe.training)
            return
        trainer, splits = build_trainer(recipe)
    if trainer.is_world_process_zero():
        print(overview(trainer), flush=True)
        print("saturated: fraction of images whose Jensen-Shannon gradient has vanished")
        if trainer.args.resume_from_checkpoint is not None:
            print(describe_resumption(Path(trainer.args.resume_from_checkpoint)), flush=True)
    with deferring_signals(trainer), naming_full_disk(Path(trainer.args.output_dir)):
        if recipe.model.model_name_or_path is not None and trainer.args.resume_from_checkpoint is None:
            _print_start(trainer)
        results = run(trainer, splits)
    if trainer.is_world_process_zero():
        if "wise_ft_alpha" in results:
            print(f"final weights: {results['wise_ft_alpha']:.0%} trained, by training images that were held out")
        print(summary(results, trainer.args.output_dir), flush=True)
    if trainer.args.push_to_hub:
        check_signals("before the finished run was pushed")
        with _refusing():
            page = trainer.push_to_hub(commit_message="End of training")
        if trainer.is_world_process_zero():
            print(f"\nThe model was pushed: {page}")


def _leave_finished(arguments: MgVtcTrainingArguments) -> None:
    """Print that a run is finished, and push it if it shall be, in case that was interrupted."""
    if arguments.process_index > 0:
        return
    print(f"{arguments.output_dir} holds the finished run of this command: nothing is left to train")
    if arguments.push_to_hub:
        if is_pushed(arguments.output_dir, arguments.repo_id, revision=arguments.hub_revision):
            print(f"{arguments.repo_id} has its model already: nothing is left to push")
            return
        settings = {"private": arguments.makes_private, "revision": arguments.hub_revision}
        page = push_to_hub(arguments.output_dir, arguments.repo_id, commit_message="End of training", **settings)
        print(f"The model was pushed: {page}")


def _print_start(trainer: MgVtcTrainer) -> None:
    """Print the scores of the starting point on the held-out images, before any training."""
    if trainer.eval_dataset is None:
        return
    if trainer.model.config.vision_only:
        if trainer.is_world_process_zero():
            print("before training: no score, because the class embeddings of a vision-only model start at random")
        return
    metrics = trainer.predict(trainer.eval_dataset, metric_key_prefix="start").metrics
    if trainer.is_world_process_zero():
        scores = ", ".join(f"top-{k} {metrics[f'start_top{k}_accuracy']:.1%}" for k in (1, 5))
        print(f"before training: {scores} on {metrics['start_samples']} images, by the class names alone", flush=True)


def train_several(plans: Mapping[str, list[str] | None]) -> None:
    """Train several runs, each below its title, after the folders of all have been checked; None is a finished run."""
    with _refusing():
        recipes = {title: parse_recipe(plan) for title, plan in plans.items() if plan is not None}
        for recipe in recipes.values():
            check_folder(recipe)
    for title, recipe in recipes.items():
        check_signals("between two runs")
        if recipe.training.process_index == 0:
            print(title)
        train_once(recipe)


def cross_validate(arguments: list[str], recipe: Recipe) -> None:
    """Train a run for each fold and print their mean."""
    assert recipe.data.num_folds is not None
    with _refusing():
        check_folds(recipe.data, recipe.training, vision_only=recipe.model.vision_only)
        plans = {
            f"fold {fold} ({fold + 1} of {recipe.data.num_folds}), in {fold_folder(recipe, fold)}": plan_fold(
                arguments, recipe, fold
            )
            for fold in range(recipe.data.num_folds)
        }
    train_several(plans)
    if recipe.training.process_index == 0:
        with _refusing():
            scores = summarize_folds(recipe)
        print(f"\nmean of {recipe.data.num_folds} folds ± standard deviation, in {recipe.training.output_dir}")
        print(describe_split(scores["split_by"], clips_known="same_clip" in scores["leakage"]))
        if leakage := describe_leakage(scores["leakage"]):
            print(f"of these, {leakage}")
        if scores["chosen_on_these"]:
            print("The best epoch of each fold on these images was kept.")
        print_means(scores)


def train_seeds(arguments: list[str], recipe: Recipe) -> None:
    """Train a run for each seed and print their mean."""
    first, count = recipe.training.seed, recipe.data.num_seeds
    with _refusing():
        plans = {
            f"seed {first + number} ({number + 1} of {count}), in {seed_folder(recipe, number)}": plan_seed(
                arguments, recipe, number
            )
            for number in range(count)
        }
    train_several(plans)
    if recipe.training.process_index == 0:
        with _refusing():
            scores = summarize_seeds(recipe)
        print(f"\nmean of {recipe.data.num_seeds} seeds ± standard deviation, in {recipe.training.output_dir}")
        how = (
            "all on the same split" if scores["split"] == "fixed" else "each on its own split (--split_seed fixes it)"
        )
        print(f"Seeds change the weights and the order of the images, {how}.")
        print_means(scores)


def print_means(scores: dict[str, Any]) -> None:
    """Print mean and standard deviation of each score over several runs."""
    for name in SCORES:
        shown = name.removeprefix("eval_").replace("_", " ")
        print(f"{shown:20} {scores[name]['mean']:6.1%} ± {scores[name]['std']:.1%}")


def train(recipe: str | Path | Mapping[str, Any], **settings: Any) -> Path:
    """Train the model of a recipe, as `mg-vtc train` does.

    Args:
        recipe: Name of a recipe of the package ("recommended"), path of a YAML file, or its content.
        settings: Settings that override the recipe's, by the names of the flags of `mg-vtc train`, such as
            `train_dir="my_images"` and `output_dir="runs/mine"`.

    Returns:
        Folder of the run, whose model `evaluate`, `predict`, `export` and `push_to_hub` take; with `num_folds`
        or `num_seeds` the folder of the runs and of their means.

    Raises:
        FileNotFoundError: There is no such recipe, or data are missing.
        ValueError: A setting is unknown or out of range, the data cannot be trained on, or the folder holds a run.
        FloatingPointError: The loss is not finite.
        MemoryError: The memory of the device is full.
    """
    if isinstance(recipe, (str, Path)):
        arguments = [str(recipe), *as_flags(settings)]
    else:
        arguments = as_flags(override(dict(recipe), settings) | settings)
    try:
        return train_recipe(arguments)
    except Refusal as refusal:
        raise (refusal.__cause__ or refusal) from None


def train_recipe(arguments: list[str]) -> Path:
    """Train a recipe, overridden by flags, and return the folder of the run."""
    with _refusing():
        recipe = parse_recipe(arguments)
    if recipe.data.num_seeds > 1:
        train_seeds(arguments, recipe)
    elif recipe.data.num_folds is None or recipe.data.fold is not None:
        train_once(recipe)
    else:
        cross_validate(arguments, recipe)
    return Path(recipe.training.output_dir)


def main(arguments: Sequence[str] | None = None, *, program: str = "mg-vtc train") -> None:
    """Train from the command line.

    Args:
        arguments: `[recipe] [--flag value ...]`; by default those of this process.
        program: Name at the beginning of error messages.

    Raises:
        SystemExit: The user's input is at fault, the loss is not finite, memory or disk are full, or a signal ended
            the run.
    """
    warnings.formatwarning = lambda message, *_: f"warning: {name_flags(str(message))}\n"
    logging.disable_progress_bar()  # of weights; the training keeps its own
    datasets.disable_progress_bars()
    if "OMP_NUM_THREADS" not in os.environ:  # as `accelerate launch` sets it; more threads are slower on busy cores
        torch.set_num_threads(1)
    try:
        with watching_signals() as watch:
            train_recipe(sys.argv[1:] if arguments is None else list(arguments))
    except (Refusal, DiskFull, FloatingPointError, MemoryError) as error:
        _end(program, str(error) or "The memory is full.")
    except RuntimeError as error:
        if is_timeout(error):
            _end(program, PROCESS_HANGS)
        if not is_lost_connection(error):
            raise
        if watch.received:  # by the launcher, which will not send it again, or by a scheduler
            sys.exit(f"{program}: another process of the run has ended, and this one with it.")
        time.sleep(LAUNCHER_ENDS)
        raise
    except ValueError as error:
        if "DataLoader worker process" not in str(error):
            raise
        reason = str(error).strip().splitlines()[-1].partition(": ")[2]  # below the traceback of the worker
        sys.exit(f"{program}: {name_flags(reason)}")
    except Interrupted as interrupted:
        ignore_signals()
        if int(os.environ.get("RANK", 0)) == 0:
            print(f"{program}: {interrupted}; {GO_ON}", file=sys.stderr, flush=True)
        sys.exit(EXIT_CODE)


def _end(program: str, reason: str) -> NoReturn:
    """End with a line that all processes would print, but the first one alone does."""
    if int(os.environ.get("LOCAL_RANK", 0)) > 0:
        time.sleep(LAUNCHER_ENDS)  # if the first process does not end this one, this one prints
    sys.exit(f"{program}: {name_flags(reason)}")


if __name__ == "__main__":  # as accelerate's launcher starts it
    main()
