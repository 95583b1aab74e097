"""Load the labelled images of an evaluation, with the settings of the model's run where they apply."""

import functools
import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict

from ..data import load_demo_dataset, load_hub_dataset, load_image_folder
from ..data.class_lists import CLASS_LISTS
from ..data.file_tree import find_files
from ..data.groups import GroupColumnError
from ..data.hub import select_labelled
from ..data.image_folder import name_splits
from ..data.labels import fold_names, shorten
from ..data.metadata import is_metadata_file
from ..data.table_cells import read_cell

READ_AS_RUN = {  # argument of `load_splits`: setting of a recipe
    "config_name": "dataset_config_name",
    "labels_file": "labels_file",
    "image_column": "image_column_name",
    "label_column": "label_column_name",
}
READING = (*READ_AS_RUN, "clip_column", "skip_corrupt_images")  # arguments of `evaluate` that say how data are read


def load_as_run(
    data: str | Path | Dataset | DatasetDict,
    recipe: dict[str, Any],
    reading: dict[str, Any],
) -> DatasetDict:
    """Load the data with the settings of the run unless `reading` overrides them; it gets those that it lacks."""
    if isinstance(data, (Dataset, DatasetDict)):
        _refuse_reading(reading)
        return _name_rows(data, reading.get("group_by"))
    clip_column, skip_corrupt_images = (reading.pop(name, None) for name in ("clip_column", "skip_corrupt_images"))
    data = str(data)
    if skip_corrupt_images is None:
        skip_corrupt_images = recipe.get("skip_corrupt_images", False) and _is_image_folder(data)
    for argument, name in READ_AS_RUN.items() if is_data_of_run(data, recipe) else ():
        value = recipe.get(name)
        moved = name == "labels_file" and not _is_readable(value, data)
        default = inspect.signature(load_splits).parameters[argument].default
        if reading.get(argument) in (None, default) and value is not None and not moved:
            reading |= {argument: value}
    load = functools.partial(load_splits, data, skip_corrupt_images=skip_corrupt_images, **reading)
    if clip_column is not None:
        return load(clip_column=clip_column)
    column = recipe.get("clip_column_name", "clip")
    try:
        return load(clip_column=column)
    except GroupColumnError as error:
        if error.column != column:
            raise
        warnings.warn(f"The clip column of the run, {column!r}, is missing in these data: {error}", stacklevel=3)
        return load()


def _refuse_reading(reading: dict[str, Any]) -> None:
    """Refuse settings of reading that loaded data would ignore."""
    parameters = inspect.signature(load_splits).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()} | {"skip_corrupt_images": None}
    for name, value in reading.items():
        if name in ("demo_size", "group_by") or value in (None, False, defaults.get(name)):
            continue
        remedy = "rename the column" if name.endswith("_column") and name in defaults else "leave it out"
        raise ValueError(f"`{name}` does not apply to data that are loaded: {remedy}.")


def load_splits(
    data: str,
    demo_size: int,
    *,
    config_name: str | None = None,
    labels_file: str | None = None,
    skip_corrupt_images: bool = False,
    image_column: str = "image",
    label_column: str = "label",
    clip_column: str = "clip",
    group_by: str | None = None,
) -> DatasetDict:
    """Load images by split from a folder, Parquet files, the Hub or the demo.

    Args:
        data: Folder, Hub data set or "demo".
        demo_size: Height and width of the demo images, in pixels.
        config_name: Configuration of a Hub data set that has several.
        labels_file: Names of the class folders (see `load_image_folder`).
        skip_corrupt_images: Whether to skip corrupt images in a folder with a warning instead of raising.
        image_column: Column of the images in a Hub data set or in Parquet files.
        label_column: Column of the classes in a Hub data set, in Parquet files or in a metadata file.
        clip_column: Column of the clips in a Hub data set, in Parquet files or in a metadata file.
        group_by: Another column of text or whole numbers, which becomes the column `subset`.

    Raises:
        FileNotFoundError: The folder or data set is not found.
        ValueError: `load_image_folder` or `load_hub_dataset` refuses the data, the column `group_by` is missing or has
            no values, or `labels_file` or `skip_corrupt_images` does not apply.
    """
    columns = {"label_column": label_column, "clip_column": clip_column}
    if group_by is not None and group_by != clip_column:
        columns["subject_column"] = group_by  # the loaders read two columns besides the labels
    folder = Path(data)
    if folder.exists() and data != "demo" and not _holds_parquet(folder):
        splits = load_image_folder(folder, labels_file, skip_corrupt_images=skip_corrupt_images, **columns)
        return _name_subsets(splits, group_by, clip_column)
    if labels_file is not None or skip_corrupt_images:
        raise ValueError(
            f"`labels_file` and `skip_corrupt_images` require a folder of images, got {data}, which has its own class "
            "names."
        )
    if data == "demo":
        splits = DatasetDict(train=load_demo_dataset(demo_size))
    else:
        splits = load_hub_dataset(data, config_name, image_column=image_column, **columns)
    return _name_subsets(splits, group_by, clip_column)


