"""Evaluation of a saved model on labelled images, the library side of `mg-vtc evaluate`."""

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from datasets import Dataset, DatasetDict

from ..data.decoding import Resizing, to_rgb
from ..data.digests import digest_images
from ..files import atomic_write_folder, check_destination
from ..inference.embedding import predict_images
from ..inference.ensemble import Ensemble, open_members
from ..inference.loading import Model, name_model
from ..models.modeling_mg_vtc import MgVtcModel
from ..runs.directory import CALIBRATION, read_record
from ..runs.records import RunRecords, Training, find_training, join_records
from .class_groups import find_class_groups
from .class_matching import match_classes
from .clips import score_clips
from .data import load_as_run, name_data, select_classes
from .predictions_table import digest_weights, write_predictions_table
from .results import Predictions, describe_results, describe_temperature
from .selection import ChosenRows, choose_rows
from .subsets import score_subsets

RESULTS, REPORT, PREDICTIONS = "results.json", "report.html", "predictions.parquet"


class Evaluation(NamedTuple):
    """Outcome of an evaluation.

    Attributes:
        predictions: Predictions of the model.
        results: Content of `results.json`: conditions, scores with intervals, baselines, scores by class, calibration.
        read_image: Function that returns the RGB image of a row of `predictions`.
        training: Training of the model; None if it is not known.
        digests: Digest of the image bytes of each row.
        weights: Digest of the weights; None for a model that is not in a folder.
    """

    predictions: Predictions
    results: dict[str, Any]
    read_image: Callable[[int], PIL.Image.Image]
    training: Training | None
    digests: list[str]
    weights: str | None = None


def evaluate(
    model: Model | Sequence[Model],
    data: str | Path | Dataset | DatasetDict,
    *,
    split: str | None = None,
    zero_shot: bool = False,
    candidate_labels: Sequence[str] | None = None,
    prompt_template: str | Sequence[str] | None = None,
    batch_size: int = 32,
    vote: str | None = None,
    weights: Sequence[float] | None = None,
    tta: bool = False,
    group_by: str | None = None,
    processor: Any = None,
    **reading: Any,
) -> Evaluation:
    """Score a saved model on labelled images.

    Args:
        model: Folder or Hub id of a model of this package, or a loaded one; or several, an `Ensemble`.
        data: Folder, Hub data set, "demo", or a loaded data set (`image`, `label`, optional `file_name`, `clip`).
        split: "train", "validation", "test" or "all"; the default has no training rows (see `choose_rows`).
        zero_shot: Whether to encode the data's own class names; else they must be among the model's classes.
        candidate_labels: As `zero_shot`, but with these classes of the data alone; images of others are left out.
        prompt_template: With `zero_shot`, one or several prompts of a class (see `predict`); by default the model's.
        batch_size: Images per batch.
        vote: "mean", "max" or "majority" to also score one prediction per clip (see `ClipVote`).
        weights: Weight of each model of an ensemble, positive; by default all are equal.
        tta: Whether to average the probabilities over views of the image (test-time augmentation, see `make_views`).
        processor: Processor of a single loaded model; by default the one in the folder or repository it came from.
        group_by: Column of text or whole numbers, such as the subject: also score its values apart (`score_subsets`).
        reading: Further arguments of `load_splits`; by default those of the run, where they apply.

    Raises:
        OSError: The model, folder or data set is not found.
        ValueError: The model, an image or a setting is invalid, or class names, split, clips or a column are missing.
    """
    zero_shot = _reads_names(zero_shot, candidate_labels, prompt_template)
    members = open_members(model, find_device(), processor=processor)
    records = join_records([member.records for member in members])  # of an ensemble, the training rows of all models
    reading |= {"demo_size": Resizing.of(members[0].decoding.resizing).image_size, "group_by": group_by}
    chosen = _choose_rows(load_as_run(data, records.recipe, reading), records, split, candidate_labels)
    names = chosen.rows.features["label"].names if zero_shot else None
    ensemble = Ensemble(members, weights=weights, candidate_labels=names, prompt_template=prompt_template, tta=tta)
    predictions = predict_rows(ensemble, chosen.rows, zero_shot, batch_size)
    predictions = predictions._replace(class_groups=_find_groups(predictions, data, reading))
    how = _describe_task(ensemble, prompt_template, candidate_labels, zero_shot=zero_shot)
    results = describe_results(ensemble.name, name_data(data), predictions, chosen.scored, records, **how)
    parts = _score_parts(predictions, chosen.rows, vote, group_by)
    return _join(predictions, results | parts, chosen, records, ensemble, zero_shot=zero_shot)


