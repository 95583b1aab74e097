"""Every setting that is accepted makes another run or another record; all others are refused with the way out.

A setting that is new in transformers is in none of the tables below, and the first test fails.
"""

import json
import re
import warnings
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from conftest import TINY_DISTILBERT, TINY_RESNET

from mg_vtc import MgVtcTrainingArguments
from mg_vtc.training.build import build_trainer
from mg_vtc.training.recipe import DataArguments, ModelArguments, parse_recipe
from mg_vtc.training.run import run as run_to_the_end
from mg_vtc.training.setting_checks import OTHER_WORDS, check_metric

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RUN = {  # other weights, another history, other files or another model folder
    **{"lr_scheduler_type": "linear", "lr_scheduler_kwargs": '{"num_cycles": 1}', "learning_rate": 0.001},
    **{"optim": "sgd", "adam_beta1": 0.5, "adam_beta2": 0.9, "adam_epsilon": 0.1, "weight_decay": 0.5},
    **{"max_grad_norm": 0.01, "warmup_steps": 3, "gradient_accumulation_steps": 2, "neftune_noise_alpha": 5},
    **{"num_train_epochs": 2, "max_steps": 3, "per_device_train_batch_size": 6, "dataloader_drop_last": True},
    **{"bf16": True, "seed": 7, "data_seed": 7, "skip_memory_metrics": False, "logging_first_step": True},
    **{"logging_strategy": "steps", "logging_steps": ("--logging_strategy", "steps", "--logging_steps", 1)},
    **{"eval_strategy": ("--eval_strategy", "no", "--load_best_model_at_end", "false"), "eval_on_start": True},
    "eval_steps": ("--eval_strategy", "steps", "--eval_steps", 2, "--save_strategy", "best"),
    "save_steps": ("--save_strategy", "steps", "--save_steps", 2, "--load_best_model_at_end", "false"),
    **{"eval_delay": 2, "save_strategy": ("--save_strategy", "no", "--load_best_model_at_end", "false")},
    **{"save_only_model": True, "save_total_limit": 5, "report_to": "tensorboard"},
    **{"metric_for_best_model": "loss", "loss_type": "ce", "js_weight": 0.2, "text_batch": "classes"},
    **{
        "text_chunk_size": 1,
        "gradient_cache": 2,
        "balanced_sampling": True,
        "freeze_vision_model": True,
        "freeze_text_model": True,
    },
    "logit_adjustment": ("--logit_adjustment", 1, "--text_batch", "classes"),
    **{
        "ema_decay": 0.5,
        "layer_decay": 0.5,
        "linear_probe_epochs": 1,
        "text_pooling": "mean",
        "projection": "linear",
        "shots": 1,
    },
    "lora_towers": ("--lora_rank", 2, "--lora_towers", "text", "--learning_rate", 0.01),
    **{"mixup_alpha": 0.3, "cutmix_alpha": 1.0, "label_smoothing_factor": 0.3},
    **{"vision_learning_rate": 0.1, "text_learning_rate": 0.1, "tower_weight_decay": 0.5},
    "early_stopping_patience": ("--early_stopping_patience", 1, "--num_train_epochs", 9, "--learning_rate", 0),
    **{"projection_dim": 8, "projection_dropout": 0.5, "normalize": False, "logit_scale_init_value": 1},
    **{"learn_logit_scale": False, "prompt_template": "a person, {}", "vision_only": True, "image_size": 48},
    "vision_config": json.dumps(TINY_RESNET | {"hidden_sizes": [8, 24]}),
    "text_config": json.dumps(TINY_DISTILBERT | {"hidden_dim": 24}),
    "load_best_model_at_end": ("--load_best_model_at_end", "false", "--eval_strategy", "no"),
    **{
        "augmentation": 0.5,
        "horizontal_flip": True,
        "random_shift": 2,
        "train_val_split": 0.5,
        "split_by": "frame",
        "split_seed": 5,
    },
    "split_seed": 5,
    "num_folds": ("--num_folds", 3, "--fold", 1),
    "fold": ("--num_folds", 3, "--fold", 2),
}
REFUSED = {  # in a line, before anything is written
    **{"optim_args": "x=1", "optim_target_modules": "all-linear", "average_tokens_across_devices": False},
    **{"bf16_full_eval": True, "fp16_full_eval": True, "fp16": True, "tf32": True},
    **{"use_liger_kernel": True, "use_cache": True, "torch_empty_cache_steps": 1, "logging_nan_inf_filter": True},
    **{"include_num_input_tokens_seen": True, "run_name": "x", "project": "x", "trackio_space_id": "a/b"},
    **{"trackio_bucket_id": "a/b", "trackio_static_space_id": "a/b", "prediction_loss_only": True},
    **{"eval_do_concat_batches": False, "eval_use_gather_object": True, "include_for_metrics": "loss"},
    **{"batch_eval_metrics": True, "save_on_each_node": True, "enable_jit_checkpoint": True},
    **{"hub_token": "hf_x", "hub_private_repo": True, "hub_model_id": "a/b", "hub_strategy": "checkpoint"},
    **{"push_to_hub": True, "hub_always_push": True, "hub_revision": "x", "greater_is_better": False},
    **{"ignore_data_skip": True, "restore_callback_states_from_checkpoint": True, "remove_unused_columns": True},
    **{"accelerator_config": '{"split_batches": true}', "dataloader_persistent_workers": True},
    **{"dataloader_prefetch_factor": 4, "dataloader_multiprocessing_context": "spawn", "dataloader_in_order": False},
    **{"label_names": "foo", "train_sampling_strategy": "sequential", "length_column_name": "x"},
    **{"ddp_find_unused_parameters": True, "ddp_bucket_cap_mb": 5, "ddp_broadcast_buffers": True},
    **{"ddp_static_graph": True, "ddp_backend": "gloo", "ddp_timeout": 5, "fsdp": "full_shard"},
    **{"fsdp_config": '{"x": 1}', "deepspeed": "x.json", "debug": "underflow_overflow", "do_train": True},
    **{"do_predict": True, "local_rank": 0, "image_column_name": "x", "label_column_name": "x"},
    **{"dataset_config_name": "x", "shuffle_buffer_size": 5, "streaming": True, "labels_file": "imigue"},
    **{"clip_column_name": "x", "subject_column_name": "x", "vision_model_name_or_path": "no/folder/here"},
    **{"lora_rank": 2, "class_texts": "mean", "descriptions_file": "nowhere.json"},
    **{"model_name_or_path": "no/folder/here", "wise_ft_alpha": 0.5},
    **{"text_model_name_or_path": "no/folder/here", "dataset_name": "demo", "validation_dir": "nowhere"},
    **{"train_dir": "nowhere", "resume_from_checkpoint": True},
}
# The same weights by design: speed, memory, screens, and what counts in other circumstances; tested elsewhere.
ELSEWHERE = {
    *("activation_checkpointing", "activation_checkpointing_kwargs", "gradient_checkpointing"),
    *("gradient_checkpointing_kwargs", "auto_find_batch_size", "full_determinism", "eval_accumulation_steps"),
    *("per_device_eval_batch_size", "log_on_each_node", "log_level", "log_level_replica", "disable_tqdm", "do_eval"),
    *("dataloader_num_workers", "dataloader_pin_memory", "use_cpu", "output_dir", "overwrite"),
    *("num_seeds", "cache_images", "jpeg_draft", "skip_corrupt_images", "torch_compile", "torch_compile_backend"),
    "torch_compile_mode",
}
PYTHON_ONLY = {"liger_kernel_config", "parallelism_config"}  # which the command line cannot read


