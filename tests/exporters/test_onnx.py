"""ONNX files answer as the model does, for every tower and every batch, and say all that is needed to use them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import CLASS_NAMES, TINY_BERT, TINY_RESNET
from damage import DAMAGES
from PIL import Image
from saved_models import save_model
from tokenizers import Tokenizer
from transformers import AutoModelForImageClassification, BertTokenizer, pipeline

from mg_vtc import MgVtcModel
from mg_vtc.data.decoding import to_rgb
from mg_vtc.exporters.onnx import describe_classifier, export_onnx
from mg_vtc.models.processing_mg_vtc import build_processor
from mg_vtc.runs.manifest import find_damage

TINY_ALEXNET = {"model_type": "alexnet", "hidden_sizes": [4, 8, 8, 8, 8], "hidden_size": 16}
TINY_SWIN = {
    "model_type": "swin",
    "image_size": 32,
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [1, 2],
    "window_size": 4,
}
GUIDE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
STANDALONE = next(code for code in re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL) if "onnxruntime" in code)


@pytest.fixture(scope="module")
def tokenizer():
    """A tokenizer that gives token types, as BERT's does."""
    words = [word.lower() for name in CLASS_NAMES for word in name.split()]
    vocabulary = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    return BertTokenizer(vocab={word: index for index, word in enumerate(vocabulary)}, model_max_length=8)


@pytest.fixture(scope="module")
def folder(tokenizer, images_dir, tmp_path_factory):
    """A model whose classes are those of the images, by their embeddings, and its ONNX files in `onnx`."""
    folder = tmp_path_factory.mktemp("model")
    settings = {"text_config": TINY_BERT, "tokenizer": tokenizer, "prompt_template": "person {}"}
    model = save_model(folder, TINY_RESNET, **settings)
    for label, name in enumerate(CLASS_NAMES[:4]):
        images = [to_rgb(Image.open(path)) for path in (images_dir / name).iterdir()]
        with torch.no_grad():
            outputs = model(**build_processor(32)(images, return_tensors="pt"))
        model.class_embeds[label] = outputs.image_embeds.mean(dim=0)
    model.save_pretrained(folder)
    export_onnx(str(folder), folder / "onnx", int8=True, calibration_data=images_dir)
    return folder


@pytest.fixture(scope="module")
def pixel_values():
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def run(path, **inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value) for name, value in inputs.items()})[0]


@torch.no_grad()
def classify(folder, pixel_values):
    return AutoModelForImageClassification.from_pretrained(folder).eval()(pixel_values).logits.numpy()


@torch.no_grad()
def embed_texts(folder, inputs):
    features = MgVtcModel.from_pretrained(folder).eval().get_text_features(**inputs).pooler_output
    return torch.nn.functional.normalize(features, dim=-1).numpy()


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_classifier_gives_the_logits_of_the_model_for_any_batch(folder, pixel_values, batch_size):
    truth = classify(folder, pixel_values[:batch_size])
    assert truth.std() > 0.1
    np.testing.assert_allclose(
        run(folder / "onnx" / "classifier.onnx", pixel_values=pixel_values[:batch_size]), truth, atol=1e-4
    )


def test_norm_scale_and_batch_norms_are_folded(folder):
    graph = onnx.load(folder / "onnx" / "classifier.onnx").graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["pixel_values", "logits"]
    assert not [node for node in graph.node if node.op_type in ("BatchNormalization", "Exp", "Transpose")]
    assert graph.node[-1].op_type == "MatMul"  # by one matrix
    shapes = [tuple(tensor.dims) for tensor in graph.initializer if tensor.name == graph.node[-1].input[1]]
    assert shapes == [(12, 6)]