def _find_groups(
    predictions: Predictions, data: str | Path | Dataset | DatasetDict, reading: dict[str, Any]
) -> list[str] | None:
    return find_class_groups(predictions.class_names, name_data(data), reading.get("labels_file"))


def _score_parts(predictions: Predictions, rows: Dataset, vote: str | None, group_by: str | None) -> dict[str, Any]:
    """Score clips and subsets of the rows, if asked for."""
    clips = {} if vote is None else {"clips": score_clips(predictions, vote)}
    subsets = {} if group_by is None else {"subsets": score_subsets(predictions, group_by, rows["subset"][:])}
    return clips | subsets


def _join(
    predictions: Predictions,
    results: dict[str, Any],
    chosen: ChosenRows,
    records: RunRecords,
    ensemble: Ensemble,
    *,
    zero_shot: bool,
) -> Evaluation:
    """Add what the results say of calibration and ensemble, and what a report needs besides."""
    digests = digest_images(chosen.rows)
    results |= _describe_calibration(ensemble, predictions, digests, zero_shot=zero_shot)
    results |= _describe_members(ensemble)
    source = ensemble.members[0].source
    is_folder = len(ensemble.members) == 1 and not isinstance(source, MgVtcModel)
    return Evaluation(
        predictions,
        results,
        read_image=lambda row: to_rgb(chosen.rows[row]["image"]),
        training=find_training(records, shows_images=chosen.scored.of_run),
        digests=digests,
        weights=digest_weights(Path(source)) if is_folder else None,
    )


def _describe_calibration(
    ensemble: Ensemble, predictions: Predictions, digests: list[str], *, zero_shot: bool
) -> dict[str, Any]:
    """Describe temperature and threshold, if any, of a single model without views.

    The threshold is not for names other than the model's classes.
    """
    config = ensemble.members[0].network.config
    is_calibrated = config.logit_temperature != 1 or config.threshold is not None
    if len(ensemble.members) > 1 or ensemble.tta or not is_calibrated:
        return {}
    record = Path(config.name_or_path, CALIBRATION) if config.name_or_path else None
    fitted = set(read_record(record)["digests"]) if record is not None and record.is_file() else set()
    num_fitted = sum(digest in fitted for digest in digests)
    threshold = None if zero_shot else config.threshold
    described = describe_temperature(predictions, float(config.logit_temperature), threshold, num_fitted)
    return {"temperature_scaling": described}


def _reads_names(
    zero_shot: bool, candidate_labels: Sequence[str] | None, prompt_template: str | Sequence[str] | None
) -> bool:
    """Return whether the names of the data are encoded, and refuse a prompt for the model's own classes."""
    reads_names = zero_shot or candidate_labels is not None
    if prompt_template is not None and not reads_names:
        raise ValueError(
            "`prompt_template` requires `zero_shot` or `candidate_labels`: the model's classes have fixed prompts."
        )
    return reads_names


def _describe_task(
    ensemble: Ensemble,
    template: str | Sequence[str] | None,
    candidate_labels: Sequence[str] | None,
    *,
    zero_shot: bool,
) -> dict[str, Any]:
    config = ensemble.members[0].network.config
    template = template or config.name_templates
    num_texts = [max(map(len, member.network.config.class_texts)) for member in ensemble.members]
    return {
        "task": f"{'zero-shot-' if zero_shot else ''}image-classification",
        "prompt_template": template[0] if len(template) == 1 else template,  # of a list of one
        "num_texts": 1 if zero_shot else max(num_texts),
        "training_rows_known": all(member.records.split for member in ensemble.members),
        "tta": ensemble.tta,
        **({} if candidate_labels is None else {"leakage": None}),  # it was counted for images of all classes
    }


