"""Clips and subjects of images: from metadata files, file names and columns, and what is refused or warned of."""

import json
from datetime import date
from pathlib import Path

import datasets
import PIL.Image
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value

from mg_vtc.data import load_hub_dataset, load_image_folder, load_image_folders
from mg_vtc.data.groups import name_clip, read_group_columns


def write_images(parent: Path, *file_names: str) -> Path:
    for file_name in file_names:
        path = parent / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (6, 4)).save(path)
    return parent


def write_metadata(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".csv":
        lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
        path.write_text("\n".join(lines))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        Dataset.from_list(rows).to_parquet(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", "nod/a.png", "nod/b.png", "wave/a.png")


ROWS = [
    {"file_name": "nod/a.png", "clip": "007", "subject": "Ann", "weather": "fair"},
    {"file_name": "wave/a.png", "clip": "007", "subject": "Ann", "weather": "foul"},
    {"file_name": "nod/b.png", "clip": "8", "subject": "Bo", "weather": "fair"},
]


# File names


@pytest.mark.parametrize(
    ("file_name", "clip"),
    [
        ("12/0000.3.jpg", "12/0000"),
        ("12/0000.03.png", "12/0000"),
        ("012/0000.3.jpg", "12/0000"),
        ("nod/take.two.7.jpg", "nod/take.two"),
        ("nod/film/0000.3.jpg", "nod/film/0000"),
        ("nod/0000.jpg", None),
        ("nod/0000.x.jpg", None),
        ("nod/.3.jpg", None),
        ("nod/0000.3", None),
    ],
)
def test_clip_is_the_class_and_what_is_before_the_frame(file_name: str, clip: str | None):
    assert name_clip(file_name) == clip


def test_names_of_frames_tell_the_clips(tmp_path: Path):
    rows = load_image_folder(write_images(tmp_path, "nod/0.0.png", "nod/0.1.png", "nod/1.0.png", "wave/0.0.png"))
    assert rows["train"]["clip"][:] == ["nod/0", "nod/0", "nod/1", "wave/0"]
    assert rows["train"].features["clip"] == Value("string")
    assert "subject" not in rows["train"].column_names


def test_one_name_that_is_no_frame_leaves_all_splits_without_clips(tmp_path: Path):
    folder = write_images(tmp_path, "train/nod/0.0.png", "train/wave/0.1.png", "val/nod/x.png")
    with pytest.warns(UserWarning, match=r"Clips are unknown: 1 of 3 images are not named .*x\.png"):
        splits = load_image_folder(folder)
    assert [rows.column_names for rows in splits.values()] == [["image", "label", "file_name"]] * 2


# Metadata files


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_metadata_tells_clip_and_subject_and_nothing_else(folder: Path, name: str):
    write_metadata(folder / name, ROWS)
    rows = load_image_folder(folder)["train"]
    assert rows.column_names == ["image", "label", "file_name", "clip", "subject"]
    assert rows["file_name"][:] == ["nod/a.png", "nod/b.png", "wave/a.png"]
    assert rows["clip"][:] == ["007", "8", "007"]
    assert rows["subject"][:] == ["Ann", "Bo", "Ann"]


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.parquet"])
def test_whole_numbers_become_text(folder: Path, name: str):
    write_metadata(folder / name, [row | {"clip": number} for number, row in enumerate(ROWS)])
    assert load_image_folder(folder)["train"]["clip"][:] == ["0", "2", "1"]


def test_metadata_wins_over_names(tmp_path: Path):
    write_images(tmp_path, "nod/0.0.png", "wave/0.0.png")
    write_metadata(
        tmp_path / "metadata.csv", [{"file_name": f"{name}/0.0.png", "clip": "one"} for name in ("nod", "wave")]
    )
    assert load_image_folder(tmp_path)["train"]["clip"][:] == ["one", "one"]


def test_metadata_with_subjects_alone_leaves_clips_to_names(tmp_path: Path):
    write_images(tmp_path, "nod/0.0.png", "wave/0.0.png")
    write_metadata(
        tmp_path / "metadata.csv", [{"file_name": f"{name}/0.0.png", "subject": "Ann"} for name in ("nod", "wave")]
    )
    rows = load_image_folder(tmp_path)["train"]
    assert [rows["clip"][:], rows["subject"][:]] == [["nod/0", "wave/0"], ["Ann", "Ann"]]


def test_metadata_is_found_above_the_splits_and_in_them(tmp_path: Path):
    write_images(tmp_path, "train/nod/a.png", "train/wave/a.png", "val/nod/a.png")
    write_metadata(
        tmp_path / "train/metadata.csv", [{"file_name": f"{name}/a.png", "clip": name} for name in ("nod", "wave")]
    )
    write_metadata(tmp_path / "metadata.jsonl", [{"file_name": "val/nod/a.png", "clip": "high"}])
    splits = load_image_folder(tmp_path)
    assert splits["train"]["clip"][:] == ["nod", "wave"]
    assert splits["validation"]["clip"][:] == ["high"]


def test_metadata_is_found_in_separate_split_folders(tmp_path: Path):
    write_images(tmp_path, "here/nod/a.png", "there/wave/a.png")
    write_metadata(tmp_path / "here/metadata.csv", [{"file_name": "nod/a.png", "clip": "x"}])
    write_metadata(tmp_path / "there/metadata.csv", [{"file_name": "wave/a.png", "clip": "y"}])
    splits = load_image_folders({"train": tmp_path / "here", "validation": tmp_path / "there"})
    assert [splits["train"]["clip"][:], splits["validation"]["clip"][:]] == [["x"], ["y"]]


def test_columns_may_have_other_names(folder: Path):
    write_metadata(folder / "metadata.csv", ROWS)
    rows = load_image_folder(folder, clip_column="subject", subject_column="weather")["train"]
    assert rows["clip"][:] == ["Ann", "Bo", "Ann"]
    assert rows["subject"][:] == ["fair", "fair", "foul"]


def test_column_asked_for_and_missing_is_refused_with_those_there_are(folder: Path):
    with pytest.raises(ValueError, match=r"the column 'take': no metadata\.csv, .* in the image folders"):
        load_image_folder(folder, clip_column="take")
    write_metadata(folder / "metadata.csv", ROWS)
    with pytest.raises(ValueError, match=r"'take': .*metadata\.csv has 'file_name', 'clip', 'subject', 'weather'"):
        load_image_folder(folder, clip_column="take")


def test_metadata_without_groups_is_passed_over(folder: Path):
    (folder / "metadata.csv").write_text("file_name,weather\nnod/a.png,fair\n")
    assert load_image_folder(folder)["train"].column_names == ["image", "label", "file_name"]


def test_images_without_a_row_are_refused(folder: Path):
    write_metadata(folder / "metadata.csv", ROWS[:2])
    with pytest.raises(ValueError, match=r"1 of 3 images have no row in .*metadata\.csv, .*'clip': '.*nod/b\.png'"):
        load_image_folder(folder)


def test_split_without_metadata_beside_one_with_is_refused(tmp_path: Path):
    write_images(tmp_path, "train/nod/a.png", "train/wave/a.png", "val/nod/a.png")
    write_metadata(
        tmp_path / "train/metadata.csv", [{"file_name": f"{name}/a.png", "clip": name} for name in ("nod", "wave")]
    )
    with pytest.raises(ValueError, match=r"1 of 3 images have no row .*val/nod/a\.png"):
        load_image_folder(tmp_path)


def test_rows_without_a_file_are_warned_of(folder: Path):
    write_metadata(folder / "metadata.csv", [*ROWS, ROWS[0] | {"file_name": "nod/gone.png"}])
    with pytest.warns(UserWarning, match=r"lists 1 files that do not exist: '.*nod/gone\.png'"):
        assert len(load_image_folder(folder)["train"]) == 3


def test_row_of_an_image_that_is_left_out_is_silent(folder: Path):
    (folder / "nod/b.png").write_text("no image")
    write_metadata(folder / "metadata.csv", ROWS)
    with pytest.warns(UserWarning, match="1 of 3 files are not readable images and are skipped") as caught:
        assert load_image_folder(folder, skip_corrupt_images=True)["train"]["clip"][:] == ["007", "007"]
    assert len(caught) == 1


def test_second_row_of_an_image_is_refused(folder: Path):
    write_metadata(folder / "metadata.csv", [*ROWS, ROWS[0]])
    with pytest.raises(ValueError, match=r"'nod/a\.png' in .*metadata\.csv has more than one row"):
        load_image_folder(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metadata.csv", ""),
        ("metadata.csv", "  "),
        ("metadata.jsonl", None),
        ("metadata.parquet", None),
        ("metadata.jsonl", 1.5),
    ],
)
def test_empty_values_are_refused_with_an_example(folder: Path, name: str, value: object):
    write_metadata(folder / name, [ROWS[0] | {"clip": value}, *ROWS[1:]])
    with pytest.raises(ValueError, match=rf"column 'clip' must contain .* image; 'nod/a\.png' in .*{name}"):
        load_image_folder(folder)


def test_two_metadata_files_in_one_folder_are_refused(folder: Path):
    write_metadata(folder / "metadata.csv", ROWS)
    write_metadata(folder / "metadata.jsonl", ROWS)
    with pytest.raises(ValueError, match=r"has metadata\.csv and metadata\.jsonl: keep one"):
        load_image_folder(folder)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("metadata.csv", b"clip\nx\n", "has no column 'file_name', only 'clip'"),
        ("metadata.csv", b"nod/a.png,x\n", "has no column 'file_name', only 'nod/a.png', 'x'"),
        ("metadata.csv", b"", "cannot be read: ValueError: it is empty"),
        ("metadata.csv", b"file_name,clip,Clip\na,b,c\n", "it has the columns 'clip' and 'Clip': keep one"),
        ("metadata.csv", b"file_name,clip\nnod/a.png,x,y\n", "line 2 has 3 cells, but the header has 2"),
        ("metadata.csv", "file_name,clip\n".encode("utf-16-le"), "it contains null bytes"),
        ("metadata.jsonl", b'{"file_name": "a", "clip": 1, "clip": 2}\n', "has a duplicate key: 'file_name', 'clip'"),
        ("metadata.json", b'{"file_name": {"0": "a"}}', "must contain a list of objects"),
        ("metadata.xlsx", b"PK", r"cannot be read: save it as metadata\.csv"),
        ("Metadata.csv.gz", b"PK", r"cannot be read: save it as metadata\.csv"),
        ("metadata.csv", b"file_name,clip\n\xff,x\n", "cannot be read: UnicodeDecodeError.* Save it as UTF-8"),
        ("metadata.csv", b"file_name,clip\n,x\n", "has no file name"),
        ("metadata.jsonl", b"{\n", "cannot be read: JSONDecodeError"),
        ("metadata.jsonl", b"[1]\n", r"each line must be an object, not \[1\]"),
        ("metadata.parquet", b"PAR1", "cannot be read: ArrowInvalid"),
    ],
)
def test_metadata_that_cannot_be_read_is_refused(folder: Path, name: str, content: bytes, fault: str):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} .*{fault}|A row of .*{fault}"):
        load_image_folder(folder)


