"""Settings of transformers that have no effect here or fail later; each is refused with the way out."""

import difflib
import math
import os
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.trainer_pt_utils import AcceleratorConfig

LEAVE_OUT = "leave it out"
LORA_TOWERS = ("both", "vision", "text")
# Settings of transformers that would have no effect or stop the run later, with the reason.
REFUSED = {
    "average_tokens_across_devices": "is for tokens of language models",
    "include_num_input_tokens_seen": "is for tokens of language models",
    "use_liger_kernel": "has kernels for language models only",
    "liger_kernel_config": "has kernels for language models only",
    "use_cache": "is for models that generate text",
    "prediction_loss_only": "would leave no scores",
    "eval_do_concat_batches": "would score batches, but scores here are of the whole set",
    "eval_use_gather_object": "is for nested predictions, but scores of images are one tensor",
    "batch_eval_metrics": "would score batches, but scores here are of the whole set",
    "include_for_metrics": "adds inputs that no metric here reads",
    "label_names": "is for other columns; the column of labels here is 'labels'",
    "length_column_name": "is for texts of unequal length",
    "remove_unused_columns": "must stay False: columns are made on access",
    "restore_callback_states_from_checkpoint": "is not needed: early stopping counts the history of the run",
    "ignore_data_skip": "would train on the first rows of an interrupted epoch twice",
    "save_on_each_node": "would write one folder from several machines, which share the disk of output_dir",
    "enable_jit_checkpoint": "ends an interrupted run as if it were finished; a signal saves a checkpoint without it",
    "hub_always_push": "would push without a card: the finished run is pushed once",
    "accelerator_config": "configures loaders that are not used here",
    "parallelism_config": "shards the model, but embeddings are gathered from whole models",
    "fsdp": "shards the model, but embeddings are gathered from whole models",
    "fsdp_config": "shards the model, but embeddings are gathered from whole models",
    "deepspeed": "shards the model, but embeddings are gathered from whole models",
    "bf16_full_eval": "casts weights and not images; bf16 also runs evaluations in bfloat16",
    "fp16_full_eval": "casts weights and not images; fp16 also runs evaluations in float16",
    "logging_nan_inf_filter": "hides losses that are not finite, which stop a run here",
    "dataloader_in_order": "would make the order of the batches unrepeatable",
    "debug": "is not needed: a loss that is not finite stops the run and names its batch",
    "do_train": "is for transformers' example scripts: a run here trains and evaluates",
    "do_predict": "is for transformers' example scripts: `mg-vtc predict` predicts",
    "local_rank": "is set by the launcher",
}
# Optimizers without optim_args and optim_target_modules.
PLAIN_OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "sgd", "adagrad", "rmsprop", "adafactor")
# Settings that need another one.
NEEDS_STEPS = {"eval_steps": "eval_strategy", "save_steps": "save_strategy", "logging_steps": "logging_strategy"}
NEEDS_WORKERS = ("dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_multiprocessing_context")
NEEDS_TRACKIO = ("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id")
NEEDS_PROCESSES = (
    *("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph", "ddp_backend"),
    "ddp_timeout",
)
POSITIVE = (
    *("num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"),
    *("early_stopping_patience", "text_chunk_size", "gradient_cache", "eval_steps", "save_steps", "logging_steps"),
)
NOT_NEGATIVE = (
    *("learning_rate", "vision_learning_rate", "text_learning_rate", "weight_decay", "tower_weight_decay"),
    *("max_grad_norm", "adam_epsilon", "dataloader_num_workers", "save_total_limit", "eval_delay"),
)
# Names in other libraries.
OTHER_WORDS = {
    **dict.fromkeys(("epochs", "num_epochs", "max_epochs", "n_epochs"), "num_train_epochs"),
    **dict.fromkeys(("lr", "lr0", "base_lr", "learning-rate"), "learning_rate"),
    **dict.fromkeys(("batch_size", "batch", "bs", "train_batch_size"), "per_device_train_batch_size"),
    **dict.fromkeys(("val_batch_size", "eval_batch_size", "validation_batch_size"), "per_device_eval_batch_size"),
    **dict.fromkeys(("data", "data_dir", "data_path", "train_data", "root", "dataset_dir", "images"), "train_dir"),
    **dict.fromkeys(("val_dir", "val_data", "eval_dir", "validation_data"), "validation_dir"),
    **dict.fromkeys(("dataset", "dataset_id", "hub_dataset"), "dataset_name"),
    **dict.fromkeys(("model", "backbone", "arch", "vision_model", "model_name_or_path"), "vision_model_name_or_path"),
    **dict.fromkeys(("text_model", "text_encoder"), "text_model_name_or_path"),
    **dict.fromkeys(("imgsz", "img_size", "resolution", "input_size"), "image_size"),
    **dict.fromkeys(("workers", "num_workers"), "dataloader_num_workers"),
    **dict.fromkeys(("out", "output", "save_dir", "out_dir"), "output_dir"),
    **dict.fromkeys(("overwrite_output_dir", "force"), "overwrite"),
    **dict.fromkeys(("resume", "resume_from"), "resume_from_checkpoint"),
    **dict.fromkeys(("loss", "objective", "criterion"), "loss_type"),
    **dict.fromkeys(("optimizer", "opt"), "optim"),
    **dict.fromkeys(("scheduler", "lr_scheduler", "sched"), "lr_scheduler_type"),
    **dict.fromkeys(("wd", "decay"), "weight_decay"),
    **dict.fromkeys(("accum_freq", "accumulate", "grad_accum_steps"), "gradient_accumulation_steps"),
    **dict.fromkeys(("grad_clip_norm", "clip_grad", "grad_clip"), "max_grad_norm"),
    **dict.fromkeys(("val_split", "test_size", "split", "validation_split"), "train_val_split"),
    **dict.fromkeys(("folds", "k_folds", "n_splits", "cv"), "num_folds"),
    **dict.fromkeys(("patience", "early_stopping"), "early_stopping_patience"),
    **dict.fromkeys(("amp", "precision", "half", "mixed_precision"), "bf16"),
    **dict.fromkeys(("warmup", "warmup_epochs"), "warmup_steps"),
    **dict.fromkeys(("cpu", "no_cuda"), "use_cpu"),
    **dict.fromkeys(("compile", "torchcompile"), "torch_compile"),
    **dict.fromkeys(("labels", "label_file", "class_names", "classes"), "labels_file"),
    **dict.fromkeys(("prompt", "hypothesis_template", "template"), "prompt_template"),
    **dict.fromkeys(("flip", "hflip"), "horizontal_flip"),
    **dict.fromkeys(("augment", "aug", "aa"), "augmentation"),
    **dict.fromkeys(("skip_bad_images", "skip_corrupt", "ignore_errors"), "skip_corrupt_images"),
    "decode_once": "cache_images",
    "max_shift": "random_shift",
    "shuffle_buffer": "shuffle_buffer_size",
}


