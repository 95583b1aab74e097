"""The report of an evaluation: one HTML file that needs no network, for colleagues and reviewers."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..data.pixels import to_rgb
from .answers import Answers

FILE_NAME = "report.html"
NUM_MISTAKES = 12  # that are shown with their pictures
NUM_CONFUSIONS = 10  # pairs of classes that are listed
PICTURE_SIDE = 240  # pixels of the longer side of a picture in the report
CLASSES_A_FIGURE = 12
MOST_CLASSES_DRAWN = 200  # in the matrix; of more, those with the most mistakes
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
    mistakes = find_mistakes(answers)
    environment = Environment(
        loader=PackageLoader("mg_vtc", "evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["percent"] = percent
    page = environment.get_template("report.html.jinja").render(
        results=results,
        score_names=SCORES,
        short_names=SHORT_NAMES,
        baseline_names=BASELINES,
        num_wrong=int((answers.logits.argmax(axis=1) != answers.labels).sum()),
        mistakes=[mistake | {"picture": embed_picture(read_picture(mistake["row"]))} for mistake in mistakes],
        confusions=list_confusions(answers),
        **_draw_figures(answers, results, history),
    )
    path = folder / FILE_NAME
    path.write_text(page, encoding="utf-8")
    return path


def percent(fraction: float | None) -> str:
    """A fraction in percent, without the sign; a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def find_mistakes(answers: Answers) -> list[dict[str, Any]]:
    """Find the most confident wrong answers, the most confident first.

    Frames of a clip that were mistaken for the same class are near duplicates: the most confident one stands for them.

    Returns:
        `row`, `file_name`, names `right` and `answered`, their probabilities `right_probability` and `probability`,
        and how many `others` of the clip the row stands for; up to `NUM_MISTAKES` of them.
    """
    exp = np.exp(answers.logits - answers.logits.max(axis=1, keepdims=True), dtype=np.float64)
    probabilities = exp / exp.sum(axis=1, keepdims=True)  # (num_rows, num_classes)
    answered = probabilities.argmax(axis=1)  # (num_rows,)
    confidence = probabilities.max(axis=1)  # (num_rows,)
    groups: dict[Any, list[int]] = {}  # rows of each mistake, the most confident first
    for row in np.argsort(-confidence, kind="stable").tolist():
        label = answers.labels[row]
        if answered[row] != label:
            clip = row if answers.clips is None else answers.clips[row]
            groups.setdefault((clip, label, answered[row]), []).append(row)
    return [
        {
            "row": rows[0],
            "file_name": answers.file_names[rows[0]],
            "right": answers.class_names[label],
            "answered": answers.class_names[answer],
            "right_probability": float(probabilities[rows[0], label]),
            "probability": float(confidence[rows[0]]),
            "others": len(rows) - 1,
        }
        for (_, label, answer), rows in list(groups.items())[:NUM_MISTAKES]
    ]


def count_answers(answers: Answers) -> np.ndarray:
    """Count the pictures of the class of the row that were answered as the column, `(num_classes, num_classes)`."""
    num_classes = len(answers.class_names)
    cells = answers.labels * num_classes + answers.logits.argmax(axis=1)  # (num_rows,)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def list_confusions(answers: Answers) -> list[dict[str, Any]]:
    """List the pairs of classes that were mistaken most often: `right`, `answered`, `count`, `support`."""
    counts = count_answers(answers)
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    commonest = np.argsort(-wrong, axis=None, kind="stable")[:NUM_CONFUSIONS]
    pairs = [divmod(int(cell), len(counts)) for cell in commonest]
    return [
        {
            "right": answers.class_names[label],
            "answered": answers.class_names[answer],
            "count": int(wrong[label, answer]),
            "support": int(counts[label].sum()),
        }
        for label, answer in pairs
        if wrong[label, answer]
    ]


