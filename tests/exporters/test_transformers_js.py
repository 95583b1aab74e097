"""ONNX files for transformers.js score as the model does, in ONNX Runtime and in transformers.js itself."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import TINY_BERT, TINY_RESNET
from dual_encoders import SIDE, TEXTS, save_parent, take_over
from node_scripts import require_node, run_node
from pages import train_on_colours
from PIL import Image
from saved_models import save_model
from transformers import AutoImageProcessor, AutoTokenizer, BertTokenizer, pipeline

from mg_vtc import MgVtcModel
from mg_vtc.exporters import transformers_js
from mg_vtc.exporters.transformers_js import FILES, export_transformers_js

NAMES = ["covering face", "folding arms", "rubbing eyes and lips"]
TEMPLATE = "person {}"


def export(folder):
    """The graphs of a model, in the folder that a push makes."""
    AutoImageProcessor.from_pretrained(folder).save_pretrained(folder)  # as preprocessor_config.json
    (folder / "onnx").mkdir()
    return export_transformers_js(str(folder), folder / "onnx")


@pytest.fixture(scope="module")
def folder(images_dir, processor, tmp_path_factory):
    """A model that knows four colours, and its graphs."""
    folder = train_on_colours(tmp_path_factory.mktemp("model"), images_dir, processor.tokenizer)
    export(folder)
    return folder


@pytest.fixture(scope="module")
def vision_only(images_dir, tmp_path_factory):
    folder = train_on_colours(tmp_path_factory.mktemp("classifier"), images_dir)
    export(folder)
    return folder


def run(path, **inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value) for name, value in inputs.items()})[0]


def list_inputs(path):
    return {
        value.name: [dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for value in onnx.load(path).graph.input
    }


def test_graphs_have_the_names_inputs_and_outputs_that_transformers_js_expects(folder, vision_only):
    assert {path.name for path in (folder / "onnx").iterdir()} == set(FILES)
    assert {path.name for path in (vision_only / "onnx").iterdir()} == {
        *("model.onnx", "model_fp16.onnx", "model_quantized.onnx")
    }
    for suffix in ("", "_fp16", "_quantized"):
        model, classifier = (folder / "onnx" / f"{name}{suffix}.onnx" for name in ("model", "classifier"))
        assert list(list_inputs(model)) == ["pixel_values", "input_ids", "attention_mask"]
        assert [value.name for value in onnx.load(model).graph.output] == ["logits_per_image"]
        assert list(list_inputs(classifier)) == ["pixel_values"]
        assert [value.name for value in onnx.load(classifier).graph.output] == ["logits"]


@pytest.mark.parametrize(("num_images", "num_texts"), [(1, 1), (1, 3), (2, 3), (3, 2)])
@pytest.mark.parametrize(("suffix", "tolerance"), [("", 1e-4), ("_fp16", 0.05), ("_quantized", 0.6)])
def test_joint_graph_gives_the_logits_of_the_model_for_any_numbers(folder, num_images, num_texts, suffix, tolerance):
    pixel_values = torch.randn(num_images, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    texts = AutoTokenizer.from_pretrained(folder)(NAMES[-num_texts:], padding=True, return_tensors="pt")
    inputs = {name: texts[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        expected = MgVtcModel.from_pretrained(folder).eval()(pixel_values, **inputs).logits_per_image
    found = run(folder / "onnx" / f"model{suffix}.onnx", pixel_values=pixel_values, **inputs)
    assert expected.abs().max() > 3
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_smaller_precisions_are_smaller(folder):
    sizes = [(folder / "onnx" / f"model{suffix}.onnx").stat().st_size for suffix in ("", "_fp16", "_quantized")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.3 * sizes[1]


def test_tower_with_token_types_takes_none_in_the_joint_graph(tmp_path):
    words = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "arms", "face"])}
    tokenizer = BertTokenizer(vocab=words, model_max_length=8)
    assert "token_type_ids" in tokenizer.model_input_names
    save_model(tmp_path, TINY_RESNET, text_config=TINY_BERT, tokenizer=tokenizer)
    export(tmp_path)
    texts = tokenizer(["arms", "face arms face"], padding=True, return_tensors="pt")
    pixel_values = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = MgVtcModel.from_pretrained(tmp_path).eval()(pixel_values, **texts).logits_per_image
    inputs = {name: texts[name] for name in ("input_ids", "attention_mask")}
    found = run(tmp_path / "onnx" / "model.onnx", pixel_values=pixel_values, **inputs)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_model_that_needs_two_files_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(transformers_js, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"transformers\.js opens at most"):
        export_transformers_js(str(folder), tmp_path)
    assert not list(tmp_path.iterdir())


def test_eight_bits_that_change_the_scores_are_warned_of(vision_only, tmp_path, monkeypatch):
    monkeypatch.setattr(transformers_js, "MAX_INT8_DIFFERENCE", 0.0)
    with pytest.warns(UserWarning, match=r"The outputs of model_quantized\.onnx differ from the model's by"):
        export_transformers_js(str(vision_only), tmp_path)


def draw_images(folder, images_dir):
    """Images of the size of the model, in modes that need converting; transformers.js resizes others otherwise."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    Image.fromarray(pixels[:, :, 0]).save(folder / "grey.png")
    Image.fromarray(pixels[:, :, :3]).save(folder / "photo.jpg", quality=95)
    return sorted([*folder.iterdir(), *images_dir.rglob("*.png")])


