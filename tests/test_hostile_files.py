"""Every hostile file through every door: it is read right, named, or refused in clear words; nothing hangs."""

import re
import signal
import warnings

import datasets
import numpy as np
import PIL.Image
import pytest
from conftest import CLASS_NAMES, TINY_RESNET
from hostile_files import CASES, NOISE, READ, SIDE
from saved_models import save_model

from mg_vtc import evaluate, load_image_folder, predict
from mg_vtc.app.gesture_model import GestureModel, open_image
from mg_vtc.data.cache import ImageCache
from mg_vtc.data.decoding import decode, resize, to_rgb
from mg_vtc.data.streaming import ImageStream, load_stream
from mg_vtc.hub import handler as endpoint

SECONDS = 20  # for each door; a file that hangs would wait for ever
ON_DISK = [name for name, case in CASES.items() if case.on_disk != READ]
READABLE = [name for name, case in CASES.items() if case.on_disk == READ]
NO_FILES = ("link to the folder above", "named pipe", "endless device")  # which are never opened
ORDER = {name: number for number, name in enumerate(CASES)}  # folders, where all are in one
SENT = [name for name, case in CASES.items() if case.sent is not None]


@pytest.fixture(autouse=True)
def in_time():
    """End a test that hangs, also in a system call."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def model_folder(processor, tmp_path_factory):
    """A model of two classes, which crops images to a central square."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer, id2label=dict(enumerate(CLASS_NAMES[:2])))
    return folder


@pytest.fixture(scope="module")
def handler(model_folder):
    return endpoint.EndpointHandler(str(model_folder))


@pytest.fixture(scope="module")
def gesture_model(model_folder):
    return GestureModel(str(model_folder))


def make_folder(folder, *names):
    """Two classes of two whole images each, and hostile files in the first; gives the paths of these."""
    for label in CLASS_NAMES[:2]:
        (folder / label).mkdir(parents=True)
        for number in range(2):
            NOISE.rotate(90 * number).save(folder / label / f"whole{number}.png")
    paths = {}
    for number, name in enumerate(names):
        part = folder / CLASS_NAMES[0] / str(number)
        part.mkdir()
        CASES[name].make(part / CASES[name].name)
        paths[name] = part / CASES[name].name
    return paths


