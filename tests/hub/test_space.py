"""Claims about a Space's files, and what is refused before anything is published."""

import hashlib
import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard, snapshot_download
from local_hub import client_environment
from pages import click, free_port, serving, upload

from mg_vtc import push_space, push_to_hub
from mg_vtc.app.gesture_model import GestureModel, open_image
from mg_vtc.hub.push import prepare_repo
from mg_vtc.hub.space import PACKAGE, collect_space

ROOT = Path(__file__).parents[2]
OURS = "mg_vtc/app/page.py"


@pytest.fixture(scope="module")
def files():
    return collect_space("org/mg-vtc", "resnet")


def test_root_of_the_space_is_card_app_and_requirements(files):
    assert {name for name in files if "/" not in name} == {"README.md", "app.py", "requirements.txt"}
    assert files["app.py"] == (PACKAGE / "app" / "app.py").read_bytes()


def test_package_goes_with_it_whole_and_alone(files):
    tracked = {f"mg_vtc/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*.py")}
    assert OURS in files
    assert tracked == {name for name in files if name.startswith("mg_vtc/") and name.endswith(".py")}
    assert not [name for name in files if "__pycache__" in name]


def test_card_says_what_a_space_needs(files):
    card = SpaceCard(files["README.md"].decode()).data
    assert card.models == ["org/mg-vtc"]
    assert (card.sdk, card.app_file, card.license) == ("gradio", "app.py", "apache-2.0")
    assert tuple(map(int, card.python_version.split("."))) >= (3, 11)
    assert len(card.short_description) <= 60  # the Hub takes no longer one


def test_gradio_is_the_version_that_the_tests_run_with(files):
    pinned = re.search(r"^gradio==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert SpaceCard(files["README.md"].decode()).data.sdk_version == pinned


def test_requirements_are_those_of_the_package(files):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in files["requirements.txt"].decode().splitlines() if not line.startswith("#")]
    assert set(lines) <= set(project["dependencies"])


def test_token_paths_and_images_are_in_no_file(files):
    for name, content in files.items():
        assert not re.search(rb"\bhf_[A-Za-z0-9]{20,}", content), name
        assert str(ROOT).encode() not in content, name
        content.decode()  # text


def test_token_in_a_module_is_refused(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "class GestureModel")  # as if that were one
    with pytest.raises(ValueError, match=r"gesture_model\.py .* contains a Hub token"):
        collect_space("org/mg-vtc", "resnet")


def test_folder_of_this_machine_is_no_model_of_a_space(two_class_run):
    with pytest.raises(ValueError, match="a local folder, which a Space cannot read"):
        push_space(str(two_class_run), "org/space")


def test_model_out_of_reach_is_refused():
    with pytest.raises(OSError, match="There is no model 'org/absent'"):
        push_space("org/absent", "org/space")


@pytest.fixture
def published(hub_client, finished_run):
    """A Hub that has the model."""
    push_to_hub(finished_run, "org/mg-vtc")
    return hub_client


def test_space_gets_its_files_in_one_commit_and_stale_ones_go(published, files):
    assert push_space("org/mg-vtc", "org/space", sdk="gradio") == f"{published.address}/spaces/org/space"
    pushed = published.files("spaces/org/space")
    assert {name: content for name, content in pushed.items() if name != ".gitattributes"} == files
    repo = published.repos["spaces/org/space"]
    stale = dict(repo.commits[repo.branches["main"]])
    stale["mg_vtc/gone.py"] = stale["kept.md"] = stale["app.py"]
    repo.commit("main", stale, "Edited")
    push_space("org/mg-vtc", "org/space", sdk="gradio")
    assert published.files("spaces/org/space").keys() == pushed.keys() | {"kept.md"}


@pytest.mark.parametrize("name", ["app.py", "main.py", "index.html"])
def test_space_of_others_and_files_of_its_own_are_left_alone(published, name):
    with pytest.raises(OSError, match="The token may not write to stranger/space"):
        push_space("org/mg-vtc", "stranger/space", sdk="gradio")
    prepare_repo("org/own", space_sdk="gradio")
    repo = published.repos["spaces/org/own"]
    own = repo.commits[repo.branches["main"]]
    repo.commit("main", own | {name: next(iter(own.values()))}, "My own app")
    before = published.files("spaces/org/own")
    with pytest.raises(ValueError, match=rf"org/own has files of another app \('{re.escape(name)}'\)"):
        push_space("org/mg-vtc", "org/own", sdk="gradio")
    assert published.files("spaces/org/own") == before


