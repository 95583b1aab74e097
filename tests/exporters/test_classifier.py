"""A classifier without its text tower predicts as the model does, bit for bit, and claims no more than it can."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import CLASS_NAMES, TINY_RESNET, TINY_VIT
from damage import flip_bit
from huggingface_hub import ModelCard
from PIL import Image
from saved_models import save_model
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, pipeline

from mg_vtc import predict, push_to_hub
from mg_vtc.exporters.classifier import adapt_card, export_classifier
from mg_vtc.runs.manifest import find_damage

CARD = """---
library_name: transformers
pipeline_tag: zero-shot-image-classification
tags: [mg_vtc]
---

# Title

Names movements.

```python
classify = pipeline("image-classification", model="MODEL")

print(classify("image.jpg"))
```

For others use `pipeline("zero-shot-image-classification", ...)`.

```python
pipeline("zero-shot-image-classification")

```

## Limits

Of an image.
"""


@pytest.fixture(scope="module", params=[TINY_RESNET, TINY_VIT], ids=lambda tower: tower["model_type"])
def folders(request, processor, tmp_path_factory):
    """A model and its classifier."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder / "model", request.param, tokenizer=processor.tokenizer)
    (folder / "model" / "README.md").write_text(CARD)
    (folder / "model" / "recipe.yaml").write_text("seed: 0\n")
    sizes = export_classifier(str(folder / "model"), folder / "classifier")
    return folder / "model", folder / "classifier", sizes


def logits(folder):
    pixel_values = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model, loading = AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), loading
    with torch.no_grad():
        return model.eval()(pixel_values).logits


def test_logits_are_the_same_bit_for_bit(folders):
    model, classifier, _ = folders
    assert logits(model).std() > 1e-3
    assert torch.equal(logits(model), logits(classifier))


def test_classifier_is_vision_only_smaller_and_readable_by_all(folders):
    model, classifier, (before, after) = folders
    config = AutoConfig.from_pretrained(classifier)
    assert config.vision_only
    assert config.text_config is None
    assert config.id2label == dict(enumerate(CLASS_NAMES))
    weights = [folder / "model.safetensors" for folder in (model, classifier)]
    assert before - after == pytest.approx(weights[0].stat().st_size - weights[1].stat().st_size, abs=10_000)
    assert before > after
    assert weights[1].stat().st_mode == (classifier / "config.json").stat().st_mode


def test_processor_is_the_image_processor_alone(folders):
    assert not list(folders[1].glob("tokenizer*"))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    ours, its = (AutoImageProcessor.from_pretrained(folder)(image)["pixel_values"] for folder in folders[:2])
    np.testing.assert_array_equal(ours, its)


def test_folder_carries_the_code_and_the_records_of_the_training(folders):
    model, classifier, _ = folders
    assert {path.name for path in classifier.glob("*.py")} == {path.name for path in model.glob("*.py")}
    assert AutoConfig.from_pretrained(classifier).auto_map == AutoConfig.from_pretrained(model).auto_map
    assert (classifier / "recipe.yaml").read_text() == "seed: 0\n"
    assert not (classifier / "split.json").exists()  # the model has none


@pytest.mark.parametrize("folders", [TINY_RESNET], indirect=True, ids=["resnet"])  # one, as it takes seconds
def test_pipeline_predictions_with_the_package_and_without(folders, tmp_path):
    _, classifier, _ = folders
    image = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(image)
    answer = pipeline("image-classification", str(classifier))(str(image))
    code = f"""
import sys
class Absent:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "mg_vtc":
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Absent)
from transformers import pipeline
print(pipeline("image-classification", {str(classifier)!r}, trust_remote_code=True)({str(image)!r}))
"""
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_MODULES_CACHE": str(tmp_path / "modules")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(answer)


def test_card_claims_nothing_of_zero_shot_and_keeps_the_rest():
    card = adapt_card(ModelCard(CARD), "org/name")
    assert card.data.pipeline_tag == "image-classification"
    assert "zero-shot" not in card.content
    assert "`org/name`, without the text tower" in card.content
    text = card.text
    for kept in ("# Title", "Names movements.", 'print(classify("image.jpg"))', "## Limits\n\nOf an image."):
        assert kept in text
    assert text.count("```") == 2
    assert text.index("# Title") < text.index("without the text tower") < text.index("Names movements.")


def test_card_of_the_folder_is_the_adapted_one_and_names_no_path(folders):
    model, classifier, _ = folders
    card = (classifier / "README.md").read_text()
    assert "without the text tower" in card
    assert str(model) not in card


def test_classifier_of_a_run_is_pushed_with_the_images_of_its_card(finished_run, hub_client, tmp_path):
    export_classifier(str(finished_run), tmp_path / "classifier")
    assert find_damage(tmp_path / "classifier") == []
    push_to_hub(tmp_path / "classifier", "org/classifier")
    files = hub_client.files("org/classifier")
    assert {"model.safetensors", "README.md", "figures/confusion.png", "samples/drawn.png"} <= set(files)
    assert b"without the text tower" in files["README.md"]
    assert not {"figures/other.png", "split.json", "tokenizer.json"} & set(files)


def test_classifier_of_a_vision_only_model_is_refused(tmp_path):
    save_model(tmp_path / "model", TINY_RESNET)
    with pytest.raises(ValueError, match="no text tower"):
        export_classifier(str(tmp_path / "model"), tmp_path / "classifier")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_model_is_never_overwritten_by_its_classifier(folders):
    model, _, _ = folders
    with pytest.raises(ValueError, match="is the folder of the model"):
        export_classifier(str(model), model, overwrite=True)


def test_earlier_export_is_replaced_only_when_asked(folders):
    model, classifier, sizes = folders
    with pytest.raises(ValueError, match="`overwrite`"):
        export_classifier(str(model), classifier)
    assert export_classifier(str(model), classifier, overwrite=True) == sizes


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_damaged_classifier_is_named(name, folders, image, tmp_path):
    folder = shutil.copytree(folders[1], tmp_path / "copy")
    flip_bit(folder / name)
    with pytest.raises(ValueError, match=rf"{name} is damaged or of another run or step"):
        predict(folder, image)
