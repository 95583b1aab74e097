"""Calibration of a trained model: a temperature and, for a stated precision, a threshold."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, DatasetDict
from huggingface_hub import ModelCard

from .. import models
from ..data.decoding import Resizing
from ..data.digests import digest_images
from ..evaluation.calibration import max_softmax, sort_into_bins
from ..evaluation.data import load_as_run, name_data
from ..evaluation.evaluate import find_device, predict_rows
from ..evaluation.intervals import number_groups
from ..evaluation.metrics import find_top_k_hits
from ..evaluation.results import Predictions, chose_checkpoint
from ..evaluation.selection import ChosenRows, choose_rows, find_fitting_split
from ..evaluation.temperature import (
    RANGE,
    Coverage,
    choose_threshold,
    cross_entropy,
    cross_fit,
    fit_temperature,
    measure_coverage,
)
from ..files import atomic_write
from ..hub.model_card import write_model_card
from ..inference.ensemble import Ensemble, open_members
from ..inference.loading import Model
from ..models.modeling_mg_vtc import MgVtcModel
from ..runs.directory import CALIBRATION, CARD, PROVENANCE, RECIPE
from ..runs.manifest import find_damage, read_manifest, update_manifest

CONFIG, EXPORTS = "config.json", "onnx"


class Calibration(NamedTuple):
    """Outcome of a calibration; scores "before" are those of the temperature 1.

    Attributes:
        temperature: Divisor of the logits.
        threshold: Score below which the prediction is "none of these"; None if no precision was stated.
        error_before: Expected calibration error, in [0, 1].
        error_after: The same, with each fold of images scored by the temperature of the others.
        entropy_before: Mean cross-entropy, in nats.
        entropy_after: The same, by folds.
        stated_precision: Stated precision of the threshold, in [0, 1]; None without a threshold.
        fitted: Coverage and precision of the threshold on the images that it was chosen on; None without one.
        by_folds: The same, with each fold scored by temperature and threshold of the others; None without one.
        data: Name of the data.
        split: Split of the images.
        num_images: Number of images.
        num_clips: Number of their clips; None if unknown, and then folds hold single images.
        chosen_on_these: Whether the best checkpoint of the run was chosen on these images.
    """

    temperature: float
    threshold: float | None
    error_before: float
    error_after: float
    entropy_before: float
    entropy_after: float
    stated_precision: float | None
    fitted: Coverage | None
    by_folds: Coverage | None
    data: str
    split: str
    num_images: int
    num_clips: int | None
    chosen_on_these: bool


def calibrate(
    model: Model,
    data: str | Path | Dataset | DatasetDict,
    *,
    split: str | None = None,
    precision: float | None = None,
    batch_size: int = 32,
    processor: Any = None,
    **reading: Any,
) -> Calibration:
    """Fit the temperature of a model on held-out images, choose a threshold, and store both in its configuration.

    Logits are divided by the temperature, so the predicted classes stay. A folder gets `config.json` with both,
    `calibration.json`, and a model card that states them if the card was not edited. A loaded model changes in memory.

    Args:
        model: Folder of a model of this package, or a loaded model.
        data: Folder, Hub data set, "demo", or a loaded data set (`image`, `label`, optional `file_name`, `clip`).
        split: "selection", "validation", "test" or "all"; by default the run's images that were held out to choose a
            setting, else its validation images, else the validation split of the data, else all.
        precision: Fraction of predictions above the threshold that must be correct, in (0, 1]; None for no threshold.
        batch_size: Images per batch.
        processor: Processor of a loaded model; by default the one in the folder or repository the model came from.
        reading: Further arguments of `load_splits`; by default those of the run, where they apply.

    Raises:
        OSError: The model or the data are not found.
        ValueError: The model is not in a folder, images were trained on, there is a single clip, no temperature fits,
            or no threshold has the precision. Nothing is stored.
    """
    _check(model, precision)
    (member,) = open_members(model, find_device(), processor=processor)
    network, records = member.network, member.records
    reading |= {"demo_size": Resizing.of(member.decoding.resizing).image_size}
    splits = load_as_run(data, records.recipe, reading)
    rows, scored = _choose_held_out(splits, records.split, split)
    predictions = predict_rows(Ensemble([member]), rows, zero_shot=False, batch_size=batch_size)
    predictions = predictions._replace(logits=predictions.logits * network.config.logit_temperature)
    fitted = _fit(predictions, precision) | {"data": name_data(data), "split": scored.split}
    calibration = Calibration(**fitted, chosen_on_these=chose_checkpoint(scored, records))
    settings = {"logit_temperature": calibration.temperature, "threshold": calibration.threshold}
    if isinstance(model, MgVtcModel):
        network.config.update(settings)
    else:
        _store(Path(model), calibration, settings, digest_images(rows))
    return calibration


def _check(model: Model, precision: float | None) -> None:
    if precision is not None and not 0 < precision <= 1:
        raise ValueError(f"precision must be more than 0 and at most 1, got {precision}.")
    if not isinstance(model, MgVtcModel) and not Path(model).is_dir():
        raise ValueError(f"{model} is not a folder, which the calibration would be stored in: download it first.")


def _choose_held_out(splits: DatasetDict, run: dict[str, Any], split: str | None) -> ChosenRows:
    """Choose rows that a model was not trained on."""
    rows, scored = chosen = choose_rows(splits, run, split or find_fitting_split(splits, run))
    if not run.get("train"):
        warnings.warn(
            "The records of this model do not name its training images. If it was trained on these images, the "
            "calibration is wrong: use images that it has not seen.",
            stacklevel=4,
        )
    if scored.num_training_rows:
        raise ValueError(
            f"The model was trained on {scored.num_training_rows} of these {len(rows)} images, whose scores are too "
            "high for a calibration: use held-out images, such as `split='validation'`."
        )
    return chosen


def _fit(predictions: Predictions, precision: float | None) -> dict[str, Any]:
    """Return the values of a `Calibration` that predictions with the temperature 1 decide."""
    logits, labels, clips = predictions.logits, predictions.labels, predictions.clips
    groups = number_groups(len(labels), clips)  # (num_rows,)
    if groups.max() == 0:
        raise ValueError(
            f"The {len(labels)} images are of one clip, but a calibration is checked on others than those that it was "
            "fitted on: use images of several clips."
        )
    temperature = fit_temperature(logits, labels)
    correct = find_top_k_hits(logits, labels, 1)  # (num_rows,)
    if not RANGE[0] * 1.01 < temperature < RANGE[1] * 0.99:
        raise ValueError(
            f"No temperature between {RANGE[0]} and {RANGE[1]:.0f} fits these {len(labels)} images, of which "
            f"{correct.sum()} are classified correctly: use images of which some, but not all, are."
        )
    folds = cross_fit(logits, labels, groups, precision)
    values = {
        "temperature": temperature,
        "threshold": None,
        "error_before": sort_into_bins(max_softmax(logits), correct).expected_error,
        "error_after": sort_into_bins(max_softmax(folds.logits), correct).expected_error,
        "entropy_before": cross_entropy(logits, labels),
        "entropy_after": cross_entropy(folds.logits, labels),
        "stated_precision": precision,
        "fitted": None,
        "by_folds": None,
        "num_images": len(labels),
        "num_clips": None if clips is None else int(groups.max()) + 1,
    }
    if precision is None:
        return values
    confidence = max_softmax(logits / temperature)  # (num_rows,)
    threshold = choose_threshold(confidence, correct, precision)
    if threshold is None:
        raise ValueError(
            f"No threshold has a precision of {precision:.1%} on these {len(labels)} images, of which "
            f"{correct.mean():.1%} are classified correctly: state a lower precision, or train a better model."
        )
    return values | {
        "threshold": threshold,
        "fitted": measure_coverage(confidence >= threshold, correct),
        "by_folds": measure_coverage(folds.kept, correct),
    }


def _store(folder: Path, calibration: Calibration, settings: dict[str, Any], digests: list[str]) -> None:
    """Write the settings into `config.json`, the record, and the card of a run if nobody edited it."""
    in_manifest = CARD in (read_manifest(folder) or {})  # elsewhere nothing tells whether somebody edited it
    has_own_card = in_manifest and (folder / CARD).is_file() and not find_damage(folder, [CARD])
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8")) | settings
    _write(folder / CONFIG, json.dumps(config, indent=2))
    written = [CONFIG, CALIBRATION]
    written += _renew_code(folder)
    _write(folder / CALIBRATION, json.dumps(describe(calibration) | {"digests": digests}, indent=1))
    if has_own_card and (folder / RECIPE).is_file() and (folder / PROVENANCE).is_file():
        write_model_card(folder, ModelCard.load(folder / CARD).data.get("widget") or ())
        written.append(CARD)
    elif (folder / CARD).is_file():
        why = "was edited" if in_manifest else "may be your own"
        why = "cannot be written without the records of a run" if has_own_card else why
        warnings.warn(f"{folder / CARD} {why}, so it does not state the calibration: add it.", stacklevel=3)
    update_manifest(folder, written)
    if (folder / EXPORTS).is_dir():
        warnings.warn(f"{folder / EXPORTS} was exported before the calibration: export it again.", stacklevel=3)


def _renew_code(folder: Path) -> list[str]:
    """Replace code beside the model, which may be older than the temperature, and return its names."""
    renewed, manifest = [], read_manifest(folder) or {}
    for path in sorted(folder.glob("*.py")):
        source = Path(models.__file__).with_name(path.name)
        if not source.is_file() or path.read_bytes() == source.read_bytes():
            continue
        if path.name in manifest and not find_damage(folder, [path.name]):
            shutil.copyfile(source, path)
            renewed.append(path.name)
        else:
            warnings.warn(
                f"{path} may be your own and is kept: it may ignore the calibration. To renew it, load the model and "
                "save it with this package.",
                stacklevel=4,
            )
    return renewed


def describe(calibration: Calibration) -> dict[str, Any]:
    """Return a calibration as JSON values: coverages are objects, and NaN is null."""
    values = calibration._asdict()
    for name in ("fitted", "by_folds"):
        coverage = values[name]
        if coverage is not None:
            precision = None if np.isnan(coverage.precision) else coverage.precision
            values[name] = {"coverage": coverage.coverage, "precision": precision}
    return values


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(f"{text}\n".encode())
