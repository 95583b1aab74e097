"""Train a micro-gesture model: `accelerate launch train.py [recipe.yaml] [--flag value ...]`.

Without arguments it runs the demo, `configs/demo.yaml`. All flags: `python train.py --help`.
"""

import json
import sys
import warnings
from pathlib import Path

import datasets
import numpy as np
from datasets import DatasetDict
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    CLIPProcessor,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    ViTImageProcessorPil,
    set_seed,
)
from transformers.utils import logging

from mg_vtc import MgVtcModel, MgVtcTrainer
from mg_vtc.data import load_demo_dataset, load_hub_dataset, load_image_folder, load_image_folders, split_stratified
from mg_vtc.data.pixels import PictureCollator, PictureTransform
from mg_vtc.evaluation.metrics import constant_answer_baselines, top_k_accuracy
from mg_vtc.hub.card import write_model_card
from mg_vtc.processing import build_processor, build_tokenizer
from mg_vtc.progress import EpochLineCallback
from mg_vtc.recipe import DataArguments, ModelArguments, Recipe, parse_recipe
from mg_vtc.run_folder import check_run_folder, clear_run_folder, find_checkpoint, write_recipe, write_split

DEMO_RECIPE = Path(__file__).parent / "configs" / "demo.yaml"
CARD_TEMPLATE = Path(__file__).parent / "model_card.md"


def load_data(arguments: DataArguments, seed: int) -> tuple[DatasetDict, str]:
    """Rows with `train` and `validation` splits, and how they were split: "frame" or "given"."""
    if arguments.dataset_name == "demo":
        splits = DatasetDict(train=load_demo_dataset(arguments.image_size))
    elif arguments.dataset_name is not None:
        splits = load_hub_dataset(
            arguments.dataset_name,
            arguments.dataset_config_name,
            image_column=arguments.image_column_name,
            label_column=arguments.label_column_name,
        )
    elif arguments.validation_dir is not None:
        folders = {"train": arguments.train_dir, "validation": arguments.validation_dir}
        splits = load_image_folders(folders, arguments.labels_file, skip_bad_images=arguments.skip_bad_images)
    else:
        splits = load_image_folder(
            arguments.train_dir, arguments.labels_file, skip_bad_images=arguments.skip_bad_images
        )
    if "validation" in splits:
        return splits, "given"
    return split_stratified(splits["train"], arguments.train_val_split, seed), "frame"


def load_tower(name: str | None, config: dict | None, part: str) -> PreTrainedModel:
    """A pretrained encoder by name or, from random weights, by configuration."""
    if name is None:
        return AutoModel.from_config(AutoConfig.for_model(**config))
    try:
        return AutoModel.from_pretrained(name)
    except OSError as error:
        raise OSError(
            f"The {part} tower {name!r} can not be loaded: {str(error).splitlines()[0]} Without a network, "
            f"--{part}_model_name_or_path takes a local folder and --{part}_config a tower from random weights."
        ) from error


class AugmentationEpoch(TrainerCallback):
    """Tells the transform which epoch it is: the augmentation is a function of (seed, epoch, row)."""

    def __init__(self, transform: PictureTransform):
        self.transform = transform

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.transform.set_epoch(int(state.epoch))


def build_model(
    arguments: ModelArguments, image_size: int, class_names: list[str]
) -> tuple[MgVtcModel, CLIPProcessor | ViTImageProcessorPil]:
    """The model of a recipe, and its processor."""
    config = arguments.config_fields | {"id2label": dict(enumerate(class_names))}
    vision_tower = load_tower(arguments.vision_model_name_or_path, arguments.vision_config, "vision")
    if arguments.vision_only:
        return MgVtcModel.from_vision_text_pretrained(vision_tower, **config), build_processor(image_size)
    if arguments.text_model_name_or_path is not None:
        text_tower = load_tower(arguments.text_model_name_or_path, None, "text")
        tokenizer = AutoTokenizer.from_pretrained(arguments.text_model_name_or_path)
    else:
        prompts = [arguments.prompt_template.replace("{}", name) for name in class_names]
        tokenizer = build_tokenizer(prompts)
        vocabulary = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        text_tower = load_tower(None, arguments.text_config | vocabulary, "text")
    tokenizer.model_max_length = min(tokenizer.model_max_length, text_tower.config.max_position_embeddings)
    model = MgVtcModel.from_vision_text_pretrained(vision_tower, text_tower, **config)
    return model, build_processor(image_size, tokenizer)


