"""Settings of a recipe for reading and splitting images."""

from dataclasses import dataclass, field

from ..data.augmentation import Augmentation
from ..data.splits import SPLIT_KINDS


@dataclass
class DataArguments:
    """Images, their class names, and how they are split."""

    _argument_group_name = "data"

    train_dir: str | None = field(
        default=None,
        metadata={"help": "Folder with a sub-folder for each class, or with train/ and validation/."},
    )
    validation_dir: str | None = field(default=None, metadata={"help": "Folder of the same layout to evaluate on."})
    dataset_name: str | None = field(
        default=None, metadata={"help": 'Hub data set, or "demo" for the figures that the package draws.'}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the Hub data set."})
    image_column_name: str = field(default="image", metadata={"help": "Column of the images in a Hub data set."})
    label_column_name: str = field(
        default="label", metadata={"help": "Column of the classes in a Hub data set or a metadata file."}
    )
    labels_file: str | None = field(
        default=None,
        metadata={
            "help": 'CSV file (id,name) with names of the class folders, or "imigue", "smg" or "ma52". '
            "Default: labels.csv in train_dir."
        },
    )
    descriptions_file: str | None = field(
        default=None,
        metadata={
            "help": "JSON file with further texts of each class, {name: text or list of texts}. Columns of "
            "labels_file whose header begins with text or description are such texts, too."
        },
    )
    train_val_split: float = field(
        default=0.2,
        metadata={
            "help": "Fraction of the images to evaluate on, where there is no validation split; 0 trains on all."
        },
    )
    split_by: str | None = field(
        default=None,
        metadata={
            "help": "What is held out, where there is no validation split: frame (images at random, as in the "
            "publication; prone to data leakage), clip or subject (whole clips or subjects). Default: clip where "
            "clips are known, else frame."
        },
    )
    split_seed: int | None = field(
        default=None,
        metadata={"help": "Seed of what is held out. Default: seed, so each seed draws another split."},
    )
    shots: int | None = field(
        default=None,
        metadata={"help": "Train on this many clips of each class, or images where clips are unknown, drawn by seed."},
    )
    num_seeds: int = field(
        default=1,
        metadata={"help": "Number of runs with seed, seed + 1 and so on, summarized by mean and standard deviation."},
    )
    num_folds: int | None = field(
        default=None,
        metadata={"help": "Number of folds of a cross-validation."},
    )
    fold: int | None = field(default=None, metadata={"help": "Train only this fold of num_folds, counted from 0."})
    clip_column_name: str = field(
        default="clip", metadata={"help": "Column of the clips in a Hub data set or a metadata file."}
    )
    subject_column_name: str = field(
        default="subject", metadata={"help": "Column of the subjects in a Hub data set or a metadata file."}
    )
    skip_corrupt_images: bool = field(default=False, metadata={"help": "Leave out corrupt files."})
    image_size: int | None = field(
        default=None,
        metadata={"help": "Side of the square images, in pixels. Default: that of the starting model, else 224."},
    )
    augmentation: float = field(
        default=0.0,
        metadata={
            "help": "Strength, 0 to 1, of random scaling, rotation, shifts, warps, outlines, colours and occlusions."
        },
    )
    horizontal_flip: bool = field(
        default=False,
        metadata={
            "help": "Mirror half of the training images. Leave it off where left and right are different classes."
        },
    )
    random_shift: int = field(default=0, metadata={"help": "Largest random shift of training images, in pixels."})
    cache_images: bool = field(
        default=True,
        metadata={"help": "Keep resized images in the cache of datasets (HF_DATASETS_CACHE), 3 bytes per pixel."},
    )
    jpeg_draft: bool = field(
        default=False,
        metadata={"help": "Decode large JPEGs at a fraction of their size: faster, slightly different pixels."},
    )
    streaming: bool = field(
        default=False,
        metadata={"help": "Read dataset_name (Parquet or WebDataset shards) during training."},
    )
    shuffle_buffer_size: int = field(
        default=1000, metadata={"help": "With streaming: number of images, not yet decoded, that are shuffled."}
    )

    def __post_init__(self) -> None:
        if (self.train_dir is None) == (self.dataset_name is None):
            raise ValueError("Give either train_dir (a folder) or dataset_name (a Hub data set).")
        if self.validation_dir is not None and self.train_dir is None:
            raise ValueError("validation_dir goes with train_dir; a Hub data set brings its own validation split.")
        self._check_unread()
        if self.streaming and self.dataset_name in (None, "demo"):
            raise ValueError("streaming reads shards: give dataset_name, a Hub data set or a folder of shards.")
        if self.streaming and (self.clip_column_name, self.subject_column_name) != ("clip", "subject"):
            raise ValueError(
                "clip_column_name and subject_column_name are for splitting, but a stream brings its own splits: "
                "leave them out."
            )
        in_rows = self.dataset_name is not None and not self.streaming
        if in_rows and (self.labels_file is not None or self.skip_corrupt_images):
            raise ValueError(
                "labels_file and skip_corrupt_images go with train_dir or streaming; a data set brings its own names."
            )
        if self.split_by not in (None, *SPLIT_KINDS):
            raise ValueError(f"split_by must be one of {', '.join(SPLIT_KINDS)}, got {self.split_by!r}.")
        self._check_shots()
        if self.num_seeds < 1:
            raise ValueError(f"num_seeds must be 1 or more, got {self.num_seeds}.")
        if self.num_seeds > 1 and self.train_val_split == 0:
            raise ValueError(
                "num_seeds gives a mean of scores, and train_val_split 0 leaves none: leave one of them out."
            )
        if self.num_seeds > 1 and self.num_folds is not None:
            raise ValueError("num_seeds and num_folds both train several times: give one of them.")
        if self.num_folds is not None and self.num_folds < 2:
            raise ValueError(f"num_folds must be 2 or more, got {self.num_folds}.")
        if self.fold is not None and not 0 <= self.fold < (self.num_folds or 0):
            raise ValueError(f"fold {self.fold} is not a fold of num_folds {self.num_folds}; they are counted from 0.")
        if self.num_folds and (self.streaming or self.validation_dir is not None):
            raise ValueError(
                "num_folds holds images out, but streams and validation_dir bring their own split: leave it out."
            )
        if not 0 <= self.train_val_split < 1:
            raise ValueError(f"train_val_split must be at least 0 and less than 1, got {self.train_val_split}.")
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"image_size must be 1 or more, got {self.image_size}.")
        if self.shuffle_buffer_size < 0:
            raise ValueError(f"shuffle_buffer_size must be 0 or more, got {self.shuffle_buffer_size}.")
        _ = self.train_augmentation  # raises where a value is out of range

    def _check_shots(self) -> None:
        if self.shots is None:
            return
        if self.shots < 1:
            raise ValueError(f"shots must be 1 or more, got {self.shots}.")
        if self.streaming:
            raise ValueError(
                "shots are drawn from all training images, but a stream is not read beforehand: leave it out."
            )
        if self.num_folds is not None:
            raise ValueError(
                "shots draws other clips in each of num_folds, so they have no common mean: leave one out."
            )

    def _check_unread(self) -> None:
        """Refuse settings that would be accepted and do nothing."""
        from_hub = self.dataset_name not in (None, "demo")
        for name, goes_with, applies in (
            ("image_column_name", "a dataset_name of the Hub", from_hub),
            ("label_column_name", "a dataset_name of the Hub or train_dir", self.dataset_name != "demo"),
            ("dataset_config_name", "a dataset_name of the Hub", from_hub),
            ("shuffle_buffer_size", "streaming", self.streaming),
            (
                "split_seed",
                "images that are split here; validation_dir and streams bring their own split",
                not (self.validation_dir or self.streaming),
            ),
            (
                "train_val_split",
                "images that are split here; num_folds, validation_dir and streams split them otherwise",
                not (self.num_folds or self.validation_dir or self.streaming),
            ),
        ):
            default = DataArguments.__dataclass_fields__[name].default
            if getattr(self, name) != default and not applies:
                raise ValueError(f"{name} {getattr(self, name)!r} goes with {goes_with}: leave it out.")

    @property
    def train_augmentation(self) -> Augmentation:
        """Augmentation of the training images."""
        return Augmentation(self.augmentation, self.horizontal_flip, self.random_shift)
