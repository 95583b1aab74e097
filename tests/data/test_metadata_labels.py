"""Classes from metadata files: images in one folder, and what class folders have to say."""

import json
from pathlib import Path

import PIL.Image
import pytest
from datasets import Dataset

from mg_vtc.data import load_image_folder, load_image_folders


def write_images(parent: Path, *file_names: str) -> Path:
    for file_name in file_names:
        path = parent / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (6, 4)).save(path)
    return parent


def write_table(path: Path, column: str, label_of: dict[str, object]) -> None:
    rows = [{"file_name": file_name, column: label} for file_name, label in label_of.items()]
    if path.suffix == ".csv":
        path.write_text("\n".join([f"file_name,{column}", *(",".join(map(str, row.values())) for row in rows)]))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        Dataset.from_list(rows).to_parquet(path)


def read_classes(splits, split="train"):
    """File name to class name of each row."""
    rows = splits[split]
    return dict(zip(rows["file_name"][:], map(rows.features["label"].int2str, rows["label"][:]), strict=True))


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_flat_folder_has_the_classes_of_its_metadata(tmp_path: Path, name: str):
    write_images(tmp_path, "a.png", "b.png", "c.png")
    write_table(tmp_path / name, "label", {"c.png": "bow", "a.png": " nod", "b.png": "bow"})
    assert read_classes(load_image_folder(tmp_path)) == {"b.png": "bow", "c.png": "bow", "a.png": "nod"}


def test_each_split_may_have_metadata(tmp_path: Path):
    for split in ("train", "validation"):
        write_images(tmp_path / split, "a.png", "b.png")
        write_table(tmp_path / split / "metadata.csv", "label", {"a.png": "nod", "b.png": "bow"})
    splits = load_image_folder(tmp_path)
    assert read_classes(splits) == read_classes(splits, "validation") == {"a.png": "nod", "b.png": "bow"}
    assert read_classes(load_image_folders({"train": tmp_path / "train"})) == {"a.png": "nod", "b.png": "bow"}


def test_metadata_above_the_splits_labels_them(tmp_path: Path):
    write_images(tmp_path, "train/a.png", "train/b.png", "val/a.png")
    write_table(tmp_path / "metadata.csv", "label", {"train/a.png": "x", "train/b.png": "y", "val/a.png": "y"})
    splits = load_image_folder(tmp_path)
    assert [read_classes(splits), read_classes(splits, "validation")] == [{"a.png": "x", "b.png": "y"}, {"a.png": "y"}]


@pytest.mark.parametrize("labels", [(1, 2), ("1", "02"), ("nodding", "Bowing"), (1.0, 2.0)])
def test_labels_are_ids_or_names_of_the_labels_file(tmp_path: Path, labels):
    write_images(tmp_path, "images/a.png", "images/b.png")
    (tmp_path / "labels.csv").write_text("id,name\n1,nodding\n2,bowing\n")
    write_table(tmp_path / "metadata.jsonl", "label", {"images/a.png": labels[0], "images/b.png": labels[1]})
    assert read_classes(load_image_folder(tmp_path)) == {"images/a.png": "nodding", "images/b.png": "bowing"}


def test_frames_in_a_flat_folder_tell_their_clips(tmp_path: Path):
    write_images(tmp_path, "0.0.png", "0.1.png", "1.0.png")
    write_table(tmp_path / "metadata.csv", "label", {"0.0.png": "nod", "0.1.png": "nod", "1.0.png": "bow"})
    assert load_image_folder(tmp_path)["train"]["clip"][:] == ["1", "0", "0"]


def test_images_without_a_label_or_a_row_are_counted(tmp_path: Path):
    write_images(tmp_path, "a.png", "b.png", "c.png", "d.png")
    write_table(tmp_path / "metadata.jsonl", "label", {"a.png": "nod", "b.png": "bow", "c.png": None})
    with pytest.warns(UserWarning, match=r"1 without a label in the metadata \(.*c\.png.*1 without a row .*d\.png"):
        assert len(load_image_folder(tmp_path)["train"]) == 2


def test_other_columns_of_labels_are_read_if_asked_for(tmp_path: Path):
    write_images(tmp_path, "a.png", "b.png")
    write_table(tmp_path / "metadata.csv", "gesture", {"a.png": "nod", "b.png": "bow"})
    with pytest.raises(ValueError, match=r"has files but no class folders.*each image a row"):
        load_image_folder(tmp_path)
    with pytest.raises(
        ValueError, match=r"No metadata file has the label column 'class': .* has 'file_name', 'gesture'"
    ):
        load_image_folder(tmp_path, label_column="class")
    assert read_classes(load_image_folder(tmp_path, label_column="gesture")) == {"a.png": "nod", "b.png": "bow"}


def test_numbers_beside_named_class_folders_leave_the_classes_to_the_folders(tmp_path: Path):
    write_images(tmp_path, "1/a.png", "2/a.png")
    (tmp_path / "labels.csv").write_text("id,name\n1,nodding\n2,bowing\n")
    write_table(
        tmp_path / "metadata.parquet", "label", {"1/a.png": 0, "2/a.png": 1}
    )  # as `mg-vtc prepare` writes them
    assert read_classes(load_image_folder(tmp_path)) == {"1/a.png": "nodding", "2/a.png": "bowing"}
    (tmp_path / "1/a.png").unlink()
    (tmp_path / "1").rmdir()
    with pytest.warns(UserWarning, match="without images: 'nodding'"):
        assert read_classes(load_image_folder(tmp_path)) == {"2/a.png": "bowing"}


def test_names_in_metadata_name_numbered_class_folders(tmp_path: Path):
    write_images(tmp_path, "1/a.png", "2/a.png")
    write_table(tmp_path / "metadata.csv", "label", {"1/a.png": "nod", "2/a.png": "bow"})
    assert read_classes(load_image_folder(tmp_path)) == {"2/a.png": "bow", "1/a.png": "nod"}


def test_shares_of_a_labelled_set_are_no_classes(tmp_path: Path):
    names = [f"{part}/{image}.png" for part in ("part1", "part2") for image in "ab"]
    write_images(tmp_path, *names)
    write_table(tmp_path / "metadata.csv", "label", {name: "nod" if "a.png" in name else "bow" for name in names})
    assert set(read_classes(load_image_folder(tmp_path)).values()) == {"nod", "bow"}


def test_labels_that_contradict_the_class_folders_are_refused(tmp_path: Path):
    write_images(tmp_path, "nod/a.png", "bow/a.png", "bow/b.png")
    write_table(tmp_path / "metadata.csv", "label", {"nod/a.png": "nod", "bow/a.png": "bow", "bow/b.png": "nod"})
    with pytest.raises(
        ValueError, match=r"contradict the class folders: .*b\.png is in 'bow' and has the label 'nod'"
    ):
        load_image_folder(tmp_path)


@pytest.mark.parametrize("value", [0.5, [1], True])
def test_labels_that_are_no_names_are_refused(tmp_path: Path, value: object):
    write_images(tmp_path, "a.png", "b.png")
    write_table(tmp_path / "metadata.jsonl", "label", {"a.png": value, "b.png": "nod"})
    with pytest.raises(ValueError, match=r"label of 'a\.png' in .* must be text or a whole number"):
        load_image_folder(tmp_path)
