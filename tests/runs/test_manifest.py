"""The manifest of a folder: each kind of damage is found, and the file is named."""

import json
import shutil

import pytest
from damage import DAMAGES, flip_bit

from mg_vtc.runs.manifest import OF_MODEL, check_files, find_damage, read_manifest, write_manifest

FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "optimizer.pt": b"moments",
    "adapter/adapter.bin": b"a",
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
    make_folder(tmp_path, FILES | dict.fromkeys(others, b"{}"))
    write_manifest(tmp_path, OF_MODEL)
    assert sorted(read_manifest(tmp_path)) == ["adapter/adapter.bin", "config.json", "model.safetensors"]
    assert json.loads((tmp_path / "manifest.json").read_text())["files"]["config.json"]["size"] == 2
