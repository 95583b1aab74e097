"""Train a micro-gesture model: `accelerate launch train.py [recipe.yaml] [--flag value ...]`.

Without arguments it runs the demo, `configs/demo.yaml`. All flags: `python train.py --help`.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    CLIPProcessor,
    PreTrainedModel,
    PrinterCallback,
    ProgressCallback,
    ViTImageProcessorPil,
    set_seed,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import logging

from mg_vtc import MgVtcModel, MgVtcTrainer
from mg_vtc.cross_validation import SCORES, fold_folder, plan_fold, summarize_folds
from mg_vtc.data.leaks import describe_leaks
from mg_vtc.data.pictures import PictureDataset
from mg_vtc.data.pixels import collate_pictures
from mg_vtc.data.splits import describe_split
from mg_vtc.data.stream import PictureStream
from mg_vtc.evaluation.metrics import constant_answer_baselines, score_top_k
from mg_vtc.evaluation.run_results import write_run_results
from mg_vtc.hub.card import write_model_card
from mg_vtc.hub.lookup import check_source
from mg_vtc.hub.samples import write_samples
from mg_vtc.next_steps import describe_next
from mg_vtc.processing import build_processor, build_tokenizer, read_normalization
from mg_vtc.progress import EpochLineCallback, StopEarlyCallback
from mg_vtc.provenance import write_provenance
from mg_vtc.recipe import ModelArguments, Recipe, parse_recipe
from mg_vtc.repeated_runs import plan_seed, seed_folder, summarize_seeds
from mg_vtc.run_data import check_folds, load_run_data
from mg_vtc.run_folder import (
    RECIPE,
    SPLIT,
    begin_run,
    check_checkpoint,
    check_run_folder,
    find_checkpoint,
    read_record,
)

DEMO_RECIPE = Path(__file__).parent / "configs" / "demo.yaml"
CARD_TEMPLATE = Path(__file__).parent / "model_card.md"


def load_tower(name: str | None, config: dict | None, part: str) -> PreTrainedModel:
    """A pretrained encoder by name or, from random weights, by configuration."""
    if name is None:
        return AutoModel.from_config(AutoConfig.for_model(**config))
    try:
        check_source(name, "model")
        tower = AutoModel.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise OSError(
            f"The {part} tower {name!r} can not be loaded: {str(error).splitlines()[0]} Without a network, "
            f"--{part}_model_name_or_path takes a local folder and --{part}_config a tower from random weights."
        ) from error
    if Path(name).exists():
        tower.config.name_or_path = ""  # a path of this machine is no part of the model
    return tower


def build_model(
    arguments: ModelArguments, image_size: int, class_names: list[str], frozen: Sequence[str] = ()
) -> tuple[MgVtcModel, CLIPProcessor | ViTImageProcessorPil]:
    """The model of a recipe, and its processor."""
    config = arguments.config_fields | {"id2label": dict(enumerate(class_names))}
    text_tower, tokenizer = None, None
    if arguments.text_config is not None:
        tokenizer = build_tokenizer([arguments.prompt_template.replace("{}", name) for name in class_names])
        vocabulary = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        text_tower = load_tower(None, arguments.text_config | vocabulary, "text")
    elif not arguments.vision_only:
        text_tower = load_tower(arguments.text_model_name_or_path, None, "text")
        tokenizer = AutoTokenizer.from_pretrained(arguments.text_model_name_or_path)
    if tokenizer is not None:
        longest = getattr(text_tower.config, "max_position_embeddings", tokenizer.model_max_length)
        tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
    vision_tower = load_tower(arguments.vision_model_name_or_path, arguments.vision_config, "vision")
    for tower in ("vision", "text"):
        if getattr(arguments, f"{tower}_config") is not None and tower in frozen:
            warnings.warn(
                f"The {tower} tower is frozen and has random weights ({tower}_config): what it gives stays random. "
                f"Give a pretrained one, or leave freeze_{tower}_model out.",
                stacklevel=2,
            )
    model = MgVtcModel.from_vision_text_pretrained(vision_tower, text_tower, **config)
    check_image_size(model, image_size)
    normalization: dict[str, Any] = {}
    if arguments.vision_model_name_or_path is not None:
        mean, std = read_normalization(arguments.vision_model_name_or_path)
        normalization = {"image_mean": mean, "image_std": std}
    return model, build_processor(image_size, tokenizer, **normalization)


def check_image_size(model: MgVtcModel, image_size: int) -> None:
    """Make sure that the vision tower takes such pictures, before anything is written."""
    try:
        with torch.no_grad():
            model.eval().get_image_features(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, ValueError) as error:
        own = getattr(model.config.vision_config, "image_size", None)
        way_out = f"set image_size {own}, the tower's own" if isinstance(own, int) else "set another image_size"
        raise ValueError(
            f"The vision tower cannot take pictures of {image_size} x {image_size} ({' '.join(str(error).split())}): "
            f"{way_out}, or image_size in vision_config."
        ) from error


def build_trainer(recipe: Recipe) -> tuple[MgVtcTrainer, Mapping[str, PictureDataset | PictureStream]]:
    """Check the run's folder, load data and towers, join them, write what the run is: its trainer and its parts."""
    arguments, folder = recipe.training, Path(recipe.training.output_dir)
    resume = arguments.resume_from_checkpoint is not None
    check_run_folder(folder, overwrite=arguments.overwrite_output_dir, resume=resume)
    if resume:
        arguments.resume_from_checkpoint = find_checkpoint(folder, arguments.resume_from_checkpoint)
        check_checkpoint(
            Path(arguments.resume_from_checkpoint),
            arguments.world_size,
            needs_best=bool(arguments.load_best_model_at_end),
        )
    set_seed(arguments.seed)
    data = load_run_data(recipe.data, arguments, say=print if arguments.process_index == 0 else lambda line: None)
    frozen = [tower for tower in ("vision", "text") if getattr(arguments, f"freeze_{tower}_model")]
    model, processor = build_model(recipe.model, recipe.data.image_size, data.class_names, frozen)
    trainer = MgVtcTrainer(
        model,
        arguments,
        train_dataset=data.parts["train"],
        eval_dataset=data.parts.get("validation"),
        processing_class=processor,
        data_collator=collate_pictures,
        compute_metrics=score_top_k,
    )
    for callback in (PrinterCallback, ProgressCallback):  # the epoch lines take their place
        trainer.remove_callback(callback)
    trainer.add_callback(EpochLineCallback)
    if arguments.early_stopping_patience is not None:
        trainer.add_callback(StopEarlyCallback(arguments.early_stopping_patience))

    trainer.check_start()
    if arguments.process_index == 0:
        begin_run(folder, recipe.settings, data.split, overwrite=bool(arguments.overwrite_output_dir), resume=resume)
    trainer.accelerator.wait_for_everyone()
    if not (folder / RECIPE).exists():
        raise ValueError(
            f"output_dir {folder} must be on a disk that all machines share, and this one does not see it."
        )
    return trainer, data.parts