def embed_picture(picture: PIL.Image.Image) -> str:
    """A picture as a data URI: a JPEG, upright, of its own aspect ratio, not larger than the report shows it."""
    picture = to_rgb(picture).copy()
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _draw_figures(answers: Answers, results: dict[str, Any], history: list[dict[str, float]] | None) -> dict[str, Any]:
    """All figures as SVG, by the names that the template has for them, and what their captions must say."""
    from .embedding_map import sample_rows
    from .figures import NUM_NAMED, draw_reliability
    from .palette import PALETTE, to_svg

    rows = sample_rows(len(answers.labels))
    drawn = _choose_classes(answers)
    return {
        "palette": PALETTE,
        "confusion": Markup(_draw_confusion(answers, drawn)),
        "num_drawn": len(drawn),
        "class_bars": [Markup(svg) for svg in _draw_classes(results["classes"])],
        "reliability": Markup(
            to_svg(draw_reliability(results["calibration"]), "reliability", "Accuracy by confidence, and counts")
        ),
        "map": Markup(_draw_map(answers, rows)),
        "num_mapped": len(rows),
        "map_is_named": len(answers.class_names) <= NUM_NAMED,
        "curves": [(title, Markup(svg)) for title, svg in _draw_curves(history)] if history else [],
    }


def _choose_classes(answers: Answers) -> np.ndarray:
    """Ids of the classes that the matrix shows, sorted: all, or those with the most mistakes."""
    counts = count_answers(answers)
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()  # (num_classes,)
    return np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES_DRAWN])


def _draw_confusion(answers: Answers, drawn: np.ndarray) -> str:
    from .figures import draw_confusion
    from .palette import to_svg

    names = [f"{answers.class_names[label]}" for label in drawn]
    figure = draw_confusion(count_answers(answers)[np.ix_(drawn, drawn)], names)
    return to_svg(figure, "confusion", "Confusion matrix: a row a class, a column an answer")


def _draw_classes(classes: list[dict[str, Any]]) -> list[str]:
    """Figures of up to `CLASSES_A_FIGURE` classes each, the lowest recall first, classes without pictures last."""
    from .figures import draw_classes
    from .palette import to_svg

    ranked = sorted(classes, key=lambda row: (row["recall"] is None, row["recall"]))
    num_figures = -(-len(ranked) // CLASSES_A_FIGURE)
    parts: Sequence[np.ndarray] = np.array_split(np.arange(len(ranked)), num_figures)
    most_support = max(row["support"] for row in classes)
    return [
        to_svg(
            draw_classes([ranked[row] for row in part], most_support),
            f"classes{number}",
            f"Recall, precision and support by class, part {number} of {num_figures}; the table below has the numbers",
        )
        for number, part in enumerate(parts, start=1)
    ]


def _draw_map(answers: Answers, rows: np.ndarray) -> str:
    from .embedding_map import map_embeddings
    from .figures import draw_map
    from .palette import to_svg

    images, texts = map_embeddings(answers.image_embeds[rows], answers.text_embeds)
    labels = answers.labels[rows]
    right = answers.logits[rows].argmax(axis=1) == labels
    figure = draw_map(images, texts, labels, right, answers.class_names)
    return to_svg(figure, "map", "Map of pictures and class texts by the cosine of their embeddings")


def _draw_curves(history: list[dict[str, float]]) -> list[tuple[str, str]]:
    from .figures import draw_curves
    from .palette import to_svg

    curves = {
        "Loss": ({"loss": "training", "eval_loss": "validation"}, False),
        "Accuracy on the validation pictures": ({"eval_top5_accuracy": "top-5", "eval_top1_accuracy": "top-1"}, True),
        "Saturated share": ({"saturated_share": "pictures whose gradient has vanished"}, True),
    }
    figures = {title: draw_curves(history, names, percent=percent) for title, (names, percent) in curves.items()}
    return [
        (title, to_svg(figure, f"curves{number}", f"{title} over the training"))
        for number, (title, figure) in enumerate(figures.items())
        if figure is not None
    ]
