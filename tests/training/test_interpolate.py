"""Interpolation of weights: what is written, and what is refused."""

import json
import shutil

import pytest
import torch
from conftest import CLASS_NAMES, TINY_RESNET, TINY_VIT
from damage import flip_bit
from saved_models import save_model

import mg_vtc
from mg_vtc import MgVtcForImageClassification, MgVtcModel


@pytest.fixture
def ends(processor, tmp_path):
    """The folders of two models that differ in all weights."""
    save_model(tmp_path / "b", TINY_RESNET, tokenizer=processor.tokenizer)
    shutil.copytree(tmp_path / "b", tmp_path / "a")
    start = MgVtcModel.from_pretrained(tmp_path / "b")
    torch.manual_seed(1)
    for tensor in start.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand_like(tensor))
    start.save_pretrained(tmp_path / "a")
    (tmp_path / "b" / "split.json").write_text(json.dumps({"train": ["x.png"]}))
    return tmp_path / "a", tmp_path / "b"


def test_weights_are_the_weighted_mean_and_class_embeddings_those_of_the_mixed_tower(ends, processor, tmp_path):
    folder = mg_vtc.interpolate(*ends, 0.25, tmp_path / "mixed")
    a, b, mixed = (MgVtcModel.from_pretrained(path) for path in (*ends, folder))
    for name, parameter in mixed.named_parameters():
        torch.testing.assert_close(parameter, 0.75 * a.get_parameter(name) + 0.25 * b.get_parameter(name))
    embeds = mixed.class_embeds.clone()
    mixed.set_class_embeds(**processor.tokenizer(mixed.config.class_prompts, padding=True, return_tensors="pt"))
    torch.testing.assert_close(mixed.class_embeds, embeds)
    assert json.loads((folder / "split.json").read_text()) == {"train": ["x.png"]}


def test_other_weights_do_not_keep_the_calibration_of_a_model(ends, tmp_path):
    model = MgVtcModel.from_pretrained(ends[1])
    model.config.logit_temperature, model.config.threshold = 2.0, 0.5
    model.save_pretrained(ends[1])
    config = MgVtcModel.from_pretrained(mg_vtc.interpolate(*ends, 0.5, tmp_path / "mixed")).config
    assert (config.logit_temperature, config.threshold) == (1.0, None)


@pytest.mark.parametrize(("alpha", "end"), [(0.0, 0), (1.0, 1)])
def test_ends_are_the_models_themselves(ends, alpha, end, tmp_path):
    folder = mg_vtc.interpolate(*ends, alpha, tmp_path / "mixed")
    images = torch.randn(2, 3, 32, 32)
    features = [
        MgVtcForImageClassification.from_pretrained(path).eval().get_image_features(images).pooler_output
        for path in (folder, ends[end])
    ]
    torch.testing.assert_close(*features)


def test_run_of_the_command_line_prints_the_folder_and_predicts(mg_vtc_command, ends, images_dir, capsys, tmp_path):
    folder = tmp_path / "mixed"
    mg_vtc_command("interpolate", *ends, "--alpha", "0.5", "--output_dir", folder)
    assert capsys.readouterr().out == f"{folder}\n"
    assert mg_vtc.predict(folder, images_dir)


def test_models_of_other_towers_or_classes_are_refused(ends, processor, tmp_path):
    save_model(tmp_path / "vit", TINY_VIT, tokenizer=processor.tokenizer)
    with pytest.raises(ValueError, match="are not of one kind"):
        mg_vtc.interpolate(tmp_path / "vit", ends[1], 0.5, tmp_path / "mixed")
    for name, classes in (("one", CLASS_NAMES[:3]), ("other", CLASS_NAMES[3:6])):
        save_model(tmp_path / name, TINY_RESNET, id2label=dict(enumerate(classes)))
    with pytest.raises(ValueError, match="have other classes"):
        mg_vtc.interpolate(tmp_path / "one", tmp_path / "other", 0.5, tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_no_model_is_overwritten(ends, tmp_path):
    for folder in ends:
        with pytest.raises(ValueError, match="is the folder of the model"):
            mg_vtc.interpolate(*ends, 0.5, folder, overwrite=True)
    mg_vtc.interpolate(*ends, 0.5, tmp_path / "mixed")
    with pytest.raises(ValueError, match=r"already holds config\.json"):
        mg_vtc.interpolate(*ends, 0.5, tmp_path / "mixed")
    mg_vtc.interpolate(*ends, 0.5, tmp_path / "mixed", overwrite=True)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_weight_is_a_fraction(ends, alpha, tmp_path):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\]"):
        mg_vtc.interpolate(*ends, alpha, tmp_path / "mixed")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "split.json"])
def test_damaged_interpolation_is_named(name, ends, images_dir, tmp_path):
    folder = mg_vtc.interpolate(*ends, 0.5, tmp_path / "mixed")
    flip_bit(folder / name)
    with pytest.raises(ValueError, match=rf"{name} is damaged or of another run or step"):
        mg_vtc.predict(folder, images_dir)
