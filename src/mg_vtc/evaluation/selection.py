"""Which rows of a data set are scored: never those that a run was trained on, unless they are asked for."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, DatasetDict, concatenate_datasets

from ..data.digests import digest_pictures
from ..data.image_folder import PARTS


class ScoredPart(NamedTuple):
    """What is known of rows that are scored.

    Attributes:
        part: "train", "validation", "test" or "all".
        of_run: Whether the run had them as this part.
        split_by: How the part was held out: as the run says, "given" for a split of the data, None where it was not.
        num_training_rows: How many of them the run was trained on.
        train_labels: Class ids of all rows that the run was trained on; None where they are not among the data.
    """

    part: str
    of_run: bool
    split_by: str | None
    num_training_rows: int
    train_labels: np.ndarray | None


class ChosenRows(NamedTuple):
    """Rows to be scored.

    Attributes:
        rows: Columns `image`, `label`, `file_name` and, where it is known, `clip`.
        scored: What is known of them.
    """

    rows: Dataset
    scored: ScoredPart


def assign_parts(names: Mapping[str, Iterable[Hashable]], run: Mapping[str, Any]) -> dict[str, list[str | None]]:
    """Find which part of a run each row of a data set was, by its file name, or whatever else names it.

    Args:
        names: Names of the rows of each split; the one split "train" stands for data that are not split.
        run: Content of `split.json`, with such names of the rows of each part.

    Returns:
        The part of each row, None for a row that the run did not have, by split. A name that was both in training and
        elsewhere counts as training.
    """
    known = {part: set(run.get(part, ())) for part in PARTS}
    assigned = {}
    for split, in_split in names.items():
        in_split = list(in_split)
        possible: Iterable[str] = (split,)
        if set(names) == {"train"}:  # a folder that is not split may be that of one part of the run, or of all
            possible = [part for part in PARTS if known[part] == set(in_split)] or PARTS
        elif split == "train" and run.get("split_by") != "given":
            possible = ("train", "validation")
        assigned[split] = [next((part for part in possible if name in known.get(part, ())), None) for name in in_split]
    return assigned


def choose_rows(splits: DatasetDict, run: Mapping[str, Any], part: str | None = None) -> ChosenRows:
    """Choose the rows to score.

    Without `part` they are the data's test split where there is one, else the run's own validation rows where the run
    had these data, else the data's validation split, else all rows.

    Args:
        splits: Rows by split.
        run: Content of `split.json` of the run that made the model; empty where it is not known.
        part: "train", "validation", "test" (the run's, where it had these data, else the data's) or "all".

    Raises:
        ValueError: There is no such part; or none is asked for, and only rows of the training are there, or some rows
            are the run's and others are not.
    """
    assigned = _assign(splits, run)
    part = part or _default_part(splits, assigned)
    if part not in (*PARTS, "all"):
        raise ValueError(f"part must be train, validation, test or all, got {part!r}.")
    selected = {
        split: np.flatnonzero([part in ("all", of_run) for of_run in parts]) for split, parts in assigned.items()
    }
    is_split = set(splits) != {"train"}
    of_run = part != "all" and any(len(rows) for rows in selected.values())
    split_by = None
    if of_run:
        split_by = {"train": None, "test": "given"}.get(part, run["split_by"])
    elif part != "all":
        if part not in splits:
            raise ValueError(f"The data have no part {part!r}, only {', '.join(splits)}; --part all takes all rows.")
        selected = {part: np.arange(len(splits[part]))}
        split_by = "given" if is_split else None
    chosen = concatenate_datasets([splits[split].select(rows) for split, rows in selected.items() if len(rows)])
    num_training_rows = sum(assigned[split][row] == "train" for split, rows in selected.items() for row in rows)
    train_labels = _labels_of(splits, assigned, "train")
    known_labels = train_labels if len(train_labels) else None
    return ChosenRows(chosen, ScoredPart(part, of_run, split_by, num_training_rows, known_labels))


def _assign(splits: DatasetDict, run: Mapping[str, Any]) -> dict[str, list[str | None]]:
    """`assign_parts`, by name and bytes where the run tells its pictures' digests, and then by the bytes alone.

    Names alone are no proof: rows of data sets of the Hub have but numbers for names, "0000.0.jpg" is in many a
    folder, and a training picture stays one under another name. By bytes alone, one that was both in training and
    elsewhere counts as training.
    """
    names = {split: rows["file_name"][:] for split, rows in splits.items()}
    if "digests" not in run:
        return assign_parts(names, run)
    digests = {split: digest_pictures(rows) for split, rows in splits.items()}
    of_run = {part: list(zip(run[part], run["digests"][part], strict=True)) for part in run["digests"]}
    assigned = assign_parts(
        {split: list(zip(names[split], digests[split], strict=True)) for split in splits}, {**run, **of_run}
    )
    by_digest = {digest: part for part in reversed(PARTS) for digest in run["digests"].get(part, ())}
    return {
        split: [part or by_digest.get(digest) for part, digest in zip(parts, digests[split], strict=True)]
        for split, parts in assigned.items()
    }


def _default_part(splits: DatasetDict, assigned: dict[str, list[str | None]]) -> str:
    if "test" in splits:
        return "test"
    of_run = [part for parts in assigned.values() for part in parts]
    if not any(of_run):
        return "validation" if "validation" in splits else "all"
    num_training, num_others = of_run.count("train"), of_run.count(None)
    if "validation" not in of_run:
        raise ValueError(
            f"The run was trained on {num_training} of these {len(of_run)} pictures, by their bytes or names, and "
            "none is of its validation part: give other pictures, or, if these are, --part all."
        )
    if num_others:
        raise ValueError(
            f"{len(of_run) - num_others} of these {len(of_run)} pictures are the run's, by their bytes or names, and "
            f"{num_others} are not. Say which to score: --part validation takes the run's validation pictures, --part "
            f"all takes all, {num_training} of them training pictures."
        )
    return "validation"


def _labels_of(splits: DatasetDict, assigned: dict[str, list[str | None]], part: str) -> np.ndarray:
    """Return the labels of all rows that were this part of the run, int64 (num_rows,)."""
    labels = [
        label
        for split, parts in assigned.items()
        for label, of_run in zip(splits[split]["label"][:], parts, strict=True)
        if of_run == part
    ]
    return np.array(labels, dtype=np.int64)
