"""Stream data sets of Parquet or WebDataset shards that need not fit on the disk."""

import functools
from pathlib import Path

from datasets import ClassLabel, Features, Image, IterableDataset, Value, load_dataset

from .cells import read_cell
from .image_folder import name_splits
from .labels import NUM_LISTED, canonical_id, check_class_names, normalize_name, normalize_names, read_labels
from .lookup import check_source

WEBDATASET_IMAGES = ("jpg", "jpeg", "png", "webp")  # columns of a tar archive, one per extension
WEBDATASET_LABELS = ("cls", "json")
ROWS_AT_ONCE = 64  # rows whose labels are encoded together


def load_stream(
    name: str,
    config_name: str | None = None,
    *,
    image_column: str = "image",
    label_column: str = "label",
    labels_file: str | Path | None = None,
) -> dict[str, IterableDataset]:
    """Open a data set on the Hub, or a folder of `*.parquet` or `*.tar` shards, for reading row by row.

    Rows have the columns `image`, a `datasets.Image(decode=False)`, and `label`, a `ClassLabel`. Rows with the label
    null or -1 are skipped. Split names are normalised as in `load_image_folder` ("val" becomes "validation"); in a
    folder they are taken from file names ("train-00000-of-00010.parquet") and subfolders.

    In tar shards (WebDataset), the image of a sample is the file `jpg`, `jpeg`, `png` or `webp`; its label is the
    number in `cls` or the entry "label" in `json`.

    Args:
        name: Repository id, such as "org/name", or path of the folder.
        config_name: Configuration of a data set that has several.
        image_column: Column with the images.
        label_column: Column with the classes.
        labels_file: `id,name` CSV, "imigue" or "smg" (see `read_labels`); labels, or the names of a `ClassLabel`, are
            then its ids ("01" is "1"). Required if the labels are not a `ClassLabel`.

    Returns:
        Split name to rows.

    Raises:
        FileNotFoundError: The data set or the labels file does not exist, or the Hub is unreachable.
        ValueError: The folder has no shards, a column is missing, two splits have the same meaning, labels have no
            names, or there are fewer than two classes. While reading rows: a label is not an id of the labels file.
    """
    if Path(name).is_dir() and not any(path.suffix in (".parquet", ".tar") for path in Path(name).rglob("*")):
        raise ValueError(f"The folder {name} contains no shards: it needs *.parquet or *.tar files.")
    check_source(name, "dataset")
    try:
        source = load_dataset(name, config_name, streaming=True)
    except (ConnectionError, FileNotFoundError) as error:
        raise FileNotFoundError(f"The data set {name!r} cannot be loaded: {error}") from error
    labels = None if labels_file is None else read_labels(labels_file)
    splits = {split: source[found] for split, found in name_splits(list(source), name).items()}
    return {
        split: _encode(rows, *_find_columns(rows, name, image_column, label_column), labels)
        for split, rows in splits.items()
    }


def _find_columns(rows: IterableDataset, name: str, image_column: str, label_column: str) -> tuple[str, str]:
    """Return the names of the image column and the label column."""
    columns = rows.column_names or []
    if "__key__" in columns:  # WebDataset
        image_column = next((column for column in (image_column, *WEBDATASET_IMAGES) if column in columns), "jpg")
        label_column = next((column for column in (label_column, *WEBDATASET_LABELS) if column in columns), "cls")
    if missing := [column for column in (image_column, label_column) if column not in columns]:
        raise ValueError(
            f"{name!r} has no column {' and no column '.join(map(repr, missing))}; its columns are {columns}. Set "
            "image_column and label_column."
        )
    return image_column, label_column


def _encode(
    rows: IterableDataset, image_column: str, label_column: str, labels: dict[str, str] | None
) -> IterableDataset:
    """Return rows with an undecoded `image` and a `label` that is a `ClassLabel`."""
    feature = rows.features[label_column]
    in_json = isinstance(feature, dict) and "label" in feature
    feature = feature["label"] if in_json else feature
    if not isinstance(feature, ClassLabel | Value):
        raise ValueError(f"Each label must be one text or number, but the column {label_column!r} is {feature}.")
    if labels is None and not isinstance(feature, ClassLabel):
        raise ValueError(
            f"The labels in {label_column!r} are {feature.dtype} without class names, and a stream cannot be searched "
            "for classes: give labels_file, a CSV with the header 'id,name', 'imigue' or 'smg'."
        )
    source_names = normalize_names(feature.names) if isinstance(feature, ClassLabel) else []
    names = source_names if labels is None else list(labels.values())
    check_class_names(names)
    label_of: dict[int | str, int] = (
        {label: label for label in range(len(names))}
        if labels is None
        else {canonical_id(class_id): label for label, class_id in enumerate(labels)}
    )
    encode_rows = functools.partial(
        _encode_rows,
        label_of=label_of,
        source_names=source_names if source_names and labels is not None else None,
        in_json=in_json,
    )
    undecoded = Image(decode=False)
    return (
        rows.select_columns([image_column, label_column])
        .cast_column(image_column, undecoded)
        .map(
            encode_rows,
            input_columns=[image_column, label_column],
            batched=True,
            batch_size=ROWS_AT_ONCE,
            remove_columns=[image_column, label_column],
            features=Features(image=undecoded, label=ClassLabel(names=names)),
        )
    )


def _encode_rows(
    images: list, labels: list, *, label_of: dict[int | str, int], source_names: list[str] | None, in_json: bool
) -> dict[str, list]:
    """Return the rows that have a label, with its class number."""
    rows: dict[str, list] = {"image": [], "label": []}
    for image, value in zip(images, labels, strict=True):
        if in_json and value is not None:
            value = value["label"]
        text = read_cell(value)
        if text in (None, "-1"):
            continue
        class_id = canonical_id(normalize_name(text) if source_names is None else source_names[value])
        if class_id not in label_of:
            known = ", ".join(map(str, list(label_of)[:NUM_LISTED]))
            raise ValueError(
                f"A row of the stream has the label {class_id!r}, which is not one of the {len(label_of)} class ids "
                f"({known}{', ...' if len(label_of) > NUM_LISTED else ''})."
            )
        rows["image"].append(image)
        rows["label"].append(label_of[class_id])
    return rows
