"""Load and split the images of a run, decode them once, or read them from a stream."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, DatasetDict, Image

from ..data import load_demo_dataset, load_hub_dataset, load_image_folder, load_image_folders
from ..data.augmentation import Augmentation
from ..data.cache import ImageCache
from ..data.dataset import ImageDataset
from ..data.decoding import Resizing, find_plain
from ..data.descriptions import find_label_texts, read_descriptions
from ..data.digests import digest_images
from ..data.file_tree import find_files, has_image_suffix
from ..data.folder_layout import find_labels_file
from ..data.image_folder import SPLITS
from ..data.labels import shorten
from ..data.leakage import find_leakage
from ..data.splits import draw_shots, split_fold, split_stratified
from ..data.streaming import ImageStream, load_stream
from .arguments import MgVtcTrainingArguments
from .data_arguments import DataArguments
from .recipe import DEFAULT_IMAGE_SIZE
from .start_checks import check_batches, contrasts_within_batches

SELECTION = "selection"  # training rows that are held out to choose a setting on
SELECTION_FRACTION = 0.1
PLAIN_CHUNK = 256  # images in memory at a time


class RunData(NamedTuple):
    """Data of a run.

    Attributes:
        splits: "train" and, if there are any, "validation" and "test"; "selection" with `wise_ft_alpha` "auto".
        class_names: In id order.
        split: Content of `split.json`: `split_by` (one of `SPLIT_MEANINGS`) and, except for streams, the settings
            of the split, the `leakage` of each split, `num_left_out` image files, and the `file_name`s and `digests`
            of all rows.
    """

    splits: Mapping[str, ImageDataset | ImageStream]
    class_names: list[str]
    split: dict[str, Any]


def load_run_data(
    data: DataArguments, training: MgVtcTrainingArguments, resizing: Resizing, *, say: Callable[[str], object]
) -> RunData:
    """Load the images of a recipe.

    Args:
        data: Source, splits and decoding.
        training: Batch sizes, seed, and the processes that share a stream.
        resizing: Size of the pixel values, and the way to it.
        say: Called with a line about work that takes time and disk space.

    Raises:
        FileNotFoundError: A folder or data set is missing.
        ValueError: There is no training split, files are unreadable, or a stream has no validation split.
    """
    if data.streaming:
        return _open_stream(data, training, resizing)
    source = _load_source(data, resizing.image_size)
    digests = {name: digest_images(rows) for name, rows in source.items() if name in SPLITS}
    decoded = {name: _cache_images(source[name], digests[name], data, resizing, say) for name in digests}
    numbered = DatasetDict({name: rows.add_column("row", range(len(rows))) for name, rows in source.items()})
    held_out, split = _split(numbered, data, training)
    rows = {name: held_out[name] for name in SPLITS if name in held_out}
    if data.shots is not None:
        rows["train"], rows["unused"] = draw_shots(rows["train"], data.shots, training.seed)
        split["shots"] = data.shots
    if training.interpolation is None:
        split_by = data.split_by or ("clip" if "clip" in rows["train"].column_names else "frame")
        parts = split_stratified(rows["train"], SELECTION_FRACTION, split_seed(data, training), split_by=split_by)
        rows |= {"train": parts["train"], SELECTION: parts["validation"]}
    pixels = {name: decoded[name if name in source else "train"] for name in rows}
    splits = _make_datasets(rows, pixels, data, resizing, training.seed)
    class_names = rows["train"].features["label"].names
    _warn_of_unseen_classes(splits, class_names)
    _warn_of_plain_images(source, decoded)
    if training.process_index == 0:  # only this process writes it
        split["digests"] = {
            name: [digests[name if name in source else "train"][row] for row in of_split["row"]]
            for name, of_split in rows.items()
        }
        split["leakage"] = _search_leakage(
            {name: of_split for name, of_split in rows.items() if name in SPLITS},
            split["digests"],
            pixels,
            data,
            resizing,
        )
        if num_left_out := _count_left_out(source, data):
            split["num_left_out"] = num_left_out
    return RunData(splits, class_names, split | {name: of_split["file_name"][:] for name, of_split in rows.items()})


def find_descriptions(data: DataArguments, class_names: list[str], *, vision_only: bool) -> list[list[str]] | None:
    """Read the further texts of each class, in id order; `None` if there are none.

    Columns of a labels file are not read for a vision-only model, which may be the baseline on the same images.

    Raises:
        FileNotFoundError: `descriptions_file` does not exist.
        ValueError: Texts are given twice, or for some classes only, or not as text.
    """
    labels_file: str | Path | None = data.labels_file
    if labels_file is None and data.train_dir is not None:
        labels_file = find_labels_file(Path(data.train_dir))
    columns = None if labels_file is None or vision_only else find_label_texts(labels_file, class_names)
    if data.descriptions_file is None:
        return columns
    if columns is not None:
        raise ValueError(
            f"Both descriptions_file {data.descriptions_file} and columns of {labels_file} describe the classes: "
            "give one of them."
        )
    return read_descriptions(data.descriptions_file, class_names)


def _make_datasets(
    rows: Mapping[str, Dataset],
    pixels: Mapping[str, np.memmap | None],
    data: DataArguments,
    resizing: Resizing,
    seed: int,
) -> dict[str, ImageDataset]:
    """Return the pixel values of the splits, the training images augmented."""
    return {
        name: ImageDataset(
            rows[name],
            resizing,
            pixels=pixels[name],
            augmentation=data.train_augmentation if name == "train" else Augmentation(),
            seed=seed,
            jpeg_draft=data.jpeg_draft,
        )
        for name in rows
        if name in (*SPLITS, SELECTION)
    }


def _count_left_out(source: DatasetDict, data: DataArguments) -> int:
    """Count the image files below the folders of a run that are not rows; loading has warned of them."""
    paths = [rows.cast_column("image", Image(decode=False))["image"] for rows in source.values()]
    used = {image["path"] for images in paths for image in images}
    trees = [find_files(Path(folder)) for folder in (data.train_dir, data.validation_dir) if folder is not None]
    images = [path for tree in trees for path in (*filter(has_image_suffix, tree.files), *tree.hidden_images)]
    return sum(str(path.absolute()) not in used for path in images)


def check_folds(data: DataArguments, training: MgVtcTrainingArguments, *, vision_only: bool) -> None:
    """Refuse a cross-validation with a fold that cannot be trained.

    Raises:
        FileNotFoundError: A folder or data set is missing.
        ValueError: A fold is empty or has batches that cannot be trained on, or `load_run_data` raises it.
    """
    assert data.num_folds is not None
    source = _load_source(data, data.image_size or DEFAULT_IMAGE_SIZE)
    for fold in range(data.num_folds):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the run of the fold warns
                splits, _ = _split(source, replace(data, fold=fold), training)
            contrasts_within = contrasts_within_batches(training, vision_only=vision_only)
            check_batches(len(splits["train"]), training, contrasts_within=contrasts_within)
        except ValueError as error:
            raise ValueError(f"Fold {fold} of {data.num_folds} cannot be trained: {error}") from error


def split_seed(data: DataArguments, training: MgVtcTrainingArguments) -> int:
    """Return the seed of the split."""
    return training.seed if data.split_seed is None else data.split_seed


def _load_source(data: DataArguments, demo_size: int) -> DatasetDict:
    """Load rows before they are split."""
    if data.dataset_name == "demo":
        return DatasetDict(train=load_demo_dataset(demo_size))
    columns = {
        "label_column": data.label_column_name,
        "clip_column": data.clip_column_name,
        "subject_column": data.subject_column_name,
    }
    if data.dataset_name is not None:
        return load_hub_dataset(
            data.dataset_name,
            data.dataset_config_name,
            image_column=data.image_column_name,
            **columns,
        )
    assert data.train_dir is not None  # as `DataArguments` has made sure
    if data.validation_dir is not None:
        folders = {"train": data.train_dir, "validation": data.validation_dir}
        return load_image_folders(folders, data.labels_file, skip_corrupt_images=data.skip_corrupt_images, **columns)
    return load_image_folder(data.train_dir, data.labels_file, skip_corrupt_images=data.skip_corrupt_images, **columns)


def _cache_images(
    rows: Dataset, digests: Sequence[str], data: DataArguments, resizing: Resizing, say: Callable[[str], object]
) -> np.memmap | None:
    if not data.cache_images:
        return None
    cache = ImageCache(rows, resizing, jpeg_draft=data.jpeg_draft, digests=digests)
    if line := cache.describe():
        say(line)
    return cache.open()


def _split(
    source: DatasetDict, data: DataArguments, training: MgVtcTrainingArguments
) -> tuple[DatasetDict, dict[str, Any]]:
    """Return rows with the splits "train" and "validation", and the settings of the split."""
    if "train" not in source:
        raise ValueError(f"There is no training split, only {', '.join(source)}.")
    if "validation" in source:
        if data.train_val_split == 0:
            raise ValueError(
                "train_val_split 0 trains on all images, but these bring their own validation split: leave it out, or "
                "give the folder of the training images alone."
            )
        if data.num_folds:
            raise ValueError(
                "num_folds holds images out, but these bring their own validation split: leave it out, or put all "
                "images into one split."
            )
        if training.interpolation is not None:  # else `split_by` divides the training images
            _warn_of_given_split(data)
        return source, {"split_by": "given"}
    if data.train_val_split == 0:
        return source, {"split_by": "none"}
    rows = source["train"]
    split: dict[str, Any] = {"split_by": data.split_by or ("clip" if "clip" in rows.column_names else "frame")}
    split["seed"] = split_seed(data, training)
    if data.num_folds is None:
        return DatasetDict(source | split_stratified(rows, data.train_val_split, **split)), split
    split |= {"num_folds": data.num_folds, "fold": data.fold}
    return DatasetDict(source | split_fold(rows, **split)), split


def _warn_of_given_split(data: DataArguments) -> None:
    if data.split_by is not None:  # which a recipe may say of other images
        warnings.warn(
            f"`split_by` {data.split_by!r} does not divide these images: they bring their own validation split.",
            stacklevel=3,
        )


def _search_leakage(
    splits: Mapping[str, Dataset],
    digests: Mapping[str, list[str]],
    pixels: Mapping[str, np.memmap | None],
    data: DataArguments,
    resizing: Resizing,
) -> dict[str, dict[str, int]]:
    """Count the images of each other split that leak into training, by kind, and warn of each kind."""
    counts: dict[str, dict[str, int]] = {name: {} for name in splits if name != "train"}
    for leak in find_leakage(splits, digests, pixels, resizing, jpeg_draft=data.jpeg_draft):
        counts[leak.split][leak.kind] = len(leak.pairs)
        if leak.pairs:
            warnings.warn(leak.describe(), stacklevel=3)
    return counts


def _warn_of_unseen_classes(splits: dict[str, ImageDataset], class_names: list[str]) -> None:
    if "validation" not in splits:
        return
    seen = set(splits["train"].labels.tolist())
    if unseen := sorted(set(splits["validation"].labels.tolist()) - seen):
        listed = ", ".join(class_names[label] for label in unseen)
        warnings.warn(f"Classes of the validation split without a training image: {listed}.", stacklevel=3)


def _warn_of_plain_images(source: Mapping[str, Dataset], decoded: Mapping[str, np.memmap | None]) -> None:
    """Warn of images of one colour, such as black ones of a format that Pillow does not scale."""
    plain: list[str] = []
    num_images = 0
    for name, pixels in decoded.items():
        if pixels is None:  # decoded each time, so not looked at
            continue
        num_images += len(pixels)
        for start in range(0, len(pixels), PLAIN_CHUNK):
            found = start + np.flatnonzero(find_plain(pixels[start : start + PLAIN_CHUNK]))
            plain += source[name].select(found)["file_name"][:]
    if plain:
        warnings.warn(
            f"{len(plain)} of {num_images} images are of one colour, or nearly so: {shorten(plain)}. Look at them: "
            "content in the alpha channel, or in fewer bits than the file has, is lost.",
            stacklevel=3,
        )


def _open_stream(data: DataArguments, training: MgVtcTrainingArguments, resizing: Resizing) -> RunData:
    assert data.dataset_name is not None  # as `DataArguments` has made sure
    streams = load_stream(
        data.dataset_name,
        data.dataset_config_name,
        image_column=data.image_column_name,
        label_column=data.label_column_name,
        labels_file=data.labels_file,
    )
    if missing := [name for name in ("train", "validation") if name not in streams]:
        raise ValueError(
            f"{data.dataset_name!r} has no {' and no '.join(missing)} split, only {', '.join(streams)}: a "
            "stream cannot be split, so it must bring both."
        )
    if training.max_steps < 1:
        raise ValueError("A stream has no known length: set max_steps.")
    if training.save_strategy == "epoch":
        warnings.warn(
            "A stream has no epochs, so nothing would be evaluated or saved before the end: set eval_strategy and "
            "save_strategy to steps, with eval_steps and save_steps.",
            stacklevel=3,
        )
    for name in SPLITS[1:]:
        if name in streams and next(iter(streams[name]), None) is None:  # as in hidden test sets
            warnings.warn(f"No row of the split {name} has a label, so it is left out.", stacklevel=3)
            del streams[name]
    if "validation" not in streams:
        raise ValueError(f"The validation split of {data.dataset_name!r} has no labels to evaluate against.")
    shared: dict[str, Any] = {"jpeg_draft": data.jpeg_draft, "skip_corrupt_images": data.skip_corrupt_images}
    splits = {
        name: ImageStream(streams[name], resizing, training.eval_batch_size, repeat=False, **shared)
        for name in SPLITS[1:]
        if name in streams
    }
    splits["train"] = ImageStream(
        streams["train"],
        resizing,
        training.train_batch_size,
        repeat=True,
        shuffle_buffer_size=data.shuffle_buffer_size,
        augmentation=data.train_augmentation,
        seed=training.order_seed,
        num_processes=training.world_size,
        process_index=training.process_index,
        **shared,
    )
    _warn_of_given_split(data)
    return RunData(splits, streams["train"].features["label"].names, {"split_by": "given"})
