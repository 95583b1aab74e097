"""Predictions are those of transformers' pipelines, whatever the batches, and the rest of a run is that of a whole
one."""

import subprocess
import sys
from pathlib import PurePosixPath

import numpy as np
import pytest
from conftest import CLASS_NAMES, TINY_RESNET
from made_releases import make_miga_release, make_video
from PIL import Image
from saved_models import save_model
from transformers import pipeline

from mg_vtc import predict, prepare_imigue
from mg_vtc.inference.inputs import make_inputs
from mg_vtc.inference.predictor import Predictor

GROWTH = 30e6  # bytes; 18,000 images of 32 px that were kept would be 55e6


@pytest.fixture(scope="module")
def folder(processor, tmp_path_factory):
    """A model of six classes."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer, prompt_template="a photo of {}")
    return folder


def mixed_names(images_dir):
    return [path.relative_to(images_dir).as_posix() for path in sorted(images_dir.rglob("*.png"))]


def scores_of(prediction):
    return dict(zip(prediction.labels, prediction.scores, strict=True))


def check_against(predictions, prediction):
    """Compare with what a pipeline predictions about one image."""
    scores = scores_of(prediction)
    assert len(predictions) == len(scores)
    for answer in predictions:
        assert scores[answer["label"]] == pytest.approx(answer["score"], abs=1e-5)


def test_scores_are_those_of_the_image_classification_pipeline(folder, images_dir):
    classify = pipeline("image-classification", model=str(folder))
    predictions = list(predict(folder, images_dir, top_k=6, batch_size=5))
    assert [prediction.file for prediction in predictions] == mixed_names(images_dir)
    for prediction in predictions:
        check_against(classify(str(images_dir / prediction.file), top_k=6), prediction)
        assert prediction.scores == sorted(prediction.scores, reverse=True)
        assert prediction.error is None


def test_candidates_are_those_of_the_zero_shot_pipeline(folder, images_dir):
    classify = pipeline("zero-shot-image-classification", model=str(folder))
    candidates = ["Rubbing eyes", "Head up", "Pressing lips"]
    path = images_dir / "Folding arms" / "0001.1.png"
    settings = {"candidate_labels": candidates, "prompt_template": "someone with {}"}
    (prediction,) = predict(folder, path, **settings)
    expected = classify(str(path), candidate_labels=candidates, hypothesis_template="someone with {}")
    check_against(expected, prediction)
    (by_template,) = predict(folder, path, candidate_labels=list(CLASS_NAMES), top_k=6)
    (by_classes,) = predict(folder, path, top_k=6)
    assert scores_of(by_template) == pytest.approx(scores_of(by_classes), abs=1e-5)


def test_best_classes_are_named_and_no_more_than_there_are(folder, images_dir):
    path = images_dir / "Folding arms" / "0001.1.png"
    (every,), (two,) = (list(predict(folder, path, top_k=top_k)) for top_k in (99, 2))
    assert len(every.labels) == 6
    assert sum(every.scores) == pytest.approx(1)
    assert two.labels == every.labels[:2]


def test_bad_images_are_reported_and_the_rest_is_predicted_as_without_them(folder, images_dir, tmp_path):
    for number, path in enumerate(sorted(images_dir.rglob("*.png"))[:6]):
        (tmp_path / f"p{number}.png").write_bytes(path.read_bytes())
    good = list(predict(folder, tmp_path))
    (tmp_path / "p2.png").write_bytes(b"no image")
    (tmp_path / "p4.png").write_bytes((tmp_path / "p4.png").read_bytes()[:200])
    mixed = list(predict(folder, tmp_path))
    assert [prediction.file for prediction in mixed] == [prediction.file for prediction in good]
    assert mixed[2].error == "not an image"
    assert mixed[4].error.startswith("OSError: ")
    assert not mixed[2].labels + mixed[4].labels
    for one, other in zip(mixed, good, strict=True):
        if one.error is None:
            assert scores_of(one) == pytest.approx(scores_of(other), abs=1e-6)


def test_vote_is_that_of_the_frames_of_each_clip(folder, images_dir):
    frames = list(predict(folder, images_dir, top_k=6))
    for batch_size in (3, 32):
        clips = list(predict(folder, images_dir, top_k=6, vote="mean", batch_size=batch_size))
        assert [clip.clip for clip in clips] == list(dict.fromkeys(frame.clip for frame in frames))
        for clip in clips:
            own = [scores_of(frame) for frame in frames if frame.clip == clip.clip]
            assert clip.num_frames == len(own) == 2
            assert (clip.file, clip.frame, clip.time) == (None, None, None)
            expected = {name: np.mean([scores[name] for scores in own]) for name in own[0]}
            assert scores_of(clip) == pytest.approx(expected, abs=1e-6)


def test_bad_frame_has_no_vote_and_a_clip_of_bad_frames_no_prediction(folder, images_dir, tmp_path):
    for name in ("a.0", "a.1", "b.0", "c.0"):
        (tmp_path / f"{name}.png").write_bytes((images_dir / "Head up" / "0000.0.png").read_bytes())
    for name in ("a.1", "b.0"):
        (tmp_path / f"{name}.png").write_bytes(b"no image")
    found = list(predict(folder, tmp_path, vote="majority", batch_size=1))
    told = [(prediction.clip, prediction.file, prediction.num_frames) for prediction in found]
    assert told == [("a", None, 1), ("a", "a.1.png", 1), ("b", "b.0.png", 1), ("c", None, 1)]
    assert [prediction.error for prediction in found] == [None, "not an image", "not an image", None]


def test_video_is_one_clip(folder, tmp_path):
    video = make_video(tmp_path / "v.mp4", 12)
    frames = list(predict(folder, video))
    assert [frame.frame for frame in frames] == list(range(12))
    (clip,) = predict(folder, tmp_path, vote="max")
    assert (clip.clip, clip.num_frames) == ("v", 12)
    assert clip.scores[0] == pytest.approx(max(frame.scores[0] for frame in frames), abs=1e-6)


def test_prediction_about_a_box_of_one_colour_is_that_about_an_image_of_it(folder, tmp_path):
    video = make_video(tmp_path / "v.mp4", 6)  # whose first block is black and white in turn
    (tmp_path / "boxes.csv").write_text("video,x,y,w,h\nv,1,1,6,10\n")
    for name, level in (("0", 0), ("1", 255)):
        Image.new("RGB", (9, 9), (level, level, level)).save(tmp_path / f"{name}.png")
    expected = list(predict(folder, [tmp_path / "0.png", tmp_path / "1.png"], top_k=6))
    cropped = list(predict(folder, video, crop=tmp_path / "boxes.csv", top_k=6))
    whole = list(predict(folder, video, top_k=6))
    for number in range(6):
        colour = scores_of(expected[number % 2])
        assert scores_of(cropped[number]) == pytest.approx(colour, abs=1e-6)
        assert scores_of(whole[number]) != pytest.approx(colour, abs=1e-4)


def test_predictions_about_boxes_are_those_about_the_prepared_images(folder, tmp_path):
    release = make_miga_release(tmp_path / "release")
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("video,x,y,w,h\n1,8,0,40,36\n0002,0,12,32,32\n3,0,0,64,24\n4,16,0,48,48\n")
    prepare_imigue(release, tmp_path / "out", frames_per_clip=2, crop=boxes)
    with pytest.warns(UserWarning, match="not images or videos"):
        prepared = {
            PurePosixPath(prediction.file).stem: scores_of(prediction)
            for prediction in predict(folder, tmp_path / "out", top_k=6)
        }
    settings = {"segments": release, "frames_per_clip": 2, "top_k": 6}

    def find_differences(**crop):
        predictions = list(predict(folder, release / "**" / "*.mp4", **settings, **crop))
        assert {f"{answer.clip}.{answer.frame}" for answer in predictions} == prepared.keys()
        return [
            max(
                abs(score - prepared[f"{answer.clip}.{answer.frame}"][name])
                for name, score in scores_of(answer).items()
            )
            for answer in predictions
        ]

    cropped, whole = find_differences(crop=boxes), find_differences()
    assert max(cropped) < 5e-5  # what JPEG loses
    assert np.median(whole) > 5 * np.median(cropped)


@pytest.mark.parametrize("vote", [None, "majority"])
def test_rest_of_a_run_is_that_of_the_whole_bit_by_bit(folder, images_dir, vote):
    predictor = Predictor(folder, vote=vote, batch_size=3)
    inputs = make_inputs(images_dir)
    whole = list(predictor.predict(inputs))
    assert whole[-1][0] == 32
    for place, (num_done, _) in enumerate(whole):
        rest = [prediction for _, predictions in predictor.predict(inputs, num_done) for prediction in predictions]
        assert rest == [prediction for _, predictions in whole[place + 1 :] for prediction in predictions]


def test_memory_is_flat_in_the_number_of_images(folder, tmp_path):
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    code = """if True:
        import os, resource, sys
        from pathlib import Path
        from mg_vtc import predict

        def answer(number):
            many = Path(sys.argv[2], str(number))
            many.mkdir()
            for frame in range(number):
                os.link(Path(sys.argv[2], f"{frame % 20}.png"), many / f"{frame // 10:05d}.{frame % 10}.png")
            assert sum(len(row.labels) == 5 for row in predict(sys.argv[1], many, batch_size=64)) == number
            return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        print(answer(2000), answer(20000))
    """
    command = [sys.executable, "-c", code, str(folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    few, many = map(int, done.stdout.split())
    assert many - few < GROWTH


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"top_k": 0}, "top_k must be 1 or more, got 0"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"vote": "median"}, "vote must be one of mean, max, majority, got 'median'"),
        ({"prompt_template": "a {}"}, "`prompt_template` requires `candidate_labels`"),
        ({"candidate_labels": ["waving", "nodding"], "prompt_template": "a"}, "needs one '{}'"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(folder, images_dir, settings, words):
    with pytest.raises(ValueError, match=words):
        predict(folder, images_dir, **settings)


def test_missing_model_and_input_are_refused_at_once(folder, tmp_path):
    with pytest.raises(OSError, match="There is no folder"):
        predict(str(tmp_path / "absent"), tmp_path)
    with pytest.raises(FileNotFoundError, match="No file or folder"):
        predict(folder, tmp_path / "absent.png")
