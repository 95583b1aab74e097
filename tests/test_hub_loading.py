"""One saved folder opens through every entry_point of transformers, where the package is installed and where it is
not."""

import json
import os
import subprocess
import sys

import pytest
import torch
from conftest import CLASS_NAMES, TINY_DISTILBERT, TINY_RESNET
from entry_points import OPEN_ENTRY_POINTS, WITH_PACKAGE, WITHOUT_PACKAGE

from mg_vtc import MgVtcConfig, MgVtcModel
from mg_vtc.models.processing_mg_vtc import build_processor

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
def open_entry_points(run_elsewhere, image):
    """Scores of one image by entry_point, and the package that the model's class came from."""

    def run(way, folder, code="", **names):
        done = run_elsewhere(
            f"{way}{OPEN_ENTRY_POINTS}{code}\nprint(json.dumps([scores, home]))", folder=folder, image=image, **names
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def folder(processor, tmp_path_factory):
    """A model with its class embeddings and its processor, as training leaves them."""
    torch.manual_seed(0)
    config = MgVtcConfig(
        vision_config=TINY_RESNET,
        text_config=TINY_DISTILBERT | {"vocab_size": len(processor.tokenizer)},
        projection_dim=12,
        id2label=dict(enumerate(CLASS_NAMES)),
        logit_temperature=2.0,
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
def with_package(open_entry_points, folder):
    return open_entry_points(WITH_PACKAGE, folder)


@pytest.fixture(scope="module")
def saved_again(tmp_path_factory):
    return tmp_path_factory.mktemp("saved_again")


@pytest.fixture(scope="module")
def without_package(open_entry_points, folder, saved_again):
    return open_entry_points(WITHOUT_PACKAGE, folder, SAVE_AGAIN, target=saved_again)


def assert_close(scores, others):
    assert scores.keys() == others.keys()
    for entry_point in scores:
        assert scores[entry_point] == pytest.approx(others[entry_point], abs=1e-6), entry_point


def test_every_entry_point_opens_with_the_package_and_gives_the_same_scores(with_package):
    scores, home = with_package
    assert home == "mg_vtc"
    assert len(scores) == 5
    first = scores["AutoModel"]
    assert max(first) - min(first) > 1e-3  # scores that differ, so that a permutation would show
    assert_close(scores, dict.fromkeys(scores, first))


def test_every_entry_point_opens_without_the_package_and_gives_the_same_scores(with_package, without_package):
    scores, home = without_package
    assert home == "transformers_modules"
    assert_close(scores, with_package[0])


def test_folder_saved_without_the_package_opens_again(open_entry_points, without_package, saved_again, folder):
    assert {path.name for path in saved_again.glob("*.py")} == {path.name for path in folder.glob("*.py")}
    scores, home = open_entry_points(WITHOUT_PACKAGE, saved_again)
    assert home == "transformers_modules"
    assert_close(scores, without_package[0])


def test_alexnet_opens_without_the_package(open_entry_points, vision_only_folder):
    scores, home = open_entry_points(WITHOUT_PACKAGE, vision_only_folder)
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