def _describe_members(ensemble: Ensemble) -> dict[str, Any]:
    """Return the models and weights of an ensemble; nothing for a single model."""
    named = zip(map(name_model, (member.source for member in ensemble.members)), ensemble.weights, strict=True)
    return (
        {"models": [{"model": name, "weight": weight} for name, weight in named]} if len(ensemble.members) > 1 else {}
    )


def write_evaluation(
    evaluation: Evaluation, folder: str | Path, *, overwrite: bool = False, with_report: bool = True
) -> Path:
    """Write `results.json`, `predictions.parquet` (one row per image) and `report.html`.

    Args:
        evaluation: Result of `evaluate`.
        folder: Folder to write to; created if missing.
        overwrite: Whether existing files of these names may be replaced.
        with_report: Whether to write `report.html`, which needs the extra `report`.

    Returns:
        Path of the report or, without it, of the results.

    Raises:
        ValueError: Files would be overwritten.
    """
    folder = Path(folder)
    models = [member["model"] for member in evaluation.results.get("models", [evaluation.results])]
    check_report_folder(models, folder, overwrite=overwrite)
    with atomic_write_folder(folder, (RESULTS, REPORT, PREDICTIONS)) as staging:
        text = json.dumps(evaluation.results, indent=1, ensure_ascii=False, allow_nan=False)
        (staging / RESULTS).write_text(text + "\n", encoding="utf-8")
        write_predictions_table(staging / PREDICTIONS, evaluation.predictions, evaluation.digests, evaluation.weights)
        if not with_report:
            return folder / RESULTS
        from .report.page import write_report

        report = write_report(
            staging,
            evaluation.predictions,
            evaluation.results,
            read_image=evaluation.read_image,
            training=evaluation.training,
        )
    return folder / report.name


def check_report_folder(models: Sequence[str], folder: Path, *, overwrite: bool) -> None:
    """Check that no file would be lost; call it before slow work.

    Raises:
        ValueError: The folder is that of a model, or holds files of these names and `overwrite` is False.
    """
    for model in models:
        check_destination(model, folder, (RESULTS, REPORT, PREDICTIONS), overwrite=overwrite)


def find_device() -> torch.device | str:
    return torch.accelerator.current_accelerator() or "cpu" if torch.accelerator.is_available() else "cpu"


def _choose_rows(
    splits: DatasetDict, records: RunRecords, split: str | None, candidate_labels: Sequence[str] | None
) -> ChosenRows:
    """Choose the rows to score, with a warning if there are training rows among them."""
    if candidate_labels is not None:
        splits = select_classes(splits, candidate_labels)
    chosen = choose_rows(splits, records.split, split)
    if num_training_rows := chosen.scored.num_training_rows:
        warnings.warn(
            f"The model was trained on {num_training_rows} of the {len(chosen.rows)} scored images (same bytes or "
            "names): the scores say little about new images.",
            stacklevel=3,
        )
    return chosen


def predict_rows(ensemble: Ensemble, rows: Dataset, zero_shot: bool, batch_size: int) -> Predictions:
    """Score the images of rows; embeddings are those of a single model without views."""
    names = rows.features["label"].names
    class_names, ids = (names, np.arange(len(names))) if zero_shot else match_classes(names, ensemble.class_names)
    image_embeds, text_embeds = None, None
    if len(ensemble.members) > 1 or ensemble.tta:
        probabilities = ensemble.score_rows(rows, batch_size)[:, ids]  # (num_rows, num_classes)
        logits = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))  # whose softmax they are
        logits = logits.astype(np.float32)
    else:
        (member,), (texts,) = ensemble.members, ensemble.text_embeds
        texts = texts[ids]
        logits, image_embeds = predict_images(
            member.network,
            member.image_processor,
            rows,
            texts,
            batch_size=batch_size,
            jpeg_draft=member.decoding.jpeg_draft,
        )
        text_embeds = texts.cpu().numpy()
    return Predictions(
        logits=logits,
        labels=np.array(rows["label"][:], dtype=np.int64),  # (num_rows,)
        class_names=class_names,
        file_names=rows["file_name"][:],
        clips=rows["clip"][:] if "clip" in rows.column_names else None,
        image_embeds=image_embeds,
        text_embeds=text_embeds,
    )
