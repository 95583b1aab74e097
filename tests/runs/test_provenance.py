"""The origin of a model is recorded without paths, and unknown values are absent."""

import json
import platform
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from mg_vtc import MgVtcTrainingArguments
from mg_vtc.runs.provenance import (
    ELSEWHERE,
    find_commit,
    find_hub_dataset,
    find_places,
    library_versions,
    name_data,
    without_places,
    write_provenance,
)


@pytest.fixture
def recipe(tmp_path):
    """The recipe of a run in `tmp_path`."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"train_dir": "images", "loss_type": "js"}))


@pytest.fixture
def checkout(tmp_path):
    """A repository of git with one commit."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "train.py").write_text("")
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    for command in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "first")):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_commit_is_that_of_the_checkout_and_changes_are_reported(checkout):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    assert find_commit(checkout) == head.stdout[:12]
    (checkout / "train.py").write_text("changed")
    assert find_commit(checkout) == f"{head.stdout[:12]}-dirty"


def test_commit_of_somebody_elses_checkout_is_not_told(checkout):
    (checkout / "vendored").mkdir()
    assert find_commit(checkout / "vendored") is None


def test_a_checkout_that_git_cannot_read_has_no_commit(tmp_path, monkeypatch):
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    assert find_commit(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))  # without git
    assert find_commit(tmp_path) is None


@pytest.mark.usefixtures("recipe")
def test_provenance_holds_what_is_known_and_nothing_else(tmp_path):
    arguments = MgVtcTrainingArguments(output_dir=str(tmp_path / "run"), use_cpu=True, report_to="none")
    write_provenance(tmp_path, arguments, project=tmp_path, seconds=None)
    found = json.loads((tmp_path / "provenance.json").read_text())
    assert found["versions"] == library_versions()
    assert (found["num_processes"], found["num_threads"]) == (1, torch.get_num_threads())
    assert found["places"] == ["train_dir"]
    assert not {"commit", "training_seconds"} & set(found)
    assert None not in found.values()
    assert str(tmp_path) not in (tmp_path / "provenance.json").read_text()
    assert platform.node() not in (tmp_path / "provenance.json").read_text()
    write_provenance(tmp_path, arguments, project=Path(), seconds=12.345)
    assert json.loads((tmp_path / "provenance.json").read_text())["training_seconds"] == 12.3


@pytest.mark.usefixtures("recipe")
@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the system has no /proc/cpuinfo")
def test_processor_is_named_as_the_system_names_it(tmp_path):
    arguments = MgVtcTrainingArguments(output_dir=str(tmp_path / "run"), use_cpu=True, report_to="none")
    write_provenance(tmp_path, arguments, project=tmp_path, seconds=None)
    named = json.loads((tmp_path / "provenance.json").read_text()).get("processor")
    if "model name" in Path("/proc/cpuinfo").read_text():
        assert named in " ".join(Path("/proc/cpuinfo").read_text().split())


def test_data_are_named_by_their_hub_id_and_a_folder_not_at_all(tmp_path):
    assert find_hub_dataset({"dataset_name": "org/gestures"}) == "org/gestures"
    assert name_data({"dataset_name": "org/gestures"}) == "org/gestures"
    for recipe in ({"train_dir": str(tmp_path)}, {"dataset_name": str(tmp_path), "streaming": True}):
        assert find_hub_dataset(recipe) is None
        assert name_data(recipe) == "a local folder of images"
    assert find_hub_dataset({"dataset_name": "demo"}) is None
    assert "drawn demo" in name_data({"dataset_name": "demo"})


def test_places_are_found_where_the_run_read_them(tmp_path, monkeypatch):
    """A name may be an id of the Hub and a folder; only the machine of the run knows, in the folder it ran in."""
    for name in ("weights/resnet", "mine/gestures", "js"):
        (tmp_path / name).mkdir(parents=True)
    recipe = {
        "vision_model_name_or_path": "weights/resnet",
        "text_model_name_or_path": "org/bert",
        "dataset_name": "mine/gestures",
        "labels_file": "names.csv",
        "output_dir": "runs/mine",
        "deepspeed": "~/zero.json",
        "loss_type": "js",
    }
    monkeypatch.chdir(tmp_path)
    places = find_places(recipe)
    assert places == sorted(set(recipe) - {"text_model_name_or_path", "loss_type"})
    assert find_places({"labels_file": "imigue", "dataset_name": "demo", "learning_rate": 0.1}) == []
    monkeypatch.chdir("/")
    assert without_places(recipe | {"push_to_hub": True, "hub_model_id": "org/mg-vtc"}, places) == {
        **dict.fromkeys(("vision_model_name_or_path", "dataset_name", "labels_file"), ELSEWHERE),
        "text_model_name_or_path": "org/bert",
        "loss_type": "js",
    }


@pytest.mark.parametrize("place", ["~/photos", "../photos", "./photos", "/photos"])
def test_what_looks_like_a_place_is_one_though_it_is_gone(place):
    assert find_places({"dataset_name": place, "labels_file": "mine.csv"}) == ["dataset_name", "labels_file"]
