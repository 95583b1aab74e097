"""Values that a training logs beside its loss: rates of the towers, scale of the logits, and means over steps."""

from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SINCE_LOG = "SinceLog"  # name of the state in a checkpoint


class LoggedValues(TrainerCallback):
    """Values of the next log.

    Means over steps are kept in checkpoints. Without this, a run that is resumed within an epoch would log the mean
    over its own steps alone, unlike a run that was not interrupted.

    Args:
        trainer: Trainer whose values are logged.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer: Any = trainer
        self._parts: list[str] = []
        self._rates: dict[str, float] = {}
        self._saturated_sum, self._num_saturated = torch.zeros((), device=trainer.args.device), 0

    def name_groups(self, parts: list[str]) -> None:
        """Set the part of the model that each parameter group of the optimizer is of, as in `group_parameters`."""
        self._parts = parts

    def add_saturated(self, fraction: torch.Tensor) -> None:
        """Add the fraction of a batch, 0-d, whose Jensen-Shannon gradient has vanished."""
        self._saturated_sum += fraction
        self._num_saturated += 1

    def note_rates(self) -> None:
        """Note the learning rates of the towers; of the layers of a tower, the highest one.

        The groups of an optimizer that the user made are not known, so their rates are not noted.
        """
        rates: dict[str, float] = {}
        for part, group in zip(self._parts, self._trainer.optimizer.param_groups, strict=False):
            if part != "heads":
                name = f"{part.removesuffix('_model')}_learning_rate"
                rates[name] = max(group["lr"], rates.get(name, 0.0))
        self._rates = rates

    def take(self, scale: torch.Tensor) -> dict[str, float]:
        """Return the values to log, and begin new means.

        Args:
            scale: Natural logarithm of the scale of the logits, 0-d.
        """
        saturated = self._saturated_sum.item() / self._num_saturated
        self._saturated_sum.zero_()
        self._num_saturated = 0
        return self._rates | {"logit_scale": scale.exp().item(), "saturated_fraction": saturated}

    def save(self, state: TrainerState) -> None:
        """Write the means since the last log into the state of a checkpoint."""
        trainer = self._trainer
        since_log = {
            "loss_sum": trainer._tr_loss.item(),
            "last_logged_step": trainer._globalstep_last_logged,
            "saturated_sum": self._saturated_sum.item(),
            "num_saturated": self._num_saturated,
        }
        state.stateful_callbacks[SINCE_LOG] = {"args": {}, "attributes": since_log}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read the means of the checkpoint that the training is resumed from."""
        self._saturated_sum.zero_()
        self._num_saturated = 0
        saved = state.stateful_callbacks.get(SINCE_LOG)
        if saved is None:
            return
        since_log, trainer = saved["attributes"], self._trainer
        trainer._tr_loss.fill_(since_log["loss_sum"])
        trainer._total_loss_scalar -= since_log["loss_sum"]  # the mean of the whole training is of resumed steps
        trainer._globalstep_last_logged = since_log["last_logged_step"]
        self._saturated_sum.fill_(since_log["saturated_sum"])
        self._num_saturated = since_log["num_saturated"]
