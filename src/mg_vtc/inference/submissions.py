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

from ..data.cache import replace_when_whole
from ..data.labels import IMIGUE_CLASS_NAMES, SMG_CLASS_NAMES, fold_name, shorten
from .predict import Prediction
from .prediction_inputs import Source

SUFFIXES = {"lut": ".csv", "miga": ".zip"}
CLASS_LISTS = {"lut": (IMIGUE_CLASS_NAMES,), "miga": (IMIGUE_CLASS_NAMES, SMG_CLASS_NAMES)}
FIRST_ID = {"lut": 1, "miga": 0}
MIGA_NAME = re.compile(r".+_[0-9]+")
OLDEST = (1980, 1, 1, 0, 0, 0)  # of a zip file, so that equal answers are equal bytes


def number_classes(submission: str, class_names: Sequence[str]) -> dict[str, int]:
    """Return the id that is handed in for each class of a model, by their names.

    Raises:
        ValueError: The classes are not those of the submission.
    """
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
) -> int:
    """Write a submission, once it is found complete.

    Args:
        submission: "lut" or "miga".
        path: A `.csv` or `.zip` file; replaced where it is there.
        predictions: About pictures, or about clips, which in "lut" are the answers about each of their frames.
        samples: As `name_samples` gives them.
        ids: As `number_classes` gives them.

    Returns:
        How many rows it has.

    Raises:
        ValueError: A sample has no answer; nothing is written.
    """
    answers: dict[str | None, int] = {}
    for prediction in predictions:
        if prediction.error is None:
            answers[prediction.file or prediction.clip] = ids[prediction.labels[0]]
    rows = {name: answers[key] for name, keys in samples.items() for key in keys if key in answers}
    if missing := [keys[0] for name, keys in samples.items() if name not in rows]:
        raise ValueError(
            f"{len(missing)} of {len(samples)} samples have no answer, so no submission is written: "
            f"{shorten(missing)}. Mend or replace these files, and begin again with --overwrite."
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if submission == "lut":
        writer.writerow(("filename", "class"))
    writer.writerows(rows.items())
    with replace_when_whole(path) as file:
        if submission == "lut":
            file.write(text.getvalue().encode())
        else:
            member = zipfile.ZipInfo(f"{path.stem}.csv", OLDEST)
            member.external_attr = 0o644 << 16
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(member, text.getvalue(), zipfile.ZIP_DEFLATED)
    return len(rows)
