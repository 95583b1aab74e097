"""Shards of cut clips: stopped at any time they end with the same bytes, and a clip belongs to one of them."""

import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from made_releases import NTSC, make_cut_clips, make_video

from mg_vtc import prepare_clips
from mg_vtc.data.releases.frames import Clip, choose_frames, extract_clip
from mg_vtc.data.releases.prepare import DONE
from mg_vtc.data.releases.video import VideoError, count_frames, count_packets

from .test_prepare import hash_tree

SMALL = "import sys, mg_vtc.data.releases.release as release; release.IMAGES_PER_SHARD = 12; "
FORMATS = ("imagefolder", "parquet", "webdataset")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr("mg_vtc.data.releases.release.IMAGES_PER_SHARD", 12)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return make_cut_clips(tmp_path_factory.mktemp("clips") / "clips", people=range(8), num_frames=20)


@pytest.mark.parametrize("to", FORMATS)
def test_killed_run_goes_on_and_ends_with_the_same_bytes(clips, tmp_path, to):
    whole, out = tmp_path / "whole", tmp_path / "out"
    prepare_clips(clips, whole, format=to, frames_per_clip=4)
    code = f"{SMALL}import mg_vtc; mg_vtc.prepare_clips(*sys.argv[1:3], format=sys.argv[3], frames_per_clip=4)"
    process = subprocess.Popen([sys.executable, "-c", code, clips, out, to])
    while process.poll() is None and not is_at_work(out):
        time.sleep(0.0005)
    process.kill()
    assert process.wait(timeout=300) == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in (out / DONE).glob("*/*.parquet")}
    assert 2 <= len(before) < len(list((whole / DONE).glob("*/*.parquet")))
    prepare_clips(clips, out, format=to, frames_per_clip=4)
    assert hash_tree(out) == hash_tree(whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def is_at_work(out):
    """Whether two shards are complete, and there is something of another."""
    with suppress(FileNotFoundError):  # it may be moved at this moment
        done = list((out / DONE).glob("*/*.parquet"))
        return len(done) >= 2 and any(path.is_file() for path in (out / DONE).glob("*/*/**/*"))
    return False


def test_several_processes_write_the_same_bytes(clips, tmp_path):
    for num_workers in (1, 2):
        prepare_clips(clips / "val", tmp_path / str(num_workers), frames_per_clip=4, num_workers=num_workers)
    assert hash_tree(tmp_path / "1") == hash_tree(tmp_path / "2")


@pytest.mark.parametrize("to", FORMATS)
def test_more_clips_give_what_a_new_folder_would_hold(clips, tmp_path, to):
    own = shutil.copytree(clips, tmp_path / "clips")
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in (own / "train").rglob("P[0-5]_*.mp4"):  # fewer shards; most clips change theirs
        path.rename(kept / f"{path.parent.name}-{path.name}")
    prepare_clips(own, tmp_path / "out", format=to, frames_per_clip=4)
    for path in kept.iterdir():
        label, _, name = path.name.partition("-")
        path.rename(own / "train" / label / name)
    prepare_clips(own, tmp_path / "out", format=to, frames_per_clip=4)
    prepare_clips(own, tmp_path / "new", format=to, frames_per_clip=4)
    assert hash_tree(tmp_path / "out") == hash_tree(tmp_path / "new")


def test_repaired_clip_changes_only_its_own_shard(clips, tmp_path):
    own = shutil.copytree(clips, tmp_path / "clips")
    video = own / "train" / "1" / "P3_0.mp4"
    data = video.read_bytes()
    video.write_bytes(b"no video")
    preparation = prepare_clips(own, tmp_path / "out", format="parquet", frames_per_clip=4)
    assert [fault.partition(":")[0] for fault in preparation.errors] == ["1/P3_0"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    video.write_bytes(data)
    assert prepare_clips(own, tmp_path / "out", format="parquet", frames_per_clip=4).errors == []
    assert len([path for path, changed in before.items() if path.stat().st_mtime_ns != changed]) == 2  # and its facts
    prepare_clips(own, tmp_path / "new", format="parquet", frames_per_clip=4)
    assert hash_tree(tmp_path / "out") == hash_tree(tmp_path / "new")


@pytest.mark.parametrize("to", FORMATS)
def test_shard_whose_clips_are_all_broken_leaves_nothing(tmp_path, to):
    clips = make_cut_clips(tmp_path / "clips", people=(1,))
    prepare_clips(clips, tmp_path / "out", format=to, frames_per_clip=4)
    for path in (clips / "test").rglob("*.mp4"):
        path.write_bytes(b"no video")
    preparation = prepare_clips(clips, tmp_path / "out", format=to, frames_per_clip=4)
    assert len(preparation.errors) == 3
    assert [(split.split, split.clips) for split in preparation.splits] == [
        ("train", 3),
        ("validation", 3),
        ("test", 0),
    ]
    assert not [path for path in (tmp_path / "out" / "test").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "options",
    [{}, {"rate": NTSC}, {"times": [500 + 40 * n + n % 3 for n in range(30)]}, {"index_first": True}],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_whole_video_gives_evenly_spaced_frames(tmp_path, suffix, options):
    path = make_video(tmp_path / f"v.{suffix}", 30, **options)
    frames = extract_clip(Clip(path, "v", 3), 7)
    assert [frame.number for frame in frames] == choose_frames(0, 29, 7)
    assert all(frame.label_id == 3 for frame in frames)


def test_video_whose_packets_are_no_count_of_frames_is_read_by_its_frames(tmp_path, monkeypatch):
    path = make_video(tmp_path / "v.mp4", 30)
    for wrong in (29, 31, 5, 60):
        monkeypatch.setattr("mg_vtc.data.releases.frames.count_packets", lambda _, wrong=wrong: wrong)
        assert [frame.number for frame in extract_clip(Clip(path, "v", 3), 7)] == choose_frames(0, 29, 7)


def test_packets_of_a_video_are_counted(tmp_path):
    path = make_video(tmp_path / "v.mp4", 30)
    assert count_packets(path) == count_frames(path) == 30
    path.write_bytes(b"no video")
    with pytest.raises(VideoError, match="cannot be decoded"):
        count_packets(path)
    with pytest.raises(FileNotFoundError, match="no video"):
        count_packets(tmp_path / "absent.mp4")
