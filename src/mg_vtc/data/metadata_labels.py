"""Find class labels in metadata files, and decide between them and class folders."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from .labels import canonical_id, fold_name, shorten
from .metadata import MetadataTable, locate_rows
from .table_cells import read_cell

LABEL = "label"  # default column, as in the imagefolder of `datasets`


def find_labels(
    tables: Sequence[MetadataTable],
    folder_of: Mapping[Path, str | None],
    *,
    label_column: str = LABEL,
    are_folders_named: bool,
) -> dict[Path, str | None] | None:
    """Find the labels of images in metadata files, unless class folders define the classes.

    Labels in metadata apply if images lie outside of class folders or all in one folder, if the labels are names, or
    if `label_column` is not the default. Class folders apply if each has exactly one numeric label of its own, or if a
    labels file names the folders.

    Args:
        tables: Metadata files, read with `label_column`.
        folder_of: Path of each image to its class folder, or None.
        label_column: Column with the labels.
        are_folders_named: Whether a labels file has a row for each class folder.

    Returns:
        Label of each image in the metadata, None if missing; or None if class folders define the classes.

    Raises:
        ValueError: A label is neither text nor a whole number, an image has two rows, labels contradict the class
            folders, or a column with a name other than the default is missing.
    """
    holders = [table for table in tables if label_column in table.known]
    if not holders:
        if label_column != LABEL:
            found = "; ".join(f"{table.path} has {shorten(table.column_names)}" for table in tables)
            raise ValueError(
                f"No metadata file has the label column {label_column!r}: {found or 'there is no metadata file'}."
            )
        return None
    labels = _read_labels(holders, label_column, folder_of)
    if label_column == LABEL and _are_named_by_folders(
        labels, folder_of, holders, are_folders_named=are_folders_named
    ):
        return None
    return labels


def _are_named_by_folders(
    labels: Mapping[Path, str | None],
    folder_of: Mapping[Path, str | None],
    tables: Sequence[MetadataTable],
    *,
    are_folders_named: bool,
) -> bool:
    """Return whether class folders define the classes; raise if labels contradict them."""
    pairs = {(folder, label) for path, label in labels.items() if (folder := folder_of[path]) and label is not None}
    folders = {folder for folder in folder_of.values() if folder is not None}
    if any(folder_of[path] is None for path in labels) or (len(folders) < 2 and not are_folders_named):
        return False  # such as one folder images/
    if len(pairs) == len({folder for folder, _ in pairs}) == len({label for _, label in pairs}):
        are_names = not all(isinstance(canonical_id(label), int) for _, label in pairs)
        return not are_names or are_folders_named or len(labels) < len(folder_of)
    if are_folders_named or {fold_name(folder) for folder, _ in pairs} & {fold_name(label) for _, label in pairs}:
        counts = Counter((folder_of[path], label) for path, label in labels.items() if label is not None)
        folder, label = min(pairs, key=lambda pair: (fold_name(pair[0]) == fold_name(pair[1]), counts[pair], pair))
        path = next(path for path in labels if (folder_of[path], labels[path]) == (folder, label))
        raise ValueError(
            f"The labels in {', '.join(str(table.path) for table in tables)} contradict the class folders: {path} is "
            f"in {folder!r} and has the label {label!r}. Move the image, correct the label, or rename the column "
            f"{LABEL!r}."
        )
    return False


def _read_labels(
    tables: Sequence[MetadataTable], column: str, folder_of: Mapping[Path, str | None]
) -> dict[Path, str | None]:
    labels: dict[Path, str | None] = {}
    for row in (row for table in tables for row in locate_rows(table, folder_of.keys())):
        if row.image not in folder_of:
            continue
        if row.image in labels:
            raise ValueError(f"{row.where} has more than one row: keep one per image.")
        try:
            label = read_cell(row.values[column])
        except ValueError as error:
            raise ValueError(f"The label of {row.where} must be text or a whole number: {error}.") from error
        labels[row.image] = None if label == "-1" else label
    return labels
