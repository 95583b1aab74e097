"""Preemption: a signal saves a checkpoint after the step, and the process ends with a code that asks to run it again.

Schedulers send such a signal before they take a machine away: SIGTERM, or SIGUSR1 with `sbatch --signal`. Ctrl-C is
SIGINT.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .distributed import join_hosts

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: a temporary failure, to be tried again
SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1")
SAME_SIGNAL = 1.0  # seconds within which a second signal is the first one, passed on by a launcher
ENDS_SOON = "the run ends as soon as its state is saved; a second signal ends it at once"
GO_ON = "to go on, repeat the command with --resume_from_checkpoint auto"


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; the message says when."""


class SignalWatch:
    """Handler of `SIGNALS`: raises `Interrupted` or, while `deferring`, notes the signal in `received`.

    A second signal ends the process at once.
    """

    def __init__(self) -> None:
        self.received = 0  # number of the signal
        self.deferring = False
        self.now = "before the training began"
        self._since = 0.0
        self._process = os.getpid()

    def note(self, number: int) -> None:
        """Note a signal, unless one was noted before."""
        if not self.received:
            self.received, self._since = number, time.monotonic()

    def check(self, when: str) -> None:
        """Raise `Interrupted` if there was a signal; `when` completes "ended by SIGTERM"."""
        if self.received:
            raise Interrupted(f"ended by {signal.Signals(self.received).name} {when}")

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; a process that was forked and inherited the handler ends."""
        if os.getpid() != self._process:
            end_by(number)
        elif not self.received:
            self.note(number)
            if not self.deferring:
                self.check(self.now)
            if int(os.environ.get("RANK", 0)) == 0:
                name = signal.Signals(number).name
                os.write(2, f"mg-vtc train: received {name}: {ENDS_SOON}\n".encode())  # which a handler may
        elif time.monotonic() - self._since > SAME_SIGNAL:
            os.write(2, f"mg-vtc train: ended at once by a second signal; {GO_ON}\n".encode())
            os._exit(EXIT_CODE)


def end_by(number: int) -> None:
    """End this process by a signal."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


_WATCH: ContextVar[SignalWatch | None] = ContextVar("watch of signals", default=None)


@contextmanager
def watching_signals() -> Iterator[SignalWatch]:
    """Handle signals of this process as `SignalWatch` does, within the block."""
    watch = SignalWatch()
    if threading.current_thread() is not threading.main_thread():  # where Python handles no signals
        yield watch
        return
    before = {number: signal.signal(number, watch.handle) for number in list_signals()}
    token = _WATCH.set(watch)
    try:
        yield watch
    except BaseException:
        _end_workers()
        raise
    finally:
        _WATCH.reset(token)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_workers() -> None:
    """End workers that an error left: they outlive one signal, so the end of the process would wait for them."""
    workers = multiprocessing.active_children()
    if workers and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else torch raises for each worker that is killed
    for worker in workers:
        worker.kill()


def ignore_signals() -> None:
    """Ignore further signals, as a launcher may pass the first one on to a process that is about to end."""
    for number in list_signals():
        signal.signal(number, signal.SIG_IGN)


def list_signals() -> list[signal.Signals]:
    """Return those of `SIGNALS` that this system has."""
    return [signal.Signals[name] for name in SIGNALS if name in signal.Signals.__members__]


@contextmanager
def deferring_signals(trainer: Trainer) -> Iterator[None]:
    """Let signals in the block end it only where nothing is lost: after a checkpoint, or in predictions.

    All processes of the trainer agree on it. Without `watching_signals` nothing changes.
    """
    watch = _WATCH.get()
    if watch is None:
        yield
        return
    trainer.add_callback(EndAtSignal(watch, timeout=trainer.args.ddp_timeout_delta))
    watch.deferring = True
    try:
        yield
    finally:
        watch.deferring, watch.now = False, "after a run was finished"


def is_watching() -> bool:
    """Return whether signals of this process are handled, by `watching_signals`."""
    return _WATCH.get() is not None


def check_signals(when: str) -> None:
    """Raise `Interrupted` if a signal was noted; see `SignalWatch.check`."""
    if (watch := _WATCH.get()) is not None:
        watch.check(when)


def ends_epoch(state: TrainerState, control: TrainerControl) -> bool:
    """Return whether the step that was just taken is the last one of its epoch or of the training."""
    return bool(float(state.epoch or 0).is_integer() or control.should_training_stop or control.should_epoch_stop)


class SaveAfterEvaluation(TrainerCallback):
    """Save the last step of an epoch after the epoch's evaluation, which draws random numbers."""

    def __init__(self) -> None:
        self._is_due = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._is_due = control.should_save and not control.should_evaluate and ends_epoch(state, control)
        control.should_save = control.should_save and not self._is_due

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_save = control.should_save or self._is_due
        self._is_due = False


class EndAtSignal(TrainerCallback):
    """Save a checkpoint and raise `Interrupted` once a process of the training has received a signal.

    An evaluation in the training is finished first, as the checkpoint holds its result.

    Args:
        watch: Watch of the signals of this process.
        timeout: Time within which the processes have to agree.
    """

    def __init__(self, watch: SignalWatch, timeout: timedelta) -> None:
        self._watch = watch
        self._is_training, self._is_due = False, False
        self._group = join_hosts(timeout)

    def _agree(self) -> bool:
        """Return whether any process has received a signal."""
        if self._group is not None:
            number = torch.tensor(self._watch.received)
            dist.all_reduce(number, op=dist.ReduceOp.MAX, group=self._group)
            if number:
                self._watch.note(int(number))
        return self._watch.received > 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._is_training = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._is_due = self._agree()
        if self._is_due:
            args.save_only_model = False
            control.should_save = control.should_save or not ends_epoch(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_save = control.should_save or self._is_due

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._agree() and not args.save_only_model:
            self._watch.check(f"after step {state.global_step}, whose checkpoint was saved")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._is_training = False

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self._is_training and args.save_strategy != "no" and self._agree():
            self._watch.check("before its results were written")
