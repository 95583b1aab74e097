"""Data sets of the Hub and Parquet files as data sets: splits, classes, columns, and what is refused or warned of."""

from pathlib import Path

import datasets
import PIL.Image
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

from mg_vtc.data.hub import load_hub_dataset

FEATURES_WITHOUT_LABEL = {"image": Image(), "file_name": Value("string")}


def class_names(splits: DatasetDict) -> list[str]:
    names = [split.features["label"].names for split in splits.values()]
    assert all(names[0] == other for other in names)
    return names[0]


@pytest.fixture
def parquet_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write_parquet(path: Path, labels: list, label_feature: ClassLabel | Value, **names: str) -> None:
    image, label = names.get("image", "image"), names.get("label", "label")
    features = Features({image: Image(), label: label_feature, "extra": Value("int64")})
    columns = {
        image: [PIL.Image.new("RGB", (6, 4), (shade, 0, 0)) for shade in range(len(labels))],
        label: labels,
        "extra": list(range(len(labels))),
    }
    Dataset.from_dict(columns, features=features).to_parquet(path)


def test_parquet_rows_have_the_same_columns_as_folders(parquet_dir: Path):
    label_feature = ClassLabel(names=["wave", "bow"])
    write_parquet(parquet_dir / "train.parquet", [0, 1, 1], label_feature)
    write_parquet(parquet_dir / "validation.parquet", [1], label_feature)
    splits = load_hub_dataset(str(parquet_dir))
    assert splits["train"].features == Features(FEATURES_WITHOUT_LABEL | {"label": label_feature})
    assert splits["train"]["file_name"][:] == ["train/0", "train/1", "train/2"]
    assert splits["train"]["label"][:] == [0, 1, 1]
    assert splits["train"][2]["image"].getpixel((0, 0)) == (2, 0, 0)
    assert splits["validation"]["file_name"][:] == ["validation/0"]


