"""The report of an evaluation: one HTML file that needs no network, for colleagues and reviewers."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
from jinja2 import Environment, PackageLoader, StrictUndefined

from ...data.pixels import to_rgb
from ..metrics import predict_classes
from ..misclassifications import find_mistakes, list_confusions
from ..results import Answers

FILE_NAME = "report.html"
PICTURE_SIDE = 240  # pixels of the longer side of a picture in the report
SCORES = {  # what the report calls them, in its order
    "top1_accuracy": "top-1",
    "top5_accuracy": "top-5",
    "mean_class_accuracy": "mean class accuracy",
    "macro_f1": "macro-F1",
    "expected_calibration_error": "calibration error",
}
SHORT_NAMES = {  # for the heads of columns; their hyphens do not break
    "top1_accuracy": "top\u20111",
    "top5_accuracy": "top\u20115",
    "mean_class_accuracy": "mean class",
    "macro_f1": "macro F1",
    "expected_calibration_error": "calib. error",
}
BASELINES = {"majority_class": "always the commonest class", "five_commonest": "always the five commonest"}


def write_report(
    folder: Path,
    answers: Answers,
    results: dict[str, Any],
    *,
    read_picture: Callable[[int], PIL.Image.Image],
    history: list[dict[str, float]] | None,
) -> Path:
    """Write `report.html`, which holds everything it shows.

    Args:
        folder: Where to write.
        answers: What the model answered.
        results: Scores, baselines, classes and conditions, as `results.json` holds them.
        read_picture: Gives the picture of a row of `answers`; called for those that are shown.
        history: `log_history` of the run that trained the model; None where there is none.

    Returns:
        Path of the file.
    """
    from .report_figures import draw_figures  # which needs the extra "report"

    mistakes, answered = find_mistakes(answers), predict_classes(answers.logits)
    environment = Environment(
        loader=PackageLoader("mg_vtc", "evaluation/report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["percent"] = percent
    page = environment.get_template("report.html.jinja").render(
        results=results,
        score_names=SCORES,
        short_names=SHORT_NAMES,
        baseline_names=BASELINES,
        num_wrong=int((answered != answers.labels).sum()),
        num_tied=int((answered < 0).sum()),
        mistakes=[mistake | {"picture": embed_picture(read_picture(mistake["row"]))} for mistake in mistakes],
        confusions=list_confusions(answers),
        **draw_figures(answers, results, history),
    )
    path = folder / FILE_NAME
    path.write_text(page, encoding="utf-8")
    return path


def percent(fraction: float | None) -> str:
    """A fraction in percent, without the sign; a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def embed_picture(picture: PIL.Image.Image) -> str:
    """A picture as a data URI: a JPEG, upright, of its own aspect ratio, not larger than the report shows it."""
    picture = to_rgb(picture).copy()
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