def load(folder):
    """The rows of a folder without its corrupt images, and the text of all warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = load_image_folder(folder, skip_corrupt_images=True)["train"]
    return rows, "\n".join(str(warning.message) for warning in caught)


@pytest.mark.parametrize("name", CASES)
def test_training_reads_it_or_names_it_before_it_begins(tmp_path, name):
    (path,) = make_folder(tmp_path, name).values()
    rows, said = load(tmp_path)
    file_name = path.relative_to(tmp_path).as_posix()
    if CASES[name].on_disk == READ:
        assert said == ""
        assert file_name in rows["file_name"]
        pixels = ImageCache(rows, SIDE).open()
        row = list(rows["file_name"]).index(file_name)
        np.testing.assert_array_equal(pixels[row], decode({"path": str(path), "bytes": None}, SIDE))
    else:
        assert len(rows) == 4
        assert str(path) in said
        assert re.search(CASES[name].on_disk, said), said


@pytest.mark.parametrize("name", [name for name in ON_DISK if name not in NO_FILES])
def test_training_that_skips_nothing_refuses_corrupt_images(tmp_path, name):
    (path,) = make_folder(tmp_path, name).values()
    with pytest.raises(ValueError, match=rf"1 of 5 files are not readable images:\n  {re.escape(str(path))}: "):
        load_image_folder(tmp_path)


@pytest.fixture(scope="module")
def evaluated(model_folder, tmp_path_factory):
    """Names of the evaluated images, by the name of the case; loaded as `mg-vtc evaluate` does."""
    folder = tmp_path_factory.mktemp("evaluated")
    paths = make_folder(folder, *CASES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = evaluate(str(model_folder), str(folder), skip_corrupt_images=True).predictions.file_names
    return {case: path.relative_to(folder).as_posix() in names for case, path in paths.items()}


@pytest.fixture(scope="module")
def predicted(model_folder, tmp_path_factory):
    """Predictions of a folder with all files, by the name of the case, and the text of all warnings."""
    folder = tmp_path_factory.mktemp("predicted")
    paths = make_folder(folder, *CASES)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = {prediction.file: prediction for prediction in predict(str(model_folder), str(folder))}
    predictions = {case: found.get(path.relative_to(folder).as_posix()) for case, path in paths.items()}
    return predictions, "\n".join(str(warning.message) for warning in caught)


@pytest.mark.parametrize("name", CASES)
def test_evaluation_scores_it_or_leaves_it_out(evaluated, name):
    assert evaluated[name] == (CASES[name].on_disk == READ)


@pytest.mark.parametrize("name", CASES)
def test_prediction_names_a_class_or_the_error(predicted, name):
    predictions, said = predicted
    prediction, words = predictions[name], CASES[name].on_disk
    if name in NO_FILES:
        assert prediction is None
        assert re.search(rf"Skipped 3 files .*/{ORDER[name]}/a.jpg", said)
    elif words == READ:
        assert prediction.error is None
        assert len(prediction.labels) == 2
    else:
        assert re.search(words, prediction.error), prediction.error


@pytest.mark.parametrize("name", SENT)
def test_endpoint_predicts_it_or_says_why_not(handler, tmp_path, name):
    CASES[name].make(tmp_path / "file")
    content = (tmp_path / "file").read_bytes()
    if CASES[name].sent == READ:
        assert len(handler({"inputs": content})) == 2
        with PIL.Image.open(tmp_path / "file") as own, PIL.Image.open(tmp_path / "file") as of_training:
            assert np.array_equal(endpoint._to_rgb(own), to_rgb(of_training))
    else:
        with pytest.raises(ValueError, match=CASES[name].sent):
            handler({"inputs": content})


@pytest.mark.parametrize("name", SENT)
def test_page_predicts_it_or_says_why_not(gesture_model, tmp_path, name):
    path = tmp_path / "file"
    CASES[name].make(path)
    if CASES[name].sent == READ:
        image = open_image(path)
        assert sum(gesture_model.predict(image, []).scores.values()) == pytest.approx(1)
        np.testing.assert_array_equal(resize(image, SIDE), decode({"path": str(path), "bytes": None}, SIDE))
    else:
        with pytest.raises(ValueError, match=r"cannot be read as an image|exceeds the limit"):
            open_image(path)


@pytest.mark.parametrize("name", SENT)
def test_stream_reads_it_or_names_it(tmp_path, name):
    CASES[name].make(tmp_path / "file")
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["a", "b"]))
    images = [{"bytes": (tmp_path / "file").read_bytes(), "path": CASES[name].name}]
    rows = datasets.Dataset.from_dict({"image": images, "label": [0]}, features=features)
    (tmp_path / "shards").mkdir()
    rows.to_parquet(tmp_path / "shards" / "train-00000-of-00001.parquet")
    stream = ImageStream(load_stream(str(tmp_path / "shards"))["train"], SIDE, 1, repeat=False)
    if CASES[name].on_disk == READ:
        (row,) = stream
        assert row["pixel_values"].shape == (3, SIDE, SIDE)
    else:
        with pytest.raises(ValueError, match=CASES[name].on_disk):
            next(iter(stream))


def test_folder_named_like_an_image_is_a_folder(model_folder, tmp_path):
    """Through training, evaluation and prediction; the endpoint and the page are sent no folders."""
    make_folder(tmp_path / "data")
    folder = tmp_path / "data" / CLASS_NAMES[0] / "x.jpg"
    folder.mkdir()
    NOISE.save(folder / "inner.png")
    name = f"{CLASS_NAMES[0]}/x.jpg/inner.png"
    rows, said = load(tmp_path / "data")
    assert (name in rows["file_name"], len(rows), said) == (True, 5, "")
    assert name in evaluate(str(model_folder), str(tmp_path / "data")).predictions.file_names
    assert name in [prediction.file for prediction in predict(str(model_folder), str(tmp_path / "data"))]
    (prediction,) = predict(str(model_folder), str(folder))
    assert prediction.error is None
    with pytest.raises(ValueError, match="cannot be read as an image"):
        open_image(folder)


def test_file_with_a_leading_dash_at_the_top_is_a_file(model_folder, mg_vtc_command, tmp_path, monkeypatch, capsys):
    NOISE.save(tmp_path / "-a.png")
    monkeypatch.chdir(tmp_path)
    (prediction,) = predict(str(model_folder), "-a.png")
    assert (prediction.file, prediction.error) == ("-a.png", None)
    for words in (["--", model_folder, "-a.png"], [model_folder, "./-a.png"], [model_folder, "."]):
        mg_vtc_command("predict", *words)
        assert capsys.readouterr().out.splitlines()[1].startswith("-a.png ")
    assert open_image(tmp_path / "-a.png").size == NOISE.size


def test_class_folder_with_a_leading_dash_is_a_class(tmp_path):
    for name in ("-a", "--help"):
        (tmp_path / name).mkdir()
        NOISE.save(tmp_path / name / "-1.png")
    rows, said = load(tmp_path)
    assert (rows.features["label"].names, said) == (["--help", "-a"], "")
