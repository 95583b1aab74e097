"""Callbacks: early stopping, `results.csv`, and a progress bar with one line for each evaluation."""

import sys
import time
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..runs.results_table import write_results_table


class StopEarlyCallback(TrainerCallback):
    """Stop after `patience` evaluations in a row without a better `metric_for_best_model`.

    Evaluations are counted in the history of the run, so a resumed run stops where the uninterrupted one would. An
    equal score is not a better one.
    """

    def __init__(self, patience: int):
        self.patience = patience

    def is_over(self, args: TrainingArguments, state: TrainerState) -> bool:
        """Return whether the training has stopped."""
        name = f"eval_{str(args.metric_for_best_model).removeprefix('eval_')}"
        sign = 1 if args.greater_is_better else -1
        scores = [sign * log[name] for log in state.log_history if name in log]
        return bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= self.patience

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.is_over(args, state):
            control.should_training_stop = True


class ResultsTableCallback(TrainerCallback):
    """Write `results.csv` beside each checkpoint, so that it shows the run so far."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            write_results_table(Path(str(args.output_dir)), state.log_history)


class EpochLineCallback(ProgressCallback):
    """Show a progress bar on a terminal, and print a line after each evaluation:

    `epoch  12/60  loss 0.2104  val loss 0.2433  top-1  85.5 %  top-5  97.1 %  saturated  3.1 %  lr 9.1e-04  2.3 s`

    `saturated` is the fraction of images whose Jensen-Shannon gradient has vanished.
    """

    def __init__(self) -> None:
        super().__init__()
        self._training_logs: dict[str, float] = {}
        self._line_time = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            hidden = True if args.disable_tqdm else None  # None: only on a terminal
            self.training_bar = tqdm(total=state.max_steps, dynamic_ncols=True, disable=hidden)
        self.current_step = state.global_step
        self._line_time = time.monotonic()

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Show no second bar for an evaluation."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        self._training_logs = logs
        if args.eval_strategy == "no" and state.is_world_process_zero and self.training_bar is not None:
            self._write_line([f"epoch {logs['epoch']:>5.4g}/{state.num_train_epochs}", f"loss {logs['loss']:.4f}"])

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or self.training_bar is None or metrics is None:
            return
        parts = [f"epoch {metrics['epoch']:>5.4g}/{state.num_train_epochs}"]
        if state.num_train_epochs == sys.maxsize:  # as the Trainer gives it for streams
            parts = [f"step {state.global_step:>6}/{state.max_steps}"]
        if self._training_logs:
            parts.append(f"loss {self._training_logs['loss']:.4f}")
        parts.append(f"val loss {metrics['eval_loss']:.4f}")
        parts += [f"top-{k} {100 * metrics[f'eval_top{k}_accuracy']:5.1f} %" for k in (1, 5)]
        self._write_line(parts)

    def _write_line(self, parts: list[str]) -> None:
        if self._training_logs:
            parts.append(f"saturated {100 * self._training_logs['saturated_fraction']:4.1f} %")
            parts.append(f"lr {self._training_logs['learning_rate']:.1e}")
        now = time.monotonic()
        parts.append(f"{now - self._line_time:.1f} s")
        self._line_time = now
        self.training_bar.write("  ".join(parts), file=sys.stdout)
        sys.stdout.flush()
