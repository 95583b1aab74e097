"""A run that answers pictures and ends with a file of answers or a submission."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import broadcast_object_list
from tqdm.auto import tqdm

from . import prediction_files, submissions
from .predict import Prediction, Predictor, join_processes
from .prediction_files import Journal, write_predictions_file
from .prediction_inputs import HASH_DIGITS, Inputs, list_sources, make_inputs
from .submissions import name_samples, number_classes, write_submission

INPUT_SETTINGS = ("segments", "first_frame", "frames_per_clip", "crop")


class WrittenPredictions(NamedTuple):
    """What came of a run.

    Attributes:
        num_rows: Rows of the file.
        num_resumed: Pictures and frames that an interrupted run had done before.
        num_filled: Samples of a submission that have no answer, and were given `missing_class`.
        faults: Pictures, frames and clips that could not be read.
    """

    num_rows: int
    num_resumed: int
    num_filled: int
    faults: list[Prediction]


def write_predictions(
    model: str,
    inputs: str | os.PathLike | Sequence[str | os.PathLike],
    out: str | Path,
    *,
    submission: str | None = None,
    missing_class: str | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> WrittenPredictions | None:
    """Answer pictures as `predict` does, and write the answers.

    A run that was killed goes on from `OUT.partial` when it is started anew, and ends with the same bytes.

    Args:
        model: Folder or Hub id of a model of this package.
        inputs: As for `predict`.
        out: File to write: `.csv`, `.jsonl` or `.parquet`; for the submission "lut" `.csv`, for "miga" `.zip`.
        submission: "lut", "miga" (see `submissions`) or None; "miga" has clips vote by "mean" unless told otherwise.
        missing_class: Class for samples of a submission that can not be read; a run that was refused goes on with it.
        overwrite: Whether the file may be replaced, or an interrupted run with other settings.
        settings: As for `predict`.

    Returns:
        What came of it; None on all processes but the first.

    Raises:
        OSError: As for `predict`, or the disk is full: the same call then goes on later.
        ValueError: As for `predict`, something would be lost, or a submission is not complete or not for this model.
    """
    out = Path(out)
    _check_out(out, submission, missing_class, overwrite)
    of_inputs = {name: settings.pop(name) for name in INPUT_SETTINGS if name in settings}
    if submission == "miga":
        settings["vote"] = settings.get("vote") or "mean"
    predictor = Predictor(model, **settings)
    listed = make_inputs(inputs, **of_inputs)
    num_samples, files = predictor.survey(listed)
    handed_in: dict[str, Any] = {}  # what `write_submission` takes
    if submission:
        ids = number_classes(submission, predictor.class_names, missing_class)
        named = name_samples(submission, list_sources(listed))
        handed_in = {"samples": named, "ids": ids, "missing_class": missing_class}
    begun = {"model": _hash_model(predictor), "inputs": listed.paths, "files": files, "submission": submission}
    journal = Journal(out, begun | settings, overwrite=overwrite) if join_processes().is_main_process else None
    num_resumed = _answer(predictor, listed, journal, num_samples)
    if journal is None:
        return None
    num_rows, num_filled = _write(out, journal.read(), predictor, submission, handed_in)
    return WrittenPredictions(num_rows, num_resumed, num_filled, journal.close())


def _check_out(out: Path, submission: str | None, missing_class: str | None, overwrite: bool) -> None:
    if submission not in (None, *submissions.SUFFIXES):
        raise ValueError(f"submission must be one of {', '.join(submissions.SUFFIXES)}, got {submission!r}.")
    if missing_class is not None and submission is None:
        raise ValueError("--missing_class goes with --submission: elsewhere what can not be read has no row.")
    prediction_files.check_suffix(
        out, (submissions.SUFFIXES[submission],) if submission else prediction_files.SUFFIXES
    )
    prediction_files.check_file(out, overwrite=overwrite)


def _answer(predictor: Predictor, inputs: Inputs, journal: Journal | None, num_samples: int | None) -> int:
    """Answer what the journal, which the first process has, does not hold yet; return how much it held."""
    start, is_whole = broadcast_object_list([(journal.num_done, journal.is_whole) if journal else None])[0]
    if is_whole:
        return start
    with tqdm(total=num_samples, initial=start, unit=" pictures", disable=None if journal else True) as bar:
        for num_done, predictions in predictor.answer(inputs, start):
            if journal is not None:
                journal.add(num_done, predictions)
            bar.update(num_done - bar.n)
    if journal is not None:
        journal.end()
    return start


def _write(
    out: Path,
    predictions: Iterator[Prediction],
    predictor: Predictor,
    submission: str | None,
    handed_in: dict[str, Any],
) -> tuple[int, int]:
    """Write answers; return how many rows there are, and how many of them have no answer."""
    if submission:
        return len(handed_in["samples"]), write_submission(submission, out, predictions, **handed_in)
    return write_predictions_file(out, predictions, top_k=predictor.top_k, voted=predictor.vote is not None), 0


def _hash_model(predictor: Predictor) -> str:
    settings = predictor.network.config.to_json_string() + predictor.image_processor.to_json_string()
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(predictor.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:HASH_DIGITS]
