"""A run that answers pictures and ends with a file of answers or a submission."""

import hashlib
import os
from collections.abc import Sequence
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
        faults: Those that could not be read.
    """

    num_rows: int
    num_resumed: int
    faults: list[Prediction]


def write_predictions(
    model: str,
    inputs: str | os.PathLike | Sequence[str | os.PathLike],
    out: str | Path,
    *,
    submission: str | None = None,
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
        overwrite: Whether the file may be replaced, or an interrupted run with other settings.
        settings: As for `predict`.

    Returns:
        What came of it; None on all processes but the first.

    Raises:
        OSError: As for `predict`, or the disk is full: the same call then goes on later.
        ValueError: As for `predict`, something would be lost, or a submission is not complete or not for this model.
    """
    out = Path(out)
    _check_out(out, submission, overwrite)
    of_inputs = {name: settings.pop(name) for name in INPUT_SETTINGS if name in settings}
    if submission == "miga":
        settings["vote"] = settings.get("vote") or "mean"
    predictor = Predictor(model, **settings)
    ids = number_classes(submission, predictor.class_names) if submission else {}
    listed = make_inputs(inputs, **of_inputs)
    num_samples, files = predictor.survey(listed)
    named = name_samples(submission, list_sources(listed)) if submission else {}
    begun = {"model": _hash_model(predictor), "inputs": listed.paths, "files": files, "submission": submission}
    is_first = join_processes().is_main_process
    journal = Journal(out, begun | settings, overwrite=overwrite) if is_first else None
    num_resumed = _answer(predictor, listed, journal, num_samples)
    if journal is None:
        return None
    if submission:
        num_rows = write_submission(submission, out, journal.read(), named, ids)
    else:
        num_rows = write_predictions_file(out, journal.read(), top_k=predictor.top_k, voted=bool(predictor.vote))
    return WrittenPredictions(num_rows, num_resumed, journal.close())


def _check_out(out: Path, submission: str | None, overwrite: bool) -> None:
    if submission not in (None, *submissions.SUFFIXES):
        raise ValueError(f"submission must be one of {', '.join(submissions.SUFFIXES)}, got {submission!r}.")
    prediction_files.check_suffix(
        out, (submissions.SUFFIXES[submission],) if submission else prediction_files.SUFFIXES
    )
    prediction_files.check_file(out, overwrite=overwrite)


def _answer(predictor: Predictor, inputs: Inputs, journal: Journal | None, num_samples: int | None) -> int:
    """Answer what the journal, which the first process has, does not hold yet; return how much it held."""
    start: int = broadcast_object_list([journal.num_done if journal else None])[0]
    with tqdm(total=num_samples, initial=start, unit=" pictures", disable=None if journal else True) as bar:
        for num_done, predictions in predictor.answer(inputs, start):
            if journal is not None:
                journal.add(num_done, predictions)
            bar.update(num_done - bar.n)
    return start


def _hash_model(predictor: Predictor) -> str:
    settings = predictor.network.config.to_json_string() + predictor.image_processor.to_json_string()
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(predictor.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:HASH_DIGITS]
