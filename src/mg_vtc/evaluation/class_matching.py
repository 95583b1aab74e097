"""The classes of a data set found among those of a model: by name, whatever their order, and never by guess."""

import warnings
from collections.abc import Sequence

import numpy as np

from ..data.labels import canonical_id, fold_name, shorten


def match_classes(data_names: Sequence[str], model_names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Find each class of the data among those of the model, without regard to case and runs of white space.

    Pictures are scored against all classes that the model knows, as its users get them, so those that the data lack
    are answers too, with no picture to be right about. Names that are bare numbers say nothing of what the class is:
    they are taken for the same only where the two lists hold the same numbers.

    Args:
        data_names: In the order of the data's class ids, which stay.
        model_names: In the order of the model's class ids.

    Returns:
        The names of the classes, those of the data and then those that only the model knows, and the model's id of
        each (num_classes,).

    Raises:
        ValueError: The model does not know all of the data's classes, numbers differ, or two names of a list are one.
    """
    data_keys, model_keys = _fold(data_names, "data"), _fold(model_names, "model")
    unknown = [name for key, name in data_keys.items() if key not in model_keys]
    numbers = [key for key in data_keys if isinstance(canonical_id(key), int)]
    if unknown or (numbers and data_keys.keys() != model_keys.keys()):
        raise ValueError(_refuse(data_names, model_names, unknown, only_numbers=len(numbers) == len(data_keys)))
    model_ids = {key: class_id for class_id, key in enumerate(model_keys)}
    lacking = [key for key in model_keys if key not in data_keys]
    if lacking:
        warnings.warn(
            f"{len(lacking)} of the model's {len(model_keys)} classes are none of the data's, and stay possible "
            f"answers: {shorten(model_keys[key] for key in lacking)}.",
            stacklevel=3,
        )
    names = [*data_names, *(model_keys[key] for key in lacking)]
    return names, np.array([model_ids[key] for key in [*data_keys, *lacking]])


def _fold(names: Sequence[str], whose: str) -> dict[str, str]:
    """Return what is compared of each name to the name, in their order."""
    folded: dict[str, str] = {}
    for name in names:
        key = fold_name(name)
        if key in folded:
            raise ValueError(f"Two classes of the {whose} have one name, {folded[key]!r} and {name!r}: rename one.")
        folded[key] = name
    return folded


def _refuse(data_names: Sequence[str], model_names: Sequence[str], unknown: list[str], *, only_numbers: bool) -> str:
    way_out = "Rename the data's to the model's, or compare with the data's own names by --zero_shot."
    if only_numbers:
        fault = "The data's classes are bare numbers, and not those of the model."
        way_out = "Give their names with --labels_file, as in training."
    elif not unknown:
        fault = "Some of the data's classes are bare numbers, which say nothing of what they are."
    elif len(unknown) == len(data_names):
        fault = "The model knows none of the data's classes."
    else:
        fault = f"The model does not know all of the data's classes, not {shorten(unknown)}."
    return (
        f"{fault} {way_out} The data's {len(data_names)}: {', '.join(map(repr, data_names))}. The model's "
        f"{len(model_names)}: {', '.join(map(repr, model_names))}."
    )
