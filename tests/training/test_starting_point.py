"""Starting points of a training: image processors, text pooling, dual encoders and models of this package."""

import json

import numpy as np
import pytest
import torch
from conftest import CLASS_NAMES, TINY_RESNET
from dual_encoders import SIDE, save_parent
from PIL import Image
from safetensors.torch import save_file
from saved_models import save_model
from transformers import (
    AutoImageProcessor,
    AutoModel,
    CLIPImageProcessorPil,
    ConvNextImageProcessorPil,
    SiglipImageProcessorPil,
    pipeline,
)
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from transformers.utils import is_timm_available

from mg_vtc import MgVtcModel, MgVtcTrainer, build_tokenizer
from mg_vtc.app.gesture_model import GestureModel
from mg_vtc.data import load_image_folder
from mg_vtc.data.decoding import Resizing, find_resizing
from mg_vtc.hub.handler import EndpointHandler
from mg_vtc.hub.space import collect_space
from mg_vtc.hub.upload import collect_upload, list_requirements
from mg_vtc.inference.loading import open_model
from mg_vtc.training.recipe import ModelArguments, parse_recipe
from mg_vtc.training.run import train
from mg_vtc.training.starting_point import load_image_processor, load_tower, take_over

NAMES = ["folding arms", "covering face", "arms akimbo"]


@pytest.mark.parametrize(
    ("processor", "image_size", "resizing"),
    [
        (SiglipImageProcessorPil(), None, Resizing(224, "bicubic")),
        (SiglipImageProcessorPil(), 96, Resizing(96, "bicubic")),
        (CLIPImageProcessorPil(), None, Resizing(224, "bicubic", 224)),
        (CLIPImageProcessorPil(size={"shortest_edge": 256}), 112, Resizing(112, "bicubic", 128)),
    ],
)
def test_image_processor_of_the_model_is_kept_at_the_size_asked_for(processor, image_size, resizing, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded = load_image_processor(str(tmp_path), image_size)
    assert find_resizing(loaded) == resizing
    assert list(loaded.image_mean) == list(processor.image_mean)
    pixel_values = loaded(Image.new("RGB", (300, 200), (255, 255, 255)), return_tensors="np")["pixel_values"]
    assert pixel_values.shape == (1, 3, resizing.image_size, resizing.image_size)
    white = (1 - np.array(processor.image_mean)) / np.array(processor.image_std)
    np.testing.assert_allclose(pixel_values[0, :, 0, 0], white, rtol=1e-5)


def test_image_processor_that_is_not_followed_is_replaced_with_a_warning(tmp_path):
    ConvNextImageProcessorPil(image_mean=[0.4] * 3).save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"crop_pct|fixed square"):
        processor = load_image_processor(str(tmp_path))
    assert find_resizing(processor) == Resizing(224)
    assert list(processor.image_mean) == [0.4] * 3


TIMM = {
    "architecture": "resnet10t",
    "num_classes": 10,
    "num_features": 512,
    "pretrained_cfg": {"input_size": [3, 176, 176], "crop_pct": 0.95, "interpolation": "bicubic", "mean": [0.5] * 3},
}


