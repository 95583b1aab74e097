"""Matching of the classes of a data set to those of a model, by name."""

import warnings
from collections.abc import Sequence

import numpy as np

from ..data.labels import canonical_id, fold_names, shorten


def match_classes(data_names: Sequence[str], model_names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Match each class of the data to a class of the model, ignoring case and repeated white space.

    Images are scored against all classes of the model, including those without images in the data. Names that are
    bare numbers do not identify a class, so they match only if both lists hold the same numbers.

    Args:
        data_names: Names in the order of the data's class ids, which are kept.
        model_names: Names in the order of the model's class ids.

    Returns:
        Class names, first those of the data and then those that only the model has, and the model's id of each class
        (num_classes,).

    Raises:
        ValueError: A class of the data is not in the model, numbers differ, or a list has the same name twice.
    """
    data_keys, model_keys = fold_names(data_names, "the data"), fold_names(model_names, "the model")
    unknown = [name for key, name in data_keys.items() if key not in model_keys]
    numbers = [key for key in data_keys if isinstance(canonical_id(key), int)]
    if unknown or (numbers and data_keys.keys() != model_keys.keys()):
        raise ValueError(_refuse(data_names, model_names, unknown, only_numbers=len(numbers) == len(data_keys)))
    model_ids = {key: class_id for class_id, key in enumerate(model_keys)}
    lacking = [key for key in model_keys if key not in data_keys]
    if lacking:
        warnings.warn(
            f"{len(lacking)} of the model's {len(model_keys)} classes are not in the data, but can be predicted: "
            f"{shorten(model_keys[key] for key in lacking)}.",
            stacklevel=3,
        )
    names = [*data_names, *(model_keys[key] for key in lacking)]
    return names, np.array([model_ids[key] for key in [*data_keys, *lacking]])


def _refuse(data_names: Sequence[str], model_names: Sequence[str], unknown: list[str], *, only_numbers: bool) -> str:
    way_out = "Rename the data's classes to the model's, or score the data's own names with `zero_shot`."
    if only_numbers:
        fault = "The data's classes are bare numbers that differ from the model's classes."
        way_out = "Pass their names with `labels_file`, as in training."
    elif not unknown:
        fault = "Some of the data's classes are bare numbers, which do not identify a class."
    elif len(unknown) == len(data_names):
        fault = "None of the data's classes are in the model."
    else:
        fault = f"Some of the data's classes are not in the model: {shorten(unknown)}."
    return (
        f"{fault} {way_out} Classes of the data ({len(data_names)}): {', '.join(map(repr, data_names))}. Classes of "
        f"the model ({len(model_names)}): {', '.join(map(repr, model_names))}."
    )
