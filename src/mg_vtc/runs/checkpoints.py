"""Checkpoints of a run: written whole or not at all, checked before a run is resumed, and rotated."""

import json
import shutil
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ..files import UNFINISHED, sync_folder
from .directory import list_checkpoints, list_unfinished, read_record
from .manifest import MANIFEST, find_damage, write_manifest


def find_checkpoint(folder: Path, resume_from: str, *, needs_best: bool = False) -> str:
    """Return the checkpoint to resume from: a named one or, for "true", the last whole one.

    Damaged checkpoints are passed over with a warning. One without a manifest, of an earlier revision, counts as whole
    if its files can be opened.

    Args:
        folder: Folder of the run.
        resume_from: Folder of a checkpoint, or "true".
        needs_best: Whether the run ends with its best checkpoint, which must then be whole, too.

    Raises:
        FileNotFoundError: There is no such checkpoint, or none is whole.
        ValueError: The named one is damaged.
    """
    if resume_from.lower() != "true":
        if not _is_complete(Path(resume_from)) or Path(resume_from).resolve().parent != folder.resolve():
            raise FileNotFoundError(
                f"resume_from_checkpoint {resume_from} is not a complete checkpoint of the run in output_dir {folder}."
            )
        check_whole(Path(resume_from), needs_best=needs_best)
        return resume_from
    passed_over: list[str] = []
    for checkpoint in reversed(list_checkpoints(folder)):
        damage = _find_faults(checkpoint, needs_best=needs_best)
        if damage:
            passed_over += damage
        elif _is_complete(checkpoint):
            if passed_over:
                warnings.warn(f"{'; '.join(passed_over)}. Resuming from {checkpoint} instead.", stacklevel=2)
            return str(checkpoint)
    why = f" ({'; '.join(passed_over)})" if passed_over else ""
    raise FileNotFoundError(
        f"There is no complete checkpoint in {folder} to resume from{why}: "
        f"{'copy the damaged files back, or ' if passed_over else ''}start again (`overwrite`)."
    )


def check_whole(checkpoint: Path, *, needs_best: bool = False) -> None:
    """Refuse a damaged checkpoint.

    Raises:
        ValueError: A file differs from the manifest or, without one, cannot be opened.
    """
    if damage := _find_faults(checkpoint, needs_best=needs_best):
        raise ValueError(
            f"{checkpoint} cannot be resumed from: {'; '.join(damage)}. Resume from another checkpoint, or start "
            "again (`overwrite`)."
        )


def _find_faults(checkpoint: Path, *, needs_best: bool) -> list[str]:
    """Return the damaged files of a checkpoint, and of the best one so far if the run ends with it."""
    damage = find_damage(checkpoint)
    if not (checkpoint / MANIFEST).exists():
        damage = [f"{path} is damaged" for path in _find_unreadable(checkpoint)]
    if damage or not needs_best or not _is_complete(checkpoint):
        return damage
    state = read_record(checkpoint / TRAINER_STATE_NAME)
    best = find_best_checkpoint(checkpoint, state) if state.get("best_global_step") else None
    return [] if best is None or Path(best) == checkpoint else _find_faults(Path(best), needs_best=False)


def _find_unreadable(checkpoint: Path) -> list[Path]:
    """Return the files of a checkpoint that are not whole, as far as their formats tell."""
    states = [path for path in (checkpoint / OPTIMIZER_NAME, *checkpoint.glob("rng_state*.pth")) if path.is_file()]
    unreadable = [path for path in states if not zipfile.is_zipfile(path)]  # as torch saves them
    unreadable += [path for path in sorted(checkpoint.glob("*.safetensors")) if not _is_whole(path)]
    state = checkpoint / TRAINER_STATE_NAME
    return unreadable + ([state] if state.exists() and not _is_complete(checkpoint) else [])


