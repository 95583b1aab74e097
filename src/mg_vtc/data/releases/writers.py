"""Output formats of prepared images: class folders, Parquet shards and WebDataset shards.

`load_dataset` and `mg-vtc train` read all of them. A writer writes one shard of a split into an empty folder, with
paths relative to the split. It returns a row of metadata for each image. The bytes of a shard are a function of its
frames.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from datasets import ClassLabel, Features, Image, Value

from .frames import Frame

ROWS_AT_ONCE = 32  # images of a Parquet shard in memory at once, when writing and reading


class Columns:
    """Metadata columns of the images.

    Args:
        class_names: Class id to name, in the order of the numbers in `label`.
        known: The columns "video", "subject" and "time" that the release provides.
        group_column: Column with the group of the class, if there are groups.
        class_groups: Class id to its group.
    """

    def __init__(
        self,
        class_names: dict[int, str],
        known: Sequence[str],
        group_column: str | None = None,
        class_groups: Mapping[int, str] | None = None,
    ) -> None:
        types = {"video": "string", "subject": "string", "time": "float64"}
        self.known = tuple(known)
        self.group_column = group_column
        self.class_groups = dict(class_groups or {})
        self.label_of = {label_id: label for label, label_id in enumerate(class_names)}
        self.features = Features(
            file_name=Value("string"),
            label=ClassLabel(names=list(class_names.values())),
            clip=Value("string"),
            frame=Value("int32"),
            **{column: Value(types[column]) for column in self.known},
            **({} if group_column is None else {group_column: Value("string")}),
        )

    def make_row(self, frame: Frame) -> dict[str, Any]:
        """Return the metadata of a frame; `time` is in seconds from the first frame of the video."""
        row = {
            "file_name": f"{frame.label_id}/{frame.name}.jpg",
            "label": self.label_of[frame.label_id],
            "clip": frame.clip,
            "frame": frame.number,
        }
        row |= {column: getattr(frame, column) for column in self.known}
        return row if self.group_column is None else row | {self.group_column: self.class_groups[frame.label_id]}


Writer = Callable[[Iterator[Frame], Path, str, Columns], list[dict[str, Any]]]


def write_class_folders(frames: Iterator[Frame], folder: Path, name: str, columns: Columns) -> list[dict[str, Any]]:
    """Write `<class id>/<clip>.<frame>.jpg`."""
    rows = []
    for frame in frames:
        row = columns.make_row(frame)
        path = folder / row["file_name"]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(frame.data)
        rows.append(row)
    return rows


def write_parquet(frames: Iterator[Frame], folder: Path, name: str, columns: Columns) -> list[dict[str, Any]]:
    """Write `<name>.parquet` with the image bytes in the column `image` and the class names in its schema."""
    others = {column: feature for column, feature in columns.features.items() if column != "file_name"}
    schema = Features(image=Image(), **others).arrow_schema
    rows: list[dict[str, Any]] = []
    with (
        (folder / f"{name}.parquet").open("wb") as file,
        pyarrow.parquet.ParquetWriter(file, schema) as writer,
    ):
        waiting = []
        for frame in frames:
            rows.append(columns.make_row(frame))
            image = {"bytes": frame.data, "path": rows[-1]["file_name"]}
            waiting.append({"image": image} | {column: rows[-1][column] for column in others})
            if len(waiting) == ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(waiting, schema))
                waiting = []
        writer.write_table(pa.Table.from_pylist(waiting, schema))
    return rows


def write_tar(frames: Iterator[Frame], folder: Path, name: str, columns: Columns) -> list[dict[str, Any]]:
    """Write `<name>.tar`: for each image a `jpg`, a `cls` with the class id, and a `json` with the other metadata.

    A sample is named `<class id>/<clip>_<frame>`, because readers treat everything after a dot as the extension.
    """
    rows = []
    with (folder / f"{name}.tar").open("wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        for frame in frames:
            row = columns.make_row(frame)
            others = {column: row[column] for column in row if column not in ("file_name", "label")}
            key = f"{frame.label_id}/{frame.name.replace('.', '_')}"
            for kind, data in (
                ("jpg", frame.data),
                ("cls", str(frame.label_id).encode()),
                ("json", json.dumps(others).encode()),
            ):
                member = tarfile.TarInfo(f"{key}.{kind}")  # default time and owner: reproducible bytes
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
            rows.append(row)
    return rows


WRITERS: dict[str, Writer] = {
    "imagefolder": write_class_folders,
    "parquet": write_parquet,
    "webdataset": write_tar,
}