def check_settings_of_transformers(args: TrainingArguments) -> None:
    """Refuse settings without effect, before transformers reads them.

    Raises:
        ValueError: A setting has no effect, needs another one, or is out of range.
    """
    changed = _changed(args)
    for name in changed:
        is_default = isinstance(getattr(args, name), AcceleratorConfig)  # as transformers makes it of None
        if name in REFUSED and not is_default:
            raise ValueError(f"{name} {getattr(args, name)!r} {REFUSED[name]}: {LEAVE_OUT}.")
    _check_ranges(args)
    for name, strategy in NEEDS_STEPS.items():
        if name in changed and (now := _word(args, strategy)) != "steps":
            raise ValueError(f"{name} goes with {strategy} steps, but it is {now!r}: set it, or leave {name} out.")
    optimizer = _word(args, "optim")
    if optimizer in PLAIN_OPTIMIZERS and (unread := changed & {"optim_args", "optim_target_modules"}):
        raise ValueError(f"The optimizer {optimizer!r} reads no {min(unread)}: {LEAVE_OUT}.")
    if args.dataloader_num_workers == 0 and (unread := changed & set(NEEDS_WORKERS)):
        raise ValueError(f"{min(unread)} goes with dataloader_num_workers of 1 or more, but it is 0.")
    reports = [args.report_to] if isinstance(args.report_to, str) else args.report_to or []
    if reports in ([], ["none"]) and (unread := changed & {"run_name", "project"}):
        raise ValueError(f"{min(unread)} goes with a logger, but report_to is none: name one, such as tensorboard.")
    if not {"trackio", "all"} & set(reports) and (unread := changed & {"project", *NEEDS_TRACKIO}):
        raise ValueError(f"{min(unread)} goes with report_to trackio, but it is {', '.join(reports)}.")
    _check_strategies(args)