def run(trainer: MgVtcTrainer, parts: Mapping[str, PictureDataset | PictureStream]) -> dict[str, float]:
    """Train, keep the best checkpoint as the run's model, evaluate it and write `all_results.json` and the card."""
    resume_from = trainer.args.resume_from_checkpoint
    training = trainer.train(resume_from_checkpoint=resume_from)
    trainer.save_model()
    trainer.save_state()
    prefixes = {"validation": "eval", "test": "test"}
    answers = {
        part: trainer.predict(rows, metric_key_prefix=prefixes[part])
        for part, rows in parts.items()
        if part in prefixes
    }
    results = training.metrics | {name: value for part in answers.values() for name, value in part.metrics.items()}
    if isinstance(trainer.train_dataset, PictureDataset) and trainer.eval_dataset is not None:
        results |= constant_answer_baselines(trainer.train_dataset.labels.numpy(), trainer.eval_dataset.labels.numpy())
    kept_best = trainer.args.load_best_model_at_end and trainer.state.best_model_checkpoint is not None
    for log in trainer.state.log_history if kept_best else ():
        if "eval_loss" in log and log["step"] == trainer.state.best_global_step:
            results["best_step"] = log["step"]
            if isinstance(trainer.train_dataset, PictureDataset):  # a stream has no epochs
                results["best_epoch"] = log["epoch"]
            break
    trainer.save_metrics("all", results)
    if trainer.is_world_process_zero():
        folder = Path(trainer.args.output_dir)
        class_names = list(trainer.model.config.id2label.values())
        write_run_results(folder, answers, parts, class_names)
        seconds = training.metrics["train_runtime"] if resume_from is None else None  # of the last part alone
        write_provenance(folder, trainer.args, project=Path(__file__).parent, seconds=seconds)
        write_model_card(CARD_TEMPLATE, folder, write_samples(folder))
    return results


