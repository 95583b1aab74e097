"""The genuine client against a Hub on loopback: what is there after a push, and what is said where it is refused."""

import hashlib
import json
import re
import shlex
import shutil
import stat
import sys

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants
from local_hub import STRANGER, TOKEN, File, Repo

from mg_vtc import push_to_hub
from mg_vtc.exporters.transformers_js import FILES
from mg_vtc.hub.push import is_pushed, prepare_repo, write_upload
from mg_vtc.runs.directory import RECORDS
from mg_vtc.runs.manifest import OF_MODEL, write_manifest

from .test_upload import EXPECTED


def test_push_is_one_commit_of_the_list_and_its_page_is_reported(hub_client, finished_run):
    page = push_to_hub(finished_run, "org/mg-vtc")
    assert page == f"{hub_client.address}/org/mg-vtc"
    repo = hub_client.repos["org/mg-vtc"]
    assert list(repo.messages.values()) == ["initial commit", "Upload model"]
    files = hub_client.files("org/mg-vtc")
    assert files.keys() == EXPECTED | {".gitattributes"}
    assert files["model.safetensors"] == (finished_run / "model.safetensors").read_bytes()
    weights = repo.commits[repo.branches["main"]]["model.safetensors"].lfs
    assert weights in hub_client.objects
    assert not repo.private


def test_second_push_leaves_the_first_revision_as_it_was(hub_client, finished_run):
    push_to_hub(finished_run, "org/mg-vtc")
    first = hub_client.repos["org/mg-vtc"].branches["main"]
    before = hub_client.files("org/mg-vtc", first)
    card = finished_run / "README.md"
    card.write_text(card.read_text().replace("# Gestures", "# Better gestures"))
    push_to_hub(finished_run, "org/mg-vtc", commit_message="Better")
    assert hub_client.repos["org/mg-vtc"].branches["main"] != first
    assert hub_client.files("org/mg-vtc", first) == before
    assert b"# Better gestures" in hub_client.files("org/mg-vtc")["README.md"]
    assert "Better" in hub_client.repos["org/mg-vtc"].messages.values()


def test_files_of_an_earlier_model_leave_and_others_stay(hub_client, finished_run):
    repo = hub_client.repos["org/mg-vtc"] = Repo()
    repo.commit("main", {"vocab.txt": File(b"old"), "modeling_old.py": File(b""), "notes.md": File(b"mine")}, "old")
    push_to_hub(finished_run, "org/mg-vtc")
    assert hub_client.files("org/mg-vtc").keys() == EXPECTED | {"notes.md"}


def test_private_repository_and_branch(hub_client, finished_run):
    page = push_to_hub(finished_run, "org/mg-vtc", private=True, revision="trial")
    assert page == f"{hub_client.address}/org/mg-vtc/tree/trial"
    assert hub_client.repos["org/mg-vtc"].private
    assert hub_client.files("org/mg-vtc").keys() == {".gitattributes"}
    assert hub_client.files("org/mg-vtc", "trial").keys() >= EXPECTED


@pytest.mark.parametrize("space_sdk", [None, "gradio"])
def test_repository_that_is_public_is_not_pushed_to_as_a_private_one(hub_client, finished_run, space_sdk):
    prepare_repo("org/mg-vtc", space_sdk=space_sdk)
    with pytest.raises(ValueError, match="org/mg-vtc already exists and is public, so nothing was pushed"):
        prepare_repo("org/mg-vtc", space_sdk=space_sdk, private=True)
    prepare_repo("org/hidden", space_sdk=space_sdk, private=True)
    prepare_repo("org/hidden", space_sdk=space_sdk, private=True)
    if space_sdk is None:
        with pytest.raises(ValueError, match="public"):
            push_to_hub(finished_run, "org/mg-vtc", private=True)
        assert hub_client.files("org/mg-vtc").keys() == {".gitattributes"}


@pytest.mark.parametrize(("break_off", "words"), [("commit", "disconnected"), ("object", "uploading")])
def test_push_that_breaks_off_changes_nothing_and_can_go_on(hub_client, finished_run, break_off, words):
    push_to_hub(finished_run, "org/mg-vtc")
    before = hub_client.files("org/mg-vtc")
    weights = finished_run / "model.safetensors"
    weights.chmod(stat.S_IRUSR | stat.S_IWUSR)
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    hub_client.break_off = break_off
    go_on = re.escape(
        "The files on the Hub are consistent (a push is one commit). "
        f"To retry, run: mg-vtc push {finished_run} org/mg-vtc"
    )
    with pytest.raises(OSError, match=rf"failed: .*{words}.*\. {go_on}"):
        push_to_hub(finished_run, "org/mg-vtc")
    assert hub_client.files("org/mg-vtc") == before
    hub_client.break_off = None
    push_to_hub(finished_run, "org/mg-vtc")
    assert hub_client.files("org/mg-vtc")["model.safetensors"] == weights.read_bytes()


