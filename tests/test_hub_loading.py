"""One saved folder opens through every door of transformers, where the package is installed and where it is not."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import CLASS_NAMES, TINY_DISTILBERT, TINY_RESNET
from PIL import Image

from mg_vtc import MgVtcConfig, MgVtcModel
from mg_vtc.processing import build_processor

WITH_PACKAGE = "import mg_vtc\noptions = {}"
# What a machine without the package does: the import fails, and the folder's own code is trusted.
WITHOUT_PACKAGE = """
class Absent:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "mg_vtc":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent)
try:
    import mg_vtc
except ModuleNotFoundError:
    options = {"trust_remote_code": True}
"""
OPEN_DOORS = """
import torch
from PIL import Image
from transformers import (
    AutoConfig, AutoModel, AutoModelForImageClassification, AutoModelForZeroShotImageClassification, AutoProcessor,
    pipeline,
)

config = AutoConfig.from_pretrained(folder, **options)
image = Image.open(picture)
processor = AutoProcessor.from_pretrained(folder, **options)
inputs = processor(images=image, return_tensors="pt")
doors = {"AutoModel": AutoModel, "AutoModelForImageClassification": AutoModelForImageClassification}
if not config.vision_only:
    doors["AutoModelForZeroShotImageClassification"] = AutoModelForZeroShotImageClassification
    texts = processor.tokenizer(config.class_prompts, padding=True, return_tensors="pt")
scores = {}
for name, door in doors.items():
    model, loading = door.from_pretrained(folder, output_loading_info=True, **options)
    assert not any(loading.values()), loading
    with torch.no_grad():
        if name == "AutoModelForImageClassification":
            logits = model(**inputs).logits
        elif config.vision_only:
            logits = model(**inputs).logits_per_image
        else:
            logits = model(**inputs, **texts).logits_per_image
    scores[name] = logits.softmax(dim=1)[0].tolist()
classify = pipeline("image-classification", folder, top_k=config.num_labels, **options)
answers = {"image-classification": classify(image)}
if not config.vision_only:
    compare = pipeline("zero-shot-image-classification", folder, **options)
    answers["zero-shot-image-classification"] = compare(
        image, candidate_labels=config.class_prompts, hypothesis_template="{}"
    )
for name, answer in answers.items():
    of_label = {row["label"]: row["score"] for row in answer}
    scores[name] = [of_label[config.id2label[i]] for i in range(config.num_labels)]
home = type(model).__module__.split(".")[0]
"""
SAVE_AGAIN = """
AutoModel.from_pretrained(folder, **options).save_pretrained(target)
processor.save_pretrained(target)
"""


@pytest.fixture(scope="module")
def run_elsewhere(tmp_path_factory):
    """Runs code in a fresh interpreter in an empty folder, with empty caches, no network and nobody to answer."""

    def run(code, **names):
        home = tmp_path_factory.mktemp("home")
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"HF_HOME": str(home), "HF_MODULES_CACHE": str(home / "modules"), "HF_HUB_OFFLINE": "1"}
        assignments = "\n".join(f"{name} = {str(value)!r}" for name, value in names.items())
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", f"import json, sys\n{assignments}\n{code}"],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture(scope="module")
def open_doors(run_elsewhere, picture):
    """Scores of one picture by door, and the package that the model's class came from."""

    def run(way, folder, code="", **names):
        done = run_elsewhere(
            f"{way}{OPEN_DOORS}{code}\nprint(json.dumps([scores, home]))", folder=folder, picture=picture, **names
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def folder(processor, tmp_path_factory):
    """A model with its class embeddings and its processor, as training leaves them."""
    torch.manual_seed(0)
    config = MgVtcConfig(
        vision_config=TINY_RESNET,
        text_config=TINY_DISTILBERT | {"vocab_size": len(processor.tokenizer)},
        projection_dim=12,
        id2label=dict(enumerate(CLASS_NAMES)),
    )
    model = MgVtcModel(config).eval()
    model.set_class_embeds(**processor.tokenizer(config.class_prompts, padding=True, return_tensors="pt"))
    path = tmp_path_factory.mktemp("folder")
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def vision_only_folder(tmp_path_factory):
    torch.manual_seed(0)
    config = MgVtcConfig(
        vision_config={"model_type": "alexnet", "hidden_sizes": [4, 8, 8, 8, 8], "hidden_size": 16},
        vision_only=True,
        projection_dim=12,
        id2label=dict(enumerate(CLASS_NAMES)),
    )
    path = tmp_path_factory.mktemp("vision_only")
    MgVtcModel(config).save_pretrained(path)
    build_processor(64).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def with_package(open_doors, folder):
    return open_doors(WITH_PACKAGE, folder)


@pytest.fixture(scope="module")
def saved_again(tmp_path_factory):
    return tmp_path_factory.mktemp("saved_again")


@pytest.fixture(scope="module")
def without_package(open_doors, folder, saved_again):
    return open_doors(WITHOUT_PACKAGE, folder, SAVE_AGAIN, target=saved_again)


def assert_close(scores, others):
    assert scores.keys() == others.keys()
    for door in scores:
        assert scores[door] == pytest.approx(others[door], abs=1e-6), door


def test_every_door_opens_with_the_package_and_gives_the_same_scores(with_package):
    scores, home = with_package
    assert home == "mg_vtc"
    assert len(scores) == 5
    first = scores["AutoModel"]
    assert max(first) - min(first) > 1e-3  # scores that differ, so that a permutation would show
    assert_close(scores, dict.fromkeys(scores, first))


def test_every_door_opens_without_the_package_and_gives_the_same_scores(with_package, without_package):
    scores, home = without_package
    assert home == "transformers_modules"
    assert_close(scores, with_package[0])


def test_folder_saved_without_the_package_opens_again(open_doors, without_package, saved_again, folder):
    assert {path.name for path in saved_again.glob("*.py")} == {path.name for path in folder.glob("*.py")}
    scores, home = open_doors(WITHOUT_PACKAGE, saved_again)
    assert home == "transformers_modules"
    assert_close(scores, without_package[0])


def test_alexnet_opens_without_the_package(open_doors, vision_only_folder):
    scores, home = open_doors(WITHOUT_PACKAGE, vision_only_folder)
    assert home == "transformers_modules"
    assert scores.keys() == {"AutoModel", "AutoModelForImageClassification", "image-classification"}
    first = scores["AutoModel"]
    assert max(first) - min(first) > 1e-3
    assert_close(scores, dict.fromkeys(scores, first))


def test_without_package_and_without_trust_transformers_itself_refuses(run_elsewhere, folder):
    call = "from transformers import AutoModel\nAutoModel.from_pretrained(folder)"
    done = run_elsewhere(f"{WITHOUT_PACKAGE}\n{call}", folder=folder)
    assert done.returncode == 1
    assert "trust_remote_code=True" in done.stderr.splitlines()[-1]


def test_the_package_is_out_of_reach_where_it_is_said_to_be(run_elsewhere):
    done = run_elsewhere(f"{WITHOUT_PACKAGE}\nimport mg_vtc")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'mg_vtc'"