def check_device_settings(args: TrainingArguments) -> None:
    """Refuse settings that the device or the number of processes does not support.

    Raises:
        ValueError: A setting needs a GPU, or several processes.
    """
    if args.torch_compile and getattr(args, "gradient_cache", None) is not None:
        raise ValueError("torch_compile cannot compile the recomputation of gradient_cache: leave one of them out.")
    if not torch.accelerator.is_available() or args.use_cpu:
        if args.fp16:
            raise ValueError("fp16 needs a GPU: leave it out (bf16 true with use_cpu true runs on a CPU).")
        if args.torch_empty_cache_steps is not None:
            raise ValueError(f"torch_empty_cache_steps needs a GPU: {LEAVE_OUT}.")
        if args.tf32:
            raise ValueError(f"tf32 needs a GPU: {LEAVE_OUT}.")
        if args.bf16 and not args.use_cpu:
            raise ValueError("bf16 without a GPU needs use_cpu true: set it, or leave bf16 out.")

    if int(os.environ.get("WORLD_SIZE", 1)) < 2 and (unread := _changed(args) & set(NEEDS_PROCESSES)):
        raise ValueError(
            f"{min(unread)} goes with several processes, but this is one: start them with `accelerate launch`, or "
            "leave it out."
        )


def check_fine_tuning(args: Any) -> None:
    """Check the settings of fine-tuning.

    Raises:
        ValueError: One is out of range, or does not work in several processes.
    """
    if not 0 < args.layer_decay <= 1:
        raise ValueError(f"layer_decay must be more than 0 and at most 1, got {args.layer_decay}.")
    try:
        valid = args.interpolation is None or 0 < args.interpolation <= 1
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"wise_ft_alpha must be more than 0 and at most 1, or auto, got {args.wise_ft_alpha}.")
    if args.lora_rank < 0:
        raise ValueError(f"lora_rank must be 0 (off) or more, got {args.lora_rank}.")
    if args.lora_towers not in LORA_TOWERS:
        raise ValueError(f"lora_towers {args.lora_towers!r} is not one of {', '.join(LORA_TOWERS)}.")
    if args.lora_towers != "both" and args.lora_rank == 0:
        raise ValueError(f"lora_towers {args.lora_towers!r} goes with lora_rank, which is 0: set it, such as 8.")
    if not 0 <= args.ema_decay < 1:
        raise ValueError(f"ema_decay must be 0 (off) or less than 1, such as 0.99, got {args.ema_decay}.")
    if not 0 <= args.linear_probe_epochs < math.inf:
        raise ValueError(f"linear_probe_epochs must be 0 or more, got {args.linear_probe_epochs}.")
    if 0 < args.num_train_epochs <= args.linear_probe_epochs and args.max_steps <= 0:
        raise ValueError(
            f"linear_probe_epochs {args.linear_probe_epochs} leaves none of num_train_epochs "
            f"{args.num_train_epochs:g} for the towers: choose fewer, or freeze the towers."
        )
    if args.linear_probe_epochs > 0 and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ValueError("linear_probe_epochs works in one process: leave it out, or train in one.")


