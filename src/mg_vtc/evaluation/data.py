"""Load the labelled images of an evaluation, with the settings of the model's run where they apply."""

import functools
import inspect
import warnings
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict

from ..data import load_demo_dataset, load_hub_dataset, load_image_folder
from ..data.class_lists import CLASS_LISTS
from ..data.file_tree import find_files
from ..data.groups import GroupColumnError
from ..data.hub import select_labelled
from ..data.image_folder import name_splits
from ..data.metadata import is_metadata_file

READ_AS_RUN = {  # argument of `load_splits`: setting of a recipe
    "config_name": "dataset_config_name",
    "labels_file": "labels_file",
    "image_column": "image_column_name",
    "label_column": "label_column_name",
}


def load_as_run(
    data: str | Path | Dataset | DatasetDict,
    recipe: dict[str, Any],
    clip_column: str | None,
    skip_corrupt_images: bool | None,
    reading: dict[str, Any],
) -> DatasetDict:
    """Load the data with the settings of the run unless they are overridden."""
    if isinstance(data, (Dataset, DatasetDict)):
        return _name_rows(data)
    data = str(data)
    if skip_corrupt_images is None:
        skip_corrupt_images = recipe.get("skip_corrupt_images", False) and _is_image_folder(data)
    for argument, name in READ_AS_RUN.items() if _is_data_of_run(data, recipe) else ():
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
        warnings.warn(f"The clip column of the run, {column!r}, is missing in these data: {error}", stacklevel=3)
        return load()


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

    Raises:
        FileNotFoundError: The folder or data set is not found.
        ValueError: `load_image_folder` or `load_hub_dataset` refuses the data, or `labels_file` or
            `skip_corrupt_images` does not apply.
    """
    folder = Path(data)
    if folder.exists() and data != "demo" and not _holds_parquet(folder):
        columns = {"label_column": label_column, "clip_column": clip_column}
        return load_image_folder(folder, labels_file, skip_corrupt_images=skip_corrupt_images, **columns)
    if labels_file is not None or skip_corrupt_images:
        raise ValueError(
            f"`labels_file` and `skip_corrupt_images` require a folder of images, got {data}, which has its own class "
            "names."
        )
    if data == "demo":
        return DatasetDict(train=load_demo_dataset(demo_size))
    return load_hub_dataset(
        data, config_name, image_column=image_column, label_column=label_column, clip_column=clip_column
    )


def name_data(data: str | Path | Dataset | DatasetDict) -> str:
    return "a data set in memory" if isinstance(data, (Dataset, DatasetDict)) else str(data)


def _name_rows(data: Dataset | DatasetDict) -> DatasetDict:
    """Return loaded rows as splits, with the row number as `file_name` if there is none."""
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
        if len(rows):  # else a hidden test set
            splits[split] = rows
    if not splits:
        raise ValueError("No row of the data has a label.")
    return splits


def _holds_parquet(folder: Path) -> bool:
    files = find_files(folder).files if folder.is_dir() else []
    return any(path.suffix == ".parquet" and not is_metadata_file(path) for path in files)


def _is_image_folder(data: str) -> bool:
    return data != "demo" and Path(data).is_dir() and not _holds_parquet(Path(data))


def _is_readable(labels_file: str | None, data: str) -> bool:
    """Return whether a labels file exists and goes with these data."""
    named = labels_file in CLASS_LISTS or (labels_file is not None and Path(labels_file).exists())
    return named and _is_image_folder(data)


def _is_data_of_run(data: str, recipe: dict[str, Any]) -> bool:
    """Return whether a run was trained or validated on these data."""
    own = [recipe[name] for name in ("train_dir", "validation_dir", "dataset_name") if recipe.get(name)]
    return data in own or (Path(data).exists() and any(Path(data).resolve() == Path(name).resolve() for name in own))
