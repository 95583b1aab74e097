"""Submissions: right ids by the names of the classes, each sample once, the same bytes again."""

import csv
import io
import zipfile

import numpy as np
import pytest

from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES, MA52_CLASS_NAMES, SMG_CLASS_NAMES
from mg_vtc.inference.inputs import list_sources, make_inputs
from mg_vtc.inference.predictor import Prediction
from mg_vtc.inference.submissions import name_samples, number_classes, write_submission

SHUFFLED = [str(name) for name in np.random.default_rng(1).permutation(IMIGUE_CLASS_NAMES)]


def make_prediction(label, file=None, clip=None, error=None):
    return Prediction(file, clip, None, None, 1, [] if error else [label], [] if error else [1.0], error)


def sources(tmp_path, *names):
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    return list_sources(make_inputs(tmp_path / "in"))


def read_rows(path):
    text = path.read_bytes().decode() if path.suffix == ".csv" else zipfile.Path(path, f"{path.stem}.csv").read_text()
    return list(csv.reader(io.StringIO(text)))


def test_ids_begin_with_one_in_lut_and_with_zero_in_miga_whatever_the_models_order():
    lut, miga = (number_classes(submission, SHUFFLED) for submission in ("lut", "miga"))
    assert (lut["Turtle neck"], lut["Rubbing eyes"], lut["Illustrative hand gestures"]) == (1, 7, 32)
    assert (miga["Turtle neck"], miga["Rubbing eyes"], miga["Illustrative hand gestures"]) == (0, 6, 31)
    assert sorted(lut.values()) == list(range(1, 33))
    assert sorted(miga.values()) == list(range(32))
    assert all(lut[name] == miga[name] + 1 for name in SHUFFLED)
    assert [*lut] == SHUFFLED


def test_miga_takes_models_of_smg_with_its_own_ids():
    ids = number_classes("miga", SMG_CLASS_NAMES[::-1])
    assert (ids["Turtling neck and shoulder"], ids["Illustrative hand gestures"]) == (0, 16)
    assert sorted(ids.values()) == list(range(17))
    with pytest.raises(ValueError, match=r"lut submission requires .* 32 classes of iMiGUE, matched by name"):
        number_classes("lut", SMG_CLASS_NAMES)


def test_names_are_compared_without_case_and_white_space():
    ids = number_classes("lut", [f" {name.upper()}" for name in IMIGUE_CLASS_NAMES])
    assert list(ids.values()) == list(range(1, 33))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (SHUFFLED[1:], "this model has 31. Compared with iMiGUE: missing: "),
        ([*SHUFFLED, "Waving"], "this model has 33. Compared with iMiGUE: unexpected: 'Waving'"),
        ([str(number) for number in range(1, 33)], "unexpected: '1', '2'"),
        ([*SHUFFLED, SHUFFLED[0].upper()], "a name occurs twice"),
    ],
)
def test_other_classes_are_refused(names, words):
    with pytest.raises(ValueError, match=words):
        number_classes("miga", names)


def test_lut_has_a_row_for_each_frame_in_the_order_of_the_folder(tmp_path):
    named = name_samples("lut", sources(tmp_path, "G_0001.10.jpg", "G_0001.2.jpg", "x/a, b.jpg"))
    predictions = [
        make_prediction("Rubbing eyes", file="G_0001.2.jpg", clip="G_0001"),
        make_prediction("Turtle neck", file="G_0001.10.jpg", clip="G_0001"),
        make_prediction("Illustrative hand gestures", file="x/a, b.jpg"),
    ]
    path = tmp_path / "s.csv"
    assert write_submission("lut", path, predictions, named, number_classes("lut", SHUFFLED)) == 0
    rows = [["filename", "class"], ["G_0001.2.jpg", "7"], ["G_0001.10.jpg", "1"], ["a, b.jpg", "32"]]
    assert read_rows(path) == rows


def test_lut_gives_frames_the_prediction_of_their_clip(tmp_path):
    named = name_samples("lut", sources(tmp_path, "a.0.jpg", "a.1.jpg", "b.0.jpg"))
    predictions = [
        make_prediction("Head up", clip="a"),
        make_prediction(None, file="a.1.jpg", clip="a", error="not an image"),
        make_prediction("Turtle neck", clip="b"),
    ]
    write_submission("lut", tmp_path / "s.csv", predictions, named, number_classes("lut", SHUFFLED))
    assert read_rows(tmp_path / "s.csv")[1:] == [["a.0.jpg", "28"], ["a.1.jpg", "28"], ["b.0.jpg", "1"]]


