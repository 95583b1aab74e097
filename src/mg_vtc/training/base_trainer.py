"""Trainer of images: batches, processes, streams, checkpoints, pixel values and pushes to the Hub."""

import logging
import shutil
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from ..data.decoding import normalize
from ..data.sampler import GlobalBatchSampler
from ..data.streaming import ImageStream
from ..hub.checkpoints import CheckpointUploader, refuse_to_replace
from ..hub.push import prepare_repo, push_to_hub
from ..runs.checkpoints import (
    check_checkpoint,
    check_whole,
    find_best_checkpoint,
    find_checkpoint,
    finish_checkpoint,
    remove_old_checkpoints,
    removing_unfinished,
    stage_checkpoint,
)
from ..runs.directory import ADAPTER_FOLDER, CARD, MODEL_STAGING, RECORDS
from ..runs.manifest import OF_MODEL, place_model, write_manifest
from .arguments import MgVtcTrainingArguments
from .callbacks import StopEarlyCallback
from .device import naming_full_memory
from .disk_space import check_disk_space, naming_full_disk
from .distributed import join_hosts
from .loader_workers import worker_settings
from .preemption import Interrupted, SaveAfterEvaluation
from .start_checks import check_batches


@contextmanager
def _without_words_of_moved_checkpoints() -> Iterator[None]:
    """Hide the Trainer's warning that the best checkpoint of a moved folder is missing."""

    def is_of_another_matter(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("The best checkpoint")

    logger = logging.getLogger("transformers.trainer")
    logger.addFilter(is_of_another_matter)
    try:
        yield
    finally:
        logger.removeFilter(is_of_another_matter)


class _SetEpoch(TrainerCallback):
    """Pass the epoch to the order of the rows and to their augmentation."""

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        loader = kwargs["train_dataloader"]
        for part in (loader.batch_sampler, loader.dataset):
            if hasattr(part, "set_epoch"):
                part.set_epoch(int(state.epoch))


class ImageTrainer(Trainer):
    """Trainer of images: global batches do not depend on the number of processes, and streams resume exactly.

    `processing_class` is the model's processor. uint8 `pixel_values` are normalized on the device.

    Raises:
        ValueError: A batch has no images for a process, or `balanced_sampling` does not know the labels.
    """

    args: MgVtcTrainingArguments
    _uploader: CheckpointUploader | None = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        join_hosts(self.args.ddp_timeout_delta)
        self._image_processor: Any = getattr(self.processing_class, "image_processor", self.processing_class)
        self.whole_checkpoint: str | None = None  # compared with its manifest already
        self._staging: Path | None = None  # folder in which a checkpoint is being written
        self.add_callback(_SetEpoch)
        self.add_callback(SaveAfterEvaluation)
        if self.args.early_stopping_patience is not None:
            self.add_callback(StopEarlyCallback(self.args.early_stopping_patience))
        if self.train_dataset is not None and not isinstance(self.train_dataset, IterableDataset):
            check_batches(len(self.train_dataset), self.args, contrasts_within=self._contrasts_within_batches())
        self._balanced_labels = None
        if self.args.balanced_sampling and self.train_dataset is not None:
            self._balanced_labels = self._train_labels("balanced_sampling").numpy()

    def _contrasts_within_batches(self) -> bool:
        """Return whether an image is compared only with its batch."""
        return False

    def _train_labels(self, setting: str) -> torch.Tensor:
        """Return the class ids of the training rows `(num_rows,)`, which a setting needs."""
        labels = getattr(self.train_dataset, "labels", None)
        if labels is None:
            raise ValueError(
                f"{setting} must know the class of every training row beforehand, but "
                f"the labels of {type(self.train_dataset).__name__} are not known: leave it out, or train on a folder "
                "or data set that is not streamed."
            )
        return labels

    @property
    def global_batch_size(self) -> int:
        """Number of images of a batch, over all processes."""
        return self._train_batch_size * self.args.world_size

    def get_train_dataloader(self) -> DataLoader:
        """Return batches in an order that depends on seed and epoch alone, each divided among the processes."""
        args, dataset = self.args, self.train_dataset
        if isinstance(dataset, IterableDataset):
            batches: dict[str, Any] = {"batch_size": self._train_batch_size}
        else:
            sampler = GlobalBatchSampler(
                len(dataset),
                self.global_batch_size,
                labels=self._balanced_labels,
                num_processes=args.world_size,
                process_index=args.process_index,
                seed=args.order_seed,
                drop_last=args.dataloader_drop_last,
            )
            batches = {"batch_sampler": sampler}
        return DataLoader(
            dataset,
            **batches,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers or 0,
            pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            **worker_settings(args.dataloader_num_workers or 0, args.dataloader_multiprocessing_context),
            generator=torch.Generator(),  # starting workers must not draw from the generator of the dropout
        )

    def _get_dataloader(self, dataset: Any, *args: Any, **kwargs: Any) -> DataLoader:
        """Return the loader of an evaluation, which counts each row once."""
        changed: dict[str, Any] = {"dataloader_drop_last": False}
        if isinstance(dataset, IterableDataset) and self.args.world_size > 1:
            # the first process reads and distributes; workers would end with batches too small to distribute
            changed |= {"dataloader_num_workers": 0, "dataloader_prefetch_factor": None}
            changed |= {"dataloader_persistent_workers": False, "dataloader_multiprocessing_context": None}
        kept = {name: getattr(self.args, name) for name in changed}
        self.args.__dict__.update(changed)
        try:
            loader = super()._get_dataloader(dataset, *args, **kwargs)
        finally:
            self.args.__dict__.update(kept)
        base = loader.base_dataloader  # which starts the workers of accelerate's loader
        for name, value in worker_settings(base.num_workers, self.args.dataloader_multiprocessing_context).items():
            setattr(base, name, value)
        return loader

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: str | None,
        *args: Any,
    ) -> tuple[int, int]:
        if resume_from_checkpoint is not None:
            needs_best = self.args.load_best_model_at_end
            check_checkpoint(Path(resume_from_checkpoint), self.args.world_size, needs_best=needs_best)
        with _without_words_of_moved_checkpoints():
            epochs, num_batches = super()._init_training_state(
                max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, *args
            )
        if resume_from_checkpoint is not None and self.state.best_global_step:
            self.state.best_model_checkpoint = find_best_checkpoint(Path(resume_from_checkpoint), vars(self.state))
        callbacks = self.callback_handler.callbacks
        if any(isinstance(one, StopEarlyCallback) and one.is_over(self.args, self.state) for one in callbacks):
            return num_train_epochs, 0  # it had stopped at this checkpoint
        if self.state.global_step >= max_steps:  # the Trainer would take one more step of an epoch that is not over
            return num_train_epochs, 0
        if not isinstance(self.train_dataset, ImageStream):
            return epochs, num_batches
        self.train_dataset.skip_batches(num_batches)  # without decoding them, as the Trainer would
        return 0, 0

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Return whether this evaluation is the best: by its score or, for equal scores, by its loss."""
        best, best_step = self.state.best_metric, self.state.best_global_step
        is_best = super()._determine_best_metric(metrics, trial)
        name = f"eval_{str(self.args.metric_for_best_model).removeprefix('eval_')}"
        if is_best or not best_step or metrics.get(name) != best:
            return is_best
        losses = [
            log["eval_loss"] for log in self.state.log_history if log["step"] == best_step and "eval_loss" in log
        ]
        if not losses or not metrics["eval_loss"] < losses[-1]:
            return False
        self.state.best_global_step = self.state.global_step
        return True

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train; see `transformers.Trainer.train`. A damaged checkpoint is refused; True takes the last whole one."""
        needs_best = bool(self.args.load_best_model_at_end)
        check_disk_space(self.model, self.args)
        if resume_from_checkpoint is True:
            resume_from_checkpoint = find_checkpoint(Path(self.args.output_dir), "true", needs_best=needs_best)
        elif resume_from_checkpoint and resume_from_checkpoint != self.whole_checkpoint:
            check_whole(Path(resume_from_checkpoint), needs_best=needs_best)
        try:
            with naming_full_memory(self.args):
                return super().train(resume_from_checkpoint, *args, **kwargs)
        except Interrupted:  # in all processes: those that end first would have a launcher end the one that uploads
            self._finish_current_push()
            self.accelerator.wait_for_everyone()
            raise
        except Exception:
            if self._uploader is not None and (names := self._uploader.list_needed()):
                where = f"{', '.join(sorted(names))} to {self.args.repo_id}"
                warnings.warn(f"The upload of {where} goes on: the program ends after it.", stacklevel=2)
            raise

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._staging is None else str(self._staging)

    def _save_checkpoint(self, *args: Any) -> None:
        """Save a checkpoint, which appears in the folder of the run with all of its files or not at all."""
        folder, staged = (
            Path(self.args.output_dir),
            stage_checkpoint(Path(self.args.output_dir), self.state.global_step),
        )
        with removing_unfinished(folder) if self.args.should_save else nullcontext():
            self.accelerator.wait_for_everyone()
            self._staging = staged.parent
            try:
                with self._keeping_all_checkpoints(), naming_full_disk(folder, staged.parent):
                    super()._save_checkpoint(*args)
            finally:
                self._staging = None
            best = folder / f"checkpoint-{self.state.best_global_step}"
            if best.is_dir() or best.name == staged.name:  # the Trainer looked for it in the other folder
                self.state.best_model_checkpoint = str(best)
            with naming_full_disk(folder, staged.parent):
                if self.args.should_save:
                    self.state.save_to_json(str(staged / TRAINER_STATE_NAME))
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    finish_checkpoint(staged)
        if self.args.should_save:
            self._remove_old_checkpoints(needed=self._upload_checkpoint(folder / staged.name, best))
        self.accelerator.wait_for_everyone()

    def _upload_checkpoint(self, last: Path, best: Path) -> set[str]:
        """Upload a checkpoint in the background, if checkpoints shall be; return the names of those that it reads."""
        if self._uploader is None:
            return set()
        self._warn_of_uploads(self._uploader)
        if not self.args.save_only_model:
            is_other = self.args.load_best_model_at_end and best != last and best.is_dir()
            self._uploader.push(last, best if is_other else None)
        return self._uploader.list_needed()

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Push nothing where the Trainer would: the checkpoint has no manifest yet."""

    def _finish_current_push(self) -> None:
        """Wait for the upload of the last checkpoint."""
        if self._uploader is not None:
            self._uploader.wait()
            self._warn_of_uploads(self._uploader)
            self._remove_old_checkpoints()

    def _remove_old_checkpoints(self, needed: Collection[str] = ()) -> None:
        folder, keep, best_step = Path(self.args.output_dir), self.args.save_total_limit, self.state.best_global_step
        remove_old_checkpoints(folder, keep, best_step, self.state.global_step, needed)

    def _warn_of_uploads(self, uploader: CheckpointUploader) -> None:
        for fault in uploader.collect_faults():
            warnings.warn(f"{fault} The training goes on, and its next checkpoint is uploaded again.", stacklevel=3)

    def _finalize_training(self, *args: Any) -> Any:
        with self._keeping_all_checkpoints():
            return super()._finalize_training(*args)

    @contextmanager
    def _keeping_all_checkpoints(self) -> Iterator[None]:
        """Keep the Trainer from deleting checkpoints: it deletes the last one, and any `checkpoint-*` of the user."""
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            yield
        finally:
            self.args.save_total_limit = limit

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if isinstance(self.train_dataset, ImageStream):
            self.state.epoch = self.state.global_step / self.state.max_steps
        super().log(logs, start_time)

    def _prepare_input(self, data: Any) -> Any:
        """Copy to the device; memory that is pinned is copied while the device works."""
        if torch.is_tensor(data):
            return data.to(self.args.device, non_blocking=data.is_pinned())
        return super()._prepare_input(data)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        if inputs["pixel_values"].dtype == torch.uint8:  # as they come from an `ImageDataset`
            mean, std = self._image_processor.image_mean, self._image_processor.image_std
            inputs["pixel_values"] = normalize(inputs["pixel_values"], mean, std)
        return inputs

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, its processor and a manifest, without a push: there may be no card yet.

        The files are written beside those of an earlier model, which they then replace.
        """
        if self._staging is not None:  # the manifest of a checkpoint is written later
            super().save_model(output_dir, _internal_call=True)
            return
        folder = Path(output_dir or self.args.output_dir)
        staged = folder / MODEL_STAGING
        if self.args.should_save:
            shutil.rmtree(staged, ignore_errors=True)
            if (folder / ADAPTER_FOLDER).is_dir():  # written when it was merged; the manifest has it, too
                shutil.copytree(folder / ADAPTER_FOLDER, staged / ADAPTER_FOLDER)
        super().save_model(str(staged), _internal_call=True)
        if self.args.should_save:
            write_manifest(staged, OF_MODEL)
            place_model(staged, folder)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Create the repository of `args.hub_model_id` before the training, which checks the permission."""
        self.args.check_hub_settings()
        if self.is_world_process_zero():
            prepare_repo(self.args.repo_id, private=self.args.makes_private)
            self.hub_model_id = self.args.repo_id
            if self.args.pushes_checkpoints:
                if not (self.args.resume_from_checkpoint or self.args.overwrite):
                    refuse_to_replace(self.args.repo_id, self.args.hub_revision)
                self._uploader = CheckpointUploader(self.args.repo_id, self.args.hub_revision)

    def push_to_hub(self, commit_message: str | None = None, **kwargs: Any) -> str | None:
        """Save the model and push its folder with `mg_vtc.push_to_hub`; a training in Python gets a card first.

        Args:
            commit_message: Message of the commit.
            kwargs: `private` and `revision`, by default those of the arguments.

        Returns:
            Address of the model's page; `None` in processes other than the first one.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.save_model()
        if not (Path(self.args.output_dir) / CARD).exists():
            self.create_model_card()
        elif self.is_world_process_zero():
            write_manifest(Path(self.args.output_dir), (*OF_MODEL, *RECORDS, CARD))
        if not self.is_world_process_zero():
            return None
        settings = {"private": self.args.makes_private, "revision": self.args.hub_revision} | kwargs
        return push_to_hub(self.args.output_dir, self.args.repo_id, commit_message=commit_message, **settings)
