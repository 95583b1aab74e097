"""Importing the package is cheap, and registers the classes whatever is imported first."""

import subprocess
import sys

import pytest

import mg_vtc
from mg_vtc import _HOME

CHECK = """
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification
from transformers import AutoModelForZeroShotImageClassification
import mg_vtc
tower = {"model_type": "alexnet", "hidden_sizes": [2] * 5, "hidden_size": 4}
config = AutoConfig.for_model("mg_vtc", vision_config=tower, vision_only=True)
assert type(config) is mg_vtc.MgVtcConfig
assert type(AutoModel.from_config(config)) is mg_vtc.MgVtcModel
assert type(AutoModelForZeroShotImageClassification.from_config(config)) is mg_vtc.MgVtcModel
assert type(AutoModelForImageClassification.from_config(config)) is mg_vtc.MgVtcForImageClassification
assert type(AutoModel.from_config(config.vision_config)) is mg_vtc.AlexNetModel
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "first",
    [
        "import mg_vtc",
        "from transformers import AutoModel",
        "from transformers import AutoConfig; import mg_vtc",
        "from mg_vtc.models.configuration_mg_vtc import MgVtcConfig",
        "from mg_vtc.models.modeling_mg_vtc import MgVtcModel",
        "from mg_vtc import MgVtcTrainer",
        "from transformers import pipeline",
    ],
)
def test_classes_are_registered_whatever_is_imported_first(first):
    run(first + "\n" + CHECK)


def test_import_brings_neither_torch_nor_data_libraries():
    heavy = ("torch", "transformers", "datasets", "accelerate", "evaluate", "matplotlib", "gradio", "onnx")
    assert run(f"import sys, mg_vtc; print([name for name in {heavy} if name in sys.modules])").strip() == "[]"


def test_public_names_are_those_of_the_table_and_exist():
    assert sorted(mg_vtc.__all__) == sorted(_HOME)
    assert set(_HOME) <= set(dir(mg_vtc))
    for name in _HOME:
        assert getattr(mg_vtc, name).__name__ == name


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'MgVtcModle'"):
        mg_vtc.MgVtcModle  # noqa: B018
