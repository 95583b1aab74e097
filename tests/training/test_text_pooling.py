"""Pooling that a sentence-transformers model states, in a folder, on the Hub and in the cache."""

import json

import pytest
from huggingface_hub import constants, hf_hub_download, snapshot_download
from local_hub import File, Repo

from mg_vtc.training.text_pooling import read_text_pooling


@pytest.mark.parametrize(
    ("modes", "pooling"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "include_prompt": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
    ],
)
def test_pooling_of_a_sentence_encoder_is_its_own(modes, pooling, tmp_path):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16} | modes))
    assert read_text_pooling(str(tmp_path)) == pooling


def test_other_encoders_have_no_pooling_of_their_own(tmp_path):
    assert read_text_pooling(str(tmp_path)) == "auto"


def test_unknown_pooling_of_a_sentence_encoder_is_refused(tmp_path):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(ValueError, match=r"by pooling_mode_max_tokens, but only cls, mean, last .* `text_pooling`"):
        read_text_pooling(str(tmp_path))


@pytest.fixture
def encoders(hub_client):
    """Two repositories, of which one states a pooling."""
    plain = {name: File(b"{}") for name in ("config.json", ".gitattributes")}
    pooled = plain | {"1_Pooling/config.json": File(b'{"pooling_mode_mean_tokens": true}')}
    for name, files in {"org/plain": plain, "org/pooled": pooled}.items():
        hub_client.repos[name] = Repo()
        hub_client.repos[name].commit("main", files, "initial commit")


def go_offline(how, monkeypatch):
    if how == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:1/{repo_id}/{filename}")


@pytest.mark.usefixtures("encoders")
@pytest.mark.parametrize("how", ["offline", "unreachable"])
def test_pooling_that_was_read_once_is_known_without_the_hub(how, monkeypatch):
    expected = {"org/plain": "auto", "org/pooled": "mean"}
    assert {name: read_text_pooling(name) for name in expected} == expected
    go_offline(how, monkeypatch)
    assert {name: read_text_pooling(name) for name in expected} == expected


@pytest.mark.usefixtures("encoders")
@pytest.mark.parametrize("how", ["offline", "unreachable"])
def test_pooling_of_a_repository_that_was_downloaded_whole_is_known_without_the_hub(how, monkeypatch):
    for name in ("org/plain", "org/pooled"):
        snapshot_download(name)
    go_offline(how, monkeypatch)
    assert read_text_pooling("org/plain") == "auto"
    assert read_text_pooling("org/pooled") == "mean"


@pytest.mark.usefixtures("encoders")
@pytest.mark.parametrize("how", ["offline", "unreachable"])
def test_pooling_that_cannot_be_known_is_not_guessed(how, monkeypatch):
    hf_hub_download("org/pooled", "config.json")  # as loading the tower does
    go_offline(how, monkeypatch)
    with pytest.raises(OSError, match=r"not in the cache, and the Hub cannot be reached: .*hf download org/pooled"):
        read_text_pooling("org/pooled")