def check_hub_strategy(args: TrainingArguments) -> None:
    """Refuse a `hub_strategy` that is unknown, or that has no whole checkpoints to push.

    Raises:
        ValueError: It is one.
    """
    strategy = getattr(args.hub_strategy, "value", args.hub_strategy)
    if strategy not in ("end", "checkpoint"):
        raise ValueError(
            f"hub_strategy {strategy!r} would push models without a card during training: leave it out, and the "
            "finished model is pushed at the end, or set checkpoint, which pushes the last checkpoint before."
        )
    if strategy == "end":
        return
    if not args.push_to_hub:
        raise ValueError("hub_strategy 'checkpoint' goes with push_to_hub: set push_to_hub true, or leave it out.")
    if args.save_only_model or args.save_strategy == "no":
        given = "save_only_model" if args.save_only_model else "save_strategy 'no'"
        raise ValueError(f"hub_strategy 'checkpoint' pushes what a run is resumed from, but {given} saves none.")


def check_login(reports: Iterable[str]) -> None:
    """Refuse Weights & Biases without a login.

    Raises:
        ValueError: There is no login.
    """
    if "wandb" not in reports or os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return
    import wandb  # type: ignore[import-not-found, import-untyped, unused-ignore]

    if not wandb.login(prompt=False, verify=False):
        raise ValueError("report_to wandb needs a login: run `wandb login`, or set WANDB_MODE=offline.")


def check_metric(args: TrainingArguments, scores: Iterable[str]) -> None:
    """Refuse a `metric_for_best_model` that evaluations do not give.

    Raises:
        ValueError: It is neither a score nor the loss.
    """
    known = ("loss", *scores)
    name = str(args.metric_for_best_model).removeprefix("eval_")
    if args.metric_for_best_model is not None and name not in known:
        hint = suggest(name, known)
        raise ValueError(
            f"metric_for_best_model {args.metric_for_best_model!r} is not one of {', '.join(known)}.{hint}"
        )


def suggest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a sentence that suggests a known name, for a typo or a name of other libraries; else ""."""
    known = list(known)
    plain = name.replace("-", "_")
    other = OTHER_WORDS.get(plain)
    near = [other] if other in known else difflib.get_close_matches(plain, known, n=1)
    return f" Did you mean '{prefix}{near[0]}'?" if near else ""


def _changed(args: TrainingArguments) -> set[str]:
    """Return the names of settings that differ from their defaults."""
    return {one.name for one in fields(args) if one.init and not _is_default(getattr(args, one.name), one)}


def _is_default(value: Any, one: Any) -> bool:
    default = one.default_factory() if callable(one.default_factory) else one.default
    off: tuple[Any, ...] = (None, False, "no", "", [], {})
    return value == default or value is None or (default in off and value in off)


def _word(args: TrainingArguments, name: str) -> str:
    """Return the word of a setting that may be an enumeration."""
    value = getattr(args, name)
    return str(getattr(value, "value", value))


def _check_ranges(args: TrainingArguments) -> None:
    for names, lowest, words in ((POSITIVE, 0, "more than 0"), (NOT_NEGATIVE, -1, "0 or more")):
        for name in names:
            value = getattr(args, name)
            if value is None or isinstance(value, str):
                continue
            is_low = value <= 0 if lowest == 0 else value < 0
            if is_low or not math.isfinite(value):
                raise ValueError(f"{name} must be {words}, got {value}.")
    for name in ("adam_beta1", "adam_beta2"):
        if not 0 <= getattr(args, name) < 1:
            raise ValueError(f"{name} must be at least 0 and less than 1, got {getattr(args, name)}.")


def _check_strategies(args: TrainingArguments) -> None:
    evaluates, saves = _word(args, "eval_strategy"), _word(args, "save_strategy")
    if args.load_best_model_at_end and evaluates == "no":
        raise ValueError(
            "eval_strategy 'no' leaves no score to select the best checkpoint by: set load_best_model_at_end false to "
            "keep the last one."
        )
    if args.load_best_model_at_end and saves not in (evaluates, "best"):
        raise ValueError(
            f"save_strategy {saves!r} and eval_strategy {evaluates!r} must be equal, so that the best checkpoint "
            "is saved: set both, or load_best_model_at_end false."
        )
