"""Unreadable files: what is one, and that unchanged files are read once."""

import json
import multiprocessing
import os
import time
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pytest

from mg_vtc.data.corrupt_files import READABLE, find_corrupt_files, find_error

# Python 3.12 and later warn of fork in a process with threads, which torch has.
ignore_fork_warning = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)  # (height, width, 3)


def make_image(mode: str = "RGB") -> PIL.Image.Image:
    image = PIL.Image.fromarray(RGB)
    if mode == "RGBA":
        image.putalpha(PIL.Image.fromarray(RGB[..., 0]))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [("png", "P"), ("png", "RGBA"), ("jpg", "L"), ("jpg", "CMYK"), ("tif", "CMYK"), ("gif", "P"), ("webp", "RGBA")],
)
def test_whole_images_have_no_fault(tmp_path: Path, suffix: str, mode: str):
    make_image(mode).save(tmp_path / f"image.{suffix}")
    assert find_error(tmp_path / f"image.{suffix}") is None


@pytest.mark.parametrize("options", [{"format": "PNG"}, {"format": "JPEG"}, {"format": "JPEG", "progressive": True}])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_truncated_images_have_a_fault(tmp_path: Path, options: dict, share: float):
    path = tmp_path / "image"
    PIL.Image.fromarray(RNG.integers(0, 256, (200, 300, 3), dtype=np.uint8)).save(path, **options)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    fault = find_error(path)
    assert fault is not None
    assert "truncated" in fault


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_other_files_have_a_fault(tmp_path: Path, content: bytes):
    (tmp_path / "file").write_bytes(content)
    assert find_error(tmp_path / "file") == f"not an image ({len(content)} bytes)"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images, and a cache of its own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "c"):
        make_image().save(tmp_path / "images" / f"{name}.png")
    return tmp_path / "images"


def spoil(path: Path) -> None:
    """Make a file unreadable without a trace in its size or time of change."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_errors_are_given_in_the_order_of_the_paths(folder: Path):
    paths = [folder / name for name in ("b.png", "missing.png", "a.png", "c.png")]
    for path in paths[2:]:
        path.write_bytes(b"none")
    errors = find_corrupt_files(paths)
    assert list(errors) == paths[1:]
    assert errors[paths[2]] == "not an image (4 bytes)"
    assert errors[paths[1]].startswith("FileNotFoundError")


def test_unchanged_files_are_not_read_again(folder: Path):
    paths = sorted(folder.iterdir())
    assert find_corrupt_files(paths) == {}
    spoil(paths[0])
    assert find_corrupt_files(paths) == {}
    (folder.parent / "cache" / "mg_vtc" / READABLE).unlink()
    assert list(find_corrupt_files(paths)) == [paths[0]]


def test_relative_and_absolute_paths_are_one_file(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    assert find_corrupt_files([Path("a.png")]) == {}
    spoil(folder / "a.png")
    assert find_corrupt_files([folder / "a.png"]) == {}


@pytest.mark.parametrize("change", ["size", "time"])
def test_changed_files_are_read_again(folder: Path, change: str):
    path = folder / "a.png"
    assert find_corrupt_files([path]) == {}
    status = path.stat()
    path.write_bytes(bytes(status.st_size + (change == "size")))
    os.utime(path, ns=(0, status.st_mtime_ns + (change == "time")))
    assert list(find_corrupt_files([path])) == [path]


def test_unreadable_files_are_read_each_time(folder: Path):
    path = folder / "a.png"
    status, content = path.stat(), path.read_bytes()
    spoil(path)
    assert list(find_corrupt_files([path])) == [path]
    path.write_bytes(content)
    os.utime(path, ns=(0, status.st_mtime_ns))
    assert find_corrupt_files([path]) == {}


@ignore_fork_warning
def test_processes_remember_together(folder: Path):
    paths = [folder / f"{number}.png" for number in range(40)]
    for path in paths:
        make_image().save(path)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=lambda share: [find_corrupt_files([path]) for path in share], args=(paths[start::4],))
        for start in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    remembered = json.loads((folder.parent / "cache" / "mg_vtc" / READABLE).read_text())
    assert sorted(remembered) == sorted(map(str, paths))
    assert remembered[str(paths[0])] == [paths[0].stat().st_size, paths[0].stat().st_mtime_ns]


@ignore_fork_warning
def test_of_two_processes_one_reads_the_files_and_the_other_knows_them(folder: Path, monkeypatch: pytest.MonkeyPatch):
    context = multiprocessing.get_context("fork")
    num_read, start = context.Value("i", 0), context.Barrier(2)

    def count_and_find(path: Path) -> str | None:
        with num_read.get_lock():
            num_read.value += 1
        time.sleep(0.01)  # so that the other process could come in between
        return find_error(path)

    monkeypatch.setattr("mg_vtc.data.corrupt_files.find_error", count_and_find)
    paths = sorted(folder.iterdir())
    processes = [context.Process(target=lambda: (start.wait(), find_corrupt_files(paths))) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert num_read.value == len(paths)


@pytest.mark.parametrize("content", ["", '{"a": [1, '], ids=["empty", "cut off"])
def test_a_damaged_memory_is_none(folder: Path, content: str):
    paths = sorted(folder.iterdir())
    remembered = folder.parent / "cache" / "mg_vtc" / READABLE
    remembered.parent.mkdir(parents=True)
    remembered.write_text(content)
    spoil(paths[0])
    assert list(find_corrupt_files(paths)) == [paths[0]]
    assert sorted(json.loads(remembered.read_text())) == sorted(map(str, paths[1:]))


def test_a_cache_that_cannot_be_written_is_warned_of(folder: Path):
    (folder.parent / "cache").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match=r"readable\.json cannot be written .* Set HF_DATASETS_CACHE"):
        assert find_corrupt_files([folder / "a.png"]) == {}


def test_nothing_is_written_where_nothing_is_new(folder: Path):
    find_corrupt_files([folder / "a.png"])
    before = (folder.parent / "cache" / "mg_vtc" / READABLE).stat().st_mtime_ns
    find_corrupt_files([folder / "a.png"])
    assert (folder.parent / "cache" / "mg_vtc" / READABLE).stat().st_mtime_ns == before
