"""Hold out a part of a data set for validation."""

import warnings

import numpy as np
from datasets import Dataset, DatasetDict


def split_stratified(dataset: Dataset, fraction: float, seed: int) -> DatasetDict:
    """Split rows at random into "train" and "validation" so that both have the classes in the same proportions.

    Rows are drawn one by one: where they are frames of videos, frames of one clip come to lie on both sides. The
    validation part has `round(fraction * len(dataset))` rows, shared out to the classes by largest remainder; every
    class keeps at least one row in training, which can make the part smaller. Rows keep their order.

    Args:
        dataset: Rows with a `ClassLabel` column `label`.
        fraction: Share of the rows for validation, above 0 and below 1.
        seed: The split is a function of this number and of the labels in their order.

    Raises:
        ValueError: `fraction` is out of its range or so small that no row is held out, or no class has two rows.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"The validation fraction must be above 0 and below 1, but it is {fraction}.")
    class_names = dataset.features["label"].names
    labels = np.asarray(dataset["label"][:])  # (num_rows,)
    class_sizes = np.bincount(labels, minlength=len(class_names))  # (num_classes,)
    held_out_sizes = _share_out(class_sizes, fraction)
    if held_out_sizes.sum() == 0:
        raise ValueError(
            f"A fraction of {fraction} of {len(labels)} rows, the largest class having {class_sizes.max()}, holds out "
            "no row for validation: give a larger fraction or more pictures."
        )
    if single := [name for name, size in zip(class_names, class_sizes, strict=True) if size == 1]:
        warnings.warn(f"Classes with a single picture are in training only: {', '.join(single)}.", stacklevel=2)
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label, held_out_size in enumerate(held_out_sizes):
        held_out[rng.permutation(np.flatnonzero(labels == label))[:held_out_size]] = True
    return DatasetDict(
        train=dataset.select(np.flatnonzero(~held_out)), validation=dataset.select(np.flatnonzero(held_out))
    )


def _share_out(class_sizes: np.ndarray, fraction: float) -> np.ndarray:
    """Return how many rows of each class to hold out, one less than the class has at most (num_classes,)."""
    limits = np.maximum(class_sizes - 1, 0)
    quotas = fraction * class_sizes
    sizes = np.minimum(np.floor(quotas).astype(int), limits)
    total = min(round(fraction * int(class_sizes.sum())), int(limits.sum()))
    while sizes.sum() < total:
        # The classes furthest below their quota come first; the stable sort gives ties to the lower id.
        open_classes = np.flatnonzero(sizes < limits)
        order = np.argsort(-(quotas - sizes)[open_classes], kind="stable")
        sizes[open_classes[order[: total - sizes.sum()]]] += 1
    return sizes
