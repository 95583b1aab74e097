"""Training arguments beyond those of transformers."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations import get_available_reporting_integrations
from transformers.trainer_utils import SchedulerType

from ..hub.repo_id import check_repo_id
from ..losses import LOSS_TYPES
from .device import choose_for_device
from .distributed import check_world_size, join_cpu_processes, joins_on_cpu
from .setting_checks import (
    check_device_settings,
    check_fine_tuning,
    check_hub_strategy,
    check_login,
    check_settings_of_transformers,
    suggest,
)

TRAINING_LOSS_TYPES = (*LOSS_TYPES, "ce_soft")
PAIRED_LOSS_TYPES = ("ce_identity", "ce_soft")  # image i is compared with text i, so there is a text an image
TEXT_BATCHES = ("unique", "classes", "pairs")
CLASS_TEXTS = ("sample", "mean")
MIXING = ("mixup_alpha", "cutmix_alpha", "label_smoothing_factor")
WATCHING_SCHEDULES = (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)  # step by the metric, which may fall


@dataclass
class MgVtcTrainingArguments(TrainingArguments):
    """`TrainingArguments` with a loss and learning rates for each tower.

    Defaults that differ from transformers': `learning_rate` 1e-3, `lr_scheduler_type` cosine, evaluation, saving and
    logging every epoch, the best checkpoint by `top1_accuracy` kept and loaded at the end, `save_total_limit` 1 (the
    best and the last), `remove_unused_columns` False.

    Gradient accumulation does not enlarge the comparison: with `text_batch` unique or pairs, each micro-batch is
    contrasted with its own texts and images. It equals a larger batch only for a vision-only model without batch norm,
    whose loss is a mean over images. Several processes do enlarge the comparison to their global batch.
    """

    _argument_group_name = "training"

    loss_type: str = field(
        default="js",
        metadata={
            "help": f"Loss: {', '.join(TRAINING_LOSS_TYPES)}. js is that of the method, ce_identity that of CLIP."
        },
    )
    js_weight: float = field(
        default=0.5, metadata={"help": "Weight pi of the skewed Jensen-Shannon divergence, in (0, 1)."}
    )
    text_batch: str | None = field(
        default=None,
        metadata={
            "help": "Texts that a batch is compared with: unique (its distinct labels), classes (all prompts), pairs "
            "(one text per image). Default: pairs for ce_identity and ce_soft, which need it, unique for the others."
        },
    )
    class_texts: str | None = field(
        default=None,
        metadata={
            "help": "Texts of a class that has several, in a step: sample (one, drawn at random) or mean (the mean of "
            "their embeddings). Scores take the mean. Default: sample."
        },
    )
    text_chunk_size: int = field(
        default=256,
        metadata={
            "help": "Encode texts in chunks of this size and recompute their activations in the backward pass: less "
            "memory, a third more time for the text tower. For text_batch classes with many classes."
        },
    )
    gradient_cache: int | None = field(
        default=None,
        metadata={
            "help": "Encode the images of a batch in chunks of up to this many, such as 32, and recompute their "
            "activations in the backward pass (GradCache): a large batch in the memory of a small one, for one "
            "more forward pass. Default: all at once."
        },
    )
    balanced_sampling: bool = field(
        default=False,
        metadata={"help": "Draw all classes equally often; the length of an epoch stays the same."},
    )
    logit_adjustment: float = field(
        default=0.0,
        metadata={
            "help": "Weight of the logarithm of the class frequencies that is added to the logits in training: "
            "rare classes are then scored as if all were equally frequent, with ce at 1. With text_batch classes or "
            "vision_only."
        },
    )
    mixup_alpha: float = field(
        default=0.0,
        metadata={
            "help": "Mix pairs of training images and their targets (mixup), with weights of Beta(alpha, alpha), such "
            "as 0.2."
        },
    )
    cutmix_alpha: float = field(
        default=0.0,
        metadata={
            "help": "Replace a rectangle of each training image with that of another one (CutMix), whose area is of "
            "Beta(alpha, alpha), such as 1. With mixup_alpha, each is used for half of the batches."
        },
    )
    label_smoothing_factor: float = field(
        default=0.0,
        metadata={"help": "Fraction of the target of an image that is spread over all texts, such as 0.1."},
    )
    freeze_vision_model: bool = field(default=False, metadata={"help": "Do not train the vision tower."})
    freeze_text_model: bool = field(
        default=False,
        metadata={"help": "Do not train the text tower; it encodes each class once."},
    )
    vision_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the vision tower. Default: learning_rate."}
    )
    text_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the text tower. Default: learning_rate."}
    )
    tower_weight_decay: float | None = field(
        default=None, metadata={"help": "Weight decay of the towers. Default: weight_decay."}
    )
    layer_decay: float = field(
        default=1.0,
        metadata={
            "help": "Factor, in (0, 1], of the learning rate of each layer of a tower to that of the next one: for "
            "pretrained towers, such as 0.75."
        },
    )
    lora_rank: int = field(
        default=0,
        metadata={
            "help": "Train matrices of this rank beside the attention of towers, not the towers themselves (LoRA), "
            "such as 8. The saved model has them merged; its folder `adapter` has them in PEFT's format."
        },
    )
    lora_towers: str = field(
        default="both", metadata={"help": "Towers that lora_rank adapts: both, vision or text. Others are trained."}
    )
    linear_probe_epochs: float = field(
        default=0.0,
        metadata={"help": "Number of epochs in which only the heads are trained, before the towers are, too (LP-FT)."},
    )
    wise_ft_alpha: str = field(
        default="1",
        metadata={
            "help": "Fraction, in (0, 1], of the trained weights in the final ones; the rest are the weights of the "
            "start (WiSE-FT). auto chooses it on a tenth of the training clips, which are not trained on."
        },
    )
    ema_decay: float = field(
        default=0.0,
        metadata={
            "help": "Decay, in [0, 1), of an exponential moving average of the weights, such as 0.99. The average is "
            "evaluated and saved in their place."
        },
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={"help": "Number of evaluations without a better score after which to stop. Default: never."},
    )
    bf16: bool | None = field(
        default=None,
        metadata={"help": "Train and evaluate in bfloat16 mixed precision. Default: on GPUs that compute in it."},
    )
    dataloader_num_workers: int | None = field(
        default=None,
        metadata={"help": "Number of processes that load images. Default: up to 4 with a GPU, 0 without."},
    )
    overwrite: bool = field(
        default=False, metadata={"help": "Replace the run in output_dir and delete its checkpoints."}
    )

    learning_rate: float = field(default=1e-3, metadata={"help": "Peak learning rate of the projection heads."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "Schedule; it steps at every batch."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps or epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save: no, steps, epoch or best."})
    logging_strategy: str = field(default="epoch", metadata={"help": "When to log: no, steps or epoch."})
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "Not supported: such losses stop a run."})
    save_total_limit: int | None = field(default=1, metadata={"help": "Checkpoints to keep beside the best one."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "End with the best checkpoint."})
    metric_for_best_model: str | None = field(
        default="top1_accuracy", metadata={"help": "Metric that selects the best checkpoint."}
    )
    resume_from_checkpoint: str | None = field(
        default=None,
        metadata={
            "help": "Resume from this checkpoint of output_dir or, if true, from the last whole one. With auto, one "
            "command starts a run, resumes it, and does nothing once it is finished."
        },
    )
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Only False is supported: columns are made on access."}
    )
    push_to_hub: bool = field(default=False, metadata={"help": "Push the model to hub_model_id after the training."})
    hub_model_id: str | None = field(default=None, metadata={"help": "Repository to push to, such as org/mg-vtc."})
    hub_strategy: str = field(
        default="end",
        metadata={
            "help": "What to push: end (the finished model) or checkpoint (before, the last to a private repository)."
        },
    )
    hub_token: str | None = field(
        default=None,
        metadata={"help": "Not supported, because settings are saved. Set HF_TOKEN or run `hf auth login`."},
    )

    @property
    def mixes_targets(self) -> bool:
        """True if the target of an image is more than its own class."""
        return self.mixup_alpha > 0 or self.cutmix_alpha > 0 or self.label_smoothing_factor > 0

    @property
    def interpolation(self) -> float | None:
        """`wise_ft_alpha` as a number; `None` if it is chosen after the training."""
        return None if self.wise_ft_alpha == "auto" else float(self.wise_ft_alpha)

    @property
    def order_seed(self) -> int:
        """Seed of the order of the training rows."""
        return self.seed if self.data_seed is None else self.data_seed

    def check_hub_settings(self) -> None:
        """Check the settings of a push before the training.

        Raises:
            ValueError: `hub_token` is set, `hub_strategy` is unknown or saves nothing, or `hub_model_id` is missing.
        """
        if self.hub_token is not None:
            raise ValueError(
                "hub_token would be saved with the settings: leave it out (and revoke a token that others may "
                "have seen), and set HF_TOKEN or run `hf auth login`."
            )
        check_hub_strategy(self)
        if self.push_to_hub:
            check_repo_id(self.repo_id)

    @property
    def pushes_checkpoints(self) -> bool:
        """True if checkpoints leave the machine before the end."""
        return self.push_to_hub and self.hub_strategy == "checkpoint"

    @property
    def makes_private(self) -> bool | None:
        """`private` of a new repository; `None` for the setting of its owner. Checkpoints are not for all."""
        return True if self.hub_private_repo is None and self.pushes_checkpoints else self.hub_private_repo

    @property
    def repo_id(self) -> str:
        """Repository to push the model to.

        Raises:
            ValueError: `hub_model_id` is missing.
        """
        if self.hub_model_id is None:
            raise ValueError("push_to_hub needs hub_model_id, such as org/mg-vtc.")
        return self.hub_model_id

    def _follow_the_metric(self) -> None:
        """Set the direction of schedules that watch `metric_for_best_model`: higher scores are better.

        Raises:
            ValueError: `greater_is_better` or the `mode` of such a schedule contradicts it.
        """
        if self.metric_for_best_model is None:
            return
        is_score = not self.metric_for_best_model.endswith("loss")
        better = "more" if is_score else "less"
        if self.greater_is_better != is_score:
            raise ValueError(
                f"greater_is_better is {self.greater_is_better}, and {better} of metric_for_best_model "
                f"{self.metric_for_best_model!r} is better: leave greater_is_better out."
            )
        if self.lr_scheduler_type in WATCHING_SCHEDULES:
            settings: dict[str, Any] = dict(vars(self)["lr_scheduler_kwargs"] or {})
            mode = "max" if is_score else "min"
            if settings.setdefault("mode", mode) != mode:
                raise ValueError(
                    f"lr_scheduler_kwargs has the mode {settings['mode']!r}, and {better} of "
                    f"metric_for_best_model {self.metric_for_best_model!r} is better: leave the mode out."
                )
            self.lr_scheduler_kwargs = settings

    def _check_texts(self) -> None:
        """Check the settings of texts, and set the default of `text_batch`.

        Raises:
            ValueError: One is unknown, or the loss needs another one.
        """
        if self.text_batch is None:
            self.text_batch = "pairs" if self.loss_type in PAIRED_LOSS_TYPES else "unique"
        if self.text_batch not in TEXT_BATCHES:
            raise ValueError(f"text_batch {self.text_batch!r} is not one of {', '.join(TEXT_BATCHES)}.")
        if self.class_texts not in (None, *CLASS_TEXTS):
            raise ValueError(f"class_texts {self.class_texts!r} is not one of {', '.join(CLASS_TEXTS)}.")
        if self.loss_type in PAIRED_LOSS_TYPES and self.text_batch != "pairs":
            raise ValueError(
                f"loss_type {self.loss_type!r} compares image i with text i: it needs text_batch 'pairs'."
            )

    def _check_mixing(self) -> None:
        """Check the settings of mixed images and targets.

        Raises:
            ValueError: One is out of range, or the loss has no targets that can be mixed.
        """
        for name in ("mixup_alpha", "cutmix_alpha"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} must be 0 (off) or a positive number such as 0.2, got {getattr(self, name)}."
                )
        if not 0 <= self.label_smoothing_factor < 1:
            raise ValueError(f"label_smoothing_factor must be in [0, 1), got {self.label_smoothing_factor}.")
        if self.mixes_targets and self.loss_type in PAIRED_LOSS_TYPES:
            given = next(name for name in MIXING if getattr(self, name) > 0)
            raise ValueError(
                f"{given} mixes the targets of the classes, which loss_type {self.loss_type!r} does not read: choose "
                "js, kl or ce, or leave it out."
            )

    def __post_init__(self) -> None:
        if self.loss_type not in TRAINING_LOSS_TYPES:
            hint = suggest(self.loss_type, TRAINING_LOSS_TYPES)
            raise ValueError(f"loss_type {self.loss_type!r} is not one of {', '.join(TRAINING_LOSS_TYPES)}.{hint}")
        if not 0 < self.js_weight < 1:
            raise ValueError(f"js_weight must be between 0 and 1, got {self.js_weight}.")
        self._check_texts()
        if not 0 <= self.logit_adjustment < math.inf:
            raise ValueError(
                f"logit_adjustment must be 0 (off) or a positive number such as 1, got {self.logit_adjustment}."
            )
        check_fine_tuning(self)
        self._check_mixing()
        if self.logit_adjustment > 0 and self.balanced_sampling:
            raise ValueError(
                f"logit_adjustment {self.logit_adjustment} corrects for unequal class frequencies, which "
                "balanced_sampling removes: leave one of them out."
            )
        if self.train_sampling_strategy != "random":
            raise ValueError(
                f"train_sampling_strategy {self.train_sampling_strategy!r} sorts by length, which images do not have: "
                "leave it out."
            )
        if self.js_weight != 0.5 and self.loss_type != "js":
            raise ValueError(f"js_weight goes with loss_type js, not {self.loss_type!r}: leave one of them out.")
        self.use_cpu |= joins_on_cpu()
        choose_for_device(self)
        check_settings_of_transformers(self)
        check_device_settings(self)
        if str(self.resume_from_checkpoint).lower() == "false":
            self.resume_from_checkpoint = None
        if self.early_stopping_patience is not None and self.eval_strategy == "no":
            raise ValueError("early_stopping_patience counts evaluations, but eval_strategy is 'no'.")
        self.dataloader_pin_memory &= torch.accelerator.is_available()  # torch warns where there is nothing to pin for
        self.check_hub_settings()
        if self.use_cpu:
            join_cpu_processes(self.ddp_backend, self.ddp_timeout_delta)
        super().__post_init__()
        self._follow_the_metric()
        check_world_size(self.world_size)
        if missing := set(self.report_to) - set(get_available_reporting_integrations()):
            raise ValueError(
                f"report_to needs missing packages: pip install {' '.join(sorted(missing))} or leave it out."
            )
        check_login(self.report_to)
