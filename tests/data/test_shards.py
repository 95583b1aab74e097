"""Opening shards: columns, splits, the numbers and names of classes, and everything that can be wrong with them."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from datasets import ClassLabel, Dataset, Features, Image, List, Value

from mg_vtc.data.class_lists import SMG_CLASS_NAMES
from mg_vtc.data.streaming import load_stream

NAMES = ["Folding arms", "Head up", "Rubbing eyes"]
NUMBERED = Features(image=Image(), label=Value("int64"))
NAMED = Features(image=Image(), label=ClassLabel(names=NAMES))


def encode_image(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_parquet(path: Path, labels: list, features: Features) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": encode_image(number), "path": None} for number in range(len(labels))]
    image_column, label_column = features
    Dataset.from_dict({image_column: images, label_column: labels}, features=features).to_parquet(str(path))


def write_tar(path: Path, samples: list[dict[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for number, sample in enumerate(samples):
            for extension, data in sample.items():
                member = tarfile.TarInfo(f"{number:06d}.{extension}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    path = tmp_path / "names" / "labels.csv"
    path.parent.mkdir()
    path.write_text("id,name\n01,Folding arms\n2,Head up\n10,Rubbing eyes\n")
    return path


def read(rows) -> list[tuple[bytes, str]]:
    names = rows.features["label"].names
    return [(row["image"]["bytes"], names[row["label"]]) for row in rows]


def test_rows_are_undecoded_images_and_numbers_of_classes(tmp_path):
    write_parquet(tmp_path / "train.parquet", [2, 0], NAMED)
    rows = load_stream(str(tmp_path))["train"]
    assert rows.features == Features(image=Image(decode=False), label=ClassLabel(names=NAMES))
    assert [row["label"] for row in rows] == [2, 0]
    assert [row["image"]["bytes"] for row in rows] == [encode_image(0), encode_image(1)]


def test_parquet_and_webdataset_give_the_same_rows(tmp_path, labels_file):
    ids = [10, 1, 2, 1]
    write_parquet(tmp_path / "parquet" / "train-00000.parquet", ids, NUMBERED)
    expected = read(load_stream(str(tmp_path / "parquet"), labels_file=labels_file)["train"])
    assert [name for _, name in expected] == ["Rubbing eyes", "Folding arms", "Head up", "Folding arms"]
    for kind, label_of in (("cls", str), ("json", lambda class_id: json.dumps({"label": class_id, "clip": 7}))):
        (tmp_path / kind).mkdir()
        samples = [
            {"png": encode_image(number), kind: label_of(class_id).encode()} for number, class_id in enumerate(ids)
        ]
        write_tar(tmp_path / kind / "train-00000.tar", samples)
        assert read(load_stream(str(tmp_path / kind), labels_file=labels_file)["train"]) == expected


def test_ids_in_text_are_those_of_the_labels_file(tmp_path, labels_file):
    write_parquet(tmp_path / "train.parquet", ["1", "002", "10"], Features(image=Image(), label=Value("string")))
    rows = load_stream(str(tmp_path), labels_file=labels_file)["train"]
    assert [row["label"] for row in rows] == [0, 1, 2]


def test_whole_floats_are_ids_and_missing_ones_no_labels(tmp_path, labels_file):
    write_parquet(
        tmp_path / "train.parquet", [10.0, None, float("nan"), 2.0], Features(NUMBERED | {"label": Value("float64")})
    )
    rows = read(load_stream(str(tmp_path), labels_file=labels_file)["train"])
    assert [name for _, name in rows] == ["Rubbing eyes", "Head up"]


def test_declared_names_are_normalised(tmp_path):
    write_parquet(
        tmp_path / "train.parquet", [0, 1], Features(NAMED | {"label": ClassLabel(names=[" Head  up", "Nod"])})
    )
    assert [name for _, name in read(load_stream(str(tmp_path))["train"])] == ["Head up", "Nod"]


def test_names_of_a_class_label_may_be_ids_of_the_labels_file(tmp_path, labels_file):
    features = Features(image=Image(), label=ClassLabel(names=["10", "1", "2"]))
    write_parquet(tmp_path / "train.parquet", [0, 1, 2], features)
    rows = load_stream(str(tmp_path), labels_file=labels_file)["train"]
    assert [name for _, name in read(rows)] == ["Rubbing eyes", "Folding arms", "Head up"]


def test_built_in_names_are_given_by_their_word(tmp_path):
    write_parquet(tmp_path / "train.parquet", [0, 16], NUMBERED)
    rows = load_stream(str(tmp_path), labels_file="smg")["train"]
    assert [name for _, name in read(rows)] == [SMG_CLASS_NAMES[0], SMG_CLASS_NAMES[16]]


@pytest.mark.parametrize("without_label", [None, -1])
def test_rows_without_a_label_are_left_out(tmp_path, without_label):
    write_parquet(tmp_path / "train.parquet", [0, without_label, 1], NAMED)
    assert read(load_stream(str(tmp_path))["train"]) == [(encode_image(0), NAMES[0]), (encode_image(2), NAMES[1])]


def test_columns_are_named_by_the_user(tmp_path):
    write_parquet(tmp_path / "train.parquet", [1], Features(image=Image(), gesture=ClassLabel(names=NAMES)))
    rows = load_stream(str(tmp_path), image_column="image", label_column="gesture")["train"]
    assert read(rows) == [(encode_image(0), NAMES[1])]


def test_splits_have_the_names_of_the_project(tmp_path):
    write_parquet(tmp_path / "train" / "a.parquet", [0], NAMED)
    write_parquet(tmp_path / "valid" / "a.parquet", [1], NAMED)
    splits = load_stream(str(tmp_path))
    assert {split: [name for _, name in read(rows)] for split, rows in splits.items()} == {
        "train": [NAMES[0]],
        "validation": [NAMES[1]],
    }


def write_card(folder: Path, splits: dict[str, str]) -> None:
    listed = "".join(f"  - split: {split}\n    path: {path}\n" for split, path in splits.items())
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{listed}---\n")


def test_splits_of_a_card_have_the_names_of_the_project(tmp_path):
    write_parquet(tmp_path / "a.parquet", [0], NAMED)
    write_parquet(tmp_path / "b.parquet", [1], NAMED)
    write_card(tmp_path, {"training": "a.parquet", "val": "b.parquet"})
    assert list(load_stream(str(tmp_path))) == ["train", "validation"]


def test_two_splits_of_one_meaning_are_refused(tmp_path):
    write_parquet(tmp_path / "a.parquet", [0], NAMED)
    write_parquet(tmp_path / "b.parquet", [1], NAMED)
    write_card(tmp_path, {"val": "a.parquet", "dev": "b.parquet"})
    with pytest.raises(ValueError, match="two validation splits, 'val' and 'dev'"):
        load_stream(str(tmp_path))


@pytest.mark.parametrize("dtype", ["int64", "string"])
def test_labels_without_names_are_refused_at_the_door(tmp_path, dtype):
    write_parquet(tmp_path / "train.parquet", [0, 1], Features(image=Image(), label=Value(dtype)))
    with pytest.raises(ValueError, match=r"'label' are \w+ without class names.* give labels_file"):
        load_stream(str(tmp_path))


def test_label_that_is_no_id_is_refused(tmp_path, labels_file):
    write_parquet(tmp_path / "train.parquet", [1, 7], NUMBERED)
    rows = load_stream(str(tmp_path), labels_file=labels_file)["train"]
    with pytest.raises(ValueError, match=r"the label 7, which is not one of the 3 class ids \(1, 2, 10\)"):
        list(rows)


def test_several_labels_a_row_are_refused(tmp_path):
    write_parquet(tmp_path / "train.parquet", [[0, 1]], Features(image=Image(), label=List(Value("int64"))))
    with pytest.raises(ValueError, match="one text or number"):
        load_stream(str(tmp_path))


def test_missing_column_is_named_beside_those_that_are_there(tmp_path):
    write_parquet(tmp_path / "train.parquet", [0], NAMED)
    with pytest.raises(ValueError, match=r"no column 'photo'; its columns are \['image', 'label'\]"):
        load_stream(str(tmp_path), image_column="photo")


def test_archive_without_images_is_refused(tmp_path):
    write_tar(tmp_path / "train.tar", [{"txt": b"a text", "cls": b"1"}])
    with pytest.raises(ValueError, match="no column 'jpg'"):
        load_stream(str(tmp_path), labels_file="smg")


def test_folder_without_shards_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to train on")
    with pytest.raises(ValueError, match=r"contains no shards: it needs \*.parquet or \*.tar"):
        load_stream(str(tmp_path))


def test_data_set_that_is_nowhere_is_not_found():
    with pytest.raises(FileNotFoundError, match="no data set 'nobody/nothing'"):
        load_stream("nobody/nothing")


def test_single_class_is_refused(tmp_path):
    write_parquet(tmp_path / "train.parquet", [0], Features(image=Image(), label=ClassLabel(names=["Head up"])))
    with pytest.raises(ValueError, match="At least two classes"):
        load_stream(str(tmp_path))


def test_classes_that_are_bare_numbers_bring_a_warning(tmp_path):
    write_parquet(tmp_path / "train.parquet", [0], Features(image=Image(), label=ClassLabel(names=["1", "2"])))
    with pytest.warns(UserWarning, match="names are '1', '2', so images are compared with bare numbers"):
        load_stream(str(tmp_path))
