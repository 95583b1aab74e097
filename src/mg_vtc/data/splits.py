"""Hold out images for validation: at random, or by whole clips or subjects."""

import warnings
from collections.abc import Sequence

import numpy as np
from datasets import Dataset, DatasetDict

from .labels import shorten

# How rows were held out, and what a score on them means; "given" is a split provided by the user.
SPLIT_MEANINGS = {
    "frame": "frame-level split: images held out at random, frames of one clip are on both sides",
    "clip": "held out by clip: no clip is on both sides",
    "subject": "held out by subject: no subject is on both sides",
    "none": "no images were held out: all were used for training",
    "given": "the given validation images",
}
UNKNOWN_CLIPS = "images held out at random; clips are unknown, so near duplicates may be on both sides"
SPLIT_KINDS = ("frame", "clip", "subject")
TRAINING_ONLY, NO_PART, SEVERAL_PARTS = -1, -2, -3  # in place of a part number
NUM_ORDERS = 10  # orders in which groups are assigned; the most stratified result is kept


def describe_split(split_by: str, *, clips_known: bool) -> str:
    """Return how images were held out: one of `SPLIT_MEANINGS`, or `UNKNOWN_CLIPS`."""
    return UNKNOWN_CLIPS if split_by == "frame" and not clips_known else SPLIT_MEANINGS[split_by]


def split_stratified(dataset: Dataset, fraction: float, seed: int, *, split_by: str = "frame") -> DatasetDict:
    """Split rows into "train" and "validation" with the same class proportions.

    By "frame", rows are drawn individually. Frames of the same video clip are then on both sides, and the score says
    little about new clips. The validation split has `round(fraction * len(dataset))` rows, allocated to classes by
    largest remainder; every class keeps at least one row in training.

    By "clip" or "subject", the rows of a group stay together, and class proportions are as close as the groups allow.
    A class with at least two groups is on both sides, unless groups with many classes prevent it. A class with one
    group is in training only, with a warning. Rows keep their order.

    Args:
        dataset: Rows with a `ClassLabel` column `label` and, to split by it, a column `clip` or `subject`.
        fraction: Fraction of the rows for validation, above 0 and below 1.
        seed: The split is a function of the seed and of the labels and groups in their order.
        split_by: "frame", "clip" or "subject".

    Raises:
        ValueError: `fraction` or `split_by` is invalid, the column is missing, or nothing can be held out: the
            fraction is too small, or no class has two rows or groups.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"The validation fraction must be above 0 and below 1, but it is {fraction}.")
    labels = np.asarray(dataset["label"][:])  # (num_rows,)
    if split_by == "frame":
        held_out = _draw_rows(labels, fraction, seed)
    else:
        groups = _number_groups(dataset, split_by)
        held_out = _share_out_groups(labels, groups, (fraction, 1 - fraction), seed, kept_part=1) == 0
    return _divide(dataset, held_out, split_by)


def split_fold(dataset: Dataset, num_folds: int, fold: int, seed: int, *, split_by: str = "frame") -> DatasetDict:
    """Split rows for one round of cross-validation; each row is in the validation split of at most one fold.

    Folds have the same class proportions, as close as the groups allow. Classes with a single row or group are always
    in training, never in validation.

    Args:
        dataset: See `split_stratified`.
        num_folds: Number of folds, 2 or more.
        fold: Index of the fold used for validation, from 0.
        seed: The folds are a function of the seed and of the labels and groups in their order.
        split_by: "frame", "clip" or "subject".

    Raises:
        ValueError: A number or `split_by` is out of range, the column is missing, or the fold is empty.
    """
    if num_folds < 2 or not 0 <= fold < num_folds:
        raise ValueError(f"num_folds must be 2 or more and fold below it, from 0; got {num_folds} and {fold}.")
    labels = np.asarray(dataset["label"][:])  # (num_rows,)
    if split_by == "frame":
        folds = _deal_rows(labels, num_folds, seed)
    else:
        folds = _share_out_groups(labels, _number_groups(dataset, split_by), (1 / num_folds,) * num_folds, seed)
    return _divide(dataset, folds == fold, split_by)


def _divide(dataset: Dataset, held_out: np.ndarray, split_by: str) -> DatasetDict:
    """Return the rows where `held_out`, `(num_rows,)`, is False as "train", the others as "validation"."""
    labels = np.asarray(dataset["label"][:])  # (num_rows,)
    if not held_out.any():
        raise ValueError(
            f"No {split_by} of {len(labels)} images can be held out for validation; the largest class has "
            f"{np.bincount(labels).max()} images: use a larger fraction or more {split_by}s per class"
            f"{'.' if split_by == 'frame' else ', or split by frame, which inflates scores.'}"
        )
    unscored = np.setdiff1d(labels, labels[held_out])
    if len(unscored):
        names = shorten([dataset.features["label"].names[label] for label in unscored])
        warnings.warn(f"Classes with too few {split_by}s for validation are in training only: {names}.", stacklevel=3)
    return DatasetDict(
        train=dataset.select(np.flatnonzero(~held_out)), validation=dataset.select(np.flatnonzero(held_out))
    )


def _number_groups(dataset: Dataset, column: str) -> np.ndarray:
    """Return the group number of each row, (num_rows,), from 0."""
    if column not in SPLIT_KINDS[1:]:
        raise ValueError(f"split_by must be one of {', '.join(SPLIT_KINDS)}, not {column!r}.")
    if column not in dataset.column_names:
        names = ", or name the files <clip>.<frame>.jpg" if column == "clip" else ""
        raise ValueError(
            f"To split by {column}, the {column} of each image must be known; the columns are "
            f"{shorten(dataset.column_names)}. Put a metadata.csv with the columns file_name,{column} into the "
            f"folder{names}."
        )
    return np.unique(dataset[column][:], return_inverse=True)[1]


def _draw_rows(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Return which rows are held out, (num_rows,), in proportion to the classes."""
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label, size in enumerate(_share_out_rows(np.bincount(labels), fraction)):
        held_out[rng.permutation(np.flatnonzero(labels == label))[:size]] = True
    return held_out


