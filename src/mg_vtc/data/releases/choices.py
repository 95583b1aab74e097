"""Settings of a preparation, which an interrupted run must repeat to resume."""

from dataclasses import dataclass
from typing import NamedTuple

from ..labels import read_labels

FORMATS = ("imagefolder", "parquet", "webdataset")
FRAMES_PER_CLIP = 8  # default for a video segment and a cut clip
NON_MG = {"imigue": 32, "smg": 16}  # class of each set that is not a micro-gesture


@dataclass(frozen=True)
class Choices:
    """Settings of every preparation; see `prepare_imigue`.

    Raises:
        ValueError: A setting is out of range.
    """

    data: str
    format: str
    frames_per_clip: int | None

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {self.format!r}.")
        if self.frames_per_clip is not None and self.frames_per_clip < 1:
            raise ValueError(f"frames_per_clip must be 1 or more, not {self.frames_per_clip}.")

    @property
    def class_names(self) -> dict[int, str]:
        """Names of the classes by id, in id order."""
        return {int(label_id): name for label_id, name in read_labels(self.data).items()}

    @property
    def class_groups(self) -> dict[int, str]:
        """Groups of the classes by id; empty if there are none."""
        return {}

    @property
    def group_column(self) -> str | None:
        """Name of the metadata column with the group of the class; None without groups."""
        return None


@dataclass(frozen=True)
class SegmentChoices(Choices):
    """Settings for releases of videos with labelled segments; see `prepare_imigue`."""

    keep_non_mg: bool
    first_frame: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first_frame not in (0, 1):
            raise ValueError(f"first_frame must be 0 or 1, not {self.first_frame}.")

    @property
    def class_names(self) -> dict[int, str]:
        names = super().class_names
        return {
            label_id: name for label_id, name in names.items() if self.keep_non_mg or label_id != NON_MG[self.data]
        }


class ClipClass(NamedTuple):
    """A class of cut clips, and its group if there are groups."""

    label_id: int
    name: str
    group: str | None = None


@dataclass(frozen=True)
class ClipChoices(Choices):
    """Settings for cut clips; see `prepare_clips`.

    Attributes:
        classes: Classes in id order.
        groups_are: What the groups are, which names their column, such as "body_part".
        name_pattern: Regular expression of the clip names.
        split_by: "subject" to hold out whole people, None to keep the given splits.
    """

    classes: tuple[ClipClass, ...]
    groups_are: str = "group"
    name_pattern: str | None = None
    split_by: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split_by not in (None, "subject"):
            raise ValueError(
                f"split_by must be subject, or be left out to keep the given splits, not {self.split_by!r}."
            )

    @property
    def class_names(self) -> dict[int, str]:
        return {row.label_id: row.name for row in self.classes}

    @property
    def class_groups(self) -> dict[int, str]:
        return {row.label_id: row.group for row in self.classes if row.group is not None}

    @property
    def group_column(self) -> str | None:
        return self.groups_are if self.class_groups else None
