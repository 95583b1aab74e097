"""What the tests share: no network, small towers, and folders of small images."""

import json
import os
import shutil
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import close_session
from local_hub import TOKEN, serving_hub, speak_to
from PIL import Image
from transformers.utils import logging

from mg_vtc import MgVtcConfig, MgVtcModel, MgVtcTrainer, MgVtcTrainingArguments
from mg_vtc.cli.main import main
from mg_vtc.evaluation.metrics import score_top_k
from mg_vtc.exporters.web_runtime import find_runtime
from mg_vtc.models.processing_mg_vtc import build_processor, build_tokenizer

torch.set_num_threads(1)  # more would only wait for each other over tensors so small

CLASS_NAMES = ("Covering face", "Folding arms", "Rubbing eyes", "Head up", "Pressing lips", "Arms akimbo")
TINY_RESNET = {
    "model_type": "resnet",
    "layer_type": "basic",
    "depths": [1, 1],
    "hidden_sizes": [8, 16],
    "embedding_size": 8,
}
TINY_DISTILBERT = {"model_type": "distilbert", "n_layers": 1, "dim": 16, "n_heads": 2, "hidden_dim": 32}
TINY_BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
TINY_VIT = {
    "model_type": "vit",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}


@pytest.fixture(scope="session", autouse=True)
def datasets_cache(tmp_path_factory):
    """An empty cache of data sets and decoded images, here and in the processes that tests start."""
    folder = tmp_path_factory.mktemp("datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
        patch.setenv("HF_DATASETS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def processor():
    return build_processor(32, build_tokenizer(CLASS_NAMES))


@pytest.fixture
def config(processor):
    """Six classes, a ResNet of width 16 and a DistilBERT of width 16."""
    text_config = TINY_DISTILBERT | {"vocab_size": len(processor.tokenizer)}
    return MgVtcConfig(
        vision_config=dict(TINY_RESNET),
        text_config=text_config,
        projection_dim=12,
        id2label=dict(enumerate(CLASS_NAMES)),
    )


@pytest.fixture
def model(config):
    torch.manual_seed(0)
    return MgVtcModel(config).eval()


@pytest.fixture
def class_texts(processor):
    return processor.tokenizer(list(CLASS_NAMES), padding=True, return_tensors="pt")


@pytest.fixture(scope="session")
def images_dir(tmp_path_factory) -> Path:
    """Four classes of eight images of 32 px; a class is a colour, so that it can be learned in seconds."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for label, colour in enumerate([(220, 40, 40), (40, 200, 60), (50, 60, 220), (230, 220, 60)]):
        (folder / CLASS_NAMES[label]).mkdir()
        for clip in range(4):
            for frame in range(2):
                noise = rng.integers(-30, 30, (32, 32, 3))
                pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / CLASS_NAMES[label] / f"{clip:04d}.{frame}.png")
    return folder


@pytest.fixture(scope="session")
def image(tmp_path_factory) -> Path:
    """An image of noise, 50 x 40 pixels."""
    path = tmp_path_factory.mktemp("image") / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def tiny_recipe(tmp_path) -> str:
    """A recipe of towers that are trained in seconds, where benchmarks take the recipe small."""
    settings = {"vision_config": TINY_RESNET, "text_config": TINY_DISTILBERT, "projection_dim": 12, "image_size": 32}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings | {"per_device_train_batch_size": 8, "output_dir": "tiny"}))
    return str(path)


class LabelledRows(list):
    """Rows that tell their classes beforehand, as an `ImageDataset` does."""

    @property
    def labels(self):
        return torch.tensor([int(row["labels"]) for row in self])


def make_rows(num_rows, num_labels=6, size=32):
    """Noise images, and labels of which some repeat."""
    generator = torch.Generator().manual_seed(1)
    return LabelledRows(
        {
            "pixel_values": torch.randn(3, size, size, generator=generator),
            "labels": torch.randint(num_labels, (), generator=generator),
            "index": torch.tensor(row),
        }
        for row in range(num_rows)
    )


def batch_of(rows):
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def gradients_of(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.fixture
def make_trainer(model, processor, tmp_path):
    def make(model=model, train=None, evaluation=None, selection=None, **settings):
        settings = {"per_device_train_batch_size": 8, "num_train_epochs": 1, "max_steps": 1} | settings
        arguments = MgVtcTrainingArguments(
            output_dir=str(tmp_path), use_cpu=True, disable_tqdm=True, seed=0, report_to="none", **settings
        )
        return MgVtcTrainer(
            model,
            arguments,
            train_dataset=train or make_rows(8),
            eval_dataset=evaluation or make_rows(12),
            selection_dataset=selection,
            processing_class=processor,
            compute_metrics=score_top_k,
        )

    return make


@pytest.fixture(scope="session")
def two_class_run(processor, tmp_path_factory):
    """A saved model of the first two classes."""
    from saved_models import save_model  # which imports this file

    folder = tmp_path_factory.mktemp("runs") / "mine"
    save_model(folder, TINY_RESNET, tokenizer=processor.tokenizer, id2label=dict(enumerate(CLASS_NAMES[:2])))
    return folder


@pytest.fixture
def mg_vtc_command(monkeypatch):
    """The command `mg-vtc` within the process of the tests, to which it leaves its settings as they were."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    yield lambda *arguments: main([str(argument) for argument in arguments])
    logging.enable_progress_bar()
    datasets.enable_progress_bars()


@pytest.fixture
def refusal(mg_vtc_command):
    """The words with which the command refuses arguments."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            mg_vtc_command(*arguments)
        assert isinstance(stop.value.code, str)  # a text as exit code is printed, and 1 is returned
        assert "\n" not in stop.value.code
        return stop.value.code

    return run


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium, by its driver."""
    from pages import HAS_BROWSER, open_browser  # which imports this file

    if not HAS_BROWSER:
        pytest.skip("no Chromium with its driver on this machine")
    browser = open_browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture(scope="session")
def web_runtime_cache():
    """The libraries of the web page, from the cache or from npm."""
    try:
        return find_runtime()
    except OSError as error:
        pytest.skip(f"the libraries of the web page are not to be found on this machine: {error}")


@pytest.fixture
def hub():
    """An empty Hub on loopback."""
    with serving_hub() as hub:
        yield hub


@pytest.fixture
def hub_client(hub, monkeypatch, tmp_path):
    """The client of this process, which speaks to that Hub, with a token that may write to `org`; gives the Hub."""
    speak_to(hub, monkeypatch, tmp_path)
    yield hub
    close_session()


CARD = """---
library_name: transformers
pipeline_tag: zero-shot-image-classification
tags: [custom_code]
widget:
- src: samples/drawn.png
---

# Gestures

![Confusion](figures/confusion.png)

`pipeline("image-classification", model="MODEL")`
"""


@pytest.fixture
def finished_run(two_class_run, tmp_path):
    """A copy of the saved model of two classes, with all that a run leaves beside it, and what must stay there."""
    folder = shutil.copytree(
        two_class_run, tmp_path / "runs" / "mine", ignore=shutil.ignore_patterns("report", "onnx")
    )
    (folder / "README.md").write_text(CARD)
    places = {"output_dir": str(folder), "train_dir": "people/anna", "vision_model_name_or_path": str(tmp_path)}
    kept = {"learning_rate": 0.01, "text_model_name_or_path": "org/tower", "labels_file": "smg"}
    hub = {"push_to_hub": True, "hub_model_id": "org/mg-vtc"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(places | kept | hub))
    (folder / "provenance.json").write_text(json.dumps({"places": sorted(places)}))
    (folder / "split.json").write_text(json.dumps({"split_by": "frame", "train": ["anna/1.png"]}))
    (folder / "all_results.json").write_text(json.dumps({"eval_top1_accuracy": 0.5, "data": str(tmp_path)}))
    (folder / "results.csv").write_text("epoch,step,loss\n1,10,0.5\n")
    image = Image.new("RGB", (8, 8))
    for name in ("figures/confusion.png", "figures/other.png", "samples/drawn.png", "photo.png", "report/worst.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        image.save(folder / name)
    (folder / "checkpoint-1").mkdir()
    for name in ("training_args.bin", "optimizer.pt", "checkpoint-1/optimizer.pt"):
        torch.save({"token": TOKEN}, folder / name)
    return folder
