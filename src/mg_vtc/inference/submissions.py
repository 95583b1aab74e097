"""Challenge submissions, checked for completeness before they are written.

- `lut`, for the image-level iMiGUE set: a CSV file with the header `filename,class` and one row per frame. Classes are
  1 to 32.
- `miga`, for the MiGA challenge: a zip file with a CSV file without a header and one row `<video>_<index>,<class>` per
  clip. Classes are 0 to 31 for iMiGUE and 0 to 16 for SMG.

Classes are matched by name. The class for "not a micro-gesture" is the last of each set (32 in `lut`, 31 or 16 in
`miga`), not 99 as in the raw annotation.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..data.class_lists import IMIGUE_CLASS_NAMES, SMG_CLASS_NAMES
from ..data.labels import fold_name, shorten
from ..files import atomic_write
from .inputs import Source
from .prediction_files import CsvLines
from .predictor import Prediction

SUFFIXES = {"lut": ".csv", "miga": ".zip"}
CLASS_LISTS = {"lut": (IMIGUE_CLASS_NAMES,), "miga": (IMIGUE_CLASS_NAMES, SMG_CLASS_NAMES)}
FIRST_ID = {"lut": 1, "miga": 0}
MIGA_NAME = re.compile(r".+_[0-9]+")
OLDEST = (1980, 1, 1, 0, 0, 0)  # fixed time in the zip file, for reproducible bytes


def number_classes(submission: str, class_names: Sequence[str], missing_class: str | None = None) -> dict[str, int]:
    """Return the submission's class id of each class name of a model.

    Raises:
        ValueError: The classes are not those of the submission, or `missing_class` is not one of them.
    """
    if missing_class is not None and missing_class not in class_names:
        raise ValueError(f"`missing_class` must be one of {', '.join(map(repr, class_names))}, got {missing_class!r}.")
    keys = {fold_name(name): name for name in class_names}
    for names in CLASS_LISTS[submission]:
        ids = {fold_name(name): class_id for class_id, name in enumerate(names, start=FIRST_ID[submission])}
        if keys.keys() == ids.keys() and len(keys) == len(class_names):
            return {name: ids[key] for key, name in keys.items()}
    wanted = {fold_name(name): name for name in CLASS_LISTS[submission][0]}
    unknown = [name for key, name in keys.items() if key not in wanted]
    missing = [name for key, name in wanted.items() if key not in keys]
    errors = [f"{what}: {shorten(names)}" for what, names in (("missing", missing), ("unexpected", unknown)) if names]
    sets = " or the 17 of SMG" if submission == "miga" else ""
    raise ValueError(
        f"A {submission} submission requires a model with the 32 classes of iMiGUE{sets}, matched by name; this model "
        f"has {len(class_names)}. Compared with iMiGUE: {'; '.join(errors) or 'a name occurs twice'}."
    )


def name_samples(submission: str, sources: Iterable[Source]) -> dict[str, tuple[str, ...]]:
    """Map the submission's sample names to the keys of their predictions, in the order of the files.

    Args:
        submission: "lut" or "miga".
        sources: Input files.

    Returns:
        For each sample name, the clip; for "lut" the file name and, if known, the clip.

    Raises:
        ValueError: Two samples have the same name, a name has the wrong form, or there are videos for "lut".
    """
    named: dict[str, tuple[str, ...]] = {}
    for source in sources:
        if source.kind is None:
            continue
        if submission == "lut" and source.kind != "image":
            raise ValueError(f"A lut submission has one row per image, but {source.name} is not an image file.")
        for keys in [(clip,) for clip in source.clips] if submission == "miga" else [(source.name, *source.clips)]:
            name = PurePosixPath(keys[0]).name
            if submission == "miga" and not MIGA_NAME.fullmatch(name):
                raise ValueError(
                    f"Clips of a miga submission must be named <video>_<index>, but the clip of {source.name!r} is "
                    f"{name!r}."
                )
            if name in named and (submission == "lut" or named[name] != keys):
                raise ValueError(f"Two samples are named {name!r}, {named[name][0]!r} and {keys[0]!r}: keep one.")
            named[name] = keys
    return named


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
        submission: "lut" or "miga".
        path: `.csv` or `.zip` file; replaced if it exists.
        predictions: Predictions of images, or of clips; in "lut" a clip's prediction applies to each of its frames.
        samples: Result of `name_samples`.
        ids: Result of `number_classes`.
        missing_class: Fallback class for samples without a prediction.

    Returns:
        Number of samples that got `missing_class`.

    Raises:
        ValueError: A sample has no prediction and there is no `missing_class`; nothing is written.
    """
    rows, num_filled = _find_rows(predictions, samples, ids, missing_class)
    text = io.StringIO()
    writer = csv.writer(CsvLines(text))
    if submission == "lut":
        writer.writerow(("filename", "class"))
    writer.writerows(rows)
    with atomic_write(path) as file:
        if submission == "lut":
            file.write(text.getvalue().encode())
        else:
            member = zipfile.ZipInfo(f"{path.stem}.csv", OLDEST)
            member.external_attr = 0o644 << 16
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(member, text.getvalue(), zipfile.ZIP_DEFLATED)
    return num_filled


def _find_rows(
    predictions: Iterable[Prediction],
    samples: Mapping[str, tuple[str, ...]],
    ids: Mapping[str, int],
    missing_class: str | None,
) -> tuple[list[tuple[str, int]], int]:
    """Return name and class id of each sample, and the number of samples without a prediction."""
    predicted: dict[str | None, int] = {}
    errors: dict[str | None, str] = {}
    for prediction in predictions:
        if prediction.error is None:
            predicted[prediction.file or prediction.clip] = ids[prediction.labels[0]]
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
            f"{shorten(reasons)}. Repair these files and restart with `overwrite`, or repeat with "
            "`missing_class=NAME` to give them that class without predicting again."
        )
    if missing_class is not None:
        found |= {name: ids[missing_class] for name in samples if name not in found}
    return [(name, found[name]) for name in samples], len(missing)