def _share_out_rows(class_sizes: np.ndarray, fraction: float) -> np.ndarray:
    """Return the number of rows to hold out of each class, (num_classes,), leaving at least one."""
    limits = np.maximum(class_sizes - 1, 0)
    quotas = fraction * class_sizes
    sizes = np.minimum(np.floor(quotas).astype(int), limits)
    total = min(round(fraction * int(class_sizes.sum())), int(limits.sum()))
    while sizes.sum() < total:
        # Classes furthest below their quota come first, the lower id in case of ties.
        open_classes = np.flatnonzero(sizes < limits)
        order = np.argsort(-(quotas - sizes)[open_classes], kind="stable")
        sizes[open_classes[order[: total - sizes.sum()]]] += 1
    return sizes


def _deal_rows(labels: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Return the fold of each row, (num_rows,), dealt in turn by class; -1 for the only row of a class."""
    rng = np.random.default_rng(seed)
    folds = np.full(len(labels), TRAINING_ONLY)
    num_dealt = 0
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if len(rows) > 1:
            folds[rows] = (num_dealt + np.arange(len(rows))) % num_folds
            num_dealt += len(rows)
    return folds


def _share_out_groups(
    labels: np.ndarray, groups: np.ndarray, shares: Sequence[float], seed: int, kept_part: int = SEVERAL_PARTS
) -> np.ndarray:
    """Return the part of each row, (num_rows,), keeping groups whole and class proportions close to `shares`."""
    counts_GC = np.zeros((groups.max() + 1, labels.max() + 1), dtype=int)
    np.add.at(counts_GC, (groups, labels), 1)
    groups_of_class_C = (counts_GC > 0).sum(axis=0)
    movable_M = np.flatnonzero(~(counts_GC[:, groups_of_class_C == 1] > 0).any(axis=1))
    sizes_M = counts_GC[movable_M].sum(axis=1)
    targets_PC = np.outer(shares, counts_GC.sum(axis=0))
    rng = np.random.default_rng(seed)
    # Each group goes to the part that minimises the chi-square distance of class counts to targets.
    best_G, nearest = np.full(len(counts_GC), TRAINING_ONLY), np.inf
    for _ in range(NUM_ORDERS):
        order_M = movable_M[np.argsort(-sizes_M * rng.uniform(0.7, 1.3, len(movable_M)))]
        parts_G, distance = _share_out_in_order(counts_GC, order_M, targets_PC, kept_part)
        if distance < nearest:
            best_G, nearest = parts_G, distance
    return best_G[groups]


def _share_out_in_order(
    counts_GC: np.ndarray, order: np.ndarray, targets_PC: np.ndarray, kept_part: int
) -> tuple[np.ndarray, float]:
    """Return the part of each group, (num_groups,), and the chi-square distance to `targets_PC`."""
    parts_G = np.full(len(counts_GC), TRAINING_ONLY)
    sizes_PC = np.zeros_like(targets_PC)
    kept_C = np.delete(counts_GC, order, axis=0).any(axis=0)  # always in training
    remaining_C = (counts_GC[order] > 0).sum(axis=0)  # groups not yet assigned
    only_part_C = np.where(kept_C, kept_part, NO_PART)  # the part that has all groups of a class so far
    for group in order:
        classes = np.flatnonzero(counts_GC[group])
        added, size_P1, target_PC = counts_GC[group, classes], sizes_PC[:, classes], targets_PC[:, classes]
        cost_P = (added * (2 * (size_P1 - target_PC) + added) / target_PC).sum(axis=1)
        remaining_C[classes] -= 1
        last = classes[remaining_C[classes] == 0]
        forbidden = only_part_C[last]
        cost_P[forbidden[forbidden >= 0]] = np.inf
        if np.isinf(cost_P).all():  # in any part, a class would be missing elsewhere
            continue
        filled_P = sizes_PC.sum(axis=1) / targets_PC.sum(axis=1)
        part = int(np.lexsort((filled_P, cost_P.round(9)))[0])  # ties go to the emptiest part
        parts_G[group] = part
        sizes_PC[part, classes] += added
        first = only_part_C[classes] == NO_PART
        only_part_C[classes] = np.where(first | (only_part_C[classes] == part), part, SEVERAL_PARTS)
    present = targets_PC > 0
    return parts_G, float((((sizes_PC - targets_PC) ** 2)[present] / targets_PC[present]).sum())


def draw_shots(rows: Dataset, shots: int, seed: int) -> tuple[Dataset, Dataset]:
    """Draw some clips of each class, or images if clips are unknown, for few-shot training.

    The clips for fewer shots are among those for more. A class with fewer gives all of them, with one warning for all
    such classes. The order of the rows is kept.

    Args:
        rows: Columns `label` and, if known, `clip`.
        shots: Number of clips per class.
        seed: Seed of the draw.

    Returns:
        The drawn rows, and the others.
    """
    labels = np.asarray(rows["label"][:])  # (num_rows,)
    by_clip = "clip" in rows.column_names
    clips = np.asarray(rows["clip"][:]) if by_clip else np.arange(len(rows))  # (num_rows,)
    chosen = np.zeros(len(rows), dtype=bool)
    short: list[str] = []
    for label in np.unique(labels):
        own = np.unique(clips[labels == label])
        if len(own) < shots:
            short.append(f"{rows.features['label'].int2str(int(label))} ({len(own)})")
        drawn = np.random.default_rng([seed, int(label)]).permutation(own)[:shots]
        chosen |= (labels == label) & np.isin(clips, drawn)
    if short:
        warnings.warn(
            f"shots is {shots}, but these classes have fewer {'clips' if by_clip else 'images'} to train on, and give "
            f"all of them: {shorten(short)}.",
            stacklevel=3,
        )
    return rows.select(np.flatnonzero(chosen)), rows.select(np.flatnonzero(~chosen))