def overview(trainer: MgVtcTrainer) -> str:
    """The first line of a run: what is about to be trained on what."""
    config, arguments = trainer.model.config, trainer.args
    texts = "no texts" if config.vision_only else f"{arguments.text_batch} texts"
    data = "a stream of pictures to train on"
    if isinstance(trainer.train_dataset, PictureDataset):
        held_out = "none" if trainer.eval_dataset is None else len(trainer.eval_dataset)
        data = f"{len(trainer.train_dataset)} pictures to train on, {held_out} to validate"
    processes = f" on each of {arguments.world_size} processes" if arguments.world_size > 1 else ""
    return (
        f"{data}, "
        f"{config.num_labels} classes; {trainer.model.num_parameters() / 1e6:.1f} M parameters; "
        f"{arguments.loss_type} with {texts}, {arguments.train_batch_size} pictures a batch{processes}"
        f"{describe_threads(arguments.device)}"
    )


def describe_threads(device: torch.device) -> str:
    """How many threads of the processor compute, and how to have others."""
    if device.type != "cpu":
        return ""
    threads = torch.get_num_threads()
    return f"; {threads} CPU thread{'s' if threads > 1 else ''} (set OMP_NUM_THREADS for others)"


def describe_resumption(checkpoint: Path) -> str:
    """The line of a run that goes on: from where."""
    state = read_record(checkpoint / TRAINER_STATE_NAME)
    return f"Resuming from {checkpoint}, after step {state['global_step']} (epoch {state['epoch']:g})"


def summary(results: dict[str, float], folder: str) -> str:
    """The last lines of a run: its scores beside those of constant answers, where it is, and what to do next."""
    split = read_record(Path(folder) / SPLIT)
    clips_known = "same_clip" in split.get("leaks", {}).get("validation", {})
    majority, five = "", ""
    left_out = split.get("num_left_out", 0)
    next_lines = [f"{left_out} image files were left out; the first lines of the run name them"] if left_out else []
    next_lines += describe_next(Path(folder))
    if "baseline_majority_class_top1_accuracy" in results:
        majority = f"   (the commonest class alone: {results['baseline_majority_class_top1_accuracy']:.1%})"
        five = f"   (the five commonest: {results['baseline_five_commonest_top5_accuracy']:.1%})"
    if "eval_samples" not in results:
        words = describe_split(split["split_by"], clips_known=clips_known)
        return "\n".join(["", f"{words}, so there is no score; the last weights were kept", *next_lines])
    lines = [
        "",
        f"top-1  {results['eval_top1_accuracy']:6.1%}{majority}",
        f"top-5  {results['eval_top5_accuracy']:6.1%}{five}",
        f"on {results['eval_samples']} pictures, {describe_split(split['split_by'], clips_known=clips_known)}",
    ]
    if leaks := describe_leaks(split.get("leaks", {}).get("validation", {})):
        lines.append(f"of these, {leaks}")
    if "best_epoch" in results:
        lines.append(f"The best epoch by these same pictures was kept: {results['best_epoch']:g}")
    elif "best_step" in results:
        lines.append(f"The best of the steps evaluated on these same pictures was kept: {results['best_step']}")
    if "test_samples" in results:
        lines.append(
            f"test: top-1 {results['test_top1_accuracy']:.1%}, top-5 {results['test_top5_accuracy']:.1%} on "
            f"{results['test_samples']} pictures that chose nothing"
        )
    return "\n".join([*lines, *next_lines])


@contextmanager
def refusing_in_one_line() -> Iterator[None]:
    """What is wrong with the user's input, without a traceback."""
    try:
        yield
    except StrictDataclassError as error:  # a check of a configuration, wrapped in the name of the check
        sys.exit(f"train.py: {error.__cause__ or error}")
    except (ValueError, OSError) as error:
        sys.exit(f"train.py: {error}")


