"""Answers as lines of a table on a terminal, each as it comes."""

from .predict import Prediction

PERCENT = 7  # columns of "100.0 %"


def format_header(width: int, *, voted: bool) -> str:
    """Return the line above the answers of a table of `width` columns."""
    name, label, _ = _columns(width)
    return f"{'clip (frames)' if voted else 'picture':{name}}  {'answer':{label}}{'score':>{PERCENT}}  next".rstrip()


def format_prediction(prediction: Prediction, width: int) -> str:
    """Return an answer as a line of at most `width` columns: long names lose their middle, long labels their end."""
    columns = _columns(width)
    label, score = prediction.labels[0], prediction.scores[0]
    following: list[str] = []
    room = columns[2]
    for next_label, next_score in zip(prediction.labels[1:], prediction.scores[1:], strict=True):
        percent = f"{next_score:.0%}".replace("%", " %")
        text = f"{next_label} {percent}"
        if not following:  # one is shown in any case
            text = f"{_cut_end(next_label, room - len(percent) - 1)} {percent}"
        elif len(text) > room:
            break
        following.append(text)
        room -= len(text) + 2
    answer = f"{_cut_end(label, columns[1]):{columns[1]}}{score * 100:{PERCENT - 2}.1f} %"
    return f"{_cut_middle(_name(prediction), columns[0]):{columns[0]}}  {answer}  {', '.join(following)}".rstrip()


def _columns(width: int) -> tuple[int, int, int]:
    """Return the widths of name, first label and following labels."""
    rest = max(width, 60) - PERCENT - 4  # two spaces after the name and after the score
    name, label = rest * 3 // 10, rest * 7 // 20
    return name, label, rest - name - label


def _name(prediction: Prediction) -> str:
    if prediction.file is None:
        return f"{prediction.clip} ({prediction.num_frames})"
    return prediction.file if prediction.time is None else f"{prediction.file} {prediction.time:.2f} s"


def _cut_end(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _cut_middle(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    tail = (width - 1) * 2 // 3  # the end tells frames and files of a folder apart
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"