NAMED_BY = {  # words of a refusal that does not name the setting
    **dict.fromkeys(("train_dir", "validation_dir"), "There is no folder nowhere"),
    "descriptions_file": "There is no descriptions_file nowhere.json",
    **dict.fromkeys(("vision_model_name_or_path", "text_model_name_or_path"), "no/folder/here"),
    **dict.fromkeys(("trackio_bucket_id", "trackio_static_space_id", "trackio_space_id"), "trackio"),
    **{"labels_file": "labels file", "label_column_name": "column 'x'", "push_to_hub": "hub_model_id"},
    **{"clip_column_name": "'x'", "subject_column_name": "'x'", "streaming": "streaming reads shards"},
    "resume_from_checkpoint": "no complete checkpoint",
}


@pytest.fixture(scope="module")
def run(images_dir, tmp_path_factory):
    """Train three epochs with flags, in this process, and return what the run left; raise what refuses it."""
    towers = ("--vision_config", json.dumps(TINY_RESNET), "--text_config", json.dumps(TINY_DISTILBERT))
    common = ("--image_size", 32, "--projection_dim", 12, "--num_train_epochs", 3, "--learning_rate", 0.01)
    common = (*towers, *common, "--per_device_train_batch_size", 9, "--train_dir", images_dir, "--use_cpu")

    def train(*flags):
        folder = tmp_path_factory.mktemp("settings") / "run"
        towerless = common[4:] if "--vision_only" in flags else common
        if "--vision_only" in flags:
            towerless = (*common[:2], *common[4:])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tiny sets and frozen random towers
            recipe = parse_recipe([str(word) for word in (*towerless, "--output_dir", folder, *flags)])
            trainer, parts = build_trainer(recipe)
            run_to_the_end(trainer, parts)
        return describe(folder)

    return train


