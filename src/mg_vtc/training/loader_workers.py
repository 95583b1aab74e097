"""Workers of data loaders outlive a signal that the whole group of a run gets: the run saves its last step first."""

import copy
import multiprocessing
import signal
import sys
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from .preemption import end_by, is_watching, list_signals


class _StartsBlocked(BaseProcess):
    """A process that begins with signals blocked; they wait until `_outlive_a_signal` handles them."""

    def start(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, list_signals())
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


_PROCESSES: dict[str, type[BaseProcess]] = {}  # workers by start method; Windows sends no signals to groups
if sys.platform != "win32":
    from multiprocessing.context import ForkProcess, SpawnProcess

    class _Forked(_StartsBlocked, ForkProcess):
        """A worker that is forked."""

    class _Spawned(_StartsBlocked, SpawnProcess):
        """A worker that is spawned."""

    _PROCESSES = {"fork": _Forked, "spawn": _Spawned}


def worker_settings(num_workers: int, start_method: str | None) -> dict[str, Any]:
    """Return settings of a `DataLoader`; under `watching_signals`, its workers outlive a signal.

    The children of a forkserver have the blocked signals of the server, so workers are spawned in its place.

    Args:
        num_workers: Number of workers; 0 starts none.
        start_method: Start method of `multiprocessing`; by default the one that is set, or that of the system.
    """
    if num_workers == 0:
        return {}
    if not is_watching():
        return {"multiprocessing_context": start_method}
    if start_method is None:  # get_context() would set it for good
        start_method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    context: Any = copy.copy(multiprocessing.get_context(start_method.replace("forkserver", "spawn")))
    context.Process = _PROCESSES.get(context.get_start_method(), context.Process)
    return {"multiprocessing_context": context, "worker_init_fn": _outlive_a_signal}


def _outlive_a_signal(worker_id: int) -> None:
    """Let a worker outlive a signal: it loads the last step, and ends with its parent. A second one ends it."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received:
            end_by(number)
        received.append(number)

    for number in list_signals():
        signal.signal(number, handle)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, list_signals())