def test_encoders_give_the_embeddings_and_with_the_scale_the_logits_of_the_model(folder, pixel_values):
    texts = ["covering face", "person rubbing both eyes with the hands of somebody"]
    encodings = Tokenizer.from_file(str(folder / "onnx" / "tokenizer.json")).encode_batch(texts)
    inputs = {
        "input_ids": torch.tensor([text.ids for text in encodings]),
        "attention_mask": torch.tensor([text.attention_mask for text in encodings]),
        "token_type_ids": torch.tensor([text.type_ids for text in encodings]),
    }
    assert {len(text.ids) for text in encodings} == {8}  # padded, and cut at `model_max_length`
    image_embeds = run(folder / "onnx" / "image_encoder.onnx", pixel_values=pixel_values)
    text_embeds = run(folder / "onnx" / "text_encoder.onnx", **inputs)
    np.testing.assert_allclose(np.linalg.norm(text_embeds, axis=1), 1, atol=1e-5)
    metadata = onnxruntime.InferenceSession(folder / "onnx" / "image_encoder.onnx").get_modelmeta().custom_metadata_map
    logits = float(metadata["logit_scale"]) * image_embeds @ text_embeds.T
    model = MgVtcModel.from_pretrained(folder).eval()
    with torch.no_grad():
        truth = model(pixel_values, **inputs)
    np.testing.assert_allclose(logits, truth.logits_per_image.numpy(), atol=1e-4)


@pytest.mark.parametrize("length", [1, 3, 40])
def test_text_encoder_takes_any_length(folder, length):
    input_ids = torch.arange(2 * length).view(2, length) % 15
    inputs = {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "token_type_ids": torch.zeros_like(input_ids),
    }
    embeds = run(folder / "onnx" / "text_encoder.onnx", **inputs)
    np.testing.assert_allclose(embeds, embed_texts(folder, inputs), atol=1e-5)


def test_metadata_say_what_the_classes_are_and_how_to_prepare_an_image(folder):
    for name in ("classifier.onnx", "classifier.int8.onnx"):
        about = onnxruntime.InferenceSession(folder / "onnx" / name).get_modelmeta().custom_metadata_map
        assert json.loads(about["labels"]) == list(CLASS_NAMES)
        assert json.loads(about["image_size"]) == [32, 32]
        assert json.loads(about["image_mean"]) == pytest.approx([0.485, 0.456, 0.406])
        assert json.loads(about["image_std"]) == pytest.approx([0.229, 0.224, 0.225])
        assert about["resample"] == "BILINEAR"
        assert about["shortest_edge"] == "null"
        assert about["format_version"] == "2"
        assert about["prompt_template"] == "person {}"
        assert float(about["logit_scale"]) == pytest.approx(1 / 0.07, rel=1e-3)


def test_int8_classifier_is_smaller_and_has_the_same_best_classes(folder, images_dir):
    paths = sorted(images_dir.rglob("*.png"))
    pixel_values = build_processor(32)([Image.open(path) for path in paths], return_tensors="pt")["pixel_values"]
    truth, int8 = (
        run(folder / "onnx" / f"classifier{kind}.onnx", pixel_values=pixel_values) for kind in ("", ".int8")
    )
    assert len(set(truth.argmax(axis=1))) == 4
    assert (truth.argmax(axis=1) == int8.argmax(axis=1)).mean() >= 0.95
    assert 1e-6 < np.abs(truth - int8).max() < 0.1 * np.abs(truth).max()


def test_files_name_no_path_of_the_machine(folder):
    for path in (folder / "onnx").iterdir():
        content = path.read_bytes()
        assert b"site-packages" not in content, path.name
        assert b"stack_trace" not in content, path.name


def test_the_lines_of_the_readme_need_neither_torch_nor_transformers_and_agree_with_the_pipeline(folder, tmp_path):
    image = tmp_path / "image.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)).save(image)
    code = STANDALONE.replace("runs/demo", str(folder)).replace("image.jpg", str(image))
    check = "import sys\nassert not {'torch', 'transformers', 'mg_vtc'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answer = eval(done.stdout)
    truth = {row["label"]: row["score"] for row in pipeline("image-classification", str(folder))(str(image))}
    assert list(answer) == list(truth)
    assert answer == pytest.approx(truth, abs=1e-3)


