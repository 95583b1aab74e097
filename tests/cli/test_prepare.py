"""`mg-vtc prepare`: what it prints, and how it ends."""

import shlex
import shutil
import subprocess
import sys

import pytest
from datasets import ClassLabel, load_dataset
from made_releases import (
    make_cut_clips,
    make_image_release,
    make_ma52_release,
    make_miga_release,
    make_smg_release,
    read_number,
)

from mg_vtc import prepare_imigue
from mg_vtc.data.decoding import Resizing
from mg_vtc.training.recipe import parse_recipe
from mg_vtc.training.run_data import load_run_data

COMMAND = [sys.executable, "-m", "mg_vtc"]


@pytest.fixture(scope="module")
def miga(tmp_path_factory):
    return make_miga_release(tmp_path_factory.mktemp("releases") / "miga")


def test_summary_tells_what_there_is_and_what_was_left_out(miga, tmp_path):
    done = subprocess.run(
        [*COMMAND, "prepare", "imigue", miga, tmp_path / "out", "--frames_per_clip", "2", "--drop_non_mg"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'out'}: MiGA layout",
        "split         shards   clips    images  classes",
        "train              2       4         8        2",
        "validation         1       2         4        2",
        "test               1       2         4        2",
        "left out:",
        "  4 clips that show no micro-gesture",
        f"to train: mg-vtc train recommended --train_dir {tmp_path / 'out'} --output_dir runs/out",
    ]


@pytest.mark.filterwarnings("ignore:Classes of the labels file without images")
@pytest.mark.parametrize("to", ["imagefolder", "parquet", "webdataset"])
def test_train_reads_it_by_the_command_that_is_printed(mg_vtc_command, miga, tmp_path, capsys, to):
    mg_vtc_command("prepare", "imigue", miga, tmp_path / "out", "--format", to, "--frames_per_clip", 2)
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command[:4] == ["to", "train:", "mg-vtc", "train"]
    recipe = parse_recipe([*command[4:], "--use_cpu", "true"])
    data = load_run_data(recipe.data, recipe.training, Resizing(recipe.data.image_size or 224), say=lambda line: None)
    assert (len(data.class_names), data.class_names[31]) == (32, "Illustrative hand gestures")
    rows = {name: len(list(part)) for name, part in data.splits.items() if name != "train"}
    assert rows == {"validation": 6, "test": 6}


@pytest.mark.filterwarnings("ignore:Classes of the labels file without images")
@pytest.mark.parametrize("to", ["imagefolder", "parquet", "webdataset"])
def test_train_reads_cut_clips_by_the_command_that_is_printed(mg_vtc_command, tmp_path, capsys, to):
    release = make_ma52_release(tmp_path / "MA-52")
    mg_vtc_command("prepare", "ma52", release, tmp_path / "out", "--format", to, "--split_by", "subject")
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    recipe = parse_recipe([*command[4:], "--use_cpu", "true"])
    data = load_run_data(recipe.data, recipe.training, Resizing(recipe.data.image_size or 224), say=lambda line: None)
    assert (len(data.class_names), data.class_names[51]) == (52, "scratching feet")
    assert {name: len(list(part)) for name, part in data.splits.items() if name != "train"} == {"validation": 48}


def test_image_folder_of_datasets_has_the_classes_too(mg_vtc_command, miga, tmp_path):
    mg_vtc_command("prepare", "imigue", miga, tmp_path, "--frames_per_clip", 2)
    splits = load_dataset("imagefolder", data_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 12, "validation": 6, "test": 6}
    assert isinstance(splits["train"].features["label"], ClassLabel)
    assert splits["test"].features["label"].names[31] == "Illustrative hand gestures"
    assert all(read_number(row["image"]) == row["frame"] for row in splits["test"])


def test_errors_are_listed_and_end_it_with_exit_code_1(mg_vtc_command, tmp_path, capsys):
    release = make_miga_release(tmp_path / "release")
    (release / "imigue_rgb_train" / "0001" / "0001.mp4").write_bytes(b"no video")
    with pytest.raises(SystemExit) as stop:
        mg_vtc_command("prepare", "imigue", release, tmp_path / "out")
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert "NOT PREPARED:\n  0001: " in out
    assert "train              1       3        24        3" in out
    assert "repeat the command" in out


def test_smg_is_prepared(mg_vtc_command, tmp_path, capsys):
    mg_vtc_command("prepare", "smg", make_smg_release(tmp_path / "release"), tmp_path / "out", "--first_frame", 0)
    assert "SMG layout" in capsys.readouterr().out


def test_ma52_is_prepared_and_its_shared_people_are_warned_of(tmp_path):
    release = make_ma52_release(tmp_path / "MA-52")
    command = [*COMMAND, "prepare", "ma52", release, tmp_path / "out", "--frames_per_clip", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.splitlines()) == (
        0,
        [
            "warning: 4 of 4 people and 8 of 8 recordings of the validation split are in the training split, too, so "
            "its score says little about new people: --split_by subject holds out whole people."
        ],
    )
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'out'}: Micro-Action-52 layout",
        "split         shards   clips    images  classes",
        "train              1      16        32        3",
        "validation         1       8        16        3",
        "left out:",
        "  1 test videos, which have no labels: predict them with mg-vtc predict",
        f"to train: mg-vtc train recommended --train_dir {tmp_path / 'out'} --output_dir runs/out",
    ]


