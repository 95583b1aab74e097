"""Prediction of inputs into a file or a challenge submission, resumable after an interruption."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import broadcast_object_list
from tqdm.auto import tqdm

from . import prediction_files, submissions
from .ensemble import Member
from .inputs import HASH_DIGITS, Inputs, list_sources, make_inputs
from .prediction_files import Journal, write_predictions_file
from .predictor import Prediction, Predictor, failing_together, join_processes
from .submissions import name_samples, number_classes, write_submission

INPUT_SETTINGS = ("segments", "first_frame", "frames_per_clip", "crop")


class WrittenPredictions(NamedTuple):
    """Summary of written predictions.

    Attributes:
        num_rows: Rows of the file.
        num_resumed: Images and frames that an interrupted run had already predicted.
        num_filled: Samples of a submission without a prediction, which got `missing_class`.
        errors: Images, frames and clips that could not be read.
    """

    num_rows: int
    num_resumed: int
    num_filled: int
    errors: list[Prediction]


def write_predictions(
    model: str | Sequence[str],
    inputs: str | os.PathLike | Sequence[str | os.PathLike],
    output: str | Path,
    *,
    submission: str | None = None,
    missing_class: str | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> WrittenPredictions | None:
    """Predict images as `predict` does, and write the predictions to a file.

    The same call resumes an interrupted run from `FILE.partial` and writes the same bytes as an uninterrupted one.

    Args:
        model: Folder or Hub id of a model of this package, or a list of them (see `predict`).
        inputs: See `predict`.
        output: File to write: `.csv`, `.jsonl` or `.parquet`; `.csv` for the submission "lut", `.zip` for others.
        submission: "lut", "miga", "mac", "mac_2024" (see `submissions`) or None. Except for "lut", `vote` defaults to
            "mean".
        missing_class: Fallback class for unreadable samples of a submission. Repeat a call that was refused for
            missing predictions with it; nothing is predicted again.
        overwrite: Whether the file, or an interrupted run with other settings, may be replaced.
        settings: Other arguments of `predict`.

    Returns:
        Summary of the predictions; None on all processes but the first.

    Raises:
        OSError: As for `predict`, or the disk is full; repeat the call to resume.
        ValueError: As for `predict`, a file would be overwritten, or the submission is incomplete or does not fit the
            model.
    """
    with failing_together():
        run = _begin(model, inputs, Path(output), submission, missing_class, overwrite, settings)
    num_resumed = _predict(run)
    with failing_together():
        return _write(run, num_resumed)


class _Run(NamedTuple):
    """State of a run before the first prediction."""

    output: Path
    predictor: Predictor
    inputs: Inputs
    num_samples: int | None  # None if unknown
    submission: dict[str, Any] | None  # arguments of `write_submission`
    journal: Journal | None  # on the first process only


def _begin(
    model: str | Sequence[str],
    inputs: str | os.PathLike | Sequence[str | os.PathLike],
    output: Path,
    submission: str | None,
    missing_class: str | None,
    overwrite: bool,
    settings: dict[str, Any],
) -> _Run:
    _check_output(output, submission, missing_class, overwrite)
    if submission and settings.get("threshold") is not None:
        raise ValueError(
            "`threshold` cannot be used with `submission`, which needs a class for each sample: leave it out."
        )
    of_inputs = {name: settings.pop(name) for name in INPUT_SETTINGS if name in settings}
    if submission not in (None, "lut"):
        settings["vote"] = settings.get("vote") or "mean"
    predictor = Predictor(model, **settings)
    if submission and predictor.top_k < (least := submissions.FORMS[submission].num_labels):
        raise ValueError(f"A {submission} submission needs `top_k` {least} or more, got {predictor.top_k}.")
    listed = make_inputs(inputs, **of_inputs)
    num_samples, files = predictor.survey(listed)
    handed_in = None
    if submission:
        ids = number_classes(submission, predictor.class_names, missing_class)
        named = name_samples(submission, list_sources(listed))
        handed_in = {"submission": submission, "samples": named, "ids": ids, "missing_class": missing_class}
    hashes = " ".join(map(_hash_model, predictor.ensemble.members))
    begun = {"model": hashes, "inputs": listed.paths, "files": files, "submission": submission}
    journal = Journal(output, begun | settings, overwrite=overwrite) if join_processes().is_main_process else None
    return _Run(output, predictor, listed, num_samples, handed_in, journal)


def _check_output(output: Path, submission: str | None, missing_class: str | None, overwrite: bool) -> None:
    if submission not in (None, *submissions.FORMS):
        raise ValueError(f"submission must be one of {', '.join(submissions.FORMS)}, got {submission!r}.")
    if missing_class is not None and submission is None:
        raise ValueError("`missing_class` requires `submission`: other files have no row for unreadable samples.")
    prediction_files.check_suffix(
        output, (submissions.FORMS[submission].suffix,) if submission else prediction_files.SUFFIXES
    )
    prediction_files.check_file(output, overwrite=overwrite)


def _predict(run: _Run) -> int:
    """Predict the samples that are not in the journal; return the number of those that are."""
    journal = run.journal
    start, is_whole = broadcast_object_list([(journal.num_done, journal.is_whole) if journal else None])[0]
    if is_whole:
        return start
    with tqdm(total=run.num_samples, initial=start, unit=" images", disable=None if journal else True) as bar:
        for num_done, predictions in run.predictor.predict(run.inputs, start):
            with failing_together():
                if journal is not None:
                    journal.add(num_done, predictions)
            bar.update(num_done - bar.n)
    return start


def _write(run: _Run, num_resumed: int) -> WrittenPredictions | None:
    if run.journal is None:
        return None
    run.journal.end()
    num_filled = 0
    try:
        if run.submission is not None:
            num_rows = len(run.submission["samples"])
            num_filled = write_submission(path=run.output, predictions=run.journal.read(), **run.submission)
        else:
            columns: dict[str, Any] = {"top_k": run.predictor.top_k, "voted": run.predictor.vote is not None}
            columns["has_threshold"] = run.predictor.threshold is not None
            num_rows = write_predictions_file(run.output, run.journal.read(), **columns)
    except OSError as error:
        raise OSError(
            f"{run.output} cannot be written ({error}). All predictions are in {run.journal.path}: solve the problem "
            "and repeat the command to write the file."
        ) from error
    return WrittenPredictions(num_rows, num_resumed, num_filled, run.journal.close())


def _hash_model(member: Member) -> str:
    settings = member.network.config.to_json_string() + member.image_processor.to_json_string()
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(member.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:HASH_DIGITS]
