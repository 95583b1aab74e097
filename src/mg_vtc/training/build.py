"""Build the trainer of a recipe."""

import warnings
from collections.abc import Mapping
from pathlib import Path

from transformers import (
    PrinterCallback,
    ProgressCallback,
    set_seed,
)

from ..data.dataset import ImageDataset
from ..data.decoding import collate_images, find_resizing
from ..data.streaming import ImageStream
from ..evaluation.metrics import score_top_k
from ..runs.checkpoints import check_checkpoint, find_checkpoint
from ..runs.directory import RECIPE, begin_run, check_run_folder
from .arguments import MgVtcTrainingArguments
from .callbacks import EpochLineCallback
from .recipe import Recipe
from .run_data import SELECTION, find_descriptions, load_run_data
from .starting_point import build_model, read_image_processor
from .trainer import MgVtcTrainer


def check_folder(arguments: MgVtcTrainingArguments) -> None:
    """Refuse a folder in which a run would lose something or cannot be resumed; find the checkpoint to resume from."""
    folder, resume_from = Path(arguments.output_dir), arguments.resume_from_checkpoint
    check_run_folder(folder, overwrite=arguments.overwrite, resume=resume_from is not None)
    if resume_from is not None:
        needs_best = bool(arguments.load_best_model_at_end)
        with warnings.catch_warnings():
            if arguments.process_index > 0:
                warnings.simplefilter("ignore")  # the first process warns of damaged checkpoints
            arguments.resume_from_checkpoint = find_checkpoint(folder, resume_from, needs_best=needs_best)
        check_checkpoint(Path(arguments.resume_from_checkpoint), arguments.world_size, needs_best=needs_best)


def build_trainer(recipe: Recipe) -> tuple[MgVtcTrainer, Mapping[str, ImageDataset | ImageStream]]:
    """Check the folder, load data and towers, and write the recipe; return the trainer and the splits."""
    arguments, folder = recipe.training, Path(recipe.training.output_dir)
    resume = arguments.resume_from_checkpoint is not None
    check_folder(arguments)
    set_seed(arguments.seed)
    say = print if arguments.process_index == 0 else lambda line: None
    resizing = find_resizing(read_image_processor(recipe.model, recipe.data.image_size))
    data = load_run_data(recipe.data, arguments, resizing, say=say)
    frozen = [tower for tower in ("vision", "text") if getattr(arguments, f"freeze_{tower}_model")]
    descriptions = find_descriptions(recipe.data, data.class_names)
    model, processor = build_model(recipe.model, recipe.data.image_size, data.class_names, frozen, descriptions)
    trainer = MgVtcTrainer(
        model,
        arguments,
        train_dataset=data.splits["train"],
        eval_dataset=data.splits.get("validation"),
        selection_dataset=data.splits.get(SELECTION),
        processing_class=processor,
        data_collator=collate_images,
        compute_metrics=score_top_k,
    )
    for callback in (PrinterCallback, ProgressCallback):  # replaced by the epoch lines
        trainer.remove_callback(callback)
    trainer.add_callback(EpochLineCallback)

    trainer.check_start()
    if arguments.process_index == 0:
        begin_run(folder, recipe.settings, data.split, overwrite=bool(arguments.overwrite), resume=resume)
    trainer.accelerator.wait_for_everyone()
    if not (folder / RECIPE).exists():
        raise ValueError(
            f"output_dir {folder} must be on a disk that all machines share, but this machine cannot see it."
        )
    return trainer, data.splits