def test_miga_has_a_row_for_each_clip_without_header_and_the_same_bytes_again(tmp_path):
    (tmp_path / "segments.csv").write_text("video,start_frame,end_frame\n0002,5,6\n0002,1,3\n")
    list(sources(tmp_path, "0002/0002.mp4"))
    named = name_samples("miga", list_sources(make_inputs(tmp_path / "in", segments=tmp_path / "segments.csv")))
    predictions = [
        make_prediction("Turtle neck", clip="0002_1"),
        make_prediction("Illustrative hand gestures", clip="0002_0"),
    ]
    ids = number_classes("miga", SHUFFLED)
    for name in ("s.zip", "again/s.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        assert write_submission("miga", tmp_path / name, predictions, named, ids) == 0
    assert read_rows(tmp_path / "s.zip") == [["0002_0", "31"], ["0002_1", "0"]]
    assert zipfile.ZipFile(tmp_path / "s.zip").namelist() == ["s.csv"]
    assert (tmp_path / "s.zip").read_bytes() == (tmp_path / "again" / "s.zip").read_bytes()


def test_miga_takes_clips_in_images_and_in_files(tmp_path):
    found = sources(tmp_path, "0001_0.3.jpg", "0001_0.4.jpg", "0001/0001_2.mp4")
    assert name_samples("miga", found) == {"0001_0": ("0001_0",), "0001_2": ("0001/0001_2",)}


def test_sample_without_prediction_writes_nothing(tmp_path):
    named = name_samples("lut", sources(tmp_path, "a.jpg", "b.jpg", "c.jpg"))
    predictions = [make_prediction("Head up", file="a.jpg"), make_prediction(None, file="b.jpg", error="not an image")]
    with pytest.raises(
        ValueError, match=r"2 of 3 samples have no prediction.*'b.jpg: not an image', 'c.jpg'.*`missing_class=NAME`"
    ):
        write_submission("lut", tmp_path / "s.csv", predictions, named, number_classes("lut", SHUFFLED))
    assert not (tmp_path / "s.csv").exists()


def test_clip_without_prediction_is_reported_with_the_error_of_its_video(tmp_path):
    (tmp_path / "segments.csv").write_text("video,start_frame,end_frame\n1,1,3\n1,8,9\n")
    list(sources(tmp_path, "1.mp4"))
    named = name_samples("miga", list_sources(make_inputs(tmp_path / "in", segments=tmp_path / "segments.csv")))
    predictions = [
        make_prediction("Head up", clip="1_0"),
        make_prediction(None, file="1.mp4", clip="1_1", error="it ends before frame 7"),
    ]
    with pytest.raises(ValueError, match=r"1 of 2 samples .*: '1_1: it ends before frame 7'\."):
        write_submission("miga", tmp_path / "s.zip", predictions, named, number_classes("miga", SHUFFLED))


@pytest.mark.parametrize(("submission", "name", "missing"), [("lut", "s.csv", "7"), ("miga", "s.zip", "6")])
def test_samples_without_prediction_get_the_class_that_is_reported(tmp_path, submission, name, missing):
    named = name_samples(submission, sources(tmp_path, "a_0.1.jpg", "b_0.1.jpg", "c_0.1.jpg"))
    predictions = [
        make_prediction("Head up", file=None if submission == "miga" else "b_0.1.jpg", clip="b_0"),
        make_prediction(None, file="a_0.1.jpg", clip="a_0", error="not an image"),
    ]
    ids = number_classes(submission, SHUFFLED)
    assert write_submission(submission, tmp_path / name, predictions, named, ids, "Rubbing eyes") == 2
    assert [row[1] for row in read_rows(tmp_path / name)[-3:]] == [missing, str(ids["Head up"]), missing]


def test_two_samples_of_one_name_are_refused(tmp_path):
    found = list(sources(tmp_path, "1/0000_1.0.jpg", "2/0000_1.0.jpg"))
    with pytest.raises(ValueError, match=r"'0000_1.0.jpg', '1/0000_1.0.jpg' and '2/0000_1.0.jpg': keep one"):
        name_samples("lut", found)
    with pytest.raises(ValueError, match=r"'0000_1', '1/0000_1' and '2/0000_1': keep one"):
        name_samples("miga", found)


def test_samples_of_another_form_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"<video>_<index>, but the clip of 'a.0.jpg' is 'a'"):
        name_samples("miga", sources(tmp_path, "a.0.jpg"))
    (tmp_path / "in" / "v.mp4").touch()
    with pytest.raises(ValueError, match=r"one row per image, but v.mp4 is not an image file"):
        name_samples("lut", sources(tmp_path))