def check_checkpoint(checkpoint: Path, world_size: int, *, needs_best: bool) -> None:
    """Refuse a checkpoint from which a run would not end with the weights of the uninterrupted run.

    Args:
        checkpoint: Folder of the checkpoint.
        world_size: Number of processes.
        needs_best: Whether the run ends with its best checkpoint.

    Raises:
        FileNotFoundError: A file or the best checkpoint is missing.
        ValueError: The number of processes changed, or the state is damaged.
    """
    state = read_record(checkpoint / TRAINER_STATE_NAME)
    begun = len(list(checkpoint.glob("rng_state_*.pth"))) or 1
    if begun != world_size:
        raise ValueError(
            f"The run began with {begun} process{'es' if begun > 1 else ''}, now there are {world_size}: resume "
            "with as many, because the batches depend on it."
        )
    random_states = ["rng_state.pth"] if world_size == 1 else [f"rng_state_{rank}.pth" for rank in range(world_size)]
    missing = [name for name in (OPTIMIZER_NAME, SCHEDULER_NAME, *random_states) if not (checkpoint / name).is_file()]
    if not any((checkpoint / name).is_file() for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)):
        missing.append(SAFE_WEIGHTS_NAME)
    if damaged := [path.name for path in _find_unreadable(checkpoint)]:
        raise ValueError(
            f"{checkpoint} cannot be resumed from: {', '.join(damaged)} is damaged. Resume from another checkpoint, "
            "or start again (`overwrite`)."
        )
    if missing:
        raise FileNotFoundError(
            f"{checkpoint} lacks {', '.join(missing)}, so the run would end with other weights (save_only_model saves "
            "nothing else). Resume from another checkpoint, or start again (`overwrite`)."
        )
    if needs_best and state.get("best_global_step") and find_best_checkpoint(checkpoint, state) is None:
        raise FileNotFoundError(
            f"The best checkpoint so far, checkpoint-{state['best_global_step']}, is not beside {checkpoint}, so the "
            "run cannot end with it: copy it back, or start again (`overwrite`)."
        )


def _is_whole(weights: Path) -> bool:
    """Return whether a file of weights is as long as its header says."""
    try:
        with safe_open(weights, "pt"):
            return True
    except SafetensorError:
        return False


def find_best_checkpoint(checkpoint: Path, state: Mapping[str, Any]) -> str | None:
    """Return the best checkpoint so far, which is beside the given one; None if it is missing.

    Args:
        checkpoint: Folder of a checkpoint.
        state: Its `trainer_state.json`.
    """
    best = checkpoint.parent / f"checkpoint-{state['best_global_step']}"
    return str(best) if best.is_dir() else None


def has_checkpoint(folder: Path) -> bool:
    """Return whether the run in the folder, which may not exist, has a complete checkpoint."""
    return any(_is_complete(checkpoint) for checkpoint in list_checkpoints(folder))


def _is_complete(checkpoint: Path) -> bool:
    """Return whether a checkpoint has the state of the training, and whole."""
    try:
        json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return True


@contextmanager
def removing_unfinished(folder: Path) -> Iterator[None]:
    """Remove what is left of checkpoints that were not finished, before the block and after an error in it."""
    _remove_unfinished(folder)
    try:
        yield
    except BaseException:
        _remove_unfinished(folder)
        raise


def _remove_unfinished(folder: Path) -> None:
    for unfinished in list_unfinished(folder):
        shutil.rmtree(unfinished)


def stage_checkpoint(folder: Path, step: int) -> Path:
    """Return the folder that gathers the files of a checkpoint until `finish_checkpoint` puts it in its place."""
    return folder / f"checkpoint-{step}{UNFINISHED}" / f"checkpoint-{step}"


def finish_checkpoint(staged: Path) -> None:
    """Write the manifest of a checkpoint and put it in its place, where an older one of the same step is replaced."""
    write_manifest(staged)
    place_checkpoint(staged)


def place_checkpoint(staged: Path) -> None:
    """Put a checkpoint that has a manifest in its place."""
    place = staged.parents[1] / staged.name
    if place.exists():  # of a run that was resumed from an earlier checkpoint
        place.rename(staged.parent / "replaced")
    staged.rename(place)
    sync_folder(place.parent)
    shutil.rmtree(staged.parent)


def remove_old_checkpoints(
    folder: Path, keep: int | None, best_step: int | None, last_step: int, needed: Collection[str] = ()
) -> None:
    """Delete all checkpoints but the last `keep` and the best one; none if `keep` is None or 0.

    Args:
        folder: Folder of the run.
        keep: Number of checkpoints to keep.
        best_step: Step of the best checkpoint.
        last_step: Step of the checkpoint that was just written. Later ones, of a run that was resumed from an earlier
            checkpoint, are not counted: they may be damaged.
        needed: Names of other checkpoints to keep.
    """
    checkpoints = [one for one in list_checkpoints(folder) if int(one.name.rpartition("-")[2]) <= last_step]
    for checkpoint in checkpoints[: -keep or None] if keep else ():
        if checkpoint.name not in (f"checkpoint-{best_step}", *needed):
            shutil.rmtree(checkpoint)