def test_processor_of_a_timm_model_is_that_of_its_configuration(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    processor = load_image_processor(str(tmp_path))
    assert find_resizing(processor) == Resizing(176, "bicubic", 185)
    assert list(processor.image_mean) == [0.5] * 3
    assert list(processor.image_std) == IMAGENET_DEFAULT_STD
    assert find_resizing(load_image_processor(str(tmp_path), 96)) == Resizing(96, "bicubic", 101)


@pytest.mark.skipif(is_timm_available(), reason="timm is installed")
def test_timm_model_without_the_package_names_the_extra(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    with pytest.raises(OSError, match=r"vision tower .* is a model of timm: pip install 'mg-vtc\[timm\]'"):
        load_tower(str(tmp_path), None, "vision")


@pytest.mark.skipif(is_timm_available(), reason="timm is installed")
@pytest.mark.parametrize("open_it", [open_model, GestureModel, EndpointHandler, MgVtcModel.from_pretrained])
def test_model_with_a_timm_tower_names_the_extra_wherever_it_is_opened(open_it, tmp_path):
    save_model(tmp_path, TINY_RESNET)
    config = json.loads((tmp_path / "config.json").read_text())
    config["vision_config"] = {"model_type": "timm_wrapper"} | TIMM
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(OSError, match=r'timm, which is not installed: pip install "mg-vtc\[timm\]"'):
        open_it(str(tmp_path))


def test_timm_is_required_on_the_hub_by_models_of_timm_alone(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_bytes(b"torch\n")
    assert list_requirements(path, "timm_wrapper").splitlines() == [b"torch", b"timm>=1.0"]
    assert list_requirements(path, "resnet") == b"torch\n"
    for vision_type, is_required in (("timm_wrapper", True), ("resnet", False)):
        assert (b"timm>=1.0" in collect_space("org/model", vision_type)["requirements.txt"]) == is_required


def test_timm_tower_trains_saves_and_opens(tmp_path, images_dir):
    timm = pytest.importorskip("timm", reason="timm installs torchvision, which changes other image processors")
    tower = timm.create_model(TIMM["architecture"], num_classes=10)
    save_file(tower.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    flags = {"vision_model_name_or_path": str(tmp_path), "image_size": 32, "num_train_epochs": 1, "split_by": "clip"}
    folder = train("vision_only", train_dir=images_dir, output_dir=tmp_path / "run", use_cpu=True, **flags)
    model, image_processor = open_model(str(folder))
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = model.eval().vision_model(pixels).pooler_output
    tower.load_state_dict(model.vision_model.timm_model.state_dict(), strict=False)  # all but the classifier
    torch.testing.assert_close(features, tower.eval().forward_head(tower.forward_features(pixels), pre_logits=True))
    assert find_resizing(image_processor) == Resizing(32, "bicubic", 34)
    assert collect_upload(folder, None)["requirements.txt"].endswith(b"timm>=1.0\n")


def test_model_without_an_image_processor_has_the_mean_of_imagenet(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    assert tuple(load_image_processor(str(tmp_path)).image_mean) == tuple(IMAGENET_DEFAULT_MEAN)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    save_parent("clip", folder)
    return folder


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("siglip")
    save_parent("siglip", folder)
    return folder


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_zero_shot_pipeline_ranks_names_as_that_of_the_parent(family, request, tmp_path):
    parent = request.getfixturevalue(family)
    model, processor = take_over(str(parent), NAMES)
    tokenizer = processor.tokenizer
    model.set_class_embeds(**tokenizer(model.config.class_prompts, padding=True, return_tensors="pt"))
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    processor.image_processor.save_pretrained(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))
    question = {"candidate_labels": NAMES, "hypothesis_template": "{}"}
    expected = pipeline("zero-shot-image-classification", model=str(parent))(image, **question)
    found = pipeline("zero-shot-image-classification", model=str(tmp_path))(image, **question)
    scores = {row["label"]: row["score"] for row in expected}
    if family == "siglip":  # a sigmoid of each name, of which the softmax over names keeps the differences
        odds = {name: score / (1 - score) for name, score in scores.items()}
        scores = {name: value / sum(odds.values()) for name, value in odds.items()}
    # one minus a sigmoid near 1 has few digits
    assert {row["label"]: row["score"] for row in found} == pytest.approx(scores, abs=1e-2)


def test_model_names_no_path_of_the_parent(clip):
    model, _ = take_over(str(clip), NAMES)
    assert str(clip) not in model.config.to_json_string()
    assert not [config for config in (model.config.vision_config, model.config.text_config) if config.name_or_path]


def test_model_of_this_package_goes_on_with_other_classes(tmp_path):
    tokenizer = build_tokenizer(CLASS_NAMES)
    source = save_model(tmp_path, TINY_RESNET, tokenizer=tokenizer)
    model, processor = take_over(str(tmp_path), NAMES, prompt_template=["a person {}"])
    assert model.config.class_prompts == [f"a person {name}" for name in NAMES]
    assert model.class_embeds.shape == (3, source.config.projection_dim)
    weights = source.state_dict()
    for name, tensor in model.state_dict().items():
        assert name == "class_embeds" or torch.equal(tensor, weights[name])
    assert find_resizing(processor.image_processor) == Resizing(32)


def test_image_size_that_positions_cannot_take_is_refused_with_the_one_of_the_tower(clip):
    with pytest.raises(ValueError, match=r"cannot take images of 48 x 48 .*set image_size 32, the tower's own"):
        take_over(str(clip), NAMES, 48)


def test_towers_cannot_be_given_beside_a_model():
    with pytest.raises(ValueError, match="vision_only, projection cannot be set with model_name_or_path"):
        ModelArguments(model_name_or_path="org/model", projection="linear", vision_only=True)


def test_flag_replaces_the_towers_and_the_size_of_a_recipe():
    recipe = parse_recipe(["small", "--model_name_or_path", "org/model", "--train_dir", "images"])
    assert recipe.model.vision_config is None
    assert recipe.data.image_size is None
    assert recipe.training.num_train_epochs == parse_recipe(["small", "--train_dir", "x"]).training.num_train_epochs


def test_trainer_takes_the_name_of_a_model(clip, images_dir):
    gesture_rows = load_image_folder(images_dir)["train"]
    trainer = MgVtcTrainer(str(clip), train_dataset=gesture_rows, eval_dataset=gesture_rows)
    assert isinstance(trainer.model, MgVtcModel)
    assert [*trainer.model.config.id2label.values()] == gesture_rows.features["label"].names
    assert trainer.train_dataset[0]["pixel_values"].shape == (3, SIDE, SIDE)


def test_trainer_needs_class_names_for_a_model_by_name(clip):
    with pytest.raises(ValueError, match="its column label has no names"):
        MgVtcTrainer(str(clip), train_dataset=[{"pixel_values": torch.zeros(3, 8, 8), "labels": 0}])


def test_run_from_a_dual_encoder_states_its_score_before_training(clip, mg_vtc_command, tmp_path, capsys):
    def train(name, *flags):
        mg_vtc_command("train", "demo", "--num_train_epochs", 1, "--output_dir", tmp_path / name, *flags)
        return tmp_path / name

    folder = train("first", "--model_name_or_path", clip)
    screen = capsys.readouterr().out
    assert "before training: top-1 " in screen
    assert "by the class names alone" in screen
    assert "image_size" not in (folder / "recipe.yaml").read_text()  # that of the model, also for a run that resumes
    assert AutoImageProcessor.from_pretrained(folder, backend="pil").crop_size["height"] == SIDE
    card = (folder / "README.md").read_text()
    assert "`clip_vision_model`, from weights in a local folder" in card
    assert str(clip) not in card
    assert AutoModel.from_pretrained(folder).config.projection == "linear"
    further = train("further", "--model_name_or_path", folder, "--loss_type", "ce")
    assert AutoModel.from_pretrained(further).config.projection_dim == 24


def test_run_from_a_vision_only_model_says_why_it_has_no_score_before_training(mg_vtc_command, tmp_path, capsys):
    save_model(tmp_path / "start", TINY_RESNET)
    flags = ("--model_name_or_path", tmp_path / "start", "--loss_type", "ce", "--num_train_epochs", 1)
    mg_vtc_command("train", "demo", *flags, "--output_dir", tmp_path / "run")
    assert "before training: no score, because the class embeddings of a vision-only" in capsys.readouterr().out


def test_rates_of_other_towers_are_dropped_with_a_starting_model():
    flags = ("--model_name_or_path", "org/model", "--train_dir", "images", "--learning_rate", "1e-5")
    arguments = parse_recipe(["recommended", *flags]).training
    assert (arguments.learning_rate, arguments.vision_learning_rate, arguments.text_learning_rate) == (
        1e-5,
        None,
        None,
    )


@pytest.mark.parametrize(
    "processor",
    [
        CLIPImageProcessorPil(size={"height": 256, "width": 256}),  # stretches, then crops
        SiglipImageProcessorPil(do_rescale=False),
        SiglipImageProcessorPil(rescale_factor=1 / 127.5),
    ],
)
def test_processor_whose_pixels_would_be_others_is_replaced_with_a_warning(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="resized to a square by a bilinear filter instead"):
        assert find_resizing(load_image_processor(str(tmp_path))) == Resizing(224)


def test_interpolation_with_new_heads_is_refused():
    with pytest.raises(ValueError, match="new heads are random: give model_name_or_path"):
        parse_recipe(["small", "--train_dir", "images", "--wise_ft_alpha", "0.5"])


@pytest.mark.parametrize("epochs", [3, 5])
def test_probe_that_leaves_no_epoch_for_the_towers_is_refused(epochs):
    flags = ["--train_dir", "images", "--num_train_epochs", "3", "--linear_probe_epochs", str(epochs)]
    with pytest.raises(ValueError, match="leaves none of num_train_epochs 3 for the towers"):
        parse_recipe(flags)