def _name_subsets(splits: DatasetDict, group_by: str | None, clip_column: str) -> DatasetDict:
    """Add the column `subset` with the values of the column `group_by`, as the loaders named it."""
    if group_by is None:
        return splits
    column = "clip" if group_by == clip_column else "subject"
    if missing := [split for split, rows in splits.items() if column not in rows.column_names]:
        raise ValueError(f"The column {group_by!r}, to group by, is missing or empty in the split {missing[0]}.")
    return DatasetDict({split: rows.add_column("subset", rows[column][:]) for split, rows in splits.items()})


def select_classes(splits: DatasetDict, names: Sequence[str]) -> DatasetDict:
    """Keep the rows of some classes, with these as all their classes, in the order given.

    Args:
        splits: Rows by split.
        names: Class names of the data; case and white space do not count.

    Raises:
        ValueError: There are fewer than two names, a name is not a class of the data, or no row is left, or only
            training rows of data that are split.
    """
    of_data = fold_names(next(iter(splits.values())).features["label"].names, "the data")
    wanted = fold_names(names, "`candidate_labels`")
    if len(wanted) < 2:
        raise ValueError(f"`candidate_labels` needs two or more classes of the data, got {list(names)}.")
    if unknown := [name for key, name in wanted.items() if key not in of_data]:
        raise ValueError(
            f"`candidate_labels` must be classes of the data, which has no {shorten(unknown)}, only "
            f"{shorten(of_data.values())}."
        )
    label_of = {key: label for label, key in enumerate(of_data)}
    number_of = {label_of[key]: number for number, key in enumerate(wanted)}
    feature, selected = ClassLabel(names=[of_data[key] for key in wanted]), DatasetDict()
    for split, rows in splits.items():
        labels = rows["label"][:]
        if kept := [row for row, label in enumerate(labels) if label in number_of]:
            others = rows.select(kept).remove_columns("label")
            selected[split] = others.add_column("label", [number_of[labels[row]] for row in kept], feature=feature)
    if not selected:
        raise ValueError(f"No image of the data is of one of `candidate_labels`: {shorten(names)}.")
    if set(selected) == {"train"} != set(splits):  # would be taken for data that are not split
        raise ValueError(f"Only the training split has images of `candidate_labels`: {shorten(names)}.")
    return selected


def name_data(data: str | Path | Dataset | DatasetDict) -> str:
    return "a data set in memory" if isinstance(data, (Dataset, DatasetDict)) else str(data)


def _name_rows(data: Dataset | DatasetDict, group_by: str | None) -> DatasetDict:
    """Return loaded rows as splits, with `file_name`, by default the row number, and `group_by` as `subset`."""
    given = dict(data) if isinstance(data, DatasetDict) else {"train": data}
    splits = DatasetDict()
    for split, source in name_splits(list(given), "the data").items():
        rows = given[source]
        if missing := {"image", "label"}.difference(rows.column_names):
            raise ValueError(f"The split {split} has no column {' and '.join(sorted(missing))}: rename its columns.")
        if not isinstance(rows.features["label"], ClassLabel):
            raise ValueError(f"The labels of the split {split} have no names: cast the column to a ClassLabel.")
        rows = select_labelled(rows, f"the split {split}")
        if "file_name" not in rows.column_names:
            rows = rows.add_column("file_name", [str(number) for number in range(len(rows))])
        if group_by is not None:
            rows = rows.add_column("subset", _read_subsets(rows, group_by, split))
        if len(rows):  # else a hidden test set
            splits[split] = rows
    if not splits:
        raise ValueError("No row of the data has a label.")
    return splits


def _read_subsets(rows: Dataset, column: str, split: str) -> list[str]:
    if column not in rows.column_names:
        raise ValueError(
            f"The split {split} has no column {column!r} to group by, only {', '.join(rows.column_names)}."
        )
    values = [read_cell(value) for value in rows[column][:]]
    if None in values:
        raise ValueError(
            f"The column {column!r}, to group by, is empty in row {values.index(None)} of the split {split}."
        )
    return [value for value in values if value is not None]


def _holds_parquet(folder: Path) -> bool:
    files = find_files(folder).files if folder.is_dir() else []
    return any(path.suffix == ".parquet" and not is_metadata_file(path) for path in files)


def _is_image_folder(data: str) -> bool:
    return data != "demo" and Path(data).is_dir() and not _holds_parquet(Path(data))


def _is_readable(labels_file: str | None, data: str) -> bool:
    """Return whether a labels file exists and goes with these data."""
    named = labels_file in CLASS_LISTS or (labels_file is not None and Path(labels_file).exists())
    return named and _is_image_folder(data)


def is_data_of_run(data: str, recipe: dict[str, Any]) -> bool:
    """Return whether a run was trained or validated on these data."""
    own = [recipe[name] for name in ("train_dir", "validation_dir", "dataset_name") if recipe.get(name)]
    return data in own or (Path(data).exists() and any(Path(data).resolve() == Path(name).resolve() for name in own))