def fine2coarse(action):
    """Body part of an action, as the kit of the challenge states it."""
    bounds = (4, 10, 23, 31, 37, 47)
    return sum(action > bound for bound in bounds)


def make_ma52(tmp_path, num_videos=1000):
    """A thousand anonymous videos with made predictions of a model in another order of classes."""
    rng = np.random.default_rng(0)
    names = [f"test{number:04}.mp4" for number in range(num_videos)]
    named_sources = list(sources(tmp_path, *names))
    best = np.array([rng.permutation(52)[:5] for _ in names])  # (videos, 5)
    predictions = [
        Prediction(
            None, name.removesuffix(".mp4"), None, None, 8, [MA52_CLASS_NAMES[one] for one in row], [0.2] * 5, None
        )
        for name, row in zip(names, best, strict=True)
    ]
    ids = number_classes("mac", [str(name) for name in rng.permutation(MA52_CLASS_NAMES)])
    return names, best, predictions, named_sources, ids


def test_mac_is_the_straightforward_reference_on_1000_predictions(tmp_path):
    names, best, predictions, found, ids = make_ma52(tmp_path)
    samples = name_samples("mac", found)
    path = tmp_path / "submission.zip"
    assert write_submission("mac", path, reversed(predictions), samples, ids) == 0
    lines = ["vid," + ",".join(f"{kind}_pred_{rank}" for kind in ("action", "body") for rank in (1, 2, 3, 4, 5))]
    lines += [
        ",".join([name, *map(str, row), *(str(fine2coarse(action)) for action in row)])
        for name, row in zip(names, best.tolist(), strict=True)
    ]
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["prediction.csv"]
        assert archive.read("prediction.csv").decode() == "\n".join(lines) + "\n"


def test_mac_2024_has_the_body_part_first(tmp_path):
    names, best, predictions, found, ids = make_ma52(tmp_path, num_videos=20)
    write_submission("mac_2024", tmp_path / "s.zip", predictions, name_samples("mac_2024", found), ids)
    rows = [[name, str(fine2coarse(row[0])), str(row[0])] for name, row in zip(names, best.tolist(), strict=True)]
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        read = list(csv.reader(io.StringIO(archive.read("prediction.csv").decode())))
    assert read == [["id", "pred_label_1", "pred_label_2"], *rows]


def test_mac_names_a_video_by_its_clip_in_frames_too(tmp_path):
    found = sources(tmp_path, "0003_01_0001.12.jpg", "0003_01_0001.2.jpg", "x/test0000.avi")
    assert name_samples("mac", found) == {"0003_01_0001.mp4": ("0003_01_0001",), "test0000.mp4": ("x/test0000",)}


def test_mac_refuses_segments_and_models_of_other_classes(tmp_path):
    (tmp_path / "segments.csv").write_text("video,start_frame,end_frame\ntest0000,1,3\n")
    list(sources(tmp_path, "test0000.mp4"))
    found = list_sources(make_inputs(tmp_path / "in", segments=tmp_path / "segments.csv"))
    with pytest.raises(ValueError, match="A mac submission has one row per video: leave `segments` out"):
        name_samples("mac", found)
    with pytest.raises(ValueError, match="requires a model with the 52 classes of Micro-Action-52, matched by name"):
        number_classes("mac", IMIGUE_CLASS_NAMES)


def test_missing_video_of_mac_gets_five_different_actions(tmp_path):
    *_, found, ids = make_ma52(tmp_path, num_videos=1)
    assert write_submission("mac", tmp_path / "s.zip", [], name_samples("mac", found), ids, "nodding") == 1
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert archive.read("prediction.csv").decode().splitlines()[1] == "test0000.mp4,9,0,1,2,3,1,0,0,0,0"