def test_missing_token_is_reported_before_the_hub_is_asked(hub_client, finished_run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(OSError, match=r"org/mg-vtc requires a Hub token: set HF_TOKEN, or run `hf auth login`"):
        push_to_hub(finished_run, "org/mg-vtc")
    assert not hub_client.requests


def test_missing_token_is_reported_before_an_export(hub_client, finished_run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setitem(sys.modules, "mg_vtc.exporters.transformers_js", None)  # whose import would fail
    with pytest.raises(OSError, match="org/mg-vtc requires a Hub token"):
        push_to_hub(finished_run, "org/mg-vtc", onnx=True)


def test_token_that_the_hub_does_not_know(hub_client, finished_run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    with pytest.raises(OSError, match="does not accept the token"):
        push_to_hub(finished_run, "org/mg-vtc")


def test_name_of_somebody_else(hub_client, finished_run, monkeypatch):
    push_to_hub(finished_run, "org/mg-vtc")
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    with pytest.raises(OSError, match="may not write to org/mg-vtc: the repository belongs to another owner"):
        push_to_hub(finished_run, "org/mg-vtc")
    with pytest.raises(OSError, match="no write permission for 'org'"):
        push_to_hub(finished_run, "org/new")
    assert "org/new" not in hub_client.repos


@pytest.mark.parametrize(("key", "space_sdk"), [("stranger/taken", None), ("spaces/stranger/taken", "gradio")])
def test_public_repository_of_somebody_else_is_found_before_anything_is_sent(hub_client, key, space_sdk):
    hub_client.repos[key] = Repo()
    hub_client.repos[key].commit("main", {"README.md": File(b"theirs")}, "theirs")
    with pytest.raises(OSError, match="may not write to stranger/taken: the repository belongs to another owner"):
        prepare_repo("stranger/taken", space_sdk=space_sdk)


def test_command_to_go_on_with_can_be_pasted(hub_client, finished_run, tmp_path):
    folder = shutil.copytree(finished_run, tmp_path / "my run")
    hub_client.break_off = "commit"
    with pytest.raises(OSError, match=r"To retry, run: mg-vtc push ('.*') org/mg-vtc --revision trial$") as refused:
        push_to_hub(folder, "org/mg-vtc", revision="trial")
    assert shlex.split(str(refused.value).split("To retry, run: ")[1])[2] == str(folder)


def test_private_repository_of_somebody_else(hub_client, finished_run, monkeypatch):
    hub_client.repos["stranger/mg-vtc"] = Repo(private=True)
    with pytest.raises(OSError, match="may not write to stranger/mg-vtc"):
        push_to_hub(finished_run, "stranger/mg-vtc")


def test_offline_mode_is_reported(hub_client, finished_run, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match=r"HF_HUB_OFFLINE is set, .*: unset it"):
        push_to_hub(finished_run, "org/mg-vtc")


def test_hub_that_cannot_be_reached(hub_client, finished_run, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"The connection to the Hub for org/mg-vtc failed: .*refused"):
        push_to_hub(finished_run, "org/mg-vtc")


def test_metadata_that_the_hub_does_not_read(hub_client, finished_run):
    (finished_run / "README.md").write_text("---\ntags: [open\n---\n")
    with pytest.raises(ValueError, match=r"metadata in README\.md"):
        push_to_hub(finished_run, "org/mg-vtc")


@pytest.mark.parametrize("name", ["mg-vtc", "a/b/c", "org/", "org/mg vtc", "org/mg--vtc"])
def test_name_that_is_none_is_refused_before_the_hub_is_asked(hub_client, name):
    with pytest.raises(ValueError, match=f"{name!r} "):
        prepare_repo(name)
    assert not hub_client.requests


def test_no_request_carries_a_token_in_its_address(hub_client, finished_run):
    push_to_hub(finished_run, "org/mg-vtc")
    assert not [path for _, path in hub_client.requests if TOKEN in path]


def read_tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "empty"])
def test_dry_run_writes_what_a_push_uploads_and_asks_nobody(hub_client, finished_run, tmp_path, monkeypatch, is_there):
    out = tmp_path / "served" / "model"
    if is_there:
        out.mkdir(parents=True)
    with monkeypatch.context() as without:
        without.delenv("HF_TOKEN")
        assert write_upload(finished_run, out, "org/mg-vtc") == sorted(EXPECTED)
    assert not hub_client.requests
    assert [path.name for path in out.parent.iterdir()] == ["model"]  # nothing beside it
    push_to_hub(finished_run, "org/mg-vtc")
    pushed = hub_client.files("org/mg-vtc")
    del pushed[".gitattributes"]
    assert read_tree(out) == pushed


def test_dry_run_without_a_name_keeps_the_placeholder_of_the_card(finished_run, tmp_path):
    write_upload(finished_run, tmp_path / "served")
    assert (tmp_path / "served" / "README.md").read_text() == (finished_run / "README.md").read_text()


def test_dry_run_leaves_what_is_there(finished_run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.md").write_text("mine")
    for out in (tmp_path / "mine", tmp_path / "mine" / "notes.md", finished_run):
        before = read_tree(tmp_path)
        with pytest.raises(ValueError, match="already exists and is not an empty folder: choose a new one"):
            write_upload(finished_run, out)
        assert read_tree(tmp_path) == before


@pytest.mark.parametrize("fault", ["token", "path", "metadata", "missing", "name"])
def test_dry_run_refuses_what_a_push_refuses(hub_client, finished_run, tmp_path, fault):
    card, repo_id = finished_run / "README.md", "org/mg-vtc"
    if fault == "missing":
        (finished_run / "figures" / "confusion.png").unlink()
    elif fault == "name":
        repo_id = "mg-vtc"
    else:
        text = {"token": f"# A\n{TOKEN}", "path": "# A\n/data/people/anna", "metadata": "---\ntags: [open\n---\n"}
        card.write_text(text[fault])
    with pytest.raises(ValueError) as of_push:  # noqa: PT011
        push_to_hub(finished_run, repo_id)
    with pytest.raises(ValueError) as of_dry_run:  # noqa: PT011
        write_upload(finished_run, tmp_path / "served", repo_id)
    assert str(of_dry_run.value) == str(of_push.value)
    assert not (tmp_path / "served").exists()


ONNX_FILES = {f"onnx/{name}" for name in FILES}


def test_onnx_files_go_in_the_same_commit_and_leave_with_the_next_model(hub_client, finished_run, tmp_path):
    write_manifest(finished_run, (*OF_MODEL, *RECORDS))
    push_to_hub(finished_run, "org/mg-vtc", onnx=True, space_id="org/try")
    assert list(hub_client.repos["org/mg-vtc"].messages.values()) == ["initial commit", "Upload model"]
    files = hub_client.files("org/mg-vtc")
    assert files.keys() == EXPECTED | ONNX_FILES | {".gitattributes", "manifest.json"}
    manifest = json.loads(files["manifest.json"])["files"]
    assert manifest.keys() >= {"model.safetensors", *ONNX_FILES}
    for name, known in manifest.items():
        assert known == {"size": len(files[name]), "sha256": hashlib.sha256(files[name]).hexdigest()}, name
    card = files["README.md"].decode()
    assert 'const model = "org/mg-vtc";' in card
    assert "https://huggingface.co/spaces/org/try" in card
    assert is_pushed(finished_run, "org/mg-vtc")
    assert not (finished_run / "onnx").exists()
    push_to_hub(finished_run, "org/mg-vtc")  # perhaps of other weights
    assert hub_client.files("org/mg-vtc").keys() == EXPECTED | {".gitattributes", "manifest.json"}
    assert "transformers.js" not in hub_client.files("org/mg-vtc")["README.md"].decode()


def test_onnx_files_of_the_user_stay_in_the_repository(hub_client, finished_run):
    write_manifest(finished_run, (*OF_MODEL, *RECORDS))
    push_to_hub(finished_run, "org/mg-vtc")
    own = {"onnx/classifier.onnx": b"mine", "onnx/model.onnx": b"mine, too"}
    operations = [CommitOperationAdd(name, content) for name, content in own.items()]
    HfApi().create_commit("org/mg-vtc", operations, commit_message="My files")
    push_to_hub(finished_run, "org/mg-vtc")
    assert own.items() <= hub_client.files("org/mg-vtc").items()


def test_space_that_is_no_name_is_refused_before_anything_is_sent(hub_client, finished_run):
    with pytest.raises(ValueError, match="'try' does not name an owner"):
        push_to_hub(finished_run, "org/mg-vtc", space_id="try")
    assert not hub_client.requests