def test_csv_of_a_spreadsheet_is_read(folder: Path):
    lines = ["file_name,clip", *(f"{row['file_name']}, {row['clip']}" for row in ROWS)]
    (folder / "metadata.csv").write_text("\r\n".join(lines), encoding="utf-8-sig", newline="")
    assert load_image_folder(folder)["train"]["clip"][:] == ["007", "8", "007"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["metadata.csv", "Metadata.csv", "METADATA.CSV", "metadata.tsv"])
def test_tables_are_read_whatever_their_separators_and_capitals(folder: Path, name: str, delimiter: str):
    lines = ["File name, CLIP ,Weather", *(f"{row['file_name']} ,{row['clip']},{row['weather']}" for row in ROWS)]
    (folder / name).write_text("\n".join(lines).replace(",", delimiter))
    assert load_image_folder(folder)["train"]["clip"][:] == ["007", "8", "007"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_of_spreadsheets_are_read_whatever_their_encoding(folder: Path, encoding: str):
    lines = ["file_name\tsubject", *(f"{row['file_name']}\tJosé {row['subject']}" for row in ROWS)]
    (folder / "metadata.csv").write_text("\r\n".join(lines), encoding=encoding, newline="")
    assert load_image_folder(folder)["train"]["subject"][:] == ["José Ann", "José Bo", "José Ann"]


def test_json_list_is_read(folder: Path):
    (folder / "metadata.json").write_text(json.dumps(ROWS))
    assert load_image_folder(folder)["train"]["clip"][:] == ["007", "8", "007"]


def test_metadata_in_class_folders_is_read(tmp_path: Path):
    write_images(tmp_path, "nod/a.png", "wave/a.png")
    for name in ("nod", "wave"):
        write_metadata(tmp_path / name / "metadata.csv", [{"file_name": "a.png", "clip": name}])
    assert load_image_folder(tmp_path)["train"]["clip"][:] == ["nod", "wave"]


@pytest.mark.parametrize("change", [str.upper, lambda name: name.replace("/", "\\"), lambda name: f" ./{name} "])
def test_file_names_of_other_systems_find_their_images(folder: Path, change):
    write_metadata(folder / "metadata.csv", [row | {"file_name": change(row["file_name"])} for row in ROWS])
    assert load_image_folder(folder)["train"]["clip"][:] == ["007", "8", "007"]


def test_absolute_file_names_find_their_images(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder.parent)
    write_metadata(folder / "metadata.csv", [row | {"file_name": folder / row["file_name"]} for row in ROWS])
    assert load_image_folder(folder.name)["train"]["clip"][:] == ["007", "8", "007"]


def test_file_names_that_find_no_image_are_shown_beside_the_images(folder: Path):
    write_metadata(folder / "metadata.csv", [row | {"file_name": f"D:\\{row['file_name']}"} for row in ROWS])
    with pytest.raises(
        ValueError, match=r"3 of 3 images have no row .*nod/a\.png.* Unknown files in it: 'D:.*nod/a\.png'"
    ):
        load_image_folder(folder)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_whole_floats_are_ids(folder: Path, name: str):
    write_metadata(folder / name, [row | {"clip": float(number)} for number, row in enumerate(ROWS)])
    assert load_image_folder(folder)["train"]["clip"][:] == ["0", "2", "1"]


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_column_without_any_value_counts_as_unknown(folder: Path, name: str):
    write_metadata(folder / name, [row | {"clip": float("nan")} for row in ROWS])
    with pytest.warns(UserWarning, match=rf"clips are unknown: no image has a value in .*'clip' of .*{name}"):
        assert "clip" not in load_image_folder(folder)["train"].column_names


@pytest.mark.parametrize(("group", "column"), [("clip", "Clip ID"), ("clip", "video"), ("subject", "participant_id")])
def test_columns_that_look_meant_are_named(folder: Path, group: str, column: str):
    write_metadata(folder / "metadata.csv", [{"file_name": row["file_name"], column: row["clip"]} for row in ROWS])
    with pytest.warns(UserWarning, match=f"has the column '{column}', .* set `{group}_column={column}"):
        assert group not in load_image_folder(folder)["train"].column_names


def test_table_that_names_images_under_another_name_is_warned_of(folder: Path):
    write_metadata(folder / "metadata (1).csv", ROWS)
    with pytest.warns(
        UserWarning, match=r"metadata \(1\)\.csv lists image files, but is not read: rename it to metadata"
    ):
        load_image_folder(folder)


def test_table_of_images_under_another_column_is_warned_of(folder: Path):
    lines = ["image,clip", *(f"{row['file_name']},{row['clip']}" for row in ROWS)]
    (folder / "clips.csv").write_text("\n".join(lines))
    with pytest.warns(UserWarning, match=r"clips\.csv lists image files, but is not read"):
        load_image_folder(folder)


# Columns of data sets


@pytest.fixture
def write_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "data").mkdir()

    def write(split: str, labels: list, **columns: tuple[list, object]) -> str:
        features = {"image": Image(), "label": ClassLabel(names=["bow", "nod"])}
        features |= {name: feature for name, (_, feature) in columns.items()}
        values = {"image": [PIL.Image.new("RGB", (6, 4))] * len(labels), "label": labels}
        values |= {name: list(rows) for name, (rows, _) in columns.items()}
        Dataset.from_dict(values, features=Features(features)).to_parquet(tmp_path / "data" / f"{split}.parquet")
        return str(tmp_path / "data")

    return write


