"""Names of folders and of repositories: which is which, and what is said of one that is neither."""

import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from mg_vtc.data.sources import check_source, is_path


@pytest.mark.parametrize(
    ("name", "can_only_be_a_path"),
    [
        ("org/name", False),
        ("runs/mine", False),
        ("name", False),
        ("./mine", True),
        ("../mine", True),
        ("/runs", True),
        ("~/runs", True),
        ("runs/mine/checkpoint-3", True),
        ("runs/", True),
        ("runs\\mine", True),
        ("C:\\runs", True),
        ("my photos", True),
        ("", True),
    ],
)
def test_paths_are_known_by_their_form(name: str, can_only_be_a_path: bool):
    assert is_path(name) == can_only_be_a_path


def test_what_is_on_this_disk_is_not_looked_for_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name in ("runs/mine", "runs", str(tmp_path)):
        check_source(name, "model")


def test_missing_path_names_what_is_alike_or_missing_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"^There is no folder './runs/mien'\. Did you mean 'runs/mine'\?"):
        check_source("./runs/mien", "model")
    with pytest.raises(FileNotFoundError, match=r"no folder 'rums/mine/deep'\. 'rums' does not exist"):
        check_source("rums/mine/deep", "dataset")
    with pytest.raises(FileNotFoundError, match=rf"Without quotes, the shell expands it to '{tmp_path / 'runs'}'"):
        check_source("~/runs", "dataset")
    with pytest.raises(
        FileNotFoundError, match=r"no model 'runs/mien': .*HF_HUB_OFFLINE .* Did you mean 'runs/mine'\?"
    ):
        check_source("runs/mien", "model")


def test_address_of_a_page_is_predicted_with_the_id():
    with pytest.raises(FileNotFoundError, match="give the id 'org/name'"):
        check_source("https://huggingface.co/datasets/org/name/tree/main", "dataset")


def test_hub_is_asked_once(hub_client):
    HfApi().create_repo("org/mine")
    check_source("org/mine", "model")
    with pytest.raises(FileNotFoundError, match=r"no model 'org/typo': no folder .* \(not found on http.*\)"):
        check_source("org/typo", "model")
    assert [path for method, path in hub_client.requests if method == "GET"] == [
        "/api/models/org/mine",
        "/api/models/org/typo",
    ]


def test_hub_out_of_reach_is_reported_within_seconds_unless_the_cache_has_it(
    hub_client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("mg_vtc.data.sources.HfApi", lambda: HfApi(endpoint="http://127.0.0.1:9"))
    begin = time.monotonic()
    with pytest.raises(FileNotFoundError, match=r"no data set 'org/set': no folder .* cannot be reached: .*refused"):
        check_source("org/set", "dataset")
    assert time.monotonic() - begin < 5
    (tmp_path / "datasets--org--set" / "snapshots").mkdir(parents=True)
    check_source("org/set", "dataset")