def train(recipe: Recipe) -> None:
    """One run, with its first and last lines."""
    with refusing_in_one_line():
        trainer, parts = build_trainer(recipe)
    if trainer.is_world_process_zero():
        print(overview(trainer), flush=True)
        print("saturated: share of the images whose Jensen-Shannon gradient has vanished, so that they teach nothing")
        if trainer.args.resume_from_checkpoint is not None:
            print(describe_resumption(Path(trainer.args.resume_from_checkpoint)), flush=True)
    results = run(trainer, parts)
    if trainer.is_world_process_zero():
        print(summary(results, trainer.args.output_dir), flush=True)
    if trainer.args.push_to_hub:
        with refusing_in_one_line():
            page = trainer.push_to_hub(commit_message="End of training")
        if trainer.is_world_process_zero():
            print(f"\nThe model is published: {page}")


def cross_validate(arguments: list[str], recipe: Recipe) -> None:
    """A run a fold, and their mean."""
    assert recipe.data.num_folds is not None
    with refusing_in_one_line():
        plan_fold(arguments, recipe, 0)
        check_folds(recipe.data, recipe.training, vision_only=recipe.model.vision_only)
    for fold in range(recipe.data.num_folds):
        with refusing_in_one_line():
            plan = plan_fold(arguments, recipe, fold)
        if plan is not None:
            if recipe.training.process_index == 0:
                print(f"fold {fold}, the {fold + 1}. of {recipe.data.num_folds}, in {fold_folder(recipe, fold)}")
            train(parse_recipe(plan))
    if recipe.training.process_index == 0:
        with refusing_in_one_line():
            scores = summarize_folds(recipe)
        print(f"\nmean of {recipe.data.num_folds} folds ± standard deviation, in {recipe.training.output_dir}")
        print(describe_split(scores["split_by"], clips_known="same_clip" in scores["leaks"]))
        if leaks := describe_leaks(scores["leaks"]):
            print(f"of these, {leaks}")
        if scores["chosen_on_these"]:
            print("The best epoch of each fold by these same pictures was kept.")
        print_means(scores)


def train_seeds(arguments: list[str], recipe: Recipe) -> None:
    """A run a seed, and their mean."""
    for number in range(recipe.data.num_seeds):
        with refusing_in_one_line():
            plan = plan_seed(arguments, recipe, number)
        if plan is not None:
            if recipe.training.process_index == 0:
                folder = seed_folder(recipe, number)
                print(
                    f"seed {recipe.training.seed + number}, run {number + 1} of {recipe.data.num_seeds}, in {folder}"
                )
            train(parse_recipe(plan))
    if recipe.training.process_index == 0:
        with refusing_in_one_line():
            scores = summarize_seeds(recipe)
        print(f"\nmean of {recipe.data.num_seeds} seeds ± standard deviation, in {recipe.training.output_dir}")
        how = (
            "the split is the same"
            if scores["split"] == "fixed"
            else "each has a split of its own (--split_seed fixes it)"
        )
        print(f"of weights and order of the images; {how}")
        print_means(scores)


def print_means(scores: dict[str, Any]) -> None:
    """A line a score: mean and standard deviation over several runs."""
    for name in SCORES:
        shown = name.removeprefix("eval_").replace("_", " ")
        print(f"{shown:20} {scores[name]['mean']:6.1%} ± {scores[name]['std']:.1%}")


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments:
        print(f"No recipe was given, so this is the demo: {DEMO_RECIPE.relative_to(DEMO_RECIPE.parents[1])}")
        arguments = [str(DEMO_RECIPE), "--overwrite_output_dir"]  # the demo may be run again
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.disable_progress_bar()  # of loading and saving weights; the bar of the training stays
    datasets.disable_progress_bars()
    if "OMP_NUM_THREADS" not in os.environ:  # as `accelerate launch` has it; several wait for each other on busy cores
        torch.set_num_threads(1)
    with refusing_in_one_line():
        recipe = parse_recipe(arguments)
    try:
        if recipe.data.num_seeds > 1:
            train_seeds(arguments, recipe)
        elif recipe.data.num_folds is None or recipe.data.fold is not None:
            train(recipe)
        else:
            cross_validate(arguments, recipe)
    except FloatingPointError as error:
        sys.exit(f"train.py: {error}")
    except KeyboardInterrupt:
        sys.exit("train.py: interrupted; to go on from the last checkpoint, add --resume_from_checkpoint true")


if __name__ == "__main__":
    main()
