"""Self-contained HTML report of an evaluation."""

import base64
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ...data.decoding import to_rgb
from ...messages import escape_controls
from ...runs.first_batch import read_first_batch
from ...runs.records import Training
from ..class_groups import GROUP_SCORES
from ..metrics import predict_classes
from ..misclassifications import find_misclassifications, list_confusions
from ..results import Predictions

FILE_NAME = "report.html"
IMAGE_SIDE = 240  # pixels, longer side of an image in the report
SCORES = {  # names in the report, in its order
    "top1_accuracy": "top-1",
    "top5_accuracy": "top-5",
    "mean_class_accuracy": "mean class accuracy",
    "macro_f1": "macro-F1",
    "expected_calibration_error": "calibration error",
}
SHORT_NAMES = {  # column headers, with non-breaking hyphens
    "top1_accuracy": "top\u20111",
    "top5_accuracy": "top\u20115",
    "mean_class_accuracy": "mean class",
    "macro_f1": "macro F1",
    "expected_calibration_error": "calib. error",
}
BASELINES = {"majority_class": "most frequent class", "five_most_frequent": "five most frequent classes"}


def write_report(
    folder: Path,
    predictions: Predictions,
    results: dict[str, Any],
    *,
    read_image: Callable[[int], PIL.Image.Image],
    training: Training | None,
) -> Path:
    """Write `report.html`, a single file without external references.

    Args:
        folder: Folder to write to.
        predictions: Predictions of the model.
        results: Content of `results.json`.
        read_image: Function that returns the image of a row of `predictions`; called only for images that are shown.
        training: Training of the model; None if it is not known.

    Returns:
        Path of the file.
    """
    from .figures import draw_figures  # needs the extra "report"

    misclassified, predicted = find_misclassifications(predictions), predict_classes(predictions.logits)
    environment = Environment(
        loader=PackageLoader("mg_vtc", "evaluation/report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
    )
    environment.filters["percent"] = percent
    page = environment.get_template("report.html.jinja").render(
        results=results,
        temperature_scaling=results.get("temperature_scaling"),
        score_names=SCORES,
        short_names=SHORT_NAMES,
        group_score_names=GROUP_SCORES,
        baseline_names=BASELINES,
        num_wrong=int((predicted != predictions.labels).sum()),
        num_tied=int((predicted < 0).sum()),
        misclassified=[entry | {"image": embed_image(read_image(entry["row"]))} for entry in misclassified],
        confusions=list_confusions(predictions),
        first_batch=_embed_first_batch(training),
        **draw_figures(predictions, results, training),
    )
    path = folder / FILE_NAME
    path.write_text(page, encoding="utf-8")
    return path


def _embed_first_batch(training: Training | None) -> list[dict[str, Any]]:
    if training is None or training.first_batch is None:
        return []
    try:
        batch = read_first_batch(training.first_batch)
    except ValueError as error:  # no reason to lose an evaluation
        warnings.warn(str(error), stacklevel=3)
        return []
    return [{"image": embed_image(seen.image), "shares": seen.shares} for seen in batch]


def finalize(value: Any) -> Any:
    """Return a value as it may stand on the page; Jinja then escapes its markup."""
    return escape_controls(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def percent(fraction: float | None) -> str:
    """Format a fraction as percent without the sign, None as a dash."""
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def embed_image(image: PIL.Image.Image) -> str:
    """Return an image as a data URI: an upright JPEG, scaled down to the size in the report."""
    image = to_rgb(image).copy()
    image.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
