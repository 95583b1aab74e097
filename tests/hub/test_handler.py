"""An endpoint predicts as the pipelines of transformers do, in the schema of the task, or says what is wrong."""

import base64
import http.client
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from conftest import CLASS_NAMES, TINY_RESNET
from huggingface_hub import InferenceClient, constants
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from saved_models import save_model
from transformers import pipeline

from mg_vtc.data import decoding
from mg_vtc.data.decoding import to_rgb
from mg_vtc.data.labels import normalize_names, split_names
from mg_vtc.hub import handler as endpoint

ROOT = Path(__file__).parents[2]
HUB = ROOT / "src" / "mg_vtc" / "hub"
LABELS = ["head up", "pressing lips", "folding arms"]


def noise(mode="RGB", size=(50, 40), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(pixels).convert("RGB").convert(mode)


def encode(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def as_base64(content):
    return base64.b64encode(content).decode()


def turned():
    """An image that is upright only once its EXIF orientation is obeyed."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(noise(), exif=exif)


IMAGES = {
    "rgb": encode(noise()),
    "grey": encode(noise("L")),
    "grey with alpha": encode(noise("LA")),
    "rgba": encode(noise("RGBA")),
    "palette": encode(noise("P")),
    "bilevel": encode(noise("1")),
    "cmyk jpeg": encode(noise("CMYK"), "JPEG"),
    "jpeg": encode(noise(), "JPEG"),
    "webp": encode(noise(), "WEBP"),
    "turned": turned(),
}


UNLIKE_PIPELINES = {  # which cut 16 bits, do not scale floats, and put white for colours that a file calls transparent
    "16-bit grey": encode(Image.fromarray(np.arange(0, 64000, 32, dtype=np.uint16).reshape(40, 50))),
    "floats from 0 to 1": encode(Image.fromarray(np.linspace(0, 1, 2000, dtype=np.float32).reshape(40, 50)), "TIFF"),
    "palette with transparency": encode(noise("P"), transparency=3),
    "grey with transparency": encode(noise("L"), transparency=3),
    "rgb with transparency": encode(noise(), transparency=noise().getpixel((0, 0))),
}


@pytest.fixture(scope="module")
def folder(processor, tmp_path_factory):
    """A model in a folder, as it is on the Hub."""
    path = tmp_path_factory.mktemp("model")
    save_model(
        path,
        TINY_RESNET,
        tokenizer=processor.tokenizer,
        prompt_template="a person {}",
        logit_scale_init_value=4.6,  # the largest: scores that differ much
    )
    shutil.copyfile(HUB / "handler.py", path / "handler.py")
    return path


@pytest.fixture(scope="module")
def post(folder, tmp_path_factory):
    """Sends a request to the endpoint, which runs in a process of its own."""
    home = tmp_path_factory.mktemp("home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
    environment |= {"HF_HOME": str(home), "OMP_NUM_THREADS": "1"}  # which may go online, as on an endpoint
    command = [sys.executable, "-I", "-W", "error", str(ROOT / "tests" / "inference_toolkit.py"), str(folder)]
    with (
        open(home / "errors.txt", "w+") as errors,
        subprocess.Popen(
            command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        ) as server,
    ):
        port = server.stdout.readline()  # nothing, if it fell over
        assert port, (home / "errors.txt").read_text()

        def send(body, kind="application/json", path="/", method="POST"):
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=300)
            body = json.dumps(body).encode() if kind == "application/json" and method == "POST" else body
            connection.request(method, path, body, {"Content-Type": kind})
            response = connection.getresponse()
            content = response.read()
            connection.close()
            return response.status, content

        send.url = f"http://127.0.0.1:{int(port)}"
        yield send
        server.terminate()


@pytest.fixture(scope="module")
def ask(post):
    """The answer to a request that is answered."""

    def run(*arguments, **options):
        status, content = post(*arguments, **options)
        assert status == 200, content
        return json.loads(content)

    return run


@pytest.fixture(scope="module")
def complaint(post):
    """The words with which a request is refused."""

    def run(*arguments, **options):
        status, content = post(*arguments, **options)
        assert status == 400, content
        return json.loads(content)["error"]

    return run


@pytest.fixture(scope="module")
def classify(folder):
    return pipeline("image-classification", str(folder))


@pytest.fixture(scope="module")
def compare(folder):
    return pipeline("zero-shot-image-classification", str(folder))


def assert_same(answer, expected):
    assert [row["label"] for row in answer] == [row["label"] for row in expected]
    assert [row["score"] for row in answer] == pytest.approx([row["score"] for row in expected], abs=1e-5)
    assert all(row.keys() == {"label", "score"} for row in answer)
    scores = [row["score"] for row in expected]
    assert max(scores) - min(scores) > 1e-3  # scores that differ, so that a permutation would show


@pytest.mark.parametrize("name", [*IMAGES, *UNLIKE_PIPELINES])
def test_images_are_what_training_makes_of_them(module, name):
    content = (IMAGES | UNLIKE_PIPELINES)[name]
    with Image.open(io.BytesIO(content)) as image, Image.open(io.BytesIO(content)) as same:
        own, of_training = module._to_rgb(image), to_rgb(same)
    assert np.array_equal(own, of_training)
    assert "transparency" not in own.info | of_training.info


@pytest.mark.parametrize("name", UNLIKE_PIPELINES)
def test_predictions_are_those_to_what_training_sees(ask, classify, name):
    content = UNLIKE_PIPELINES[name]
    answer = ask({"inputs": as_base64(content)})
    assert_same(answer, classify(to_rgb(Image.open(io.BytesIO(content)))))
    assert answer != classify(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("name", IMAGES)
def test_classes_have_the_scores_of_the_image_classification_pipeline(ask, classify, name):
    answer = ask({"inputs": as_base64(IMAGES[name])})
    assert_same(answer, classify(Image.open(io.BytesIO(IMAGES[name]))))
    assert len(answer) == 5  # of six classes


@pytest.mark.parametrize("name", IMAGES)
def test_candidate_labels_have_the_scores_of_the_zero_shot_pipeline(ask, compare, name):
    parameters = {"candidate_labels": LABELS, "hypothesis_template": "this is {}"}
    answer = ask({"inputs": as_base64(IMAGES[name]), "parameters": parameters})
    expected = compare(Image.open(io.BytesIO(IMAGES[name])), candidate_labels=LABELS, hypothesis_template="this is {}")
    assert_same(answer, expected)


def test_orientation_matters_to_the_scores(ask):
    assert ask({"inputs": as_base64(IMAGES["turned"])}) != ask({"inputs": as_base64(IMAGES["rgb"])})


def test_without_a_template_the_text_is_that_of_the_training(ask, compare):
    answer = ask({"inputs": as_base64(IMAGES["rgb"]), "parameters": {"candidate_labels": LABELS}})
    assert_same(answer, compare(noise(), candidate_labels=LABELS, hypothesis_template="a person {}"))


def test_classes_as_candidate_labels_have_the_scores_of_the_classes(ask):
    image = as_base64(IMAGES["rgb"])
    named = ask({"inputs": image, "parameters": {"candidate_labels": list(CLASS_NAMES)}})
    classes = ask({"inputs": image, "parameters": {"top_k": 6}})
    assert_same(named, classes)
    assert sum(row["score"] for row in classes) == pytest.approx(1)


def test_images_of_a_list_are_predicted_as_each_alone(ask):
    names = ["rgb", "turned", "grey"]
    for parameters in ({}, {"candidate_labels": LABELS}):
        predictions = ask({"inputs": [as_base64(IMAGES[name]) for name in names], "parameters": parameters})
        for name, answer in zip(names, predictions, strict=True):
            assert_same(answer, ask({"inputs": as_base64(IMAGES[name]), "parameters": parameters}))


def test_list_of_one_image_is_predicted_by_a_list(ask):
    image = as_base64(IMAGES["rgb"])
    assert ask({"inputs": [image]}) == [ask({"inputs": image})]


@pytest.mark.parametrize("name", ["rgb", "turned", "jpeg"])
def test_file_sent_as_such_is_predicted_as_its_base64(ask, name):
    kind = "image/jpeg" if name == "jpeg" else "image/png"
    assert ask(IMAGES[name], kind=kind) == ask({"inputs": as_base64(IMAGES[name])})


def test_parameters_may_stand_in_the_query(ask):
    image = as_base64(IMAGES["rgb"])
    for parameters in ({"top_k": 2}, {"candidate_labels": ", ".join(LABELS)}):
        answer = ask(IMAGES["rgb"], kind="image/png", path=f"/predict?{urlencode(parameters)}")
        assert answer == ask({"inputs": image, "parameters": parameters})
    assert [row["label"] for row in answer] == [
        row["label"] for row in ask({"inputs": image, "parameters": {"candidate_labels": LABELS}})
    ]


def test_image_has_several_forms(ask):
    plain = as_base64(IMAGES["rgb"])
    expected = ask({"inputs": plain, "parameters": {"candidate_labels": LABELS}})
    lines = "\n".join(re.findall(".{1,76}", plain))
    for form in (f"data:image/png;base64,{plain}", lines):
        assert ask({"inputs": form, "parameters": {"candidate_labels": LABELS}}) == expected
    assert ask({"inputs": {"image": plain, "candidate_labels": LABELS}}) == expected
    assert ask({"inputs": {"image": [plain]}, "parameters": {"candidate_labels": LABELS}}) == [expected]


def test_null_parameters_and_options_of_the_service_change_nothing(ask):
    plain = {"inputs": as_base64(IMAGES["rgb"])}
    names = ("candidate_labels", "hypothesis_template", "top_k")
    assert ask(plain | {"parameters": dict.fromkeys(names), "options": {"wait_for_model": True}}) == ask(plain)


def test_top_k_beyond_the_labels_gives_all(ask):
    image = as_base64(IMAGES["rgb"])
    assert len(ask({"inputs": image, "parameters": {"top_k": 99}})) == 6
    assert len(ask({"inputs": image, "parameters": {"top_k": 1, "candidate_labels": LABELS}})) == 1


def test_client_of_the_hub_understands_the_predictions(post, classify, compare, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # it is sent to the loopback interface
    client = InferenceClient(model=post.url, token="of nobody")
    path = tmp_path / "image.png"
    path.write_bytes(IMAGES["rgb"])
    assert_same(client.image_classification(str(path)), classify(noise()))
    assert_same(client.image_classification(IMAGES["rgb"], top_k=3), classify(noise(), top_k=3))
    expected = compare(noise(), candidate_labels=LABELS, hypothesis_template="a photo of {}")
    assert_same(
        client.zero_shot_image_classification(
            IMAGES["rgb"], candidate_labels=LABELS, hypothesis_template="a photo of {}"
        ),
        expected,
    )


@pytest.mark.parametrize(
    ("code", "error"),
    [("import mg_vtc", "ModuleNotFoundError"), ("socket.create_connection(('127.0.0.1', 9))", "PermissionError")],
)
def test_package_and_network_are_out_of_reach_of_the_endpoint(code, error):
    way = (
        f"import socket, sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import inference_toolkit as toolkit; "
        f"toolkit.shut_in(); {code}"
    )
    done = subprocess.run([sys.executable, "-I", "-c", way], capture_output=True, text=True, timeout=300)
    assert done.stderr.splitlines()[-1].startswith(error)


def test_health_is_reported(post):
    assert post(None, method="GET", path="/health") == (200, b"Ok")


RGB = as_base64(IMAGES["rgb"])
REFUSED = {
    "no image": ({"inputs": None}, r"fields 'inputs'"),
    "empty text": ({"inputs": ""}, r"Image 0 .* it is empty"),
    "empty list": ({"inputs": []}, r"has 0 images; send 1 to 64"),
    "too many images": ({"inputs": [RGB] * 65}, r"has 65 images; send 1 to 64"),
    "number": ({"inputs": 3}, r"send the base64 of a file, not 3"),
    "second is wrong": ({"inputs": [RGB, {"image": RGB}]}, r"Image 1 .* send the base64 of a file, not \{'image'"),
    "not base64": ({"inputs": "an image, please"}, r"base64 of a file, got 'an image, please'"),
    "a path": ({"inputs": "/etc/passwd"}, r"base64 of a file, got '/etc/passwd'"),
    "a path that is base64": ({"inputs": "/etc/nothing"}, r"not a file of the formats BMP, GIF, JPEG"),
    "data URL of text": ({"inputs": "data:image/svg+xml,<svg/>"}, r"data: URL must be base64, got 'data:image/svg"),
    "not an image": ({"inputs": as_base64(b"%PDF-1.4 ...")}, r"not a file of the formats BMP, GIF, JPEG"),
    "a kind that needs other programs": (
        {"inputs": as_base64(encode(noise(), "EPS"))},
        r"not a file of the formats BMP, GIF, JPEG",
    ),
    "truncated png": ({"inputs": as_base64(IMAGES["rgb"][:3000])}, r"cannot be read: .*truncated"),
    "truncated jpeg": ({"inputs": as_base64(IMAGES["jpeg"][:1000])}, r"cannot be read: .*truncated"),
    "bomb": (
        {"inputs": as_base64(encode(Image.new("1", (10000, 8000))))},
        r"10000 x 8000 pixels; send at most 50,000,000",
    ),
    "greater bomb": ({"inputs": as_base64(encode(Image.new("1", (20000, 10000))))}, r"cannot be read: .*200000000"),
    "URL": ({"inputs": "https://example.org/image.jpg"}, "not download URLs"),
    "file URL": ({"inputs": "file:///etc/passwd"}, r"not download URLs"),
    "field of the request": ({"inputs": RGB, "candidate_labels": LABELS}, r"into 'parameters'"),
    "mapping without image": ({"inputs": {"candidate_labels": LABELS}}, r"must have an 'image'"),
    "parameter twice": ({"inputs": {"image": RGB, "top_k": 1}, "parameters": {"top_k": 2}}, r"'parameters' repeats"),
    "parameters of no names": ({"inputs": RGB, "parameters": ["top_k"]}, r"must map names to values, got \['top_k'\]"),
    "top-k of a service": ({"inputs": RGB, "parameters": {"topk": 3}}, r"Unknown parameter 'topk'; .*'top_k'"),
    "top_k as text": ({"inputs": RGB, "parameters": {"top_k": "3"}}, r"'top_k' must be an integer, got '3'"),
    "top_k as truth": ({"inputs": RGB, "parameters": {"top_k": True}}, r"'top_k' must be an integer, got True"),
    "top_k of none": ({"inputs": RGB, "parameters": {"top_k": 0}}, r"'top_k' must be at least 1, got 0"),
    "labels as a mapping": (
        {"inputs": RGB, "parameters": {"candidate_labels": {"a": 1}}},
        r"must be a list of strings",
    ),
    "no labels": ({"inputs": RGB, "parameters": {"candidate_labels": []}}, r"has 0 labels; send 1 to 1000"),
    "label that is a number": ({"inputs": RGB, "parameters": {"candidate_labels": ["a", 7]}}, r"has 7; each must be"),
    "empty label": ({"inputs": RGB, "parameters": {"candidate_labels": "a,,b"}}, r"has ''; each must be"),
    "too many labels": (
        {"inputs": RGB, "parameters": {"candidate_labels": [str(i) for i in range(1001)]}},
        r"has 1001 labels",
    ),
    "long label": ({"inputs": RGB, "parameters": {"candidate_labels": ["up " * 600]}}, r"too long for this model"),
    "label that is a file": (
        {"inputs": RGB, "parameters": {"candidate_labels": [[RGB]]}},
        r"\.\.\.; each must be",
    ),
    "name that is a file": ({"inputs": RGB, "parameters": {RGB: 1}}, r"Unknown parameter .* characters\); use"),
    "half a character": (
        {"inputs": RGB, "parameters": {"candidate_labels": ["head \ud800", "up"]}},
        r"has 'head .*; each must be a non-empty string of visible characters",
    ),
    "label of unknown words": (
        {"inputs": RGB, "parameters": {"candidate_labels": ["\u63e1\u624b", "up"]}},
        r"unknown to the model",
    ),
    "template without labels": (
        {"inputs": RGB, "parameters": {"hypothesis_template": "{}"}},
        r"requires 'candidate_labels'",
    ),
    "template without a place": (
        {"inputs": RGB, "parameters": {"candidate_labels": LABELS, "hypothesis_template": "{label}"}},
        r"needs one '\{\}' for the label and no other braces, got '\{label\}'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_request_that_cannot_be_served_is_refused_with_the_reason(complaint, name):
    request, words = REFUSED[name]
    text = complaint(request)
    assert re.search(words, text), text
    assert len(text) < 400  # whatever was sent


def load(folder):
    """The handler's module, loaded into this process."""
    spec = importlib.util.spec_from_file_location("loaded_handler", folder / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def module(folder):
    return load(folder)


@pytest.fixture(scope="module")
def handler(module, folder):
    return module.EndpointHandler(str(folder))


def test_bytes_and_pil_images_are_images(handler):
    assert handler({"inputs": IMAGES["rgb"]}) == handler({"inputs": noise()}) == handler({"inputs": RGB})
    first, second = handler({"inputs": [IMAGES["rgb"], noise()]})
    assert first == second


def test_large_pil_image_is_refused_too(handler):
    with pytest.raises(ValueError, match="10000 x 8000 pixels"):
        handler({"inputs": Image.new("1", (10000, 8000))})


def test_long_thin_image_and_too_many_pixels_together_are_refused(handler, module, monkeypatch):
    """A file of 97 kB took seconds and gigabytes, and 64 of them are in a request."""
    with pytest.raises(ValueError, match=r"1 x 20001 pixels; send at most 50,000,000, 20,000 per side"):
        handler({"inputs": encode(Image.new("1", (1, 20001)))})
    monkeypatch.setattr(module, "MAX_PIXELS_OF_REQUEST", 2 * 40 * 50)
    assert len(handler({"inputs": [RGB, RGB]})) == 2
    with pytest.raises(ValueError, match=r"Image 2 .*the request has more than 4,000 pixels; send fewer"):
        handler({"inputs": [RGB, RGB, RGB]})


def test_batch_is_one_forward_and_known_labels_are_not_encoded_again(handler):
    calls = {"vision_model": 0, "text_model": 0}
    for name in calls:

        def count(*_, name=name):
            calls[name] += 1

        getattr(handler.model, name).register_forward_pre_hook(count)
    request = {"inputs": [RGB] * 3, "parameters": {"candidate_labels": "one, two, three"}}
    first = handler(request)
    assert calls == {"vision_model": 1, "text_model": 1}
    assert handler(request) == first
    assert calls == {"vision_model": 2, "text_model": 1}
    handler(request | {"parameters": {"candidate_labels": "one, two, four"}})
    assert calls == {"vision_model": 3, "text_model": 2}


def test_known_labels_are_forgotten_before_they_fill_the_memory(handler, module):
    for i in range(module.NUM_CACHED_TEXTS + 3):
        handler({"inputs": RGB, "parameters": {"candidate_labels": [f"label {i}"]}})
    assert handler._cached_text_states.cache_info().currsize == module.NUM_CACHED_TEXTS


def test_vision_only_model_knows_its_classes_alone(tmp_path):
    save_model(tmp_path, {"model_type": "alexnet", "hidden_sizes": [4, 8, 8, 8, 8], "hidden_size": 16}, image_size=64)
    shutil.copyfile(HUB / "handler.py", tmp_path / "handler.py")
    handler = load(tmp_path).EndpointHandler(str(tmp_path))
    assert_same(handler({"inputs": RGB}), pipeline("image-classification", str(tmp_path))(noise()))
    with pytest.raises(ValueError, match=r"vision-only .* Omit them to use its own 6 classes"):
        handler({"inputs": RGB, "parameters": {"candidate_labels": LABELS}})


def test_requirements_are_the_libraries_of_the_code_on_the_hub_with_the_bounds_of_the_package():
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounds = {re.match(r"[\w.-]+", dependency)[0]: dependency for dependency in dependencies}
    required = (HUB / "requirements.txt").read_text().splitlines()
    assert required == [bounds[name] for name in ("torch", "transformers", "huggingface_hub", "pillow")]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([RGB, "{}"])
KEYS = st.sampled_from(
    ["inputs", "parameters", "options", "image", "candidate_labels", "hypothesis_template", "top_k"]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=2) | st.integers(), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(VALUES | st.fixed_dictionaries({"inputs": VALUES | st.just(RGB)}, optional={"parameters": VALUES}))
def test_any_request_gets_a_prediction_or_a_complaint(handler, request):
    with suppress(ValueError):  # status 400, with its text
        assert isinstance(handler(request), list)


@pytest.mark.parametrize(
    "names", [["a", "A "], ["a", ""], ["\u200b", "b"], ["a\x07", "b"], ["caf\u00e9", "cafe\u0301"]]
)
def test_labels_that_the_package_refuses_are_refused_here(module, names):
    with pytest.raises(ValueError, match="class name"):
        normalize_names(names)
    with pytest.raises(ValueError, match="candidate_labels"):
        module._normalize_labels(names)


@pytest.mark.parametrize("text", ["a, b", 'head up,"buckle button, adjusting tie"', " cafe\u0301 ,b  c"])
def test_labels_in_a_text_are_those_of_the_package(module, text):
    assert module._normalize_labels(module._split_labels(text)) == split_names(text)


def test_middle_of_long_images_is_that_of_the_training():
    """The handler imports no file of the project, so it has copies of its own."""
    assert endpoint.LONGEST == decoding.LONGEST
    sides = [*range(1, 40), 1000, 19_999, 20_000]
    for width in sides:
        for height in sides:
            assert endpoint._find_middle(width, height) == decoding.find_middle(width, height)
