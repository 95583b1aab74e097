"""What is written is read by `load_dataset`, offline, and by the loaders of this package."""

import io

import pytest
from datasets import ClassLabel, Value, load_dataset
from made_releases import draw_number, read_number
from PIL import Image

from mg_vtc.data import load_hub_dataset
from mg_vtc.data.releases.frames import Frame
from mg_vtc.data.releases.writers import WRITERS, Columns
from mg_vtc.data.streaming import load_stream

CLASS_NAMES = {1: "Turtle neck", 2: "Folding arms", 10: "Biting nails"}


def make_frames(first):
    for number, label_id in enumerate([10, 1, 2, 10], start=first):
        file = io.BytesIO()
        draw_number(number).save(file, "JPEG", quality=95)
        yield Frame(f"0001_{number}", label_id, number, file.getvalue(), "0001", "7", number / 25)


@pytest.fixture
def write(tmp_path):
    """Write two splits of two parts each."""

    def write(to):
        columns = Columns(CLASS_NAMES, ("video", "subject", "time"))
        for place, part in enumerate(("train/a", "train/b", "validation/a", "validation/b")):
            split, name = part.split("/")
            (tmp_path / to / split).mkdir(parents=True, exist_ok=True)
            rows = WRITERS[to](make_frames(10 * place), tmp_path / to / split, name, columns)
            assert [row["label"] for row in rows] == [2, 0, 1, 2]
            assert set(rows[0]) == set(columns.features)
        return tmp_path / to

    return write


def test_class_folders_hold_the_bytes_as_they_are(write):
    folder = write("imagefolder")
    assert (folder / "train" / "10" / "0001_0.0.jpg").read_bytes() == next(make_frames(0)).data
    assert len(list(folder.rglob("*.jpg"))) == 16


def test_parquet_has_images_classes_and_clips(write):
    folder = write("parquet")
    rows = load_dataset("parquet", data_dir=str(folder))
    assert {split: len(of_split) for split, of_split in rows.items()} == {"train": 8, "validation": 8}
    assert rows["train"].features["label"] == ClassLabel(names=list(CLASS_NAMES.values()))
    assert rows["train"].features["time"] == Value("float64")
    for row in rows["validation"]:
        assert read_number(row["image"]) == row["frame"]
        assert row["clip"] == f"0001_{row['frame']}"
    assert rows["train"][0]["subject"] == "7"
    assert load_hub_dataset(str(folder))["train"]["clip"][:2] == ["0001_0", "0001_1"]


@pytest.mark.parametrize("to", ["parquet", "webdataset"])
def test_shards_are_read_as_a_stream(write, tmp_path, to):
    labels = tmp_path / "labels.csv"
    labels.write_text("".join(["id,name\n", *(f"{label_id},{name}\n" for label_id, name in CLASS_NAMES.items())]))
    splits = load_stream(str(write(to)), labels_file=labels if to == "webdataset" else None)
    assert set(splits) == {"train", "validation"}
    rows = list(splits["validation"])
    assert splits["train"].features["label"].names == list(CLASS_NAMES.values())
    assert [row["label"] for row in rows] == [2, 0, 1, 2] * 2
    numbers = [read_number(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows]
    assert numbers == [20, 21, 22, 23, 30, 31, 32, 33]


def test_webdataset_has_samples_of_image_class_and_metadata(write):
    rows = load_dataset("webdataset", data_dir=str(write("webdataset")))["train"]
    assert rows[0]["__key__"] == "10/0001_0_0"
    assert rows[0]["cls"] == 10
    assert rows[0]["json"] == {"clip": "0001_0", "frame": 0, "video": "0001", "subject": "7", "time": 0.0}
    assert [read_number(image) for image in rows["jpg"]] == [0, 1, 2, 3, 10, 11, 12, 13]


def test_what_a_release_does_not_tell_has_no_column():
    columns = Columns(CLASS_NAMES, ())
    row = columns.make_row(next(make_frames(0)))
    assert set(columns.features) == set(row) == {"file_name", "label", "clip", "frame"}


def test_parquet_is_written_some_rows_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("mg_vtc.data.releases.writers.ROWS_AT_ONCE", 3)
    WRITERS["parquet"](make_frames(0), tmp_path, "a", Columns(CLASS_NAMES, ()))
    assert load_dataset("parquet", data_dir=str(tmp_path))["train"]["frame"] == [0, 1, 2, 3]