@pytest.mark.filterwarnings("ignore:Classes of the labels file without images")
def test_missing_clips_end_it_with_exit_code_1_and_the_others_are_trained_on(mg_vtc_command, tmp_path, capsys):
    release = make_ma52_release(tmp_path / "MA-52")
    (release / "videos_train" / "0001_01_0001.mp4").unlink()
    with pytest.raises(SystemExit) as stop:
        mg_vtc_command("prepare", "ma52", release, tmp_path / "out", "--split_by", "subject", "--frames_per_clip", 1)
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert "0001_01_0001.mp4 51': there is no such video\n" in out
    command = shlex.split(out.splitlines()[-1])
    recipe = parse_recipe([*command[4:], "--use_cpu", "true"])
    data = load_run_data(recipe.data, recipe.training, Resizing(recipe.data.image_size), say=lambda line: None)
    assert sum(len(rows) for rows in data.splits.values()) == 23
    assert data.split["leakage"]["validation"] == {"same_clip": 0, "same_bytes": 0, "near_duplicate": 0}


def test_cut_clips_are_prepared_in_each_format(mg_vtc_command, tmp_path, capsys):
    clips = make_cut_clips(tmp_path / "clips")
    for to in ("imagefolder", "parquet", "webdataset"):
        names = ("--labels_file", "imigue", "--name_pattern", r"(?P<subject>P\d+)_(?P<video>\d)")
        mg_vtc_command("prepare", "clips", clips, tmp_path / to, *names, "--format", to, "--frames_per_clip", 1)
        assert "validation         1       9         9        3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "flag"),
    [
        ("ma52", "--first_frame=0"),
        ("ma52", "--drop_non_mg"),
        ("ma52", "--labels_file=imigue"),
        ("clips", "--crop=boxes.csv"),
        ("clips", "--keep_non_mg"),
        ("imigue", "--split_by=subject"),
        ("smg", "--name_pattern=P"),
    ],
)
def test_flag_of_other_data_is_refused_by_name(mg_vtc_command, tmp_path, capsys, data, flag):
    with pytest.raises(SystemExit) as stop:
        mg_vtc_command("prepare", data, tmp_path, tmp_path / "out", flag)
    assert stop.value.code == 2
    assert f"unrecognized arguments: {flag}" in capsys.readouterr().err


def test_stream_without_a_validation_split_is_reported_before_anything_is_written(mg_vtc_command, tmp_path):
    release = make_image_release(tmp_path / "release")
    with pytest.raises(UserWarning, match=r"no validation split, which training needs .*`format=parquet`"):
        mg_vtc_command("prepare", "imigue", release, tmp_path / "out", "--format", "webdataset")
    assert not (tmp_path / "out").exists()


def test_stream_without_a_validation_split_is_not_recommended(mg_vtc_command, tmp_path, capsys):
    release = make_image_release(tmp_path / "release")
    with pytest.warns(UserWarning, match="no validation split"):
        mg_vtc_command("prepare", "imigue", release, tmp_path / "out", "--format", "webdataset")
    assert capsys.readouterr().out.splitlines()[-1].startswith("This release names no validation split")


@pytest.mark.parametrize("to", ["imagefolder", "parquet"])
def test_no_training_is_recommended_without_a_training_split(mg_vtc_command, tmp_path, capsys, to):
    clips = make_cut_clips(tmp_path / "clips")
    (tmp_path / "list.csv").write_text("name,label,split\nP21_0,1,test\nP22_1,2,test\n")
    arguments = ("--list_file", tmp_path / "list.csv", "--frames_per_clip", 1, "--format", to)
    mg_vtc_command("prepare", "clips", clips, tmp_path / "out", *arguments)
    out = capsys.readouterr().out
    assert "test               1       2         2        2" in out
    assert "to train:" not in out


def test_labels_that_begin_with_frame_0_are_refused_and_the_command_that_is_reported_works(
    mg_vtc_command, refusal, miga, tmp_path
):
    release = shutil.copytree(miga, tmp_path / "release")
    labels = sorted(release.rglob("*_label.csv"))
    for path in labels[:3]:
        path.write_text("1,0,5\n2,6,10\n")
    command = ("prepare", "imigue", release, tmp_path / "out")
    refused = refusal(*command)
    assert "set --first_frame 0" in refused
    assert "The same holds for 3 of 4 files." in refused
    assert not (tmp_path / "out").exists()
    mg_vtc_command(*command, "--first_frame", 0)


def test_one_file_of_many_that_begins_with_frame_0_is_left_out_and_told(miga, tmp_path):
    release = shutil.copytree(miga, tmp_path / "release")
    (release / "imigue_rgb_train" / "0001" / "0001_label.csv").write_text("1,0,5\n2,6,10\n")
    preparation = prepare_imigue(release, tmp_path / "out", frames_per_clip=1)
    assert "there is no frame 0" in "".join(preparation.errors)
    assert {path.name for path in (tmp_path / "out").rglob("0001*.jpg")} == set()
    assert len(list((tmp_path / "out").rglob("0002*.jpg"))) == 3


def test_unknown_layout_is_refused_in_one_line(refusal, tmp_path):
    assert "not a known iMiGUE layout: it contains nothing" in refusal("prepare", "imigue", tmp_path, tmp_path / "out")
