"""Answers in the forms that are handed in, checked before they are written.

`lut`, of the image-level iMiGUE set: a CSV file with the header `filename,class` and a row a frame, classes from 1 to
32. `miga`, of the MiGA challenge: a zip file with a CSV file without header, a row `<video>_<index>,<class>` a clip,
classes from 0 to 31 for iMiGUE and from 0 to 16 for SMG. Classes are found by their names, whatever their order in the
model. The class that is not a micro-gesture is the last one of each set and an answer like the others: 32 in `lut`,
31 or 16 in `miga`, and never 99 as in the raw annotation.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..data.labels import IMIGUE_CLASS_NAMES, SMG_CLASS_NAMES, fold_name, shorten
from ..files import atomic_write
from .inputs import Source
from .predictor import Prediction

SUFFIXES = {"lut": ".csv", "miga": ".zip"}
CLASS_LISTS = {"lut": (IMIGUE_CLASS_NAMES,), "miga": (IMIGUE_CLASS_NAMES, SMG_CLASS_NAMES)}
FIRST_ID = {"lut": 1, "miga": 0}
MIGA_NAME = re.compile(r".+_[0-9]+")
OLDEST = (1980, 1, 1, 0, 0, 0)  # of a zip file, so that equal answers are equal bytes


def number_classes(submission: str, class_names: Sequence[str], missing_class: str | None = None) -> dict[str, int]:
    """Return the id that is handed in for each class of a model, by their names.

    Raises:
        ValueError: The classes are not those of the submission, or `missing_class` is none of them.
    """
    if missing_class is not None and missing_class not in class_names:
        raise ValueError(f"--missing_class {missing_class!r} is none of {', '.join(map(repr, class_names))}.")
    keys = {fold_name(name): name for name in class_names}
    for names in CLASS_LISTS[submission]:
        ids = {fold_name(name): class_id for class_id, name in enumerate(names, start=FIRST_ID[submission])}
        if keys.keys() == ids.keys() and len(keys) == len(class_names):
            return {name: ids[key] for key, name in keys.items()}
    wanted = {fold_name(name): name for name in CLASS_LISTS[submission][0]}
    unknown = [name for key, name in keys.items() if key not in wanted]
    missing = [name for key, name in wanted.items() if key not in keys]
    faults = [f"{what}: {shorten(names)}" for what, names in (("it lacks", missing), ("others are", unknown)) if names]
    sets = " or the 17 of SMG" if submission == "miga" else ""
    raise ValueError(
        f"A submission of the form {submission} needs a model of the 32 classes of iMiGUE{sets}, by their names; this "
        f"one has {len(class_names)}. Beside iMiGUE's, {'; '.join(faults) or 'a name comes twice'}."
    )


def name_samples(submission: str, sources: Iterable[Source]) -> dict[str, tuple[str, ...]]:
    """Return what answers tell each sample by, by the name that is handed in, in the order of the files.

    Args:
        submission: "lut" or "miga".
        sources: What is to be answered.

    Returns:
        The clip, or in "lut" the name of the file and, where it is known, the clip.

    Raises:
        ValueError: Two samples have one name, a name is not of the form, or there are videos for "lut".
    """
    named: dict[str, tuple[str, ...]] = {}
    for source in sources:
        if source.kind is None:
            continue
        if submission == "lut" and source.kind != "picture":
            raise ValueError(f"A submission of the form lut has a row a picture, and {source.name} is none.")
        for keys in [(clip,) for clip in source.clips] if submission == "miga" else [(source.name, *source.clips)]:
            name = PurePosixPath(keys[0]).name
            if submission == "miga" and not MIGA_NAME.fullmatch(name):
                raise ValueError(
                    f"Clips of a submission of the form miga are called <video>_<index>; that of {source.name!r} is "
                    f"{name!r}."
                )
            if name in named and (submission == "lut" or named[name] != keys):
                raise ValueError(f"Two samples are called {name!r}, {named[name][0]!r} and {keys[0]!r}: keep one.")
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
    """Write a submission of a row a sample, once it is found complete.

    Args:
        submission: "lut" or "miga".
        path: A `.csv` or `.zip` file; replaced where it is there.
        predictions: About pictures, or about clips, which in "lut" are the answers about each of their frames.
        samples: As `name_samples` gives them.
        ids: As `number_classes` gives them.
        missing_class: The class that samples without an answer are given.

    Returns:
        How many samples were given `missing_class`.

    Raises:
        ValueError: A sample has no answer, and there is no `missing_class`; nothing is written.
    """
    rows, num_filled = _find_rows(predictions, samples, ids, missing_class)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
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
    """Return name and id of each sample, and how many of them have no answer."""
    answers: dict[str | None, int] = {}
    faults: dict[str | None, str] = {}
    for prediction in predictions:
        if prediction.error is None:
            answers[prediction.file or prediction.clip] = ids[prediction.labels[0]]
        else:
            for key in (prediction.file, prediction.clip):
                faults.setdefault(key, f": {prediction.error}")
    found = {name: answers[key] for name, keys in samples.items() for key in keys if key in answers}
    missing = [keys for name, keys in samples.items() if name not in found]
    if missing and missing_class is None:
        # a clip is told with the fault of one of its frames, or with none where it has no frames
        reasons = [keys[0] + next((faults[key] for key in keys if key in faults), "") for keys in missing]
        raise ValueError(
            f"{len(missing)} of {len(samples)} samples have no answer, so no submission is written: "
            f"{shorten(reasons)}. Mend these files and begin again with --overwrite; or give the same command with "
            "--missing_class NAME, which answers nothing anew and gives them that class."
        )
    if missing_class is not None:
        found |= {name: ids[missing_class] for name in samples if name not in found}
    return [(name, found[name]) for name in samples], len(missing)
