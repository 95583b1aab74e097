"""Contrastive training of images with the names of their classes."""

import functools
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import EvalLoopOutput

from ..data.decoding import collate_images, find_resizing
from ..evaluation.metrics import score_top_k
from ..files import share_with_umask
from ..losses import adjust_logits, contrastive_loss, saturated_fraction, soft_target_loss
from ..runs.manifest import check_files
from .arguments import PAIRED_LOSS_TYPES, MgVtcTrainingArguments
from .base_trainer import ImageTrainer
from .batch_texts import BatchTexts, TextLabels, find_unique
from .device import runs_ahead
from .distributed import broadcast_buffers, gather_rows, take_share
from .fine_tuning import AveragedWeights, LinearProbe, StartingWeights, freeze_towers, list_towers, refuse_adapter
from .finite_losses import FiniteLosses
from .first_batch import FirstBatch
from .logged_values import LoggedValues
from .lora import LowRankAdapters
from .mixing import MixedLabels, mix_batch, mix_targets
from .optimizer import group_parameters
from .start_checks import check_batch_of_one, check_texts, contrasts_within_batches, smallest_chunk
from .trainer_defaults import find_origin, find_processor, take_over_for, wrap_rows
from .write_records import write_python_recipe, write_records


class MgVtcTrainer(ImageTrainer):
    """Trainer of a `MgVtcModel`, which contrasts images with `config.class_prompts`.

    `model` may also be the Hub id or folder of a dual encoder such as CLIP, or of a model of this package. It is taken
    over with the classes of `train_dataset`.

    Data sets are a `datasets.Dataset` with the columns `image` and `label`, whose class names are the model's, or a
    torch data set of `pixel_values` and `labels`. Collator, metrics and processor have defaults.

    Several processes contrast their global batch: embeddings are gathered with gradients, and each process encodes its
    share of the texts. Loss and gradients equal those of one process with the same batch. Batch norm is the exception:
    its training statistics are those of a process, and the first process's are used for evaluation.

    `selection_dataset` has labelled rows that are neither trained nor evaluated on, for `wise_ft_alpha` "auto": it is
    the one with the best top-1 on them and, of equal ones, the lowest loss.

    Evaluation scores each image against all classes. `eval_loss` is the loss over the whole set, so it does not depend
    on the batch size; for `ce_identity` and `ce_soft`, which pair texts, it is `ce`. It is not comparable to the
    training loss, which contrasts with fewer images, and it has no `logit_adjustment`.

    Raises:
        ValueError: The model is wrapped by PEFT, or the loss needs texts that it does not have; two classes have one
            text; a batch has a single image, or none for a process; `logit_adjustment` goes with texts of the batch.
        FloatingPointError: A loss is not finite. No weights are saved, and saved checkpoints are kept. On the CPU the
            step is not taken; elsewhere losses are read when the training logs, evaluates or saves.
    """

    args: MgVtcTrainingArguments
    optimizer: torch.optim.Optimizer | None
    loss_is_scaled_for_ga = False  # `compute_loss` returns a mean, so the Trainer divides by the accumulation steps

    def __init__(
        self,
        model: Any,
        args: MgVtcTrainingArguments | None = None,
        data_collator: Any = collate_images,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        compute_metrics: Any = score_top_k,
        selection_dataset: Any = None,
        **kwargs: Any,
    ):
        refuse_adapter(model)
        args = MgVtcTrainingArguments() if args is None else args
        if isinstance(model, (str, Path)):
            model, processing_class = take_over_for(str(model), train_dataset, processing_class)
        processing_class = find_processor(model) if processing_class is None else processing_class
        self._config = model.config
        self._resizing = find_resizing(getattr(processing_class, "image_processor", processing_class))
        super().__init__(
            model,
            args,
            data_collator,
            self._wrap(train_dataset, args.seed),
            self._wrap(eval_dataset, args.seed),
            processing_class,
            compute_metrics=compute_metrics,
            **kwargs,
        )
        self.model.vision_model.to(memory_format=torch.channels_last)  # faster convolutions, on CPU and GPU
        if self.args.device.type == "cpu":  # reusing memory is cheaper than allocating it at each step
            self.model.zero_grad = functools.partial(self.model.zero_grad, set_to_none=False)
        self._selection = self._wrap(selection_dataset)
        if self.args.interpolation is None and self._selection is None:
            raise ValueError("wise_ft_alpha is 'auto', which needs selection_dataset: labelled rows to choose it on.")
        self._logged_values = LoggedValues(self)
        self.add_callback(self._logged_values)
        self._first_batch = FirstBatch(self, self._image_processor)
        self._finite_losses = FiniteLosses(Path(self.args.output_dir))
        check_texts(self._config, self.args)
        self._begin_fine_tuning()
        self._classes = torch.arange(self._config.num_labels, device=self.args.device)  # to compare with: all, or
        self._log_prior: torch.Tensor | None = None  # those that have one, (num_classes,)
        if self.args.logit_adjustment > 0 and self.train_dataset is not None:
            self._classes, self._log_prior = self._measure_prior()
        self._prepare_towers()

    def _prepare_towers(self) -> None:
        self.model.image_chunk_size, self.model.text_chunk_size = self.args.gradient_cache, self.args.text_chunk_size
        # On the CPU there is nothing to wait for, and fewer texts are encoded in the shapes of each batch.
        self._fixed_shapes = runs_ahead(self.args.device) or self.args.torch_compile
        self._texts: BatchTexts | None = None
        if not self._config.vision_only:
            tokenizer = self.processing_class.tokenizer
            self._texts = BatchTexts(self.model, tokenizer, self.args, fixed_shapes=self._fixed_shapes)

    def _begin_fine_tuning(self) -> None:
        self._start = StartingWeights(self.model, self.args.interpolation)
        self._adapters = LowRankAdapters(self.model, self.args)
        self._frozen_towers = freeze_towers(self.model, self.args)
        self._probe = LinearProbe(list_towers(self.model).values(), self.args.linear_probe_epochs)
        self._average = AveragedWeights(self.model, self.args.ema_decay)
        self.add_callback(self._average)

    def _wrap(self, rows: Any, seed: int = 0) -> Any:
        return wrap_rows(rows, self._config, self._resizing, seed)

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score the model on `eval_dataset`, by default that of the trainer; see `transformers.Trainer.evaluate`."""
        return super().evaluate(self._wrap(eval_dataset), *args, **kwargs)

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Return scores `(num_rows, num_labels)`, labels and metrics; see `transformers.Trainer.predict`."""
        return super().predict(self._wrap(test_dataset), *args, **kwargs)

    def _measure_prior(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the classes of the training rows and the logarithm of their frequencies, `(num_classes,)` both."""
        if self.args.text_batch != "classes" and not self._config.vision_only:
            raise ValueError(
                f"logit_adjustment is {self.args.logit_adjustment}, but with text_batch {self.args.text_batch!r} the "
                "frequency of a class in the batch already adjusts it: set text_batch 'classes', or leave "
                "logit_adjustment out."
            )
        labels = self._train_labels("logit_adjustment").to(self.args.device)
        classes, counts = labels.unique(return_counts=True)
        return classes, (counts / len(labels)).log()

    def _contrasts_within_batches(self) -> bool:
        return contrasts_within_batches(self.args, vision_only=self.model.config.vision_only)

    def check_start(self) -> None:
        """Try the optimizer and the smallest batch, before anything is written.

        Raises:
            ValueError: The settings make no optimizer or schedule, or batch norm cannot take the smallest batch.
        """
        try:
            self.create_optimizer_and_scheduler(num_training_steps=max(self.args.max_steps, 100))
        except (ImportError, TypeError, ValueError, RuntimeError) as error:
            args: Any = self.args
            settings = f"optim {args.optim.value!r} with lr_scheduler_type {args.lr_scheduler_type.value!r}"
            raise ValueError(f"{settings} cannot be used: {' '.join(str(error).split())}") from error
        self.optimizer, self.lr_scheduler, self._created_lr_scheduler = None, None, False
        rows: Any = self.train_dataset
        if hasattr(rows, "__len__") and smallest_chunk(len(rows), self.args) == 1:
            check_batch_of_one(self.model, rows[0]["pixel_values"], self.args, rows, self.global_batch_size)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, and leave the class embeddings of the trained weights in the model; see `transformers.Trainer`."""
        self._config.reset_calibration()  # the loss has no temperature
        output = super().train(*args, **kwargs)
        self._probe.set_epoch(math.inf)
        alpha = self._start.interpolate(self.accelerator.unwrap_model(self.model), self._score_selection)
        if alpha is not None:
            output.metrics["wise_ft_alpha"] = alpha
        self.refresh_class_embeds()
        return output

    def _score_selection(self) -> tuple[float, float]:
        metrics = self.predict(self._selection, metric_key_prefix="selection").metrics
        return metrics["selection_top1_accuracy"], -metrics["selection_loss"]

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        if self.control.should_log or self.control.should_evaluate or self.control.should_save:
            self._finite_losses.check()
        if not (self.control.should_evaluate or self.control.should_save):
            return super()._maybe_log_save_evaluate(*args, **kwargs)
        with self._average.in_place_of_weights(self.accelerator.unwrap_model(self.model)):
            return super()._maybe_log_save_evaluate(*args, **kwargs)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        self._logged_values.save(self.state)
        if self.args.should_save:
            self._average.save(Path(output_dir))

    def _finalize_training(self, *args: Any) -> Any:
        self._finite_losses.check()
        model = self.accelerator.unwrap_model(self.model)
        self._average.swap(model)  # the run ends with the average, or with a checkpoint
        if self.args.lora_rank > 0:
            self.refresh_class_embeds()
            if self.args.should_save:
                self._adapters.save(model, Path(self.args.output_dir))
            self._adapters.merge(model)
        return super()._finalize_training(*args)

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
        """Return the loss of the global batch, a 0-d tensor."""
        for tower in (*self._frozen_towers, *self._probe.set_epoch(self.state.epoch or 0)):
            tower.eval()
        pixel_values, labels = mix_batch(inputs["pixel_values"], inputs["labels"], self.args)
        self._first_batch.write(pixel_values, labels)
        labels = labels.gather()  # (global_batch_size,) each
        texts = self._select_texts(labels.own)
        own_labels = inputs["labels"] if self.args.text_batch == "pairs" else take_share(texts.labels)
        text_inputs = {} if self._texts is None else self._texts.select(own_labels, self.state.global_step)
        outputs = model(pixel_values=pixel_values, **text_inputs)
        image_embeds = gather_rows(outputs.image_embeds)  # (global_batch_size, projection_dim)
        if self._texts is None:
            text_embeds = outputs.text_embeds[texts.labels]  # (num_texts, projection_dim)
        else:
            text_embeds = gather_rows(self._texts.average(outputs.text_embeds, own_labels))[: len(texts.labels)]
        loss = self._batch_loss(image_embeds, text_embeds, labels, texts)
        self._finite_losses.add(loss, inputs.get("index"), self.state)
        if not runs_ahead(self.args.device):
            self._finite_losses.check()
        return (loss, outputs) if return_outputs else loss

    def _select_texts(self, labels: torch.Tensor) -> TextLabels:
        """Return the classes that the global batch is compared with."""
        if self._texts is None or self.args.text_batch == "classes":
            return TextLabels(self._classes)
        if self.args.text_batch == "pairs":
            return TextLabels(labels)
        if self._fixed_shapes:
            return find_unique(labels, self._config.num_labels)
        return TextLabels(*labels.unique(return_counts=True))

    def _batch_loss(
        self, image_embeds: torch.Tensor, text_embeds: torch.Tensor, labels: MixedLabels, texts: TextLabels
    ) -> torch.Tensor:
        model = self.accelerator.unwrap_model(self.model_wrapped)
        logits = model.compare(image_embeds, text_embeds)  # (global_batch_size, num_texts)
        if self._log_prior is not None:
            logits = adjust_logits(logits, self._log_prior, self.args.logit_adjustment, check_values=False)
        positives = labels.own[:, None] == texts.labels[None, :]  # (global_batch_size, num_texts)
        if self.args.mixes_targets:
            others = labels.others[:, None] == texts.labels[None, :]
            positives = mix_targets(positives, others, labels.weights, self.args.label_smoothing_factor, texts.counts)
        checks: dict[str, Any] = {
            "text_counts": texts.counts,
            "check_values": False,
        }  # these are right as they are made
        self._logged_values.add_saturated(saturated_fraction(logits.detach(), positives, **checks))
        if self.args.loss_type == "ce_soft":
            # As published, the temperature is 1 and embeddings are not normalized: the scale of the logits is their
            # squared length, which also enters the targets.
            length = (model.logit_scale / 2).exp()
            return soft_target_loss(length * image_embeds, length * text_embeds)
        return contrastive_loss(
            logits,
            positives,
            loss_type=self.args.loss_type,
            js_weight=self.args.js_weight,
            symmetric=not self._config.vision_only,
            **checks,
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs |= self._logged_values.take(self.accelerator.unwrap_model(self.model).logit_scale)
        super().log(logs, start_time)

    def _get_learning_rate(self) -> float:
        self._logged_values.note_rates()
        return super()._get_learning_rate()

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[None, torch.Tensor, torch.Tensor]:
        """Return scores of a batch against all classes, `(batch_size, num_labels)`; the loss is computed later."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            return None, model(pixel_values=inputs["pixel_values"]).logits_per_image, inputs["labels"]

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> EvalLoopOutput:
        broadcast_buffers(self.model)  # those of the first process are saved, so score with them
        self.refresh_class_embeds()
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        labels = torch.as_tensor(output.label_ids)  # (num_rows,)
        loss = contrastive_loss(
            torch.as_tensor(output.predictions),  # (num_rows, num_labels)
            labels[:, None] == torch.arange(self._config.num_labels),
            # each class has one text here, for which the paired losses equal their unpaired form
            loss_type="ce" if self.args.loss_type in PAIRED_LOSS_TYPES else self.args.loss_type,
            js_weight=self.args.js_weight,
            symmetric=not self._config.vision_only,
        )
        output.metrics.update({f"{metric_key_prefix}_loss": loss.item(), f"{metric_key_prefix}_samples": len(labels)})
        return output

    def refresh_class_embeds(self) -> None:
        """Encode the class prompts with the present weights."""
        if self._texts is not None:
            self._texts.refresh_class_embeds()

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            optimizer_class, settings = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            groups = group_parameters(model or self.model, self.args)
            self._logged_values.name_groups([group.pop("part") for group in groups])
            self.optimizer = optimizer_class(groups, **settings)
        return self.optimizer

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self._load_weights(resume_from_checkpoint)
        self._average.load(Path(resume_from_checkpoint), self.accelerator.unwrap_model(self.model))

    def _load_best_model(self) -> None:
        checkpoint = self.state.best_model_checkpoint
        if self.is_world_process_zero():
            check_files(Path(checkpoint))
        self._load_weights(checkpoint)
        if self.args.should_save:
            self._adapters.keep_best(Path(checkpoint), Path(self.args.output_dir))

    def _load_weights(self, checkpoint: str) -> None:
        """Load weights with `from_pretrained`, which renames those of some towers (ViT). The Trainer's own loading
        skips them: https://github.com/huggingface/transformers/issues/43701.
        """
        model = self.accelerator.unwrap_model(self.model)
        weights = type(model).from_pretrained(checkpoint, dtype=torch.float32).state_dict()
        self._adapters.load_state(weights, Path(checkpoint), model)
        if self._texts is not None:
            self._texts.encode_frozen()

    def create_model_card(self) -> None:
        """Write the card and its records for a training in Python, whose model is saved in `output_dir`."""
        predictions, splits = {}, {"train": self.train_dataset}
        if self.eval_dataset is not None:
            predictions["validation"], splits["validation"] = self.predict(self.eval_dataset), self.eval_dataset
        if self.is_world_process_zero():
            folder = Path(self.args.output_dir)
            seconds = next((log["train_runtime"] for log in self.state.log_history if "train_runtime" in log), None)
            towers = {f"{tower}_model_name_or_path": find_origin(self._config, tower) for tower in ("vision", "text")}
            write_python_recipe(folder, self.args, **towers)
            class_names = list(self._config.id2label.values())
            write_records(folder, self.args, self.state, predictions, splits, class_names, seconds=seconds)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        self.refresh_class_embeds()
        model = self.accelerator.unwrap_model(self.model)
        super()._save(output_dir, self._adapters.merge_state(model) or state_dict)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            self._adapters.save(model, folder)
            self._image_processor.save_pretrained(folder)  # its older form too, beside processor_config.json
            (folder / TRAINING_ARGS_NAME).unlink()  # pickled, holds a Hub token in clear text, and nobody reads it
            for weights in folder.glob("*.safetensors"):  # readable by their owner alone
                share_with_umask(weights)