def test_split_names_are_normalised(parquet_dir: Path):
    files = "".join(f"  - {{split: {split}, path: {split}.parquet}}\n" for split in ("train", "dev", "extra"))
    (parquet_dir / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n")
    for split in ("train", "dev", "extra"):
        write_parquet(parquet_dir / f"{split}.parquet", [0, 1], ClassLabel(names=["wave", "bow"]))
    splits = load_hub_dataset(str(parquet_dir))
    assert list(splits) == ["train", "validation", "extra"]
    assert splits["validation"]["file_name"][:] == ["validation/0", "validation/1"]


def test_text_labels_become_one_class_label_for_all_splits(parquet_dir: Path):
    write_parquet(parquet_dir / "train.parquet", ["wave", "bow"], Value("string"))
    write_parquet(parquet_dir / "test.parquet", ["nod", "wave"], Value("string"))
    splits = load_hub_dataset(str(parquet_dir))
    assert class_names(splits) == ["bow", "nod", "wave"]
    assert splits["train"]["label"][:] == [2, 0]
    assert splits["test"]["label"][:] == [1, 2]


def test_number_labels_become_classes_in_the_order_of_numbers(parquet_dir: Path):
    write_parquet(parquet_dir / "train.parquet", [10, 9, 10], Value("int64"))
    with pytest.warns(UserWarning, match="bare numbers"):
        splits = load_hub_dataset(str(parquet_dir))
    assert class_names(splits) == ["9", "10"]
    assert splits["train"]["label"][:] == [1, 0, 1]


@pytest.mark.parametrize(
    ("label_feature", "labels"),
    [(ClassLabel(names=["bow", "nod"]), [0, -1, 1, None]), (Value("string"), ["bow", None, "nod", None])],
)
def test_rows_without_a_label_are_left_out_with_a_warning(parquet_dir: Path, label_feature, labels: list):
    write_parquet(parquet_dir / "train.parquet", labels, label_feature)
    with pytest.warns(UserWarning, match="2 of 4 rows of the split train have no label and are skipped"):
        splits = load_hub_dataset(str(parquet_dir))
    assert splits["train"]["file_name"][:] == ["train/0", "train/2"]
    assert splits["train"]["label"][:] == [0, 1]


def test_split_without_any_label_is_left_out(parquet_dir: Path):
    label_feature = ClassLabel(names=["bow", "nod"])
    write_parquet(parquet_dir / "train.parquet", [0, 1], label_feature)
    write_parquet(parquet_dir / "test.parquet", [-1, -1], label_feature)
    with pytest.warns(UserWarning, match="2 of 2 rows of the split test have no label"):
        assert list(load_hub_dataset(str(parquet_dir))) == ["train"]


def test_other_column_names_can_be_given(parquet_dir: Path):
    write_parquet(
        parquet_dir / "train.parquet", [0, 1], ClassLabel(names=["bow", "nod"]), image="img", label="gesture"
    )
    splits = load_hub_dataset(str(parquet_dir), image_column="img", label_column="gesture")
    assert splits["train"]["label"][:] == [0, 1]


def test_missing_columns_are_named_with_those_there_are(parquet_dir: Path):
    write_parquet(parquet_dir / "train.parquet", [0, 1], ClassLabel(names=["bow", "nod"]), label="gesture")
    with pytest.raises(ValueError, match="no column 'label'; its columns are 'image', 'gesture', 'extra'"):
        load_hub_dataset(str(parquet_dir))


def test_labels_that_are_lists_are_refused(parquet_dir: Path):
    write_parquet(parquet_dir / "train.parquet", [[0], [1]], datasets.List(Value("int64")))
    with pytest.raises(ValueError, match="one text or number, but the label column is List"):
        load_hub_dataset(str(parquet_dir))


def test_data_set_out_of_reach_is_refused(parquet_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=r"no data set 'nobody/nothing': no folder .* on the Hub"):
        load_hub_dataset("nobody/nothing")


# Class names, which are one thing everywhere


def test_spellings_of_one_name_are_one_class(parquet_dir: Path):
    write_parquet(parquet_dir / "train.parquet", ["h\u00e4nde", " ha\u0308nde ", "bow", "bow\n"], Value("string"))
    splits = load_hub_dataset(str(parquet_dir))
    assert class_names(splits) == ["bow", "h\u00e4nde"]
    assert splits["train"]["label"][:] == [1, 1, 0, 0]


def test_declared_names_are_normalised(parquet_dir: Path):
    write_parquet(parquet_dir / "train.parquet", [0, 1], ClassLabel(names=[" head  up", "bow"]))
    assert class_names(load_hub_dataset(str(parquet_dir))) == ["head up", "bow"]


def test_whole_floats_are_class_ids_and_missing_ones_no_labels(parquet_dir: Path):
    write_parquet(parquet_dir / "train.parquet", [1.0, 2.0, float("nan"), None], Value("float64"))
    with pytest.warns(UserWarning, match="bare numbers|2 of 4 rows of the split train have no label"):
        splits = load_hub_dataset(str(parquet_dir))
    assert class_names(splits) == ["1", "2"]


@pytest.mark.parametrize(
    ("labels", "feature", "message"),
    [
        (["bow", "Bow"], Value("string"), "'Bow' and 'bow' are the same class name"),
        (
            ["bow", ""],
            Value("string"),
            "label of row 1 of the split train is not a class name: .* visible character",
        ),
        (["bow", "a\x00"], Value("string"), "label of row 1 .* contains a control character"),
        ([1.0, 0.5], Value("float32"), "label of row 1 .* 0.5 is neither text nor a whole number"),
        ([0, 1], ClassLabel(names=["bow", "BOW "]), "'bow' and 'BOW' are the same class name"),
    ],
)
def test_names_that_cannot_be_are_refused(parquet_dir: Path, labels: list, feature, message: str):
    write_parquet(parquet_dir / "train.parquet", labels, feature)
    with pytest.raises(ValueError, match=message):
        load_hub_dataset(str(parquet_dir))


def test_folder_of_image_files_is_refused_with_the_setting_that_reads_it(tmp_path: Path):
    (tmp_path / "wave").mkdir()
    PIL.Image.new("RGB", (6, 4)).save(tmp_path / "wave" / "0000.0.png")
    with pytest.raises(ValueError, match="is a folder of image files: use train_dir"):
        load_hub_dataset(str(tmp_path))
