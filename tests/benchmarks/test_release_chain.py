"""The chain from videos to a submission: its release, its reading of a submission, and all of it in small."""

import sys
import zipfile
from collections import Counter

import av
import numpy as np
import pytest
import release_chain
from conftest import CLASS_NAMES
from PIL import Image
from release_chain import Clip, deal_clips, read_clips, read_submission, score, write_video

from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES

pytestmark = pytest.mark.slow

COLOURS = ((220, 40, 40), (40, 200, 60), (50, 60, 220), (230, 220, 60))
TEST_SEGMENTS = ("0009_0", "0009_1", "0010_0", "0010_1")


def draw_clip(label_id, *colours):
    return Clip(label_id, [Image.new("RGB", (64, 64), colour) for colour in colours])


def write_zip(path, *lines):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("submission.csv", "".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def clips(images_dir):
    return read_clips(images_dir)


def test_clips_are_the_images_of_class_folders_numbered_from_one_in_the_order_of_the_folders(clips, images_dir):
    assert [clip.label_id for clip in clips] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    assert all(len(clip.images) == 2 for clip in clips)
    for clip in clips:
        folder = sorted(CLASS_NAMES[:4])[clip.label_id - 1]
        colour = COLOURS[CLASS_NAMES.index(folder)]
        assert np.allclose(np.mean(clip.images, axis=(0, 1, 2)), colour, atol=8)


def test_images_without_clips_are_refused(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "image.png")
    with pytest.raises(SystemExit, match="tells no clips"):
        read_clips(tmp_path)


def test_more_classes_than_imigue_has_are_refused(tmp_path):
    for name in range(33):
        (tmp_path / f"class {name}").mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / f"class {name}" / "0.0.png")
    with pytest.raises(SystemExit, match="has 33 classes, and iMiGUE has 32"):
        read_clips(tmp_path)


def test_each_clip_is_in_one_split_and_each_class_of_two_clips_is_trained_and_tested_on():
    sizes = {1: 2, 2: 4, 3: 10, 4: 2}
    clips = [draw_clip(label_id, "white") for label_id, size in sizes.items() for _ in range(size)]
    dealt = deal_clips(clips, 0)
    assert sorted(id(clip) for of_split in dealt.values() for clip in of_split) == sorted(map(id, clips))
    numbers = {split: Counter(clip.label_id for clip in of_split) for split, of_split in dealt.items()}
    assert numbers == {"train": {1: 1, 2: 2, 3: 6, 4: 1}, "validate": {2: 1, 3: 2}, "test": {1: 1, 2: 1, 3: 2, 4: 1}}


def test_the_seed_draws_which_clips_are_tested_on(clips):
    tested = [[id(clip) for clip in deal_clips(clips, seed)["test"]] for seed in (0, 0, 1)]
    assert tested[0] == tested[1] != tested[2]


def test_fewer_clips_than_videos_are_refused():
    with pytest.raises(SystemExit, match="2 clips give 1 to train, too few for 6 videos"):
        deal_clips([draw_clip(1, "white"), draw_clip(1, "black")], 0)


def test_labels_tell_the_frames_that_show_the_clip(tmp_path):
    path = tmp_path / "0001" / "0001.mp4"
    rows = write_video(path, [draw_clip(7, COLOURS[0], COLOURS[1]), draw_clip(3, COLOURS[2])])
    assert rows == [(7, 1, 10), (3, 11, 15)]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 25)
        shown = [frame.to_ndarray(format="rgb24").mean((0, 1)) for frame in container.decode(stream)]
    wanted = np.repeat(COLOURS[:3], 5, axis=0)  # (15, 3)
    assert np.allclose(shown, wanted, atol=6)


