"""Selection of the rows to score; training rows are excluded unless requested."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, DatasetDict, concatenate_datasets

from ..data.digests import digest_pictures
from ..data.image_folder import PARTS


class ScoredPart(NamedTuple):
    """Origin of the scored rows.

    Attributes:
        part: Split: "train", "validation", "test" or "all".
        of_run: Whether the rows belong to this split of the run.
        split_by: Way the split was held out: that of the run, "given" for a split of the data, None if not held out.
        num_training_rows: Number of the rows that the run was trained on.
        train_labels: Class ids of all training rows of the run in the data; None if there are none.
    """

    part: str
    of_run: bool
    split_by: str | None
    num_training_rows: int
    train_labels: np.ndarray | None


class ChosenRows(NamedTuple):
    """Rows to be scored.

    Attributes:
        rows: Columns `image`, `label`, `file_name` and, if known, `clip`.
        scored: Origin of the rows.
    """

    rows: Dataset
    scored: ScoredPart


def assign_parts(names: Mapping[str, Iterable[Hashable]], run: Mapping[str, Any]) -> dict[str, list[str | None]]:
    """Assign each row of a data set to its split in a run, by file name or another key.

    Args:
        names: Names or keys of the rows of each split; a single split "train" means that the data are not split.
        run: Content of `split.json`, with the names or keys of the rows of each split.

    Returns:
        The run's split of each row, or None, by split of the data. A name in both training and another split counts as
        training.
    """
    known = {part: set(run.get(part, ())) for part in PARTS}
    assigned = {}
    for split, in_split in names.items():
        in_split = list(in_split)
        possible: Iterable[str] = (split,)
        if set(names) == {"train"}:  # unsplit data may be one split of the run, or all of them
            possible = [part for part in PARTS if known[part] == set(in_split)] or PARTS
        elif split == "train" and run.get("split_by") != "given":
            possible = ("train", "validation")
        assigned[split] = [next((part for part in possible if name in known.get(part, ())), None) for name in in_split]
    return assigned


def choose_rows(splits: DatasetDict, run: Mapping[str, Any], part: str | None = None) -> ChosenRows:
    """Choose the rows to score.

    Without `part`, these are the first available of: the data's test split, the run's validation rows in the data, the
    data's validation split, all rows.

    Args:
        splits: Rows by split.
        run: Content of `split.json` of the model's run; empty if unknown.
        part: "train", "validation", "test" (the split of the run if it had these data, else of the data) or "all".

    Raises:
        ValueError: The split does not exist; or `part` is None and the data are training rows only, or mix rows of the
            run with others.
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
            raise ValueError(f"The data have no split {part!r}, only {', '.join(splits)}; --part all scores all rows.")
        selected = {part: np.arange(len(splits[part]))}
        split_by = "given" if is_split else None
    chosen = concatenate_datasets([splits[split].select(rows) for split, rows in selected.items() if len(rows)])
    num_training_rows = sum(assigned[split][row] == "train" for split, rows in selected.items() for row in rows)
    train_labels = _labels_of(splits, assigned, "train")
    known_labels = train_labels if len(train_labels) else None
    return ChosenRows(chosen, ScoredPart(part, of_run, split_by, num_training_rows, known_labels))


def _assign(splits: DatasetDict, run: Mapping[str, Any]) -> dict[str, list[str | None]]:
    """Assign rows by name and bytes, then by bytes alone, if the run has digests; else by name."""
    # Names alone are ambiguous: Hub rows are numbered, "0000.0.jpg" is common, and training images may be renamed.
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
            f"The run was trained on {num_training} of these {len(of_run)} images (same bytes or names), and none are "
            "in its validation split: pass other images, or --part all if these are other images."
        )
    if num_others:
        raise ValueError(
            f"{len(of_run) - num_others} of these {len(of_run)} images belong to the run (same bytes or names), and "
            f"{num_others} do not. Choose which to score: --part validation for the run's validation images, --part "
            f"all for all images, including {num_training} training images."
        )
    return "validation"


def _labels_of(splits: DatasetDict, assigned: dict[str, list[str | None]], part: str) -> np.ndarray:
    """Return the labels of all rows in this split of the run, int64 (num_rows,)."""
    labels = [
        label
        for split, parts in assigned.items()
        for label, of_run in zip(splits[split]["label"][:], parts, strict=True)
        if of_run == part
    ]
    return np.array(labels, dtype=np.int64)
