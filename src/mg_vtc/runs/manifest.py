"""Manifest of a folder: the size and SHA-256 of each file, by which damage is found and named."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..files import atomic_write, sync_folder

MANIFEST = "manifest.json"
# Files that a model is loaded from. The manifest of a finished run covers its records, too, and the card. Users edit
# the card, so a push only warns of a difference.
OF_MODEL = (
    *("config.json", "generation_config.json", "processor_config.json", "preprocessor_config.json"),
    *("model.safetensors", "model-*.safetensors", "model.safetensors.index.json"),
    *("configuration_mg_vtc.py", "configuration_alexnet.py"),
    *("modeling_mg_vtc.py", "modeling_alexnet.py", "modeling_tower.py", "processing_mg_vtc.py"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt"),
    *("vocab.json", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
    *("chat_template.jinja", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"),
    *("adapter/manifest.json",),
)


def write_manifest(folder: Path, patterns: Iterable[str] = ("*",)) -> None:
    """Write the manifest of a folder, after its files have reached the disk.

    Args:
        folder: Folder whose files are complete.
        patterns: Files that the manifest covers, by the end of their names in the folder.
    """
    files = {name: describe_file(folder / name) for name in _list_files(folder, tuple(patterns))}
    for place in {(folder / name).parent for name in files}:
        sync_folder(place)
    with atomic_write(folder / MANIFEST) as file:
        file.write(dump_manifest(files))
    sync_folder(folder)


def update_manifest(folder: Path, names: Iterable[str]) -> None:
    """Enter files that were written on purpose into the manifest of a folder, if it has one.

    Raises:
        ValueError: The manifest is damaged.
    """
    files = read_manifest(folder)
    if files is None:
        return
    files |= {name: describe_file(folder / name) for name in names}
    with atomic_write(folder / MANIFEST) as file:
        file.write(dump_manifest(files))
    sync_folder(folder)


def dump_manifest(files: dict[str, dict[str, Any]]) -> bytes:
    """Return the content of a manifest of files, each with its `size` and `sha256`."""
    return (json.dumps({"files": files}, indent=1) + "\n").encode()


def read_manifest(folder: Path) -> dict[str, dict[str, Any]] | None:
    """Return size and SHA-256 of the files of a folder by their names; `None` if it has no manifest.

    Raises:
        ValueError: The manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        files: dict[str, dict[str, Any]] = json.loads(path.read_bytes())["files"]
        if all(isinstance(one["size"], int) and isinstance(one["sha256"], str) for one in files.values()):
            return files
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise ValueError(f"{path} is damaged: it lists no files.")


def find_damage(folder: Path, patterns: Iterable[str] = ("*",)) -> list[str]:
    """Compare the files of a folder with its manifest.

    Args:
        folder: Folder; without a manifest nothing is known to be damaged.
        patterns: Files to compare.

    Returns:
        For each file that differs, its path and how it differs.
    """
    try:
        manifest = read_manifest(folder)
    except ValueError:
        return [f"{folder / MANIFEST} is damaged"]
    patterns = tuple(patterns)
    compared = {name: known for name, known in (manifest or {}).items() if _is_one_of(name, patterns)}
    found = ((folder / name, _compare(folder / name, known)) for name, known in compared.items())
    return [f"{path} {difference}" for path, difference in found if difference]


def check_files(folder: Path, patterns: Iterable[str] = OF_MODEL) -> None:
    """Refuse files that differ from the manifest of their folder.

    Args:
        folder: Folder of a model; without a manifest it is not checked.
        patterns: Files to compare, by default those that the model is loaded from.

    Raises:
        ValueError: A file differs.
    """
    if damage := find_damage(folder, patterns):
        raise ValueError(
            f"{'; '.join(damage)}: copy the files again, or use a checkpoint. To accept a change that you made, "
            f"delete {folder / MANIFEST}."
        )


def place_model(staged: Path, folder: Path) -> None:
    """Move a saved model and its manifest to a folder, in which another model may be.

    The manifest is moved first: until all files are there, it names those that are of the other model or missing.
    """
    files = [path for path in staged.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path != staged / MANIFEST):
        target = folder / path.relative_to(staged)
        target.parent.mkdir(exist_ok=True)
        path.replace(target)
    sync_folder(folder)
    shutil.rmtree(staged)


def _list_files(folder: Path, patterns: tuple[str, ...]) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    return [name for name in names if name != MANIFEST and _is_one_of(name, patterns)]


def _is_one_of(name: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a name fits a pattern; one with a folder fits only those that name it."""
    return any(
        fnmatch(name, pattern) and ("/" in pattern or pattern == "*" or "/" not in name) for pattern in patterns
    )


def describe_file(path: Path) -> dict[str, Any]:
    """Return the `size` in bytes and the `sha256` of a file, which is on the disk afterwards."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
        return {"size": file.tell(), "sha256": digest}


def _compare(path: Path, known: dict[str, Any]) -> str | None:
    """Return how a file differs from its entry in the manifest; `None` if it does not."""
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != known["size"]:
        return "is empty" if size == 0 else f"is damaged: it has {size} bytes instead of {known['size']}"
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != known["sha256"]:
            return f"is damaged or of another run or step: its SHA-256 is not that in {MANIFEST}"
    return None