def test_submission_is_read_as_it_was_handed_in(tmp_path):
    path = write_zip(tmp_path / "a.zip", "0009_1,31", "0009_0,0")
    assert read_submission(path, {"0009_0": 1, "0009_1": 32}) == {"0009_0": 0, "0009_1": 31}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("0009_0,0",), "1 rows that are not each of the 2 samples once"),
        (("0009_0,0", "0009_1,1", "0009_1,1"), "3 rows that are not each of the 2 samples once"),
        (("0009_0,0", "0009_2,1"), "2 rows that are not each of the 2 samples once"),
        (("0009_0,1", "0009_1,32"), r"outside of 0 to 31: \[1, 32\]"),
    ],
    ids=["one is missing", "one is there twice", "another sample", "counted from one"],
)
def test_submission_of_another_form_is_refused(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        read_submission(write_zip(tmp_path / "a.zip", *lines), {"0009_0": 1, "0009_1": 32})


def test_submission_that_is_off_by_one_does_not_prediction_as_the_table(tmp_path):
    names = IMIGUE_CLASS_NAMES
    (tmp_path / "predictions.csv").write_text(f"clip,label_1\n0009_0,{names[0]}\n0009_1,{names[4]}\n")
    write_zip(tmp_path / "submission.zip", "0009_0,0", "0009_1,5")
    with pytest.raises(ValueError, match="differs from the table: 0009_1"):
        release_chain.score_predictions(tmp_path, {"train": {"0001_0": 1}, "test": {"0009_0": 1, "0009_1": 5}})


def test_score_is_the_share_of_right_predictions():
    assert score({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 1, "c": 3}) == pytest.approx(2 / 3)


def test_a_command_that_fails_ends_the_chain(tmp_path, capsys):
    command = [sys.executable, "-c", "print('why'); raise SystemExit(3)"]
    with pytest.raises(SystemExit, match=r"failed with status 3; its screen is in .*step\.log"):
        release_chain.run(command, tmp_path / "step.log")
    assert (tmp_path / "step.log").read_text() == "why\n"
    assert capsys.readouterr().out.startswith(f"$ {sys.executable} -c ")


def test_what_is_there_is_left_as_it_is(images_dir, tmp_path, monkeypatch):
    (tmp_path / "mine").touch()
    monkeypatch.setattr(sys, "argv", ["release_chain.py", str(images_dir), str(tmp_path)])
    with pytest.raises(SystemExit, match="is there already"):
        release_chain.main()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.filterwarnings("ignore:Classes of the labels file without images:UserWarning")  # 4 of 32 are made
def test_chain_ends_with_a_submission_of_all_segments(
    images_dir, tiny_recipe, tmp_path, monkeypatch, capsys, mg_vtc_command
):
    """The verbs in this process and the training without a launcher, as starting each takes seconds."""

    def run_here(command, log):
        if command[0] == "mg-vtc":
            mg_vtc_command(*command[1:])
        else:
            assert command[:2] == ("accelerate", "launch")
            run([sys.executable, *command[2:]], log)
        return 1.0

    run = release_chain.run
    monkeypatch.setattr(release_chain, "run", run_here)
    monkeypatch.setattr(release_chain, "SMALL", tiny_recipe)
    monkeypatch.setattr(release_chain, "QUICK", ("--use_cpu",))
    out = tmp_path / "chain"
    monkeypatch.setattr(sys, "argv", ["release_chain.py", str(images_dir), str(out), "--epochs", "1"])
    release_chain.main()
    screen = capsys.readouterr().out
    assert screen.startswith("10 videos of 16 clips: 8 to train, 4 to validate, 4 to test\n")
    assert "32 images to train on, 16 to validate, 32 classes" in (out / "train.log").read_text()
    assert "\n| submit | 1.0 |\n" in screen
    assert "\n| majority class, clips | 25.0 |\n" in screen
    assert screen.endswith("The submission has each of the 4 segments once, with the predictions of the table.\n")
    assert set(read_submission(out / "submission.zip", dict.fromkeys(TEST_SEGMENTS, 1))) == set(TEST_SEGMENTS)
