"""Selection of the rows to score; training rows are excluded unless requested."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, DatasetDict, concatenate_datasets

from ..data.digests import digest_images
from ..data.image_folder import SPLITS

HELD_BACK = ("unused", "selection")  # of the training split: by a few-shot run, and to choose a setting on
OF_RUN = (*SPLITS, *HELD_BACK)


class ScoredSplit(NamedTuple):
    """Origin of the scored rows.

    Attributes:
        split: "train", "validation", "test" or "all".
        of_run: Whether the rows belong to this split of the run.
        split_by: Way the split was held out: that of the run, "given" for a split of the data, None if not held out.
        num_training_rows: Number of the rows that the run was trained on.
        train_labels: Class ids of all training rows of the run in the data; None if there are none.
    """

    split: str
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
    scored: ScoredSplit


def assign_splits(names: Mapping[str, Iterable[Hashable]], run: Mapping[str, Any]) -> dict[str, list[str | None]]:
    """Assign each row of a data set to its split in a run, by file name or another key.

    Args:
        names: Names or keys of the rows of each split; a single split "train" means that the data are not split.
        run: Content of `split.json`, with the names or keys of the rows of each split.

    Returns:
        The run's split of each row, or None, by split of the data. A name in both training and another split counts as
        training.
    """
    known = {split: set(run.get(split, ())) for split in OF_RUN}
    assigned = {}
    for name, keys in names.items():
        keys = list(keys)
        possible: Iterable[str] = (name, *HELD_BACK) if name == "train" else (name,)
        if set(names) == {"train"}:  # unsplit data may be one split of the run, or all of them
            possible = [split for split in OF_RUN if known[split] == set(keys)] or OF_RUN
        elif name == "train" and run.get("split_by") != "given":
            possible = ("train", "validation", *HELD_BACK)
        assigned[name] = [next((split for split in possible if key in known.get(split, ())), None) for key in keys]
    return assigned


def choose_rows(splits: DatasetDict, run: Mapping[str, Any], split: str | None = None) -> ChosenRows:
    """Choose the rows to score.

    Without `split`, these are the first available of: the data's test split, the run's validation rows in the data,
    the data's validation split, all rows.

    Args:
        splits: Rows by split.
        run: Content of `split.json` of the model's run; empty if unknown.
        split: "train", "validation", "test" (the split of the run if it had these data, else of the data), "selection"
            (training rows that the run held out to choose a setting on) or "all".

    Raises:
        ValueError: The split does not exist, or the test split mixes rows of the run's test split with others; or
            `split` is None and the data are training rows only, or mix rows of the run with others.
    """
    assigned = _assign(splits, run)
    split = split or _default_split(splits, assigned)
    if split not in (*SPLITS, "selection", "all"):
        raise ValueError(f"`split` must be train, validation, test, selection or all, got {split!r}.")
    selected = {
        name: np.flatnonzero([split in ("all", of_run) for of_run in of_rows]) for name, of_rows in assigned.items()
    }
    is_split = set(splits) != {"train"}
    of_run = split != "all" and any(len(rows) for rows in selected.values())
    split_by = None
    if of_run:
        _refuse_others(assigned.get("test", []) if split == "test" and is_split else [])
        split_by = {"train": None, "test": "given"}.get(split, run["split_by"])
    elif split != "all":
        if split not in splits:
            raise ValueError(
                f"The data have no split {split!r}, only {', '.join(splits)}; `split='all'` scores all rows."
            )
        selected = {split: np.arange(len(splits[split]))}
        split_by = "given" if is_split else None
    chosen = concatenate_datasets([splits[name].select(rows) for name, rows in selected.items() if len(rows)])
    num_training_rows = sum(assigned[name][row] == "train" for name, rows in selected.items() for row in rows)
    train_labels = _labels_of(splits, assigned, "train")
    known_labels = train_labels if len(train_labels) else None
    return ChosenRows(chosen, ScoredSplit(split, of_run, split_by, num_training_rows, known_labels))


def _refuse_others(of_rows: list[str | None]) -> None:
    """Refuse a test split that has rows besides those of the run, as only these would be scored."""
    if num_others := of_rows.count(None):
        raise ValueError(
            f"The run does not know {num_others} of the {len(of_rows)} rows of the split 'test': pass the data of the "
            "run, the new rows alone, or `split='all'` to score all rows."
        )


def find_fitting_split(splits: DatasetDict, run: Mapping[str, Any]) -> str:
    """Return the split to fit a temperature on: held out of the training, and not the test split.

    These are the first available of: the run's rows that were held out to choose a setting, the run's validation rows,
    the data's validation split, all rows.

    Raises:
        ValueError: All held-out rows are test rows.
    """
    of_run = {split for of_rows in _assign(splits, run).values() for split in of_rows}
    found = next((split for split in ("selection", "validation") if split in of_run or split in splits), None)
    if found is None and ("train" in of_run or "test" in splits):
        raise ValueError(
            "These data have no images that were held out of the training but for tests: pass other images, or "
            "`split='test'`, whose scores are then no longer of unseen images."
        )
    return found or "all"


def _assign(splits: DatasetDict, run: Mapping[str, Any]) -> dict[str, list[str | None]]:
    """Assign rows by name and bytes, then by bytes alone, if the run has digests; else by name."""
    # Names alone are ambiguous: Hub rows are numbered, "0000.0.jpg" is common, and training images may be renamed.
    names = {name: rows["file_name"][:] for name, rows in splits.items()}
    if "digests" not in run:
        return assign_splits(names, run)
    digests = {name: digest_images(rows) for name, rows in splits.items()}
    of_run = {split: list(zip(run[split], run["digests"][split], strict=True)) for split in run["digests"]}
    assigned = assign_splits(
        {name: list(zip(names[name], digests[name], strict=True)) for name in splits}, {**run, **of_run}
    )
    by_digest = {digest: split for split in reversed(OF_RUN) for digest in run["digests"].get(split, ())}
    return {
        name: [split or by_digest.get(digest) for split, digest in zip(of_rows, digests[name], strict=True)]
        for name, of_rows in assigned.items()
    }


def _default_split(splits: DatasetDict, assigned: dict[str, list[str | None]]) -> str:
    if "test" in splits:
        return "test"
    of_run = [split for of_rows in assigned.values() for split in of_rows]
    if not any(of_run):
        return "validation" if "validation" in splits else "all"
    num_training, num_others = of_run.count("train"), of_run.count(None)
    if "validation" not in of_run:
        raise ValueError(
            f"The run was trained on {num_training} of these {len(of_run)} images (same bytes or names), and none are "
            "in its validation split: pass other images, or `split='all'` if these are other images."
        )
    if num_others:
        raise ValueError(
            f"{len(of_run) - num_others} of these {len(of_run)} images belong to the run (same bytes or names), and "
            f"{num_others} do not. Choose which to score: `split='validation'` for the run's validation images, "
            f"`split='all'` for all images, including {num_training} training images."
        )
    return "validation"


def _labels_of(splits: DatasetDict, assigned: dict[str, list[str | None]], split: str) -> np.ndarray:
    """Return the labels of all rows in this split of the run, int64 (num_rows,)."""
    labels = [
        label
        for name, of_rows in assigned.items()
        for label, of_run in zip(splits[name]["label"][:], of_rows, strict=True)
        if of_run == split
    ]
    return np.array(labels, dtype=np.int64)
