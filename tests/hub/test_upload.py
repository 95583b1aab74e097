"""What goes to the Hub is a list, and gives away neither people nor machines nor tokens."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from conftest import CLASS_NAMES
from damage import flip_bit
from local_hub import TOKEN
from safetensors.torch import load_file, save_file
from saved_models import save_model
from transformers import AutoImageProcessor

from mg_vtc.hub.upload import collect_upload, is_part_of_model
from mg_vtc.runs.directory import RECORDS
from mg_vtc.runs.manifest import OF_MODEL, write_manifest
from mg_vtc.runs.provenance import ELSEWHERE

ROOT = Path(__file__).parents[2]
CODE = {
    path.name for part in ("configuration", "modeling") for path in (ROOT / "src/mg_vtc/models").glob(f"{part}_*.py")
}
EXPECTED = CODE | {
    *("config.json", "model.safetensors", "processor_config.json", "preprocessor_config.json", "tokenizer.json"),
    *("tokenizer_config.json", "README.md", "figures/confusion.png", "samples/drawn.png", "requirements.txt"),
    *("handler.py", "recipe.yaml", "all_results.json", "results.csv"),
}


def read(content):
    return content if isinstance(content, bytes) else content.read_bytes()


def test_upload_is_the_list_and_nothing_else_of_the_folder(finished_run, tmp_path):
    files = collect_upload(finished_run, "org/mg-vtc")
    assert files.keys() == EXPECTED
    for name, content in files.items():
        for secret in (TOKEN, str(tmp_path), str(Path.home()) + "/", "anna"):
            assert secret.encode() not in read(content), (name, secret)


def test_models_and_code_go_as_they_are(finished_run):
    files = collect_upload(finished_run, "org/mg-vtc")
    for name in CODE | {"config.json", "model.safetensors", "tokenizer.json", "processor_config.json"}:
        assert read(files[name]) == (finished_run / name).read_bytes()
    assert json.loads(files["config.json"])["auto_map"].keys() == {
        *("AutoConfig", "AutoModel", "AutoModelForImageClassification", "AutoModelForZeroShotImageClassification"),
    }


def test_recipe_keeps_what_is_true_elsewhere_and_names_no_place(finished_run):
    recipe = yaml.safe_load(collect_upload(finished_run, "org/mg-vtc")["recipe.yaml"])
    kept = {"learning_rate": 0.01, "text_model_name_or_path": "org/tower", "labels_file": "smg"}
    assert recipe == kept | dict.fromkeys(("train_dir", "vision_model_name_or_path"), ELSEWHERE)


def test_recipe_whose_places_are_not_known_stays_behind(finished_run):
    (finished_run / "provenance.json").unlink()
    assert "recipe.yaml" not in collect_upload(finished_run, "org/mg-vtc")


def test_results_keep_their_numbers(finished_run):
    assert json.loads(collect_upload(finished_run, "org/mg-vtc")["all_results.json"]) == {"eval_top1_accuracy": 0.5}


def test_older_form_of_the_processor_is_what_transformers_writes(finished_run, tmp_path):
    content = collect_upload(finished_run, "org/mg-vtc")["preprocessor_config.json"]
    AutoImageProcessor.from_pretrained(finished_run, backend="pil").save_pretrained(tmp_path)
    assert json.loads(content) == json.loads((tmp_path / "preprocessor_config.json").read_text())


def test_examples_of_the_card_name_the_repository(finished_run):
    card = collect_upload(finished_run, "org/mg-vtc")["README.md"].decode()
    assert 'model="org/mg-vtc"' in card
    assert "MODEL" not in card


def test_vision_only_folder_has_no_tokenizer(tmp_path):
    vision = {"model_type": "alexnet", "hidden_sizes": [4, 8, 8, 8, 8], "hidden_size": 16}
    save_model(tmp_path, vision, id2label=dict(enumerate(CLASS_NAMES)), image_size=64)
    (tmp_path / "README.md").write_text("# Gestures")
    files = collect_upload(tmp_path, "org/mg-vtc")
    assert not [name for name in files if "token" in name]
    assert files.keys() >= CODE | {"preprocessor_config.json"}


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "README.md", "modeling_tower.py", "figures/confusion.png"]
)
def test_folder_that_lacks_a_file_is_refused(finished_run, name):
    (finished_run / name).unlink()
    with pytest.raises(ValueError, match=re.escape(str(finished_run)) + f".* no {name}"):
        collect_upload(finished_run, "org/mg-vtc")


def test_weights_that_are_not_finite_are_refused(finished_run):
    tensors = load_file(finished_run / "model.safetensors")
    tensors["logit_scale"].fill_(torch.nan)
    save_file(tensors, finished_run / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="not finite: logit_scale"):
        collect_upload(finished_run, "org/mg-vtc")


def test_model_of_another_kind_is_refused(finished_run):
    (finished_run / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="holds a model of type 'bert'"):
        collect_upload(finished_run, "org/mg-vtc")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", r"config\.json in .* is not valid JSON"),
        ('{"model_type": "mg_vtc"}', r"config\.json in .* has no auto_map"),
    ],
)
def test_configuration_that_cannot_be_pushed_is_refused(finished_run, content, words):
    (finished_run / "config.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        collect_upload(finished_run, "org/mg-vtc")


@pytest.mark.parametrize(
    "shown",
    [
        *("![a room](photo.png)", '![b](figures/a b.png "title")', "![c](figures/room.jpg)"),
        *('<img width="9" src="samples/k.jpeg">', "![](../photo.png)"),
    ],
)
def test_image_of_the_card_that_would_not_be_there_is_refused(finished_run, shown):
    with open(finished_run / "README.md", "a") as card:
        card.write(f"\n{shown}\n")
    with pytest.raises(ValueError, match=r"README\.md shows .*, which would not be uploaded"):
        collect_upload(finished_run, "org/mg-vtc")


def test_images_of_elsewhere_and_of_the_list_may_be_shown(finished_run):
    with open(finished_run / "README.md", "a") as card:
        card.write('\n![](https://example.org/a.png) <img src="./figures/other.png"> ![](data:image/png;base64,AA)\n')
    assert "figures/other.png" in collect_upload(finished_run, "org/mg-vtc")


def test_names_and_prompts_in_code_and_metadata_show_nothing(finished_run):
    odd = json.dumps({"prompt": "Q:\n{}", "names": ["arms ![a](b.png)", "hands <img src=a>"]})
    card = (finished_run / "README.md").read_text().replace("library_name", f"odd: {odd}\nlibrary_name", 1)
    escaped = r"0. arms !\[a\](b.png) and \<img src=a\>"
    (finished_run / "README.md").write_text(f"{card}\n{escaped}\n\n```python\nnames = {odd}\n```\n")
    collect_upload(finished_run, "org/mg-vtc")


def test_recipe_of_a_run_that_did_not_tell_its_places_stays_behind(finished_run):
    (finished_run / "provenance.json").write_text("{}")
    assert "recipe.yaml" not in collect_upload(finished_run, "org/mg-vtc")


def test_token_in_a_file_is_refused_and_not_repeated(finished_run):
    (finished_run / "README.md").write_text(f"# Gestures\n\nuse {TOKEN}")
    with pytest.raises(ValueError, match=r"README\.md .* contains a Hub token") as refusal:
        collect_upload(finished_run, "org/mg-vtc")
    assert TOKEN not in str(refusal.value)


def test_folder_of_this_machine_in_a_file_is_refused(finished_run):
    (finished_run / "README.md").write_text(f"# Gestures\n\ntrained in {finished_run}")
    with pytest.raises(ValueError, match=r"README\.md .* contains the local path"):
        collect_upload(finished_run, "org/mg-vtc")


@pytest.mark.parametrize(
    "path",
    ["/mnt/anna/patients", "/home/Anna/x", r"C:\Users\anna", r"D:\\data\\anna", "`/data/anna`"],
)
def test_path_of_another_machine_in_the_card_is_refused(finished_run, path):
    (finished_run / "README.md").write_text(f"# Gestures\n\ntrained on {path} and more")
    with pytest.raises(
        ValueError, match=rf"README\.md .* contains {re.escape(path.strip('`'))}, which looks like a local path"
    ):
        collect_upload(finished_run, "org/mg-vtc")


def test_address_with_such_a_path_is_no_folder_of_this_machine(finished_run, monkeypatch):
    monkeypatch.setenv("HOME", "/models")
    (finished_run / "README.md").write_text(
        "# Gestures\n\nhttps://example.org/mnt/models and docs/models, data/x, a:b"
    )
    collect_upload(finished_run, "org/mg-vtc")


def test_files_that_make_a_model_are_known():
    assert all(map(is_part_of_model, ("tokenizer.json", "modeling_old.py", "model.safetensors")))
    others = ("README.md", "notes.md", "train.py", "figures/a.png", "onnx/image_encoder.onnx", "onnx/model.onnx")
    assert not any(map(is_part_of_model, others))


@pytest.mark.parametrize(
    "name", ["figures/confusion.png", "recipe.yaml", "all_results.json", "model.safetensors", "processor_config.json"]
)
def test_damaged_file_is_named_before_a_push(name, finished_run):
    write_manifest(finished_run, (*OF_MODEL, *RECORDS))
    flip_bit(finished_run / name)
    with pytest.raises(ValueError, match=rf"{name} is damaged or of another run or step"):
        collect_upload(finished_run, "org/mg-vtc")


def test_card_that_was_edited_is_pushed_with_a_warning(finished_run):
    write_manifest(finished_run, (*OF_MODEL, *RECORDS, "README.md"))
    card = finished_run / "README.md"
    card.write_text(card.read_text() + "\nDrawn, not filmed.\n")
    with pytest.warns(UserWarning, match=r"README\.md is not the card that was written with the model"):
        assert b"Drawn, not filmed." in collect_upload(finished_run, "org/mg-vtc")["README.md"]


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty"), (b"# \xff\xfe", "is not UTF-8")])
def test_card_that_is_no_text_is_named(content, words, finished_run):
    (finished_run / "README.md").write_bytes(content)
    with pytest.raises(ValueError, match=rf"README\.md {words}"):
        collect_upload(finished_run, "org/mg-vtc")
