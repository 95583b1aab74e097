"""Training by contrast: the texts a batch is compared with, the objective, the evaluation against all classes."""

import functools
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import EvalLoopOutput

from .class_texts import ClassTexts
from .data.batches import GlobalBatchSampler
from .data.pixels import normalize
from .data.stream import PictureStream
from .gathering import gather_rows, take_share
from .losses import contrastive_loss, saturated_share, soft_target_loss
from .parameter_groups import group_parameters
from .training_args import PAIRED_LOSS_TYPES, MgVtcTrainingArguments


class _SetEpoch(TrainerCallback):
    """Tells the order of the rows and their augmentation which epoch it is: both are functions of it."""

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        loader = kwargs["train_dataloader"]
        for part in (loader.batch_sampler, loader.dataset):
            if hasattr(part, "set_epoch"):
                part.set_epoch(int(state.epoch))


class MgVtcTrainer(Trainer):
    """Trains a `MgVtcModel` on rows of `pixel_values` and `labels`, contrasting them with `config.class_prompts`.

    `processing_class` is the model's processor. `pixel_values` may be uint8, and are then normalised with its mean and
    standard deviation, on the device. Several processes contrast the whole batch: embeddings are gathered with their
    gradients, and each process encodes its share of the texts, so that loss and gradients are those of one process
    with the same global batch, but for batch norm, whose statistics are those of a process.

    Evaluation scores each picture against all classes; `eval_loss` is the objective over the whole set (for
    `ce_identity` and `ce_soft`, which pair texts, it is `ce`), so that it does not depend on the batch size. It is no
    measure of the gap to the training loss, which compares with fewer pictures.

    Raises:
        ValueError: The objective pairs each picture with a text, and the model is vision-only; two classes are one
            text for the model; or a batch would hold one picture alone, or none for one of the processes.
        FloatingPointError: A loss was not finite. The step was not taken; saved checkpoints are as they were.
    """

    args: MgVtcTrainingArguments
    optimizer: torch.optim.Optimizer | None
    loss_is_scaled_for_ga = False  # `compute_loss` returns a mean, so the Trainer divides by the accumulation steps

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._config = self.model.config
        self._image_processor: Any = getattr(self.processing_class, "image_processor", self.processing_class)
        self.model.vision_model.to(memory_format=torch.channels_last)  # convolutions are faster so, on CPU and GPU
        if self.args.device.type == "cpu":  # zeros in the same memory are cheaper than new memory at each step
            self.model.zero_grad = functools.partial(self.model.zero_grad, set_to_none=False)
        self._saturated_sum, self._num_saturated = torch.zeros((), device=self.args.device), 0
        self.add_callback(_SetEpoch)
        self._check_batches()
        self._frozen_towers = self._freeze_towers()
        self._class_texts, self._text_states = None, None
        if self._config.vision_only:
            if self.args.loss_type in PAIRED_LOSS_TYPES:
                raise ValueError(
                    f"loss_type {self.args.loss_type!r} needs texts: a vision-only model takes js, kl or ce."
                )
            return
        self.model.text_chunk_size = self.args.text_chunk_size
        self._class_texts = ClassTexts(self._config.class_prompts, self.processing_class.tokenizer, self.args.device)
        if self.args.freeze_text_model:  # its states never change: (num_labels, width)
            self._text_states = self.model.get_text_states(**self._class_texts.inputs)
        self.refresh_class_embeds()
        self._class_texts.check_apart(self.model.class_embeds)

    def _freeze_towers(self) -> list[nn.Module]:
        """Towers that stay as they are, batch norm and all."""
        frozen = [
            getattr(self.model, tower)
            for tower in ("vision_model", "text_model")
            if getattr(self.args, f"freeze_{tower}") and hasattr(self.model, tower)
        ]
        for tower in frozen:
            tower.requires_grad_(False)
        return frozen

    def _check_batches(self) -> None:
        """Refuse a batch of one picture, unless it is compared with all classes, and one of none for a process."""
        if self.train_dataset is None or isinstance(self.train_dataset, PictureStream):
            return
        num_rows, num_processes = len(self.train_dataset), self.args.world_size
        batch_size = self.args.train_batch_size * num_processes
        leftover = 0 if self.args.dataloader_drop_last else num_rows % batch_size
        in_batch = self.args.text_batch != "classes" and not self._config.vision_only
        if in_batch and (batch_size == 1 or leftover == 1):
            raise ValueError(
                f"{num_rows} training pictures in batches of {batch_size} leave a picture alone, with nothing to be "
                "contrasted with: choose another per_device_train_batch_size, or text_batch 'classes'."
            )
        if 0 < leftover < num_processes:
            raise ValueError(
                f"{num_rows} training pictures in batches of {batch_size} leave {leftover} for {num_processes} "
                "processes: choose another per_device_train_batch_size, or dataloader_drop_last."
            )

    def get_train_dataloader(self) -> DataLoader:
        """Batches in an order that is a function of seed and epoch, each shared out to the processes."""
        args, dataset = self.args, self.train_dataset
        if isinstance(dataset, PictureStream):
            batches: dict[str, Any] = {"batch_size": self._train_batch_size}
        else:
            sampler = GlobalBatchSampler(
                len(dataset),
                self._train_batch_size * args.world_size,
                num_processes=args.world_size,
                process_index=args.process_index,
                seed=args.seed if args.data_seed is None else args.data_seed,
                drop_last=args.dataloader_drop_last,
            )
            batches = {"batch_sampler": sampler}
        return DataLoader(
            dataset,
            **batches,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            generator=torch.Generator(),  # so that starting workers draws nothing from that of the dropout
        )

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        epochs, num_batches = super()._init_training_state(*args, **kwargs)
        if not isinstance(self.train_dataset, PictureStream):
            return epochs, num_batches
        self.train_dataset.skip_batches(num_batches)  # without decoding what the Trainer would read and throw away
        return 0, 0

    def _get_dataloader(self, *args: Any, **kwargs: Any) -> DataLoader:
        """Loader of an evaluation, where no row is left out whatever `dataloader_drop_last` says of the training."""
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super()._get_dataloader(*args, **kwargs)
        finally:
            self.args.dataloader_drop_last = drop_last

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        if inputs["pixel_values"].dtype == torch.uint8:  # as they come from a `PictureDataset`
            mean, std = self._image_processor.image_mean, self._image_processor.image_std
            inputs["pixel_values"] = normalize(inputs["pixel_values"], mean, std)
        return inputs

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
        """Objective of the batch of all processes, a 0-d tensor."""
        for tower in self._frozen_towers:
            tower.eval()
        labels = gather_rows(inputs["labels"])  # (global_batch_size,)
        text_labels = self._select_text_labels(labels)  # (num_texts,)
        own_texts = inputs["labels"] if self.args.text_batch == "pairs" else take_share(text_labels)
        outputs = model(pixel_values=inputs["pixel_values"], **self._text_inputs(own_texts))
        image_embeds = gather_rows(outputs.image_embeds)  # (global_batch_size, projection_dim)
        text_embeds = outputs.text_embeds  # (num_texts, projection_dim)
        if not self._config.vision_only:
            text_embeds = gather_rows(text_embeds)[: len(text_labels)]
        loss = self._objective(image_embeds, text_embeds, labels, text_labels)
        if not torch.isfinite(loss):
            rows = gather_rows(inputs["index"]).tolist() if "index" in inputs else "unknown"
            raise FloatingPointError(
                f"The loss is {loss.item()} at step {self.state.global_step + 1} (epoch {self.state.epoch:.2f}), in "
                f"the batch of training rows {rows}, numbered as in split.json. The step was not "
                f"taken, and the checkpoints in {self.args.output_dir} are as they were. Look at these pictures; a "
                "lower learning rate helps where nothing is wrong with them."
            )
        return (loss, outputs) if return_outputs else loss

    def _select_text_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Class ids `(num_texts,)` of what the batch of all processes is compared with."""
        if self._config.vision_only or self.args.text_batch == "classes":
            return torch.arange(self._config.num_labels, device=labels.device)
        return labels.unique() if self.args.text_batch == "unique" else labels

    def _text_inputs(self, text_labels: torch.Tensor) -> dict[str, torch.Tensor]:
        if self._class_texts is None:
            return {}
        if self._text_states is not None:
            return {"text_states": self._text_states[text_labels]}
        return self._class_texts.select(text_labels)

    def _objective(
        self, image_embeds: torch.Tensor, text_embeds: torch.Tensor, labels: torch.Tensor, text_labels: torch.Tensor
    ) -> torch.Tensor:
        model = self.accelerator.unwrap_model(self.model_wrapped)
        logits = model.compare(image_embeds, text_embeds)  # (global_batch_size, num_texts)
        positives = labels[:, None] == text_labels[None, :]
        counts = positives.sum(dim=0) if self.args.text_batch == "unique" and not self._config.vision_only else None
        self._saturated_sum += saturated_share(logits.detach(), positives, text_counts=counts)
        self._num_saturated += 1
        if self.args.loss_type == "ce_soft":
            # As published, the temperature is 1 and the embeddings have the length that training gives them: the scale
            # of the logits is that length squared, and so enters the targets too.
            length = (model.logit_scale / 2).exp()
            return soft_target_loss(length * image_embeds, length * text_embeds)
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
        if isinstance(self.train_dataset, PictureStream):  # the one epoch of a stream is all of its steps
            self.state.epoch = self.state.global_step / self.state.max_steps
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
        output.metrics.update({f"{metric_key_prefix}_loss": loss.item(), f"{metric_key_prefix}_samples": len(labels)})
        return output

    def refresh_class_embeds(self) -> None:
        """Encode the class prompts with the present weights, so that classes are scored and saved as they are."""
        if self._class_texts is not None:
            self.accelerator.unwrap_model(self.model).set_class_embeds(**self._class_texts.inputs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            optimizer_class, settings = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = optimizer_class(group_parameters(model or self.model, self.args), **settings)
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
