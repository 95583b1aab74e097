"""Preparing: stopped at any time it goes on and ends with the same bytes; what is at fault stops nothing else."""

import errno
import hashlib
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil  # of accelerate
import pyarrow.parquet
import pytest
from filelock import FileLock
from made_releases import make_image_release, make_miga_release, make_video

from mg_vtc import prepare_imigue
from mg_vtc.data.releases.prepare import DONE


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return make_miga_release(tmp_path_factory.mktemp("miga") / "release", num_frames=120)


@pytest.fixture
def own_release(release, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(release, tmp_path / "release")


def hash_tree(folder):
    """Path to hash of the bytes, of all files."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def count_frames(preparation):
    return {count.split: count.images for count in preparation.splits}


@pytest.fixture(scope="module")
def whole(release):
    """What runs that nothing interrupts write, by format."""
    folder = release.parent / "whole"
    for to in ("imagefolder", "parquet", "webdataset"):
        prepare_imigue(release, folder / to, format=to, frames_per_clip=40)
    return {to: hash_tree(folder / to) for to in ("imagefolder", "parquet", "webdataset")}


def is_at_work(out, num_done):
    """Whether as many parts are complete, and there is something of another."""
    with suppress(FileNotFoundError):  # it may be moved at this moment
        done = list((out / DONE).glob("*/*.parquet"))
        begun = [path for path in (out / DONE).glob("*/*/**/*") if path.is_file()]
        return len(done) >= num_done and bool(begun)
    return False


@pytest.mark.parametrize(("to", "num_done"), [("imagefolder", 1), ("parquet", 2)])
def test_killed_run_goes_on_and_ends_with_the_same_bytes(release, whole, tmp_path, to, num_done):
    out = tmp_path / "out"
    code = "import sys, mg_vtc; mg_vtc.prepare_imigue(*sys.argv[1:3], format=sys.argv[3], frames_per_clip=40)"
    process = subprocess.Popen([sys.executable, "-c", code, release, out, to])
    while process.poll() is None and not is_at_work(out, num_done):
        time.sleep(0.0005)
    process.kill()
    assert process.wait(timeout=300) == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in (out / DONE).glob("*/*.parquet")}
    assert num_done <= len(before) < 4
    prepare_imigue(release, out, format=to, frames_per_clip=40)
    assert hash_tree(out) == whole[to]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def has_ended(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # which init may not read
    except psutil.NoSuchProcess:
        return True


def test_workers_of_a_killed_run_end_and_the_next_does_not_meet_them(release, whole, tmp_path):
    out = tmp_path / "out"
    code = "import sys, mg_vtc; mg_vtc.prepare_imigue(*sys.argv[1:3], frames_per_clip=40, num_workers=2)"
    process = subprocess.Popen([sys.executable, "-c", code, release, out])
    while process.poll() is None and not is_at_work(out, 0):
        time.sleep(0.0005)
    children = psutil.Process(process.pid).children()
    process.kill()
    assert process.wait(timeout=300) == -signal.SIGKILL
    assert len(children) >= 2
    prepare_imigue(release, out, frames_per_clip=40)  # at once, in the instant before they end
    assert hash_tree(out) == whole["imagefolder"]
    until = time.monotonic() + 60
    while not all(map(has_ended, children)):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_failure_stops_what_has_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr("mg_vtc.data.releases.imigue.IMAGES_PER_SHARD", 4)
    release = make_image_release(tmp_path / "release", num_clips=8)
    (release / "training" / "1" / "0000.0.jpg").unlink()
    (release / "training" / "1" / "0000.0.jpg").symlink_to("absent.jpg")
    with pytest.raises(FileNotFoundError, match=r"0000\.0\.jpg"):
        prepare_imigue(release, tmp_path / "out", num_workers=2)
    assert len(list((tmp_path / "out" / DONE).glob("train/*.parquet"))) < 18  # of 36


def test_several_processes_write_the_same_bytes(release, whole, tmp_path):
    prepare_imigue(release, tmp_path / "out", frames_per_clip=40, num_workers=2)
    assert hash_tree(tmp_path / "out") == whole["imagefolder"]


def test_second_run_writes_nothing(release, tmp_path):
    first = prepare_imigue(release, tmp_path / "out", format="parquet")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    assert prepare_imigue(release, tmp_path / "out", format="parquet") == first
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_other_choices_for_a_folder_are_refused(release, whole, tmp_path):
    prepare_imigue(release, tmp_path / "out", frames_per_clip=2)
    with pytest.raises(ValueError, match=r"frames_per_clip was 2 and is 3\. Choose another folder"):
        prepare_imigue(release, tmp_path / "out", frames_per_clip=3)


def test_folder_with_other_files_is_left_alone(release, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="contains something else"):
        prepare_imigue(release, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_broken_video_is_reported_and_the_others_are_done(own_release, tmp_path):
    broken = own_release / "imigue_rgb_train" / "0001" / "0001.mp4"
    data = make_video(broken, 120, index_first=True).read_bytes()
    broken.write_bytes(data[: len(data) // 2])
    preparation = prepare_imigue(own_release, tmp_path / "out", frames_per_clip=4)
    assert len(preparation.errors) == 1
    assert preparation.errors[0].startswith(f"0001: {broken} is cut off")
    assert count_frames(preparation) == {"train": 12, "validation": 12, "test": 12}
    assert not list((tmp_path / "out").rglob("0001*"))


def test_damage_in_the_middle_leaves_nothing_of_the_video(own_release, tmp_path):
    damaged = own_release / "imigue_rgb_train" / "0001" / "0001.mp4"
    data = make_video(damaged, 120, index_first=True).read_bytes()
    middle = (data.index(b"mdat") + len(data)) // 2
    damaged.write_bytes(data[:middle] + bytes(200) + data[middle + 200 :])
    preparation = prepare_imigue(own_release, tmp_path / "out", frames_per_clip=40)
    assert [fault[:5] for fault in preparation.errors] == ["0001:"]
    assert not list((tmp_path / "out").rglob("0001*"))


def test_mended_video_is_added_by_the_same_call(own_release, release, tmp_path):
    video = own_release / "imigue_rgb_train" / "0001" / "0001.mp4"
    video.write_bytes(b"no video")
    prepare_imigue(own_release, tmp_path / "out")
    shutil.copy(release / "imigue_rgb_train" / "0001" / "0001.mp4", video)
    assert not prepare_imigue(own_release, tmp_path / "out").errors
    prepare_imigue(release, tmp_path / "whole")
    assert hash_tree(tmp_path / "out") == hash_tree(tmp_path / "whole")


def test_changed_labels_replace_what_was_written_for_them(own_release, tmp_path):
    labels = own_release / "imigue_rgb_train" / "0001" / "0001_label.csv"
    prepare_imigue(own_release, tmp_path / "out")
    labels.write_text("5,1,40\n")
    prepare_imigue(own_release, tmp_path / "out")
    prepare_imigue(own_release, tmp_path / "new")
    assert hash_tree(tmp_path / "out") == hash_tree(tmp_path / "new")


def test_segments_end_with_the_video_of_which_a_note_tells(own_release, tmp_path):
    labels = own_release / "imigue_rgb_train" / "0001" / "0001_label.csv"
    labels.write_text("5,111,140\n6,121,130\n7,1,10\n")
    with pytest.warns(UserWarning, match="share frames"):
        preparation = prepare_imigue(own_release, tmp_path / "out", frames_per_clip=2)
    assert preparation.errors == []
    assert [note.partition(":")[0] for note in preparation.notes] == ["0001_0", "0001_1"]
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "train" / "metadata.parquet").to_pylist()
    found = [(row["clip"], row["frame"]) for row in rows if row["video"] == "0001"]
    assert found == [("0001_2", 2), ("0001_2", 7), ("0001_0", 112), ("0001_0", 117)]


def test_video_that_ends_before_all_its_segments_is_a_fault(own_release, tmp_path):
    (own_release / "imigue_rgb_train" / "0001" / "0001_label.csv").write_text("5,121,140\n")
    (fault,) = prepare_imigue(own_release, tmp_path / "out").errors
    assert "ends before all segments" in fault


def test_overlapping_segments_are_both_kept_with_a_warning(own_release, tmp_path):
    (own_release / "imigue_rgb_train" / "0001" / "0001_label.csv").write_text("5,1,20\n6,11,30\n")
    with pytest.warns(UserWarning, match="1 pairs of segments share frames.*0001_0 and 0001_1"):
        preparation = prepare_imigue(own_release, tmp_path / "out", frames_per_clip=2)
    assert count_frames(preparation)["train"] == 2 * 2 + 3 * 2


def test_release_that_loses_a_video_is_refused(own_release, tmp_path):
    prepare_imigue(own_release, tmp_path / "out")
    shutil.rmtree(own_release / "imigue_rgb_train" / "0001")
    with pytest.raises(ValueError, match="'train/0001'"):
        prepare_imigue(own_release, tmp_path / "out")


def test_nothing_to_prepare_is_refused_with_the_reason(own_release, tmp_path):
    for path in own_release.rglob("*.mp4"):
        path.unlink()
    with pytest.raises(ValueError, match="there is no video for the labels"):
        prepare_imigue(own_release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_at_a_time_are_refused(release, tmp_path):
    prepare_imigue(release, tmp_path / "out")
    with (
        FileLock(tmp_path / "out" / DONE / "lock"),
        pytest.raises(ValueError, match="is being written by another process"),
    ):
        prepare_imigue(release, tmp_path / "out")


@pytest.mark.parametrize("to", ["imagefolder", "parquet", "webdataset"])
def test_disk_that_takes_no_more_stops_it_and_it_goes_on(release, whole, tmp_path, to):
    largest = max((release.parent / "whole" / to).rglob("*"), key=lambda path: path.stat().st_size)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest.stat().st_size - 1, hard))
        with pytest.raises(OSError, match=r"is full .*: \d of 4 shards are complete.*same command to resume"):
            prepare_imigue(release, tmp_path / "out", format=to, frames_per_clip=40)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "out" / largest.relative_to(release.parent / "whole" / to)).exists()
    prepare_imigue(release, tmp_path / "out", format=to, frames_per_clip=40)
    assert hash_tree(tmp_path / "out") == whole[to]


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("only root mounts disks")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk_keeps_the_complete_parts_and_no_half_one(release, small_disk):
    with pytest.raises(OSError, match="No space left on device") as stop:
        prepare_imigue(release, small_disk / "out", frames_per_clip=40)
    assert stop.value.__cause__.errno == errno.ENOSPC
    done = {path.stem for path in (small_disk / "out" / DONE).glob("*/*.parquet")}
    assert f"{len(done)} of 4 shards" in str(stop.value)
    videos = {path.name.partition("_")[0] for path in (small_disk / "out").rglob("*.jpg")}
    assert len(videos - done) <= 1  # the one that was being moved
    assert not [path for path in (small_disk / "out" / DONE).glob("*/*") if path.is_dir()]


def test_images_are_prepared_in_shares(tmp_path, monkeypatch):
    monkeypatch.setattr("mg_vtc.data.releases.imigue.IMAGES_PER_SHARD", 15)
    release = make_image_release(tmp_path / "release")
    preparation = prepare_imigue(release, tmp_path / "out", format="parquet")
    assert preparation.splits == [("train", 3, 16, 40, 4)]
    labels = [
        set(pyarrow.parquet.read_table(path)["label"].to_pylist()) for path in (tmp_path / "out").glob("train/*")
    ]
    assert all(len(of_part) > 1 for of_part in labels)
