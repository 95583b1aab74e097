"""Disk of a run: refuse a training whose checkpoints cannot fit, and name the file that a full disk cut off."""

import errno
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from torch import nn

from ..runs.directory import list_checkpoints, list_unfinished
from .arguments import MgVtcTrainingArguments

NUM_CHECKPOINTS = 3  # the last one, the best one, and the one that is being written
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Words of errors that torch and safetensors raise instead of an OSError.
OF_WRITERS = ("inline_container", "PytorchStreamWriter", "iostream error", *(f"os error {number}" for number in FULL))


class DiskFull(OSError):
    """The disk of a run is full; the message names the file and the way out."""


def check_disk_space(model: nn.Module, args: MgVtcTrainingArguments) -> None:
    """Refuse to train where the checkpoints cannot fit; call it before anything slow.

    Args:
        model: Model to train, whose frozen parameters do not require a gradient.
        args: Of the training; checkpoints in `output_dir` count as space that is there, as new ones replace them.

    Raises:
        ValueError: The file system of `output_dir` has too little free space.
    """
    folder = Path(args.output_dir).absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    weights, checkpoint = measure_checkpoint(model, args)
    needed = weights + count_checkpoints(args) * checkpoint
    kept = sum(_measure(path) for path in (*list_checkpoints(folder), *list_unfinished(folder)))
    free = shutil.disk_usage(existing).free + kept
    if free < needed:
        raise ValueError(
            f"output_dir {folder} needs {format_bytes(needed)} for {count_checkpoints(args)} checkpoints and the "
            f"model, but {format_bytes(free)} are free: free disk space, choose another output_dir, or set "
            "save_only_model."
        )


def measure_checkpoint(model: nn.Module, args: MgVtcTrainingArguments) -> tuple[int, int]:
    """Return the bytes of the weights and of a checkpoint: weights, their average and the states of the optimizer."""
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    if args.save_only_model:
        return weights, weights
    trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    name = args.optim.value
    num_states = 2 if "adam" in name and "8bit" not in name and "galore" not in name else 0  # others keep less
    return weights, weights + num_states * trained + (weights if args.ema_decay > 0 else 0)


def count_checkpoints(args: MgVtcTrainingArguments) -> int:
    """Return the number of checkpoints that are on the disk at a time, at most `NUM_CHECKPOINTS`."""
    if args.save_strategy == "no":
        return 0
    by_epoch = args.save_strategy == "epoch" and args.max_steps <= 0
    return min(NUM_CHECKPOINTS, math.ceil(args.num_train_epochs)) if by_epoch else NUM_CHECKPOINTS


def _measure(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def naming_full_disk(folder: Path, written: Path | None = None) -> Iterator[None]:
    """Turn the errors of a full disk into one that names the file and the way out.

    Args:
        folder: Folder of the run.
        written: Folder that is being written, whose newest file is named if the error names none.

    Raises:
        DiskFull: The disk is full.
    """
    try:
        yield
    except DiskFull:
        raise
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _is_of_full_disk(error):
            raise
        named = getattr(error, "filename", None)
        file = Path(named) if named else _find_newest(written or folder)
        last = list_checkpoints(folder)
        kept = f"{last[-1].name} is whole" if last else "no checkpoint was written yet"
        raise DiskFull(
            f"The disk of {folder} is full, so {_shorten(file, written)} could not be written ({kept}): free disk "
            "space and start again with `resume_from_checkpoint=auto`."
        ) from error


def _is_of_full_disk(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    cause = error.__cause__ or error.__context__
    is_of_writer = any(words in str(error) for words in OF_WRITERS)
    return is_of_writer or (isinstance(cause, OSError) and cause.errno in FULL)


def _find_newest(folder: Path) -> Path:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=folder)


def _shorten(file: Path, written: Path | None) -> str:
    """Return the path of a file without the folder of an unfinished checkpoint."""
    if written is not None and file.is_relative_to(written):
        return str(file.relative_to(written))
    return str(file)


def format_bytes(num_bytes: int) -> str:
    """Return a size as "1.5 GB" or "0.3 MB"."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