@pytest.mark.parametrize("name", ["classifier.onnx", "image_encoder.onnx", "text_encoder.onnx", "tokenizer.json"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_of_an_exported_file_is_found(kind, name, folder, tmp_path):
    exported = shutil.copytree(folder / "onnx", tmp_path / "onnx")
    assert find_damage(exported) == []
    damage, words = DAMAGES[kind]
    damage(exported / name)
    (found,) = find_damage(exported)
    assert re.match(rf"{re.escape(str(exported / name))} .*({words})", found)


@pytest.mark.parametrize(("tower", "size"), [(TINY_ALEXNET, 64), (TINY_SWIN, 32)], ids=["alexnet", "swin"])
def test_vision_only_model_gives_the_classifier_alone_whatever_its_tower(tower, size, tmp_path):
    save_model(tmp_path, tower, image_size=size)
    files = export_onnx(str(tmp_path), tmp_path / "onnx")
    assert [file.name for file in files] == ["classifier.onnx"]  # there are no texts
    pixel_values = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    logits = run(tmp_path / "onnx" / "classifier.onnx", pixel_values=pixel_values)
    np.testing.assert_allclose(logits, classify(tmp_path, pixel_values), atol=1e-4)


def test_text_encoder_takes_token_types_where_the_tower_does(folder, tokenizer):
    graph = onnx.load(folder / "onnx" / "text_encoder.onnx").graph
    assert [value.name for value in graph.input] == ["input_ids", "attention_mask", "token_type_ids"]
    inputs = tokenizer(["folding", "head up"], ["arms", ""], padding=True, return_tensors="pt")
    assert inputs["token_type_ids"].any()
    embeds = run(folder / "onnx" / "text_encoder.onnx", **inputs)
    np.testing.assert_allclose(embeds, embed_texts(folder, inputs), atol=1e-5)


def test_file_that_does_not_prediction_as_the_model_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    save_model(tmp_path, TINY_RESNET)
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr("mg_vtc.exporters.onnx.MAX_DIFFERENCE", 0.0)
    with pytest.raises(ValueError, match=r"outputs of classifier\.onnx differ from the model's"):
        export_onnx(str(tmp_path), tmp_path / "onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_int8_that_predictions_otherwise_is_warned_of_and_its_files_are_not_replaced_unasked(images_dir, tmp_path):
    model = save_model(tmp_path, TINY_RESNET)
    model.class_embeds.data[:] = model.class_embeds[0] + 1e-4 * torch.randn(6, 12)  # the best of these is rounding
    model.save_pretrained(tmp_path)
    with pytest.warns(
        UserWarning, match=r"classifier\.int8\.onnx and the model agree on .* of 16 non-calibration images"
    ):
        export_onnx(str(tmp_path), tmp_path / "onnx", int8=True, calibration_data=images_dir)
    with pytest.raises(ValueError, match=r"already holds classifier\.onnx, classifier\.int8\.onnx"):
        export_onnx(str(tmp_path), tmp_path / "onnx")


def test_int8_without_images_is_refused(folder):
    with pytest.raises(ValueError, match="`calibration_data`"):
        export_onnx(str(folder), folder / "onnx", int8=True)


def test_int8_is_judged_by_images_that_did_not_calibrate_it_and_few_are_not_enough(images_dir, tmp_path):
    save_model(tmp_path / "run", TINY_RESNET)
    images = sorted(images_dir.rglob("*.png"))
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "0.png").write_bytes(images[0].read_bytes())
    with pytest.raises(ValueError, match="another for the comparison"):
        export_onnx(str(tmp_path / "run"), tmp_path / "onnx", int8=True, calibration_data=tmp_path / "few")
    (tmp_path / "few" / "1.png").write_bytes(images[1].read_bytes())
    with pytest.warns(
        UserWarning, match="was compared on 1 images, for which the model predicts 1 of 6 classes: too few"
    ):
        files = export_onnx(str(tmp_path / "run"), tmp_path / "onnx", int8=True, calibration_data=tmp_path / "few")
    assert next(file for file in files if file.name == "classifier.int8.onnx").judged_on == (1, 1)


@pytest.mark.parametrize("settings", [{"do_resize": False}, {"do_normalize": False}, {"rescale_factor": 1.0}])
def test_preparation_that_metadata_cannot_hold_is_refused(model, settings):
    processor = build_processor(32)
    assert describe_classifier(model, processor)
    for name, value in settings.items():
        setattr(processor, name, value)
    with pytest.raises(ValueError, match="of this model needs more"):
        describe_classifier(model, processor)