def build_trainer(recipe: Recipe) -> MgVtcTrainer:
    """Check the run's folder, load the data and the towers, write what the run is, and join all in a trainer."""
    arguments, folder = recipe.training, Path(recipe.training.output_dir)
    resume = arguments.resume_from_checkpoint is not None
    check_run_folder(folder, overwrite=arguments.overwrite_output_dir, resume=resume)
    if resume:
        arguments.resume_from_checkpoint = find_checkpoint(folder, arguments.resume_from_checkpoint)
    set_seed(arguments.seed)
    splits, split_kind = load_data(recipe.data, arguments.seed)
    class_names = splits["train"].features["label"].names
    model, processor = build_model(recipe.model, recipe.data.image_size, class_names)

    parts = {name: rows.add_column("index", range(len(rows))) for name, rows in splits.items()}
    transform = PictureTransform(recipe.data.image_size, max_shift=recipe.data.max_shift, seed=arguments.seed)
    image_processor = getattr(processor, "image_processor", processor)
    trainer = MgVtcTrainer(
        model,
        arguments,
        train_dataset=parts["train"].with_transform(transform),
        eval_dataset=parts["validation"].with_transform(PictureTransform(recipe.data.image_size)),
        processing_class=processor,
        data_collator=PictureCollator(image_processor.image_mean, image_processor.image_std),
        compute_metrics=score,
        callbacks=[AugmentationEpoch(transform)],
    )
    for callback in (PrinterCallback, ProgressCallback):  # the epoch lines take their place
        trainer.remove_callback(callback)
    trainer.add_callback(EpochLineCallback)
    if arguments.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(arguments.early_stopping_patience))

    if arguments.process_index == 0:
        if arguments.overwrite_output_dir:
            clear_run_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_split(folder, splits, kind=split_kind, seed=arguments.seed, resume=resume)
        write_recipe(folder, recipe.settings)
    return trainer


def score(prediction: EvalPrediction) -> dict[str, float]:
    """Top-1 and top-5 accuracy of a validation set, fractions in [0, 1]."""
    return {f"top{k}_accuracy": top_k_accuracy(prediction.predictions, prediction.label_ids, k) for k in (1, 5)}


def run(trainer: MgVtcTrainer) -> dict[str, float]:
    """Train, keep the best checkpoint as the run's model, evaluate it and write `all_results.json`."""
    training = trainer.train(resume_from_checkpoint=trainer.args.resume_from_checkpoint)
    trainer.save_model()
    trainer.save_state()
    train_labels, labels = (
        np.asarray(rows.data.column("label")) for rows in (trainer.train_dataset, trainer.eval_dataset)
    )
    results = training.metrics | trainer.evaluate() | constant_answer_baselines(train_labels, labels)
    results["eval_samples"] = len(trainer.eval_dataset)
    trainer.save_metrics("all", results)
    if trainer.is_world_process_zero():
        write_model_card(CARD_TEMPLATE, Path(trainer.args.output_dir))
    return results


def summary(results: dict[str, float], folder: str) -> str:
    """The last lines of a run: its scores beside those of constant answers, where it is, and what to do next."""
    split = json.loads((Path(folder) / "split.json").read_text(encoding="utf-8"))
    kinds = {
        "frame": "held out at random, so that a clip of several frames is on both sides and the scores are too high",
        "given": "the validation pictures that were given",
    }
    return f"""
top-1  {100 * results["eval_top1_accuracy"]:5.1f} %   (the commonest class alone: {
        100 * results["baseline_majority_class_top1_accuracy"]:.1f} %)
top-5  {100 * results["eval_top5_accuracy"]:5.1f} %   (the five commonest: {
        100 * results["baseline_five_commonest_top5_accuracy"]:.1f} %)
on {results["eval_samples"]} pictures; {kinds[split["split_by"]]}

The model is in {folder}. To classify a picture with it:
  python -c "import mg_vtc; from transformers import pipeline; \\
             print(pipeline('image-classification', '{folder}')('PICTURE'))"
"""


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments:
        print(f"No recipe was given, so this is the demo: {DEMO_RECIPE.relative_to(DEMO_RECIPE.parents[1])}")
        arguments = [str(DEMO_RECIPE)]
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.disable_progress_bar()  # of loading and saving weights; the bar of the training stays
    datasets.disable_progress_bars()
    try:
        trainer = build_trainer(parse_recipe(arguments))
        results = run(trainer)
    except StrictDataclassError as error:  # a check of a configuration, wrapped in the name of the check
        sys.exit(f"train.py: {error.__cause__ or error}")
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"train.py: {error}")
    except KeyboardInterrupt:
        sys.exit("train.py: interrupted; to go on from the last checkpoint, add --resume_from_checkpoint true")
    if trainer.is_world_process_zero():
        print(summary(results, trainer.args.output_dir))


if __name__ == "__main__":
    main()
