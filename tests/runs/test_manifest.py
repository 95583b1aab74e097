"""The manifest of a folder: each kind of damage is found, and the file is named."""

import errno
import json
import os
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from damage import DAMAGES, flip_bit

from mg_vtc.files import sync_folder
from mg_vtc.runs.manifest import OF_MODEL, check_files, find_damage, place_model, read_manifest, write_manifest

FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "optimizer.pt": b"moments",
    "adapter/adapter_model.safetensors": b"a",
}


def make_folder(folder, files=FILES):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_manifest(folder)
    return folder


def test_whole_folder_has_no_damage(tmp_path):
    make_folder(tmp_path)
    assert find_damage(tmp_path) == []
    assert read_manifest(tmp_path).keys() == FILES.keys()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", DAMAGES)
def test_each_damage_of_each_file_is_found_and_named(kind, name, tmp_path):
    damage, words = DAMAGES[kind]
    damage(make_folder(tmp_path) / name)
    (found,) = find_damage(tmp_path)
    assert found.startswith(f"{tmp_path / name} ")
    assert any(word in found for word in words.split("|"))


def test_file_of_another_folder_with_the_same_size_is_found(tmp_path):
    first = make_folder(tmp_path / "first")
    second = make_folder(tmp_path / "second", FILES | {"model.safetensors": b"WEIGHTS"})
    shutil.copyfile(second / "model.safetensors", first / "model.safetensors")
    (found,) = find_damage(first)
    assert "model.safetensors is damaged or of another run or step" in found


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"files": []}', '{"files": {"config.json": 3}}'])
def test_damaged_manifest_is_named(content, tmp_path):
    (make_folder(tmp_path) / "manifest.json").write_text(content)
    assert find_damage(tmp_path) == [f"{tmp_path / 'manifest.json'} is damaged"]


def test_folder_without_a_manifest_opens(tmp_path):
    (make_folder(tmp_path) / "manifest.json").unlink()
    flip_bit(tmp_path / "model.safetensors")
    check_files(tmp_path)


def test_changed_model_is_refused_with_the_way_to_accept_the_change(tmp_path):
    (make_folder(tmp_path) / "config.json").write_text("{ }")
    with pytest.raises(ValueError, match=r"config\.json is damaged.* delete .*manifest\.json") as refused:
        check_files(tmp_path)
    assert str(tmp_path / "config.json") in str(refused.value)
    (tmp_path / "manifest.json").unlink()
    check_files(tmp_path)


def test_model_opens_whatever_happened_to_the_optimizer(tmp_path):
    (make_folder(tmp_path) / "optimizer.pt").unlink()
    check_files(tmp_path)


def test_manifest_of_a_model_covers_no_files_that_users_edit(tmp_path):
    others = ("README.md", "recipe.yaml", "all_results.json", "report/results.json", "notes/config.json")
    others += ("analysis.py", "my_config.json", "other.safetensors", "adapter/notes.txt")
    make_folder(tmp_path, FILES | dict.fromkeys(others, b"{}"))
    write_manifest(tmp_path, OF_MODEL)
    assert sorted(read_manifest(tmp_path)) == ["adapter/adapter_model.safetensors", "config.json", "model.safetensors"]
    assert json.loads((tmp_path / "manifest.json").read_text())["files"]["config.json"]["size"] == 2


def test_model_that_replaces_another_is_whole_or_named(tmp_path):
    """After each of the moves, as a kill would leave it."""
    old = {"config.json": b"old", "model.safetensors": b"old weights"}
    new = {"config.json": b"new", "model.safetensors": b"new weights", "tokenizer.json": b"{}"}
    for moved in range(len(new) + 2):
        folder = tmp_path / str(moved)
        make_folder(folder, old)
        (folder / "manifest.json").unlink()  # as a run that goes on leaves it
        staged = make_folder(folder / "model.part", new)
        with stopping_after(moved):
            place_model(staged, folder)
        found = {name: (folder / name).read_bytes() for name in new if (folder / name).exists()}
        assert found in (old, new) or find_damage(folder, OF_MODEL)
    assert found == new
    assert find_damage(folder, OF_MODEL) == []
    assert not staged.exists()


class Stopped(BaseException):
    """The process ends here."""


@contextmanager
def stopping_after(num_moves):
    """End a block before its next move."""
    left = [num_moves]
    replace = Path.replace

    def move(path, target):
        if left[0] == 0:
            raise Stopped
        left[0] -= 1
        return replace(path, target)

    with pytest.MonkeyPatch.context() as patch, suppress(Stopped):
        patch.setattr(Path, "replace", move)
        yield


def test_every_file_of_a_saved_model_is_covered(model, processor, tmp_path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    processor.image_processor.save_pretrained(tmp_path)
    saved = {path.name for path in tmp_path.iterdir()}
    write_manifest(tmp_path, OF_MODEL)
    assert read_manifest(tmp_path).keys() == saved
    assert "modeling_mg_vtc.py" in saved


@pytest.mark.parametrize(("name", "code"), [("open", errno.EACCES), ("fsync", errno.EINVAL)])
def test_folders_that_cannot_be_synced_are_no_error(name, code, tmp_path, monkeypatch):
    original = getattr(os, name)

    def refuse(file, *args):
        if stat.S_ISDIR(os.fstat(file).st_mode) if isinstance(file, int) else Path(file).is_dir():
            raise OSError(code, os.strerror(code))
        return original(file, *args)

    monkeypatch.setattr(os, name, refuse)
    make_folder(tmp_path)
    assert find_damage(tmp_path) == []


def test_other_faults_of_a_folder_are_errors(tmp_path, monkeypatch):
    make_folder(tmp_path)

    def fail(file):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)