def describe(folder):
    """What a run left, without the time it took."""
    state = json.loads((folder / "trainer_state.json").read_text())
    state["log_history"] = [
        {key: value for key, value in log.items() if not re.search("runtime|per_second|flos", key)}
        for log in state["log_history"]
    ]
    names = {re.sub(r"\.\d{9,}.*", "", str(path.relative_to(folder))) for path in folder.rglob("*")}
    best = str(state.pop("best_model_checkpoint")).rsplit("/")[-1]
    weights = (folder / "model.safetensors").read_bytes()
    return weights, state | {"total_flos": 0, "best": best}, names, (folder / "config.json").read_text()


@pytest.fixture(scope="module")
def plain(run):
    return run()


def flags_of(name, value):
    return value if isinstance(value, tuple) else (f"--{name}", value)


def test_every_setting_was_tried():
    settings = {one.name for part in (ModelArguments, DataArguments, MgVtcTrainingArguments) for one in fields(part)}
    tried = [*RUN, *REFUSED, *ELSEWHERE, *PYTHON_ONLY]
    assert len(tried) == len(set(tried))
    assert set(tried) == settings


def test_equal_settings_make_equal_runs(plain, run):
    assert run() == plain


@pytest.mark.parametrize("name", RUN)
def test_accepted_setting_makes_another_run_or_record(name, plain, run):
    assert run(*flags_of(name, RUN[name])) != plain


@pytest.mark.parametrize("name", REFUSED)
def test_setting_that_cannot_be_followed_is_refused(name, run):
    with pytest.raises((ValueError, OSError)) as refusal:
        run(*flags_of(name, REFUSED[name]))
    assert NAMED_BY.get(name, name) in str(refusal.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("num_train_epochs", value) for value in (0, -1, float("nan"), float("inf"))),
        *(("learning_rate", value) for value in (-1, float("nan"))),
        *(("per_device_train_batch_size", 0), ("early_stopping_patience", 0), ("adam_beta1", 1), ("weight_decay", -1)),
        *(("dataloader_num_workers", -1), ("gradient_accumulation_steps", 0), ("max_grad_norm", -1)),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(setting, value, tmp_path):
    with pytest.raises(ValueError, match=f"{setting} must be .*, got {value}"):
        MgVtcTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **{setting: value})


@pytest.mark.parametrize("copied", [{}, {"seed": 3}, {"eval_strategy": "epoch"}])
def test_settings_can_be_copied(copied, tmp_path):
    from dataclasses import replace

    arguments = MgVtcTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    assert replace(arguments, **copied).loss_type == "js"


def test_unknown_metric_is_refused_with_those_that_are_known(tmp_path):
    arguments = MgVtcTrainingArguments(output_dir=str(tmp_path), use_cpu=True, metric_for_best_model="top1_acc")
    with pytest.raises(
        ValueError, match=r"'top1_acc' is not one of loss, top1_accuracy\. Did you mean 'top1_accuracy'"
    ):
        check_metric(arguments, ["top1_accuracy"])


def test_words_of_other_libraries_lead_to_those_here():
    settings = {one.name for part in (ModelArguments, DataArguments, MgVtcTrainingArguments) for one in fields(part)}
    assert set(OTHER_WORDS.values()) <= settings
    for typed, meant in (("--epochs", "--num_train_epochs"), ("--lr", "--learning_rate"), ("--imgsz", "--image_size")):
        with pytest.raises(ValueError, match=f"unknown argument '{typed}'. Did you mean '{meant}'"):
            parse_recipe(["--train_dir", "x", typed, "3"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optim": "adamw_bnb_8bit"}, "optim 'adamw_bnb_8bit'.*cannot be used"),
        (
            {"lr_scheduler_type": "cosine_with_min_lr"},
            "lr_scheduler_type 'cosine_with_min_lr' cannot be used: .*min_lr",
        ),
        ({"lr_scheduler_type": "warmup_stable_decay"}, "cannot be used"),
    ],
)
def test_optimizer_or_schedule_that_cannot_be_made_is_refused_at_the_start(settings, words, make_trainer):
    trainer = make_trainer(**settings)
    with pytest.raises(ValueError, match=words):
        trainer.check_start()


def test_batch_of_one_that_batch_norm_cannot_take_is_refused_at_the_start(make_trainer, model):
    trainer = make_trainer(per_device_train_batch_size=1, text_batch="classes")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    if min(model.vision_model(torch.zeros(2, 3, 32, 32)).last_hidden_state.shape[2:]) == 1:
        with pytest.raises(ValueError, match="leave one for a process"):
            trainer.check_start()
    else:
        trainer.check_start()
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_reporting_without_a_login_is_refused_before_the_run(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ValueError, match="report_to wandb needs a login: run `wandb login`, or set WANDB"):
        MgVtcTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert MgVtcTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="wandb").report_to == ["wandb"]
