"""A temperature divides the logits at every entry point, and no loss of a training sees it."""

import importlib.util
from pathlib import Path

import datasets
import onnxruntime
import pytest
import torch
from conftest import CLASS_NAMES, TINY_DISTILBERT, TINY_RESNET, make_rows
from PIL import Image
from saved_models import save_model
from transformers import AutoModelForImageClassification, pipeline

import mg_vtc
from mg_vtc import MgVtcConfig, MgVtcModel
from mg_vtc.app.gesture_model import GestureModel
from mg_vtc.exporters.classifier import export_classifier
from mg_vtc.exporters.onnx import export_onnx
from mg_vtc.training.starting_point import take_over

HANDLER = Path(mg_vtc.__file__).parent / "hub" / "handler.py"


@pytest.fixture(scope="module")
def folder(processor, tmp_path_factory):
    """A model with the temperature 2 and a bias of its logits."""
    path = tmp_path_factory.mktemp("model")
    texts = {"text_config": TINY_DISTILBERT | {"initializer_range": 0.3}, "tokenizer": processor.tokenizer}
    save_model(path, TINY_RESNET, logit_temperature=2.0, use_logit_bias=True, **texts)
    return path


@pytest.fixture(scope="module")
def pixel_values(image):
    return mg_vtc.build_processor(32)(Image.open(image), return_tensors="pt")["pixel_values"]


@pytest.fixture(scope="module")
def expected(folder, pixel_values):
    """Scores of the image by class: the softmax of half of the logits of the same model without a temperature."""
    model = MgVtcModel.from_pretrained(folder, logit_temperature=1.0).eval()
    with torch.no_grad():
        scores = (model(pixel_values).logits_per_image / 2).softmax(dim=1)[0].tolist()
    assert max(scores) - min(scores) > 0.01
    return pytest.approx(dict(zip(CLASS_NAMES, scores, strict=True)), abs=1e-3)  # images are resized in two ways


def of_rows(rows):
    return {row["label"]: row["score"] for row in rows}


def of_logits(logits):
    scores = torch.as_tensor(logits).softmax(dim=-1)[0].tolist()
    return dict(zip(CLASS_NAMES, scores, strict=True))


def test_logits_and_their_bias_are_divided_by_the_temperature(config, class_texts):
    config.use_logit_bias = True
    torch.manual_seed(0)
    model = MgVtcModel(config).eval()
    model.logit_bias.data.fill_(-3.0)
    images = torch.randn(3, 3, 32, 32)
    plain = model(images, **class_texts).logits_per_image
    model.config.logit_temperature = 4.0
    assert torch.equal(model(images, **class_texts).logits_per_image, plain / 4)  # a power of 2 is exact


def test_saved_model_without_the_field_has_the_temperature_one_and_no_threshold(tmp_path):
    fields = MgVtcConfig().to_dict()
    del fields["logit_temperature"], fields["threshold"]
    config = MgVtcConfig.from_dict(fields)
    assert (config.logit_temperature, config.threshold) == (1.0, None)


def test_pipelines_and_the_classifier_give_the_scores(folder, image, expected, pixel_values):
    assert of_rows(pipeline("image-classification", str(folder), top_k=6)(str(image))) == expected
    compare = pipeline("zero-shot-image-classification", str(folder))
    rows = compare(str(image), candidate_labels=list(CLASS_NAMES), hypothesis_template="{}")
    assert of_rows(rows) == expected
    with torch.no_grad():
        logits = AutoModelForImageClassification.from_pretrained(folder).eval()(pixel_values).logits
    assert of_logits(logits) == expected


def test_endpoint_and_page_give_the_scores(folder, image, expected):
    spec = importlib.util.spec_from_file_location("handler", HANDLER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    request = {"inputs": image.read_bytes(), "parameters": {"top_k": 6}}
    assert of_rows(module.EndpointHandler(str(folder))(request)) == expected
    assert GestureModel(str(folder)).predict(Image.open(image).convert("RGB"), []).scores == expected


def test_exports_give_the_scores(folder, expected, pixel_values, tmp_path):
    export_onnx(str(folder), tmp_path / "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "classifier.onnx", providers=["CPUExecutionProvider"])
    assert of_logits(session.run(None, {"pixel_values": pixel_values.numpy()})[0]) == expected
    export_classifier(str(folder), tmp_path / "classifier")
    with torch.no_grad():
        logits = AutoModelForImageClassification.from_pretrained(tmp_path / "classifier").eval()(pixel_values).logits
    assert of_logits(logits) == expected


def test_predict_and_evaluate_give_the_scores(folder, image, expected):
    [prediction] = mg_vtc.predict(folder, image, top_k=6)
    assert dict(zip(prediction.labels, prediction.scores, strict=True)) == expected
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASS_NAMES))})
    rows = datasets.Dataset.from_dict({"image": [str(image)], "label": [0]}, features)
    assert of_logits(mg_vtc.evaluate(folder, rows).predictions.logits) == expected


def test_training_of_a_calibrated_model_is_that_of_the_same_model_without_calibration(config, make_trainer):
    losses = []
    for temperature in (1.0, 3.0):
        torch.manual_seed(0)
        model = MgVtcModel(config)
        model.config.logit_temperature, model.config.threshold = temperature, 0.5
        trainer = make_trainer(model, train=make_rows(8), max_steps=2)
        losses.append(trainer.train().training_loss)
        assert (model.config.logit_temperature, model.config.threshold) == (1.0, None)
    assert losses[0] == losses[1]


def test_model_with_other_classes_does_not_take_the_calibration_over(folder):
    model, _ = take_over(str(folder), ["Head up", "Head down"])
    assert (model.config.logit_temperature, model.config.threshold) == (1.0, None)