def ask_both(folder, images, **question):
    """Scores by name of each image, by transformers.js and by Python, for both tasks."""
    paths = [str(path) for path in images]
    question = {
        "model": str(folder),
        "images": paths,
        "names": NAMES,
        "template": TEMPLATE,
        "dtype": "fp32",
    } | question
    told = run_node("transformers.js", question)
    expected = {"classes": pipeline("image-classification", str(folder), device="cpu")(paths, top_k=6)}
    if "names" in told:
        compare = pipeline("zero-shot-image-classification", str(folder), device="cpu")
        names, template = question["names"], question["template"]
        expected["names"] = compare(paths, candidate_labels=names, hypothesis_template=template)
    assert told.keys() == expected.keys()
    by_name = [
        {task: [{row["label"]: row["score"] for row in rows} for rows in given] for task, given in side.items()}
        for side in (told, expected)
    ]
    return by_name[0], by_name[1]


@pytest.mark.slow
def test_transformers_js_gives_the_scores_of_python(folder, images_dir, tmp_path):
    require_node("@huggingface/transformers")
    images = draw_images(tmp_path / "images", images_dir)
    told, expected = ask_both(folder, images, cache=str(tmp_path / "cache"))
    for task, rows in expected.items():
        for path, found, row in zip(images, told[task], rows, strict=True):
            assert found == pytest.approx(row, abs=1e-3), (task, path)


@pytest.mark.slow
def test_transformers_js_classifies_with_a_vision_only_model(vision_only, images_dir, tmp_path):
    require_node("@huggingface/transformers")
    images = sorted(images_dir.rglob("*.png"))[::8]
    told, expected = ask_both(vision_only, images, cache=str(tmp_path / "cache"), vision_only=True)
    for found, row in zip(told["classes"], expected["classes"], strict=True):
        assert found == pytest.approx(row, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp16", "q8"])
def test_smaller_precisions_have_the_same_best_class_in_transformers_js(folder, images_dir, tmp_path, dtype):
    require_node("@huggingface/transformers")
    images = sorted(images_dir.rglob("*.png"))
    told, expected = ask_both(folder, images, cache=str(tmp_path / "cache"), dtype=dtype)
    for task in ("classes", "names"):
        best = [[max(row, key=row.get) for row in side[task]] for side in (told, expected)]
        assert best[0] == best[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The outputs of (classifier|model)_quantized.onnx differ")  # of random weights
@pytest.mark.parametrize("family", ["clip", "siglip with texts padded on the left"])
def test_dual_encoder_that_was_taken_over_compares_names_in_transformers_js(family, tmp_path):
    require_node("@huggingface/transformers")
    save_parent(family, tmp_path / "parent")
    model, processor = take_over(str(tmp_path / "parent"), list(TEXTS))
    model.eval().set_class_embeds(**processor.tokenizer(list(TEXTS), padding=True, return_tensors="pt"))
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    export(tmp_path / "model")
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    question = {"names": list(TEXTS), "template": "{}", "cache": str(tmp_path / "cache")}
    told, expected = ask_both(tmp_path / "model", [tmp_path / "image.png"], **question)
    assert told["names"][0] == pytest.approx(expected["names"][0], abs=1e-3)
