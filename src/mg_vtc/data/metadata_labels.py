"""Class labels in metadata files: where they tell the classes, and where the class folders do."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from .cells import read_cell
from .labels import canonical_id, fold_name, shorten
from .metadata_files import MetadataTable, locate_rows

LABEL = "label"  # the column where none is asked for, as in the imagefolder of `datasets`


def find_labels(
    tables: Sequence[MetadataTable],
    folder_of: Mapping[Path, str | None],
    *,
    label_column: str = LABEL,
    are_folders_named: bool,
) -> dict[Path, str | None] | None:
    """Find the labels of images in metadata files, unless the folders of the images tell the classes.

    Labels in metadata count where images lie beside the class folders or in one folder alone, where they are names,
    and where `label_column` is asked for. Where each class folder has one label of its own that is a number, or a
    labels file names the folders, the folders tell the classes.

    Args:
        tables: Metadata files, which were asked for `label_column`.
        folder_of: Path of each image to its class folder, None where it is in none.
        label_column: Their column with the labels.
        are_folders_named: Whether a labels file has a row for each class folder.

    Returns:
        The label of each image that the metadata name, None where it is missing; or None where folders tell them all.

    Raises:
        ValueError: A label is neither text nor a whole number, an image has two rows, labels contradict the class
            folders, or a column of another name than the default is missing.
    """
    holders = [table for table in tables if label_column in table.known]
    if not holders:
        if label_column != LABEL:
            found = "; ".join(f"{table.path} has {shorten(table.column_names)}" for table in tables)
            raise ValueError(
                f"No metadata file has the column {label_column!r} of the labels: {found or 'none there'}."
            )
        return None
    labels = _read_labels(holders, label_column, folder_of)
    if label_column == LABEL and _are_told_by_folders(labels, folder_of, holders, are_folders_named=are_folders_named):
        return None
    return labels


def _are_told_by_folders(
    labels: Mapping[Path, str | None],
    folder_of: Mapping[Path, str | None],
    tables: Sequence[MetadataTable],
    *,
    are_folders_named: bool,
) -> bool:
    """Return whether class folders tell the classes, which labels must not contradict."""
    pairs = {(folder, label) for path, label in labels.items() if (folder := folder_of[path]) and label is not None}
    folders = {folder for folder in folder_of.values() if folder is not None}
    if any(folder_of[path] is None for path in labels) or (len(folders) < 2 and not are_folders_named):
        return False  # such as images/
    if len(pairs) == len({folder for folder, _ in pairs}) == len({label for _, label in pairs}):
        are_names = not all(isinstance(canonical_id(label), int) for _, label in pairs)
        return not are_names or are_folders_named or len(labels) < len(folder_of)
    if are_folders_named or {fold_name(folder) for folder, _ in pairs} & {fold_name(label) for _, label in pairs}:
        counts = Counter((folder_of[path], label) for path, label in labels.items() if label is not None)
        folder, label = min(pairs, key=lambda pair: (fold_name(pair[0]) == fold_name(pair[1]), counts[pair], pair))
        path = next(path for path in labels if (folder_of[path], labels[path]) == (folder, label))
        raise ValueError(
            f"The labels in {', '.join(str(table.path) for table in tables)} contradict the class folders: {path} is "
            f"in {folder!r} and has the label {label!r}. Move the image, correct the label, or give the column "
            f"{LABEL!r} another name."
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
            raise ValueError(f"{row.where} has a row before: each picture has one.")
        try:
            label = read_cell(row.values[column])
        except ValueError as error:
            raise ValueError(f"The label of {row.where} must be a text or a whole number: {error}.") from error
        labels[row.image] = None if label == "-1" else label
    return labels
