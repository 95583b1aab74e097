"""The cache of decoded images: what it holds, when it is another one, and what is left when something goes wrong."""

import multiprocessing
import os
import resource
import shutil
import threading
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, Image, load_dataset
from datasets.table import InMemoryTable
from tqdm.auto import tqdm

from mg_vtc.data import load_image_folder, split_stratified
from mg_vtc.data.cache import MARGIN, ImageCache, cache_folder
from mg_vtc.data.decoding import Resizing, decode
from mg_vtc.data.digests import digest_images

SIZE = 12
FEATURES = Features(image=Image(), label=ClassLabel(names=["bow", "nod"]))
FORK = multiprocessing.get_context("fork")  # a new interpreter would take seconds to import torch

# Python 3.12 and later warn of fork in a process with threads, which torch has.
ignore_fork_warning = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache" / "mg_vtc"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Ten files with random images."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for path in paths:
        PIL.Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return paths


def make_rows(images: list) -> Dataset:
    images = [str(image) if isinstance(image, Path) else image for image in images]
    return Dataset.from_dict({"image": images, "label": [0, 1] * (len(images) // 2)}, features=FEATURES)


def stored(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_cached_images_are_the_decoded_ones_in_the_order_of_the_rows(files: list[Path]):
    pixels = ImageCache(make_rows(files), SIZE).open()
    assert (pixels.shape, pixels.dtype) == ((10, SIZE, SIZE, 3), np.uint8)
    for image, path in zip(pixels, files, strict=True):
        np.testing.assert_array_equal(image, decode({"bytes": None, "path": str(path)}, SIZE))


def test_more_images_than_are_in_memory_at_once_stay_in_order(files: list[Path], monkeypatch: pytest.MonkeyPatch):
    whole = ImageCache(make_rows(files), SIZE).open()
    os.unlink(whole.filename)
    monkeypatch.setattr("mg_vtc.data.cache.CHUNK", 4)
    np.testing.assert_array_equal(ImageCache(make_rows(files), SIZE).open(), whole)


def test_it_is_a_read_only_map_of_a_file(files: list[Path], own_cache: Path):
    pixels = ImageCache(make_rows(files), SIZE).open()
    assert isinstance(pixels, np.memmap)
    assert Path(pixels.filename).parent == own_cache == cache_folder()
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0


def test_same_images_are_not_decoded_again(files: list[Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    before = ImageCache(make_rows(files), SIZE).open().copy()
    monkeypatch.delattr("mg_vtc.data.cache.decode")
    for path in files:
        os.utime(path, ns=(0, 5))
    np.testing.assert_array_equal(ImageCache(make_rows(files), SIZE).open(), before)
    digests = digest_images(make_rows(files))
    np.testing.assert_array_equal(ImageCache(make_rows(files), SIZE, digests=digests).open(), before)
    assert len(stored(own_cache)) == 1


def test_labels_and_splits_do_not_matter(tmp_path: Path, own_cache: Path, files: list[Path]):
    ImageCache(make_rows(files), SIZE).open()
    ImageCache(make_rows(files).remove_columns("label"), SIZE).open()
    ImageCache(make_rows(files).add_column("row", list(range(10))), SIZE).open()
    assert len(stored(own_cache)) == 1


def test_rows_of_a_folder_are_cached_before_they_are_split(tmp_path: Path, own_cache: Path, files: list[Path]):
    for name in ("bow", "nod"):
        shutil.copytree(tmp_path, tmp_path / "images" / name, ignore=shutil.ignore_patterns("images", "cache"))
    for seed in (0, 1):
        rows = load_image_folder(tmp_path / "images")["train"]
        pixels = ImageCache(rows, SIZE).open()
        part = split_stratified(rows.add_column("row", range(len(rows))), 0.3, seed)["validation"]
        for row in part.cast_column("image", Image(decode=False)):
            np.testing.assert_array_equal(pixels[row["row"]], decode(row["image"], SIZE))
    assert len([name for name in stored(own_cache) if name.endswith(".npy")]) == 1


def change_content(path: Path) -> None:
    """Replace an image by another of the same size and time of change, as an archive does that is unpacked anew."""
    before = path.stat()
    PIL.Image.new("RGB", (5, 5)).save(path)
    path.write_bytes(path.read_bytes().ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_replaced_file_of_equal_size_and_time_is_decoded_anew(files: list[Path], own_cache: Path):
    before = ImageCache(make_rows(files), SIZE).open().copy()
    change_content(files[3])
    pixels = ImageCache(make_rows(files), SIZE).open()
    np.testing.assert_array_equal(pixels[3], np.zeros((SIZE, SIZE, 3)))
    assert before[3].any()
    assert len(stored(own_cache)) == 2


def test_other_settings_rows_and_versions_make_other_caches(
    files: list[Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    ImageCache(make_rows(files), SIZE).open()
    ImageCache(make_rows(files), SIZE + 1).open()
    ImageCache(make_rows(files), SIZE, jpeg_draft=True).open()
    ImageCache(make_rows(files[::-1]), SIZE).open()
    monkeypatch.setattr("mg_vtc.data.cache.DECODING", 0)
    ImageCache(make_rows(files), SIZE).open()
    assert len(stored(own_cache)) == 5


def test_images_in_arrow_are_known_by_their_content(own_cache: Path):
    for shade in (3, 3, 4):
        rows = make_rows([PIL.Image.new("RGB", (6, 4), (shade, number, 0)) for number in range(4)])
        pixels = ImageCache(rows, SIZE).open()
        assert pixels[:, 0, 0].tolist() == [[shade, number, 0] for number in range(4)]
    assert len(stored(own_cache)) == 2


def test_images_of_a_parquet_file_are_decoded_once(tmp_path: Path, own_cache: Path):
    images = [PIL.Image.new("RGB", (6, 4), (number, 0, 0)) for number in range(4)]
    (tmp_path / "data").mkdir()
    make_rows(images).to_parquet(tmp_path / "data" / "train.parquet")
    for _ in range(2):
        rows = load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))["train"]
        assert ImageCache(rows, SIZE).open()[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert len(stored(own_cache)) == 1


def test_rows_of_files_and_of_arrow_see_a_changed_file_too(files: list[Path], own_cache: Path):
    mixed = [PIL.Image.new("RGB", (6, 4)), files[0]]
    ImageCache(make_rows(mixed), SIZE).open()
    change_content(files[0])
    ImageCache(make_rows(mixed), SIZE).open()
    assert len(stored(own_cache)) == 2


def test_images_of_more_than_2_gb_are_known_by_their_content(own_cache: Path):
    data = pa.array([bytes(2_300_000)] * 20)  # 46 MB, of which 50 references are 2.3 GB
    images = pa.StructArray.from_arrays([data, pa.nulls(len(data), pa.string())], ["bytes", "path"])
    table = pa.table({"image": pa.chunked_array([images] * 50)})
    rows = Dataset(InMemoryTable(table), fingerprint="large").cast_column("image", Image())
    assert ImageCache(rows, SIZE).describe() == f"decoding 1,000 images once: 0.4 MB in {own_cache}"


def test_an_image_that_cannot_be_decoded_is_named_and_leaves_no_file(files: list[Path], own_cache: Path):
    files[7].write_bytes(files[7].read_bytes()[:300])
    with pytest.raises(ValueError, match=r"image of row 7 \(.*7\.png\) cannot be decoded: OSError: .*truncated"):
        ImageCache(make_rows(files), SIZE).open()
    assert stored(own_cache) == []


def test_a_missing_file_is_named(files: list[Path]):
    files[7].unlink()
    with pytest.raises(FileNotFoundError, match=r"7\.png"):
        ImageCache(make_rows(files), SIZE).open()


def test_what_is_about_to_be_done_is_reported_only_before_it_is_done(files: list[Path], own_cache: Path):
    rows = make_rows(files * 200)
    assert ImageCache(rows, 224).describe() == f"decoding 2,000 images once: 301.1 MB in {own_cache}"
    assert ImageCache(rows, 1000).describe() == f"decoding 2,000 images once: 6.0 GB in {own_cache}"
    ImageCache(make_rows(files), SIZE).open()
    assert ImageCache(make_rows(files), SIZE).describe() is None
    assert ImageCache(make_rows(files), SIZE, jpeg_draft=True).describe() is not None


def test_a_disk_without_room_is_warned_of_and_left_alone(
    files: list[Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil._ntuple_diskusage(2**40, 2**40, MARGIN + 10 * SIZE * SIZE * 3 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert ImageCache(make_rows(files), SIZE).describe() is None
    with pytest.warns(UserWarning, match=r"0\.0 MB\) cannot be cached .*1\.1 GB are free.* Set HF_DATASETS_CACHE"):
        assert ImageCache(make_rows(files), SIZE).open() is None
    assert stored(own_cache) == []


def test_a_write_that_fails_half_way_is_warned_of_and_leaves_no_file(files: list[Path], own_cache: Path):
    rows = make_rows(files)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * SIZE * SIZE * 3, limits[1]))  # Python ignores the signal it sends
    try:
        with pytest.warns(UserWarning, match=r"cannot be cached in .*\[Errno 27\] File too large"):
            assert ImageCache(rows, SIZE).open() is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert stored(own_cache) == []
    assert ImageCache(rows, SIZE).open() is not None


def test_a_folder_that_cannot_be_made_is_warned_of(files: list[Path], tmp_path: Path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="cannot be cached in"):
        assert ImageCache(make_rows(files), SIZE).open() is None


@ignore_fork_warning
def test_of_two_processes_one_decodes_and_both_read(
    files: list[Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    num_decoded, sums = FORK.Value("i", 0), FORK.Queue()

    def count_and_decode(*args, **kwargs):
        with num_decoded.get_lock():
            num_decoded.value += 1
        return decode(*args, **kwargs)

    monkeypatch.setattr("mg_vtc.data.cache.decode", count_and_decode)
    rows = make_rows(files * 30)
    processes = [FORK.Process(target=lambda: sums.put(int(ImageCache(rows, SIZE).open().sum()))) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert num_decoded.value == 300
    assert [sums.get() for _ in processes] == [int(ImageCache(rows, SIZE).open().sum())] * 2
    assert len(stored(own_cache)) == 1


@ignore_fork_warning
def test_a_killed_build_is_no_cache_and_the_next_one_removes_its_remains(
    files: list[Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = make_rows(files)
    has_begun = FORK.Event()

    def wait_and_decode(image, *args, **kwargs):
        if Path(image["path"]) == files[9]:
            has_begun.set()
            threading.Event().wait()  # for ever: the build is killed within
        return decode(image, *args, **kwargs)

    def build():
        tqdm.set_lock(threading.RLock())  # that of the parent is shared, and a kill would leave it taken
        ImageCache(rows, SIZE).open()

    with monkeypatch.context() as patch:
        patch.setattr("mg_vtc.data.cache.decode", wait_and_decode)
        process = FORK.Process(target=build)
        process.start()
    try:
        assert has_begun.wait(300)
    finally:
        process.kill()
        process.join()
    assert [name.endswith(".npy.part") for name in stored(own_cache)] == [True]
    ImageCache(make_rows(files), SIZE + 1).open()  # another cache, which clears up all the same
    assert [name.endswith(".npy") for name in stored(own_cache)] == [True]


def test_cropped_and_stretched_images_are_cached_apart(files: list[Path]):
    cropping = Resizing(SIZE, "bicubic", SIZE + 4)
    stretched, cropped = (ImageCache(make_rows(files), how).open() for how in (SIZE, cropping))
    assert not np.array_equal(stretched, cropped)
    np.testing.assert_array_equal(cropped[0], decode({"bytes": None, "path": str(files[0])}, cropping))
    np.testing.assert_array_equal(ImageCache(make_rows(files), SIZE).open(), stretched)
