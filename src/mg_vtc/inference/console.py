"""Predictions as rows of a terminal table, formatted one at a time."""

import unicodedata

from ..messages import escape
from .predictor import Prediction

PERCENT = 7  # columns of "100.0 %"


def format_header(width: int, *, voted: bool) -> str:
    """Return the header of a table of `width` columns."""
    name, label, _ = _columns(width)
    return f"{'clip (frames)' if voted else 'image':{name}}  {'prediction':{label}}{'score':>{PERCENT}}  next".rstrip()


def format_prediction(prediction: Prediction, width: int) -> str:
    """Return a prediction as a row of at most `width` columns; long file names and labels are shortened."""
    columns = _columns(width)
    labels, scores = [escape(label) for label in prediction.labels], prediction.scores
    if prediction.below_threshold:  # whose classes all follow
        labels, scores = [prediction.label or "", *labels], [1 - scores[0], *scores]
    following: list[str] = []
    room = columns[2]
    for next_label, next_score in zip(labels[1:], scores[1:], strict=True):
        percent = f"{next_score:.0%}".replace("%", " %")
        text = f"{next_label} {percent}"
        if not following:  # always show one
            text = f"{_cut_end(next_label, room - len(percent) - 1)} {percent}"
        elif _measure(text) > room:
            break
        following.append(text)
        room -= _measure(text) + 2
    name = _pad(_cut_middle(escape(_name(prediction)), columns[0]), columns[0])
    best = f"{_pad(_cut_end(labels[0], columns[1]), columns[1])}{scores[0] * 100:{PERCENT - 2}.1f} %"
    return f"{name}  {best}  {', '.join(following)}".rstrip()


def _columns(width: int) -> tuple[int, int, int]:
    """Return the widths of the name, the first label and the other labels."""
    rest = max(width, 60) - PERCENT - 4  # two spaces after the name and after the score
    name, label = rest * 3 // 10, rest * 7 // 20
    return name, label, rest - name - label


def _name(prediction: Prediction) -> str:
    if prediction.file is None:
        return f"{prediction.clip} ({prediction.num_frames})"
    return prediction.file if prediction.time is None else f"{prediction.file} {prediction.time:.2f} s"


def _measure(text: str) -> int:
    """Return the terminal width of a text: East Asian wide characters take two columns, combining marks none."""
    widths = ((unicodedata.east_asian_width(char) in "WF") + 1 for char in text if not unicodedata.combining(char))
    return sum(widths)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _measure(text))


def _cut_end(text: str, width: int) -> str:
    return text if _measure(text) <= width else f"{_take(text, width - 1)}…"


def _cut_middle(text: str, width: int) -> str:
    if _measure(text) <= width:
        return text
    tail = (width - 1) * 2 // 3  # the end differs between the files of a folder
    return f"{_take(text, width - 1 - tail)}…{_take(text[::-1], tail)[::-1]}"


def _take(text: str, width: int) -> str:
    """Return the longest beginning of a text that fits."""
    end = len(text)
    while _measure(text[:end]) > width:
        end -= 1
    return text[:end]