def test_columns_become_text(write_split):
    name = write_split("train", [0, 1], clip=([7, 8], Value("int64")), subject=(["Ann", "Bo"], Value("string")))
    rows = load_hub_dataset(name)["train"]
    assert rows.column_names == ["image", "label", "file_name", "clip", "subject"]
    assert rows["clip"][:] == ["7", "8"]
    assert rows["subject"][:] == ["Ann", "Bo"]
    assert rows.features["clip"] == Value("string")


def test_fingerprint_is_that_of_the_content(write_split):
    name = write_split("train", [0, 1], clip=([7, 8], Value("int64")))
    assert load_hub_dataset(name)["train"]._fingerprint == load_hub_dataset(name)["train"]._fingerprint


def test_rows_left_out_need_no_clip(write_split):
    name = write_split("train", [0, -1, 1], clip=(["x", None, "y"], Value("string")))
    with pytest.warns(UserWarning, match="1 of 3 rows"):
        rows = load_hub_dataset(name)["train"]
    assert rows["clip"][:] == ["x", "y"]
    assert rows["file_name"][:] == ["train/0", "train/2"]


@pytest.mark.parametrize(
    ("values", "feature"),
    [(["x", None], Value("string")), (["x", " "], Value("string")), ([1, None], Value("float64"))],
)
def test_column_with_a_missing_value_is_refused_with_its_row(write_split, values: list, feature: Value):
    name = write_split("train", [0, 1], clip=(values, feature))
    with pytest.raises(ValueError, match=r"column 'clip' .* row 1 of the split train: it is missing"):
        load_hub_dataset(name)


