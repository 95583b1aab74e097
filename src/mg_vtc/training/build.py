"""Build the trainer of a recipe."""

from collections.abc import Callable, Mapping
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import (
    PrinterCallback,
    ProgressCallback,
    set_seed,
)

from ..data.dataset import ImageDataset
from ..data.decoding import collate_images, find_resizing
from ..data.streaming import ImageStream
from ..evaluation.metrics import score_top_k
from ..hub.checkpoints import fetch_checkpoint
from ..runs.checkpoints import check_checkpoint, find_checkpoint, has_checkpoint
from ..runs.directory import (
    RECIPE,
    RECORDS,
    begin_run,
    check_run_folder,
    check_settings,
    has_finished,
    list_checkpoints,
)
from ..runs.manifest import MANIFEST, OF_MODEL, check_files
from .callbacks import EpochLineCallback, ResultsTableCallback
from .disk_space import check_disk_space
from .recipe import Recipe
from .run_data import SELECTION, find_descriptions, load_run_data
from .starting_point import build_model, read_image_processor
from .trainer import MgVtcTrainer

AUTO = "auto"  # value of resume_from_checkpoint: start, resume, or do nothing


def is_finished(recipe: Recipe) -> bool:
    """Return whether `resume_from_checkpoint` is "auto" and the run of this command is finished.

    Raises:
        ValueError: The folder holds a run with other settings, or a finished one with a damaged file.
    """
    folder = Path(recipe.training.output_dir)
    is_auto = str(recipe.training.resume_from_checkpoint).lower() == AUTO
    if not is_auto or recipe.training.overwrite or not has_finished(folder):
        return False
    if check_settings(folder, recipe.settings) is not None:  # a longer run is not finished
        return False
    check_files(folder, (*OF_MODEL, *RECORDS))
    return True


def _settle_auto(recipe: Recipe) -> None:
    """Replace "auto": resume a run that has checkpoints, else start it, again if it was interrupted before the first.

    Raises:
        ValueError: The folder holds a run with other settings.
    """
    arguments, folder = recipe.training, Path(recipe.training.output_dir)
    begun = (folder / RECIPE).exists()
    if begun:
        check_settings(folder, recipe.settings)
    resumable = has_checkpoint(folder) or any((one / MANIFEST).exists() for one in list_checkpoints(folder))
    if begun and not resumable and has_finished(folder):
        raise ValueError(
            f"{folder} holds a finished run without checkpoints, which cannot be extended: choose another folder, or "
            "replace it (`overwrite`)."
        )
    arguments.resume_from_checkpoint = "true" if begun and resumable else None
    arguments.overwrite = begun and not resumable


def _fetch_if_missing(recipe: Recipe, say: Callable[[str], None]) -> None:
    """Download the checkpoint that "auto" resumes from if another machine uploaded it, and this one has none."""
    arguments, folder = recipe.training, Path(recipe.training.output_dir)
    is_auto = str(arguments.resume_from_checkpoint).lower() == AUTO
    if not (is_auto and arguments.pushes_checkpoints) or list_checkpoints(folder) or has_finished(folder):
        return
    if arguments.process_index == 0:
        check_run_folder(folder, overwrite=arguments.overwrite, resume=True)
        if fetch_checkpoint(folder, arguments.repo_id, arguments.hub_revision, recipe.settings):
            say(f"{arguments.repo_id} has a checkpoint of this run, which was downloaded to {folder}")
    PartialState().wait_for_everyone()


def check_folder(recipe: Recipe) -> None:
    """Refuse a folder in which a run would lose something or cannot be resumed; find the checkpoint to resume from."""
    arguments, folder = recipe.training, Path(recipe.training.output_dir)
    resumes = arguments.resume_from_checkpoint is not None
    check_run_folder(folder, overwrite=arguments.overwrite, resume=resumes)
    if str(arguments.resume_from_checkpoint).lower() == AUTO:
        _settle_auto(recipe)
    if arguments.resume_from_checkpoint is None:
        return
    needs_best = bool(arguments.load_best_model_at_end)
    found: list[str | ValueError | OSError] = [""]
    if arguments.process_index == 0:  # which reads the files, and warns of damaged ones
        try:
            found[0] = find_checkpoint(folder, arguments.resume_from_checkpoint, needs_best=needs_best)
        except (ValueError, OSError) as error:  # raised in all processes: the others would wait
            found[0] = error
    (checkpoint,) = broadcast_object_list(found)
    if isinstance(checkpoint, ValueError | OSError):
        raise checkpoint
    arguments.resume_from_checkpoint = checkpoint
    check_checkpoint(Path(checkpoint), arguments.world_size, needs_best=needs_best)


def build_trainer(recipe: Recipe) -> tuple[MgVtcTrainer, Mapping[str, ImageDataset | ImageStream]]:
    """Check the folder, load data and towers, and write the recipe; return the trainer and the splits."""
    arguments, folder = recipe.training, Path(recipe.training.output_dir)
    say = print if arguments.process_index == 0 else lambda line: None
    _fetch_if_missing(recipe, say)
    check_folder(recipe)
    resume = arguments.resume_from_checkpoint is not None
    PartialState().wait_for_everyone()  # before the first process writes to the folder
    set_seed(arguments.seed)
    resizing = find_resizing(read_image_processor(recipe.model, recipe.data.image_size))
    data = load_run_data(recipe.data, arguments, resizing, say=say)
    frozen = [tower for tower in ("vision", "text") if getattr(arguments, f"freeze_{tower}_model")]
    descriptions = find_descriptions(recipe.data, data.class_names, vision_only=recipe.model.vision_only)
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
    trainer.add_callback(ResultsTableCallback)

    if model.config.label_texts is not None:
        data.split["label_texts"] = model.config.label_texts  # a resumed run must have the same
    trainer.whole_checkpoint = arguments.resume_from_checkpoint
    trainer.check_start()
    check_disk_space(trainer.model, arguments)
    if arguments.process_index == 0:
        begin_run(folder, recipe.settings, data.split, overwrite=bool(arguments.overwrite), resume=resume)
    trainer.accelerator.wait_for_everyone()
    if not (folder / RECIPE).exists():
        raise ValueError(
            f"output_dir {folder} must be on a disk that all machines share, but this machine cannot see it."
        )
    return trainer, data.splits
