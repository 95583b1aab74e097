"""Claims about the folder of the web page, by its files; `test_web_page.py` opens it in a browser."""

import hashlib
import json
import re

import numpy as np
import onnxruntime
import PIL.Image
import pytest
from conftest import TINY_RESNET
from saved_models import save_model

from mg_vtc import predict
from mg_vtc.cli.main import main
from mg_vtc.exporters import web_runtime
from mg_vtc.exporters.web import PAGE, export_web
from mg_vtc.exporters.web_runtime import LIBRARIES, PAGE_FILES, RUNTIME_FILES, fetch_runtime, find_runtime

ADDRESS = re.compile(r"(?:https?|wss?):|//[a-z]+\.", re.IGNORECASE)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, processor, web_runtime_cache):
    folder = tmp_path_factory.mktemp("web")
    save_model(folder / "run", TINY_RESNET, tokenizer=processor.tokenizer)
    export_web(str(folder / "run"), folder / "site")
    return folder


def describe(folder):
    return json.loads((folder / "site" / "model" / "model.json").read_text())


def test_page_names_no_other_server():
    for name in PAGE_FILES:
        text = (PAGE / name).read_text()
        if name == "index.html":  # names the address of the user's own server
            text = text.replace("http://localhost:8000", "")
        text = text.replace("http://www.w3.org/2000/svg", "")
        assert ADDRESS.findall(text) == [], name


def test_policy_of_the_page_allows_its_own_server_alone():
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', (PAGE / "index.html").read_text())
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert {source for rule in rules.values() for source in rule.split()} <= {
        *("'none'", "'self'", "'wasm-unsafe-eval'", "blob:", "data:")
    }


def test_files_have_the_sizes_and_hashes_of_the_description(exported):
    for name, facts in describe(exported)["files"].items():
        content = (exported / "site" / "model" / name).read_bytes()
        assert facts == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert {path.name for path in (exported / "site" / "runtime").iterdir()} == set(RUNTIME_FILES)


def test_no_local_path_is_in_the_folder(exported):
    private = str(exported).encode()
    assert [path for path in (exported / "site").rglob("*") if path.is_file() and private in path.read_bytes()] == []


def test_class_embeddings_give_the_probabilities_of_the_classifier(exported, image):
    (prediction,) = predict(exported / "run", image, top_k=6)
    description = describe(exported)
    embeds = np.frombuffer((exported / "site" / "model" / "class_embeds.bin").read_bytes(), "<f4")
    session = onnxruntime.InferenceSession(exported / "site" / "model" / "image.onnx")
    pixels = np.asarray(PIL.Image.open(image).convert("RGBA"))
    feeds = {"pixels": pixels, "name_embeds": embeds.reshape(len(description["labels"]), -1)}
    logits = session.run(["logits"], feeds)[0].astype(float)
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    found = dict(zip(description["labels"], shares, strict=True))
    assert found == pytest.approx(dict(zip(prediction.labels, prediction.scores, strict=True)), abs=1e-3)


def test_second_export_is_refused_unless_it_may_overwrite(exported):
    with pytest.raises(ValueError, match="already holds"):
        export_web(str(exported / "run"), exported / "site")
    (exported / "site" / "model" / "image.int8.onnx").write_bytes(b"of an earlier export")
    (exported / "site" / "notes.txt").write_text("of the user")
    export_web(str(exported / "run"), exported / "site", overwrite=True)
    assert not (exported / "site" / "model" / "image.int8.onnx").exists()
    assert (exported / "site" / "notes.txt").exists()


def test_int8_needs_images_and_leaves_out_the_files_for_a_gpu(exported, images_dir, capsys):
    with pytest.raises(ValueError, match="requires calibration images"):
        export_web(str(exported / "run"), exported / "int8", int8=True)
    flags = ["--int8", "--calibration_data", str(images_dir), "--output_dir", str(exported / "int8")]
    assert not main(["export", str(exported / "run"), "--format", "web", *flags])
    assert "image.int8.onnx" in capsys.readouterr().out
    assert not list((exported / "int8" / "runtime").glob("*jspi*"))
    assert not (exported / "int8" / "model" / "image.onnx").exists()


def test_vision_only_model_has_no_text_files(tmp_path, web_runtime_cache):
    save_model(tmp_path / "run", TINY_RESNET)
    export_web(str(tmp_path / "run"), tmp_path / "site")
    assert {path.name for path in (tmp_path / "site" / "model").iterdir()} == {
        *("image.onnx", "class_embeds.bin", "model.json")
    }


def test_checkout_without_npm_says_how_to_get_the_libraries(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(web_runtime.shutil, "which", lambda name: None)
    with pytest.raises(OSError, match="install npm to fetch them, or install a wheel"):
        find_runtime()
    assert list(tmp_path.rglob("*.wasm")) == []


def test_archive_with_another_hash_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "npm").write_text(
        '#!/bin/sh\nwhile [ "$1" != --pack-destination ]; do shift; done\necho x > "$2/a.tgz"\necho a.tgz\n'
    )
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(OSError, match=r"SHA-512 .* not used"):
        fetch_runtime(tmp_path / "runtime")
    assert not (tmp_path / "runtime").exists()


def test_licences_of_all_libraries_are_in_the_folder(exported):
    text = (exported / "site" / "LICENSES.txt").read_text()
    assert all(library.name in text and library.license in text for library in LIBRARIES)
