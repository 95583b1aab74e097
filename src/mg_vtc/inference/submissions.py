"""Challenge submissions, checked for completeness before they are written.

- `lut`, for the image-level iMiGUE set: a CSV file with the header `filename,class` and one row per frame. Classes are
  1 to 32.
- `miga`, for the MiGA challenge: a zip file with a CSV file without a header and one row `<video>_<index>,<class>` per
  clip. Classes are 0 to 31 for iMiGUE and 0 to 16 for SMG.
- `mac`, for the MAC challenge of 2025 on Micro-Action-52: a zip file with `prediction.csv`. Its rows are the name of a
  video, the five best actions, 0 to 51, and the body part of each, 0 to 6.
- `mac_2024`, for that of 2024: the same with one body part and one action, in this order.

Classes are matched by name. The class for "not a micro-gesture" is the last of iMiGUE and SMG (32 in `lut`, 31 or 16
in `miga`), not 99 as in the raw annotation.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..data.class_lists import CLASS_LISTS, MA52_BODY_PARTS
from ..data.labels import fold_name, shorten
from ..files import atomic_write
from .inputs import Source
from .prediction_files import CsvLines
from .predictor import Prediction

MIGA_NAME = re.compile(r".+_[0-9]+")
OLDEST = (1980, 1, 1, 0, 0, 0)  # fixed time in the zip file, for reproducible bytes
BEST = range(1, 6)
BODY_PARTS = [list(MA52_BODY_PARTS).index(part) for part in CLASS_LISTS["ma52"].groups or ()]  # of each action


class Form(NamedTuple):
    """Form of a submission.

    Attributes:
        class_lists: Data sets whose classes a model may have (see `CLASS_LISTS`).
        first_id: Id of the first class.
        num_labels: Number of classes that a row needs, best first.
        header: First row, if there is one.
        member: Name of the CSV in a zip file; None for that of the zip file.
        suffix: Suffix of the file.
    """

    class_lists: tuple[str, ...]
    first_id: int
    num_labels: int = 1
    header: tuple[str, ...] = ()
    member: str | None = None
    suffix: str = ".zip"


FORMS = {
    "lut": Form(("imigue",), 1, header=("filename", "class"), suffix=".csv"),
    "miga": Form(("imigue", "smg"), 0),
    "mac": Form(
        ("ma52",),
        0,
        num_labels=5,
        header=("vid", *(f"action_pred_{rank}" for rank in BEST), *(f"body_pred_{rank}" for rank in BEST)),
        member="prediction.csv",
    ),
    "mac_2024": Form(("ma52",), 0, header=("id", "pred_label_1", "pred_label_2"), member="prediction.csv"),
}


def number_classes(submission: str, class_names: Sequence[str], missing_class: str | None = None) -> dict[str, int]:
    """Return the submission's class id of each class name of a model.

    Raises:
        ValueError: The classes are not those of the submission, or `missing_class` is not one of them.
    """
    if missing_class is not None and missing_class not in class_names:
        raise ValueError(f"`missing_class` must be one of {', '.join(map(repr, class_names))}, got {missing_class!r}.")
    keys = {fold_name(name): name for name in class_names}
    form = FORMS[submission]
    known = [CLASS_LISTS[word] for word in form.class_lists]
    for built_in in known:
        ids = {fold_name(name): class_id for class_id, name in enumerate(built_in.names, start=form.first_id)}
        if keys.keys() == ids.keys() and len(keys) == len(class_names):
            return {name: ids[key] for key, name in keys.items()}
    wanted = {fold_name(name): name for name in known[0].names}
    unknown = [name for key, name in keys.items() if key not in wanted]
    missing = [name for key, name in wanted.items() if key not in keys]
    errors = [f"{what}: {shorten(names)}" for what, names in (("missing", missing), ("unexpected", unknown)) if names]
    sets = " or the ".join(f"{len(built_in.names)} classes of {built_in.title}" for built_in in known)
    raise ValueError(
        f"A {submission} submission requires a model with the {sets}, matched by name; this model has "
        f"{len(class_names)}. Compared with {known[0].title}: {'; '.join(errors) or 'a name occurs twice'}."
    )


def name_samples(submission: str, sources: Iterable[Source]) -> dict[str, tuple[str, ...]]:
    """Map the submission's sample names to the keys of their predictions, in the order of the files.

    Args:
        submission: One of `FORMS`.
        sources: Input files.

    Returns:
        For each sample name, the clip; for "lut" the file name and, if known, the clip.

    Raises:
        ValueError: Two samples have the same name, a name has the wrong form, there are videos for "lut", or segments
            for "mac" and "mac_2024".
    """
    named: dict[str, tuple[str, ...]] = {}
    for source in sources:
        if source.kind is None:
            continue
        if submission == "lut" and source.kind != "image":
            raise ValueError(f"A lut submission has one row per image, but {source.name} is not an image file.")
        if FORMS[submission].class_lists == ("ma52",) and source.intervals is not None:
            raise ValueError(f"A {submission} submission has one row per video: leave `segments` out.")
        for keys in [(source.name, *source.clips)] if submission == "lut" else [(clip,) for clip in source.clips]:
            name = _name_sample(submission, source.name, keys[0])
            if name in named and (submission == "lut" or named[name] != keys):
                raise ValueError(f"Two samples are named {name!r}, {named[name][0]!r} and {keys[0]!r}: keep one.")
            named[name] = keys
    return named


def _name_sample(submission: str, file: str, key: str) -> str:
    """Return the name of a sample in a submission."""
    name = PurePosixPath(key).name
    if submission == "miga" and not MIGA_NAME.fullmatch(name):
        raise ValueError(
            f"Clips of a miga submission must be named <video>_<index>, but the clip of {file!r} is {name!r}."
        )
    return name if submission in ("lut", "miga") else f"{name}.mp4"  # as in the lists of Micro-Action-52


def write_submission(
    submission: str,
    path: Path,
    predictions: Iterable[Prediction],
    samples: Mapping[str, tuple[str, ...]],
    ids: Mapping[str, int],
    missing_class: str | None = None,
) -> int:
    """Write a submission with one row per sample if it is complete.

    Args:
        submission: One of `FORMS`.
        path: `.csv` or `.zip` file; replaced if it exists.
        predictions: Predictions of images, or of clips; in "lut" a clip's prediction applies to each of its frames.
            "mac" needs the five best classes of each.
        samples: Result of `name_samples`.
        ids: Result of `number_classes`.
        missing_class: Fallback class for samples without a prediction; in "mac" the lowest ids follow.

    Returns:
        Number of samples that got `missing_class`.

    Raises:
        ValueError: A sample has no prediction and there is no `missing_class`; nothing is written.
    """
    form = FORMS[submission]
    best, num_filled = _find_best(predictions, samples, ids, missing_class, form.num_labels)
    text = io.StringIO()
    writer = csv.writer(CsvLines(text))
    if form.header:
        writer.writerow(form.header)
    writer.writerows((name, *_make_cells(submission, best[name])) for name in samples)
    with atomic_write(path) as file:
        if form.suffix == ".csv":
            file.write(text.getvalue().encode())
        else:
            member = zipfile.ZipInfo(form.member or f"{path.stem}.csv", OLDEST)
            member.external_attr = 0o644 << 16
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(member, text.getvalue(), zipfile.ZIP_DEFLATED)
    return num_filled


def _make_cells(submission: str, best: list[int]) -> list[int]:
    """Return the cells of a sample after its name, from the ids of its classes, best first."""
    if submission == "mac":
        return best + [BODY_PARTS[action] for action in best]
    if submission == "mac_2024":
        return [BODY_PARTS[best[0]], best[0]]
    return best


def _find_best(
    predictions: Iterable[Prediction],
    samples: Mapping[str, tuple[str, ...]],
    ids: Mapping[str, int],
    missing_class: str | None,
    num_labels: int,
) -> tuple[dict[str, list[int]], int]:
    """Return the ids of the best classes of each sample, and the number of samples without a prediction."""
    predicted: dict[str | None, list[int]] = {}
    errors: dict[str | None, str] = {}
    for prediction in predictions:
        if prediction.error is None:
            predicted[prediction.file or prediction.clip] = [ids[label] for label in prediction.labels[:num_labels]]
        else:
            for key in (prediction.file, prediction.clip):
                errors.setdefault(key, f": {prediction.error}")
    found = {name: predicted[key] for name, keys in samples.items() for key in keys if key in predicted}
    missing = [keys for name, keys in samples.items() if name not in found]
    if missing and missing_class is None:
        # for a clip, the first error of its frames; none if it has no frames
        reasons = [keys[0] + next((errors[key] for key in keys if key in errors), "") for keys in missing]
        raise ValueError(
            f"{len(missing)} of {len(samples)} samples have no prediction, so no submission was written: "
            f"{shorten(reasons)}. Repair these files and restart with `overwrite` (if the files are as before, delete "
            "the `.partial` file first), or repeat with `missing_class=NAME` to give them that class without "
            "predicting again."
        )
    if missing_class is not None:
        others = [class_id for class_id in sorted(ids.values()) if class_id != ids[missing_class]]
        filler = [ids[missing_class], *others][:num_labels]
        found |= {name: filler for name in samples if name not in found}
    return found, len(missing)