@pytest.mark.parametrize("feature", [Value("string"), Value("float64"), Value("null")])
def test_column_without_any_value_is_passed_over_unless_asked_for(write_split, feature: Value):
    name = write_split("train", [0, 1], clip=([None, None], feature), take=([None, None], feature))
    with pytest.warns(UserWarning, match="clips are unknown: no row has a value in the column 'clip'"):
        assert "clip" not in load_hub_dataset(name)["train"].column_names
    with pytest.raises(ValueError, match=r"column 'take' .* row 0 of the split train: it is missing, as in 1 other"):
        load_hub_dataset(name, clip_column="take")


@pytest.mark.parametrize("feature", [Value("float32"), Value("float64"), Value("decimal128(30, 2)")])
def test_whole_numbers_of_other_types_become_text(write_split, feature: Value):
    name = write_split("train", [0, 1], Clip=([7, 8], feature))
    assert load_hub_dataset(name)["train"]["clip"][:] == ["7", "8"]


@pytest.mark.parametrize(
    ("value", "feature"),
    [(0.5, Value("float32")), (True, Value("bool")), (date(2026, 1, 2), Value("date32")), (b"x", Value("binary"))],
)
def test_values_that_are_no_ids_are_refused(write_split, value: object, feature: Value):
    name = write_split("train", [0, 1], clip=([value, value], feature))
    with pytest.raises(ValueError, match=r"column 'clip' .* row 0 of the split train: .* neither text nor a whole"):
        load_hub_dataset(name)


