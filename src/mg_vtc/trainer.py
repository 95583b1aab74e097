"""Training by contrast: the texts a batch is compared with, the objective, the evaluation against all classes."""

import copy
import functools
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import EvalLoopOutput
from transformers.utils import ModelOutput

from .losses import contrastive_loss, saturated_share, soft_target_loss
from .training_args import PAIRED_LOSS_TYPES, MgVtcTrainingArguments


class MgVtcTrainer(Trainer):
    """Trains a `MgVtcModel` on rows of `pixel_values` and `labels`, contrasting them with `config.class_prompts`.

    `processing_class` is the model's processor. Evaluation scores each picture against all classes; `eval_loss` is the
    objective over the whole set (for `ce_identity` and `ce_soft`, which pair texts, it is `ce`), so that it does not
    depend on the batch size. It is no measure of the gap to the training loss, which compares with fewer pictures.

    Raises:
        ValueError: The objective pairs each picture with a text, and the model is vision-only; two classes are one
            text for the model; or a batch would hold one picture, which has nothing to be contrasted with.
        FloatingPointError: A loss was not finite. The step was not taken; saved checkpoints are as they were.
    """

    args: MgVtcTrainingArguments
    optimizer: torch.optim.Optimizer | None
    loss_is_scaled_for_ga = False  # `compute_loss` returns a mean, so the Trainer divides by the accumulation steps

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._config = self.model.config
        self.model.vision_model.to(memory_format=torch.channels_last)  # convolutions are faster so, on CPU and GPU
        if self.args.device.type == "cpu":  # zeros in the same memory are cheaper than new memory at each step
            self.model.zero_grad = functools.partial(self.model.zero_grad, set_to_none=False)
        self._saturated_sum, self._num_saturated = torch.zeros((), device=self.args.device), 0
        if self._config.vision_only:
            if self.args.loss_type in PAIRED_LOSS_TYPES:
                raise ValueError(
                    f"loss_type {self.args.loss_type!r} needs texts: a vision-only model takes js, kl or ce."
                )
            return
        tokenizer = copy.deepcopy(self.processing_class.tokenizer)  # a call sets its truncation, which would be saved
        texts = tokenizer(self._config.class_prompts, padding=True, truncation=True, return_tensors="pt")
        self._class_texts = texts.to(self.args.device).data  # each (num_labels, length)
        self._check_texts()
        self._check_batches()

    def _check_texts(self) -> None:
        """Refuse texts that the model can not tell apart: unknown words, cut ends, a tower that reads one token."""
        self.refresh_class_embeds()
        embeds = self.model.class_embeds  # (num_labels, projection_dim)
        alike = (torch.cdist(embeds, embeds) < 1e-5 * embeds.norm(dim=-1)).triu(diagonal=1).nonzero()
        if len(alike):
            first, second = (self._config.class_prompts[i] for i in alike[0].tolist())
            raise ValueError(
                f"{first!r} and {second!r} are one text to this text tower and tokenizer. Either the tokenizer does "
                "not know their words (does the folder of the tower hold its tokenizer?), or they are cut before they "
                "differ, or the tower is a decoder, whose first token sees no other: choose an encoder such as BERT."
            )

    def _check_batches(self) -> None:
        """Refuse a batch of a single picture, unless it is compared with all classes."""
        if self.train_dataset is None or self.args.text_batch == "classes" or self.args.dataloader_drop_last:
            return
        num_rows, batch_size = len(self.train_dataset), self.args.train_batch_size
        if batch_size == 1 or num_rows % batch_size == 1:
            raise ValueError(
                f"{num_rows} training pictures in batches of {batch_size} leave a picture alone, with nothing to be "
                "contrasted with: choose another per_device_train_batch_size, or text_batch 'classes'."
            )

    def training_step(self, model: nn.Module, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.accelerator.unwrap_model(model).clamp_logit_scale()
        return super().training_step(model, *args, **kwargs)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Objective of a batch, a 0-d tensor."""
        labels = inputs["labels"]  # (batch_size,)
        text_labels, text_inputs = self._select_texts(labels)
        outputs = model(pixel_values=inputs["pixel_values"], **text_inputs)
        loss = self._objective(outputs, labels, text_labels)
        if not torch.isfinite(loss):
            rows = inputs["index"].tolist() if "index" in inputs else "unknown"
            raise FloatingPointError(
                f"The loss is {loss.item()} at step {self.state.global_step + 1} (epoch {self.state.epoch:.2f}), in "
                f"the batch of training rows {rows}, numbered as in split.json. The step was not "
                f"taken, and the checkpoints in {self.args.output_dir} are as they were. Look at these pictures; a "
                "lower learning rate helps where nothing is wrong with them."
            )
        return (loss, outputs) if return_outputs else loss

    def _select_texts(self, labels: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Class ids `(num_texts,)` of the texts a batch is compared with, and those texts padded to their longest."""
        classes = torch.arange(self._config.num_labels, device=labels.device)
        if self._config.vision_only:
            return classes, {}
        if self.args.text_batch == "classes":
            text_labels = classes
        else:
            text_labels = labels.unique() if self.args.text_batch == "unique" else labels
        mask = self._class_texts["attention_mask"][text_labels].any(dim=0)  # (length,), False where all is padding
        return text_labels, {name: tensor[text_labels][:, mask] for name, tensor in self._class_texts.items()}

    def _objective(self, outputs: ModelOutput, labels: torch.Tensor, text_labels: torch.Tensor) -> torch.Tensor:
        logits = outputs.logits_per_image  # (batch_size, num_texts)
        positives = labels[:, None] == text_labels[None, :]
        counts = positives.sum(dim=0) if self.args.text_batch == "unique" and not self._config.vision_only else None
        self._saturated_sum += saturated_share(logits.detach(), positives, text_counts=counts)
        self._num_saturated += 1
        if self.args.loss_type == "ce_soft":
            # As published, the temperature is 1 and the embeddings have the length that training gives them: the scale
            # of the logits is that length squared, and so enters the targets too.
            length = (self.accelerator.unwrap_model(self.model_wrapped).logit_scale / 2).exp()
            return soft_target_loss(length * outputs.image_embeds, length * outputs.text_embeds)
        return contrastive_loss(
            logits,
            positives,
            loss_type=self.args.loss_type,
            js_weight=self.args.js_weight,
            text_counts=counts,
            symmetric=not self._config.vision_only,
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs["saturated_share"] = self._saturated_sum.item() / self._num_saturated
            self._saturated_sum.zero_()
            self._num_saturated = 0
        super().log(logs, start_time)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[None, torch.Tensor, torch.Tensor]:
        """Scores of a batch against all classes, `(batch_size, num_labels)`; the loss is that of the whole set."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            return None, model(pixel_values=inputs["pixel_values"]).logits_per_image, inputs["labels"]

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> EvalLoopOutput:
        self.refresh_class_embeds()
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        labels = torch.as_tensor(output.label_ids)  # (num_rows,)
        loss = contrastive_loss(
            torch.as_tensor(output.predictions),  # (num_rows, num_labels)
            labels[:, None] == torch.arange(self._config.num_labels),
            # every class has one text here, where the paired objectives are their unpaired form
            loss_type="ce" if self.args.loss_type in PAIRED_LOSS_TYPES else self.args.loss_type,
            js_weight=self.args.js_weight,
            symmetric=not self._config.vision_only,
        )
        output.metrics[f"{metric_key_prefix}_loss"] = loss.item()
        return output

    def refresh_class_embeds(self) -> None:
        """Encode the class prompts with the present weights, so that classes are scored and saved as they are."""
        if not self._config.vision_only:
            self.accelerator.unwrap_model(self.model).set_class_embeds(**self._class_texts)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """A learning rate for the heads and one for each tower; norms, biases and the scale do not decay."""
        if self.optimizer is None:
            args = self.args
            tower_decay = args.weight_decay if args.tower_weight_decay is None else args.tower_weight_decay
            vision_rate = args.learning_rate if args.vision_learning_rate is None else args.vision_learning_rate
            text_rate = args.learning_rate if args.text_learning_rate is None else args.text_learning_rate
            settings = {  # the heads first: the learning rate that is logged is the first group's
                "heads": (args.learning_rate, args.weight_decay),
                "vision_model": (vision_rate, tower_decay),
                "text_model": (text_rate, tower_decay),
            }
            groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
            for name, parameter in (model or self.model).named_parameters():
                if parameter.requires_grad:
                    part = next((tower for tower in ("vision_model", "text_model") if f"{tower}." in name), "heads")
                    groups.setdefault((part, parameter.ndim >= 2), []).append(parameter)
            optimizer_class, optimizer_settings = self.get_optimizer_cls_and_kwargs(args, self.model)
            self.optimizer = optimizer_class(
                [
                    {"params": groups[part, decays], "lr": rate, "weight_decay": decay if decays else 0.0}
                    for part, (rate, decay) in settings.items()
                    for decays in (True, False)
                    if (part, decays) in groups
                ],
                **optimizer_settings,
            )
        return self.optimizer

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self._load_weights(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        self._load_weights(self.state.best_model_checkpoint)

    def _load_weights(self, checkpoint: str) -> None:
        """Load weights as `from_pretrained` does: in a file those of some towers (ViT) have other names than here, and
        the Trainer's own loading passes over them (https://github.com/huggingface/transformers/issues/43701).
        """
        model = self.accelerator.unwrap_model(self.model)
        model.load_state_dict(type(model).from_pretrained(checkpoint, dtype=torch.float32).state_dict())

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        self.refresh_class_embeds()
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            (folder / TRAINING_ARGS_NAME).unlink()  # pickled, with a token of the Hub in clear, and read by nobody
            umask = os.umask(0)
            os.umask(umask)
            for weights in folder.glob("*.safetensors"):  # which only their owner could read
                weights.chmod(0o666 & ~umask)