def test_space_needs_a_token_and_a_name(published, monkeypatch):
    with pytest.raises(ValueError, match="'space' does not name an owner"):
        push_space("org/mg-vtc", "space", sdk="gradio")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(OSError, match="Pushing org/space requires a Hub token"):
        push_space("org/mg-vtc", "org/space", sdk="gradio")


def test_pushing_what_is_there_changes_nothing(published):
    push_space("org/mg-vtc", "org/space", sdk="gradio")
    first = dict(published.repos["spaces/org/space"].messages)
    assert list(first.values()) == ["initial commit", "Show org/mg-vtc"]
    push_space("org/mg-vtc", "org/space", sdk="gradio")
    assert published.repos["spaces/org/space"].messages == first


def test_pushed_space_predictions_with_the_model_of_the_hub(published, finished_run, images_dir, tmp_path):
    """The app alone in its folder, with an empty cache: its package is its own, and its model comes from the Hub."""
    push_space("org/mg-vtc", "org/space", sdk="gradio")
    folder = Path(snapshot_download("org/space", repo_type="space", local_dir=tmp_path / "space"))
    revision = published.repos["org/mg-vtc"].branches["main"]
    assert not list(folder.rglob("*.pyc"))
    image, port = next(images_dir.rglob("*.png")), free_port()
    settings = {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "", "GRADIO_SERVER_PORT": str(port)}
    settings |= {"GRADIO_TEMP_DIR": str(tmp_path / "shown")}
    visitor = client_environment(os.environ, published, tmp_path / "home", token=None)
    published.requests.clear()
    with serving(sys.executable, "app.py", port=port, cwd=folder, inherited=visitor, **settings):
        file = {"path": upload(port, image.read_bytes()), "meta": {"_type": "gradio.FileData"}}
        _, answer, _, _ = click(port, "ask", [file, ""])
    assert ("HEAD", f"/org/mg-vtc/resolve/{revision}/model.safetensors") in published.requests
    # compiled beside its source where it was imported from, which is there and not where this package is installed
    assert list((folder / OURS).parent.glob("__pycache__/page.*.pyc"))
    expected, _ = GestureModel(str(finished_run)).predict(open_image(image), [])
    scores = {row["label"]: row["confidence"] for row in answer["confidences"]}
    assert scores == pytest.approx(expected, abs=1e-5)


def test_static_space_holds_the_page_and_the_model_and_loads_nothing_else(published, web_runtime_cache):
    assert push_space("org/mg-vtc", "org/space") == f"{published.address}/spaces/org/space"
    files = published.files("spaces/org/space")
    assert {"index.html", "worker.js", "model/image.onnx", "runtime/ort-wasm-simd-threaded.wasm"} <= files.keys()
    card = SpaceCard(files["README.md"].decode()).data
    assert (card.sdk, card.app_file, card.models) == ("static", "index.html", ["org/mg-vtc"])
    assert card.custom_headers["cross-origin-embedder-policy"] == "require-corp"  # for several threads
    assert len(card.short_description) <= 60
    description = json.loads(files["model/model.json"])
    assert description["name"] == "org/mg-vtc"
    for name, facts in description["files"].items():
        assert hashlib.sha256(files[f"model/{name}"]).hexdigest() == facts["sha256"]
    assert list(published.repos["spaces/org/space"].messages.values()) == ["initial commit", "Show org/mg-vtc"]


def test_gradio_space_becomes_a_static_one_and_back(published, files, web_runtime_cache):
    push_space("org/mg-vtc", "org/space", sdk="gradio")
    push_space("org/mg-vtc", "org/space")
    assert not [name for name in published.files("spaces/org/space") if name.startswith("mg_vtc/") or name == "app.py"]
    push_space("org/mg-vtc", "org/space", sdk="gradio")
    assert not [name for name in published.files("spaces/org/space") if name.startswith(("model/", "runtime/"))]


def test_int8_of_a_gradio_space_is_refused(published):
    with pytest.raises(ValueError, match="are for a static Space"):
        push_space("org/mg-vtc", "org/space", sdk="gradio", int8=True)


def test_static_space_of_a_private_model_is_private(hub_client, finished_run, web_runtime_cache):
    push_to_hub(finished_run, "org/mg-vtc", private=True)
    push_space("org/mg-vtc", "org/space")
    assert hub_client.repos["spaces/org/space"].private
    prepare_repo("org/public", private=False, space_sdk="static")
    with pytest.raises(ValueError, match="public"):
        push_space("org/mg-vtc", "org/public")
    assert "model/image.onnx" not in hub_client.files("spaces/org/public")
