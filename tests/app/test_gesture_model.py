"""Claims about the predictions of the page: what is asked, what is refused, what is shown."""

import numpy as np
import pytest
import torch
from conftest import CLASS_NAMES, TINY_BERT, TINY_RESNET, TINY_VIT
from PIL import Image
from saved_models import save_model
from transformers import BertConfig, pipeline

from mg_vtc.app.gesture_model import GestureModel, open_image, paint_heat, read_names

NAMES = ["rubbing eyes", "head up", "arms akimbo"]


@pytest.fixture(scope="module")
def gesture_model(two_class_run):
    return GestureModel(str(two_class_run))


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        (" \n ", []),
        ("folding arms, covering face", ["folding arms", "covering face"]),
        ("folding arms\n\n  covering   face \n", ["folding arms", "covering face"]),
        ("a, b , c,", ["a", "b", "c"]),
        ("Buckle button, adjusting tie\r\nhead up\n", ["Buckle button, adjusting tie", "head up"]),
        ("a, b; c;", ["a, b", "c"]),
        ('head up,"buckle button, adjusting tie"', ["head up", "buckle button, adjusting tie"]),
        ("a, b,\nc", ["a", "b", "c"]),
    ],
)
def test_names_are_parted_by_lines_or_else_by_commas(text, names):
    assert read_names(text) == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" , ,\n", "Name 1 in '' is empty"),
        ("a,, b", "Name 2 in 'a,, b' is empty"),
        ("folding arms", "“folding arms” alone would always score 100 %"),
        ("head up, Head  up", "are the same class name"),
        (",".join(map(str, range(101))), "There are 101 names; the limit is 100"),
    ],
)
def test_names_that_cannot_be_compared_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        read_names(text)


def test_scores_are_those_of_the_pipelines(gesture_model, two_class_run, image):
    classify = pipeline("image-classification", str(two_class_run))
    compare = pipeline("zero-shot-image-classification", str(two_class_run))
    for names, predictions in (
        ([], classify(image)),
        (NAMES, compare(image, candidate_labels=NAMES, hypothesis_template="{}")),
    ):
        scores, _ = gesture_model.predict(image, names)
        assert list(scores) == (names or list(CLASS_NAMES[:2]))
        assert scores == pytest.approx({row["label"]: row["score"] for row in predictions}, abs=1e-6)


def test_map_is_that_of_the_likeliest_name_and_others_change_it(gesture_model, image):
    heats = [gesture_model.predict(image, names).heat for names in ([], NAMES)]
    assert {heat.shape for heat in heats} == {(4, 4)}
    assert not np.array_equal(*heats)


def test_names_that_are_one_text_to_the_model_are_refused(gesture_model, image):
    with pytest.raises(ValueError, match="“Head up” and “head UP” are the same to this model"):
        gesture_model.predict(image, ["Head up", "rubbing eyes", "head UP"])
    with pytest.raises(ValueError, match="knows no word of the name '握手'"):
        gesture_model.predict(image, ["握手", "微笑"])


def test_name_that_is_too_long_is_refused_and_not_cut(gesture_model, image):
    with pytest.raises(ValueError, match=r"“head head .*…” is too long: the limit of this model is \d+ tokens"):
        gesture_model.predict(image, ["head " * 700, "rubbing eyes"])


def test_vision_only_model_knows_its_classes_alone(tmp_path, image):
    save_model(tmp_path, TINY_RESNET)
    model = GestureModel(str(tmp_path))
    assert model.tokenizer is None
    assert list(model.predict(image, []).scores) == list(CLASS_NAMES)
    with pytest.raises(ValueError, match="vision-only: it predicts its own classes only"):
        model.predict(image, NAMES)


def test_tower_without_positions_predictions_without_a_map(tmp_path, image):
    save_model(tmp_path, TINY_VIT | {"patch_size": 32})  # the whole image is one patch
    scores, heat = GestureModel(str(tmp_path)).predict(image, [])
    assert sum(scores.values()) == pytest.approx(1)
    assert heat is None


def test_half_precision_checkpoint_predictions_on_a_cpu(two_class_run, tmp_path, image):
    from transformers import AutoProcessor

    from mg_vtc import MgVtcModel

    MgVtcModel.from_pretrained(two_class_run, dtype=torch.float16).save_pretrained(tmp_path)
    AutoProcessor.from_pretrained(two_class_run).save_pretrained(tmp_path)
    assert GestureModel(str(tmp_path)).predict(image, []).heat.dtype == np.float32


def test_other_models_are_refused(tmp_path):
    BertConfig(**{key: value for key, value in TINY_BERT.items() if key != "model_type"}).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model of type 'bert'"):
        GestureModel(str(tmp_path))
    with pytest.raises(OSError, match="There is no model 'absent'"):
        GestureModel("absent")


@pytest.mark.parametrize(
    ("content", "suffix"),
    [(b"", ".png"), (b"no image", ".jpg"), (b"<svg xmlns='http://www.w3.org/2000/svg'/>", ".svg")],
)
def test_files_that_are_not_images_are_refused(tmp_path, content, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as an image") as error:
        open_image(path)
    assert str(tmp_path) not in str(error.value)


def test_damaged_images_are_refused(tmp_path, image):
    image.save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-1000])
    assert open_image(tmp_path / "whole.png").size == (50, 40)
    with pytest.raises(ValueError, match="cannot be read as an image"):
        open_image(tmp_path / "cut.png")


@pytest.mark.parametrize("size", [(8000, 8000), (20000, 20000), (1, 20001)])
def test_huge_images_are_refused_before_they_are_decoded(tmp_path, size):
    Image.new("1", size).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match="limit of 50 million pixels, or 20,000 on a side"):
        open_image(tmp_path / "huge.png")


def test_formats_that_other_programs_would_read_are_not_images(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "page.eps")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        open_image(tmp_path / "page.eps")


def test_images_are_upright_and_rgb(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (60, 30)).save(tmp_path / "turned.jpg", exif=exif)
    opened = open_image(tmp_path / "turned.jpg")
    assert (opened.mode, opened.size) == ("RGB", (30, 60))


def test_paint_is_where_the_heat_is_and_the_image_keeps_its_shape():
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[0, 3] = 1
    grey = Image.new("RGB", (2000, 1000), (90, 90, 90))
    painted = np.asarray(paint_heat(grey, heat)).astype(int)
    assert painted.shape == (384, 768, 3)
    red = painted[..., 0] - painted[..., 1]
    assert red[20, 740] > 80
    assert (red[200:] == 0).all()
    assert (red[:, :380] == 0).all()
    assert grey.size == (2000, 1000)
