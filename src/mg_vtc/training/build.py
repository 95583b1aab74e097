"""Build the towers, model, processor and trainer of a recipe."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
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

from ..data.dataset import ImageDataset
from ..data.decoding import collate_images
from ..data.sources import check_source
from ..data.streaming import ImageStream
from ..evaluation.metrics import score_top_k
from ..models.modeling_mg_vtc import MgVtcModel
from ..models.processing_mg_vtc import build_tokenizer, build_tower_processor
from ..runs.directory import RECIPE, begin_run, check_checkpoint, check_run_folder, find_checkpoint
from .arguments import MgVtcTrainingArguments
from .callbacks import EpochLineCallback
from .recipe import ModelArguments, Recipe
from .run_data import load_run_data
from .trainer import MgVtcTrainer


def load_tower(name: str | None, config: Any, kind: str) -> PreTrainedModel:
    """Load a pretrained encoder by name, or build one with random weights from a configuration."""
    if name is None:
        return AutoModel.from_config(AutoConfig.for_model(**config))
    try:
        check_source(name, "model")
        tower = AutoModel.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise OSError(
            f"The {kind} tower {name!r} cannot be loaded: {str(error).splitlines()[0]} Without a network, "
            f"`{kind}_model_name_or_path` takes a local folder and `{kind}_config` a tower from random weights."
        ) from error
    if Path(name).exists():
        tower.config.name_or_path = ""  # the model names no path of this machine
    return tower


def build_model(
    arguments: ModelArguments, image_size: int, class_names: list[str], frozen: Sequence[str] = ()
) -> tuple[MgVtcModel, CLIPProcessor | ViTImageProcessorPil]:
    """Build the model of a recipe and its processor."""
    config = arguments.config_fields | {"id2label": dict(enumerate(class_names))}
    text_tower: Any = None
    tokenizer: Any = None
    if isinstance(arguments.text_config, dict):
        tokenizer = build_tokenizer([arguments.prompt_template.replace("{}", name) for name in class_names])
        vocabulary = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        text_tower = load_tower(None, arguments.text_config | vocabulary, "text")
    elif not arguments.vision_only:
        text_tower = load_tower(arguments.text_model_name_or_path, None, "text")
        tokenizer = AutoTokenizer.from_pretrained(arguments.text_model_name_or_path)
    vision_tower = load_tower(arguments.vision_model_name_or_path, arguments.vision_config, "vision")
    for tower in ("vision", "text"):
        if getattr(arguments, f"{tower}_config") is not None and tower in frozen:
            warnings.warn(
                f"The {tower} tower is frozen and has random weights ({tower}_config): its features stay random. "
                f"Give a pretrained one, or leave freeze_{tower}_model out.",
                stacklevel=2,
            )
    model = MgVtcModel.from_vision_text_pretrained(vision_tower, text_tower, **config)
    check_image_size(model, image_size)
    vision, text_config = arguments.vision_model_name_or_path, getattr(text_tower, "config", None)
    return model, build_tower_processor(image_size, tokenizer, vision, text_config)


def check_image_size(model: MgVtcModel, image_size: int) -> None:
    """Refuse an image size that the vision tower cannot take."""
    try:
        with torch.no_grad():
            model.eval().get_image_features(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, ValueError) as error:
        own = getattr(model.config.vision_config, "image_size", None)
        way_out = f"set image_size {own}, the tower's own" if isinstance(own, int) else "set another image_size"
        raise ValueError(
            f"The vision tower cannot take images of {image_size} x {image_size} ({' '.join(str(error).split())}): "
            f"{way_out}, or image_size in vision_config."
        ) from error


def check_folder(arguments: MgVtcTrainingArguments) -> None:
    """Refuse a folder in which a run would lose something or cannot be resumed; find the checkpoint to resume from."""
    folder, resume_from = Path(arguments.output_dir), arguments.resume_from_checkpoint
    check_run_folder(folder, overwrite=arguments.overwrite, resume=resume_from is not None)
    if resume_from is not None:
        arguments.resume_from_checkpoint = find_checkpoint(folder, resume_from)
        needs_best = bool(arguments.load_best_model_at_end)
        check_checkpoint(Path(arguments.resume_from_checkpoint), arguments.world_size, needs_best=needs_best)


def build_trainer(recipe: Recipe) -> tuple[MgVtcTrainer, Mapping[str, ImageDataset | ImageStream]]:
    """Check the folder, load data and towers, and write the recipe; return the trainer and the splits."""
    arguments, folder = recipe.training, Path(recipe.training.output_dir)
    resume = arguments.resume_from_checkpoint is not None
    check_folder(arguments)
    set_seed(arguments.seed)
    data = load_run_data(recipe.data, arguments, say=print if arguments.process_index == 0 else lambda line: None)
    frozen = [tower for tower in ("vision", "text") if getattr(arguments, f"freeze_{tower}_model")]
    model, processor = build_model(recipe.model, recipe.data.image_size, data.class_names, frozen)
    trainer = MgVtcTrainer(
        model,
        arguments,
        train_dataset=data.splits["train"],
        eval_dataset=data.splits.get("validation"),
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