def test_column_of_a_data_set_that_looks_meant_is_named(write_split):
    name = write_split("train", [0, 1], video_id=([7, 8], Value("int64")))
    with pytest.warns(UserWarning, match="the split train has the column 'video_id', .* `clip_column=video_id`"):
        load_hub_dataset(name)


def test_column_of_one_split_alone_is_passed_over_with_a_warning(write_split):
    write_split("train", [0, 1], clip=(["x", "y"], Value("string")))
    name = write_split("test", [0, 1], clip=(["x", "y"], Value("string")))
    (Path(name) / "test.parquet").unlink()
    rows = load_hub_dataset(name)["train"]
    with pytest.warns(UserWarning, match="clips are unknown, column 'clip': the split test has only"):
        assert not read_group_columns(
            {"train": rows, "test": rows.remove_columns("clip")}, {"train": [0], "test": [0]}
        )


def test_column_of_some_splits_is_passed_over_unless_asked_for(write_split):
    write_split("train", [0, 1], take=(["x", "y"], Value("string")), subject=(["x", "y"], Value("string")))
    name = write_split("test", [0, 1])
    splits = "".join(f"- {{config_name: {split}, data_files: {split}.parquet}}\n" for split in ("train", "test"))
    (Path(name) / "README.md").write_text(f"---\nconfigs:\n{splits}---\n")
    assert "subject" in load_hub_dataset(name, "train")["train"].column_names
    assert "subject" not in load_hub_dataset(name, "test")["train"].column_names
    assert load_hub_dataset(name, "train", clip_column="take")["train"]["clip"][:] == ["x", "y"]
    with pytest.raises(
        ValueError,
        match=r"The column 'take' cannot be read: the split train has only the columns 'image', 'label'",
    ):
        load_hub_dataset(name, "test", clip_column="take")


def test_column_of_another_kind_is_passed_over_unless_asked_for(write_split):
    name = write_split(
        "train",
        [0, 1],
        clip=([[0], [1]], datasets.List(Value("int8"))),
        take=([[0], [1]], datasets.List(Value("int8"))),
    )
    with pytest.warns(UserWarning, match="clips are unknown, column 'clip': in the split train it contains"):
        assert "clip" not in load_hub_dataset(name)["train"].column_names
    with pytest.raises(ValueError, match="in the split train it contains List"):
        load_hub_dataset(name, clip_column="take")
