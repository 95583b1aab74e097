"""The configuration: defaults, towers, and what it refuses."""

import json

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    BertConfig,
    CLIPConfig,
    ConvNextConfig,
    EfficientNetConfig,
    MobileViTConfig,
    ResNetConfig,
    ViTConfig,
)

from mg_vtc import AlexNetConfig, MgVtcConfig
from mg_vtc.models.configuration_mg_vtc import AUTO_MAP, check_prompt_template, pooled_dim


def test_default_towers_are_resnet50_and_distilbert():
    config = MgVtcConfig()
    assert (config.vision_config.model_type, config.vision_config.depths) == ("resnet", (3, 4, 6, 3))
    assert (pooled_dim(config.vision_config), pooled_dim(config.text_config)) == (2048, 768)
    assert config.projection_dim == 256


@pytest.mark.parametrize(
    ("tower", "width"),
    [
        (ResNetConfig(hidden_sizes=[8, 24], depths=[1, 1]), 24),
        (ConvNextConfig(hidden_sizes=[8, 16, 24, 40]), 40),
        (ViTConfig(hidden_size=48), 48),
        (BertConfig(hidden_size=36), 36),
        (AlexNetConfig(hidden_size=20), 20),
        (EfficientNetConfig(hidden_dim=52), 52),
        (MobileViTConfig(neck_hidden_sizes=[8, 60]), 60),
    ],
)
def test_pooled_width_is_found(tower, width):
    assert pooled_dim(tower) == width


def test_a_configuration_without_a_width_is_refused_by_name():
    with pytest.raises(ValueError, match="'clip' model cannot be a tower"):
        pooled_dim(CLIPConfig())


def test_it_survives_saving_with_its_towers(tmp_path):
    config = MgVtcConfig(
        vision_config={"model_type": "alexnet", "hidden_size": 20},
        text_config={"model_type": "bert", "hidden_size": 36},
        id2label={0: "Head up", 1: "Covering face"},
        prompt_template="a person {}",
    )
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is MgVtcConfig
    assert type(loaded.vision_config) is AlexNetConfig
    assert loaded.to_dict() | {"_name_or_path": ""} == config.to_dict()
    assert loaded.class_prompts == ["a person Head up", "a person Covering face"]


def test_saved_folders_name_the_classes_that_open_them(tmp_path):
    MgVtcConfig().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == AUTO_MAP


def test_label2id_follows_from_id2label():
    assert MgVtcConfig(id2label={0: "a", 1: "b"}).label2id == {"a": 0, "b": 1}


def test_class_prompts_keep_the_order_of_the_ids():
    assert MgVtcConfig(id2label={1: "b", 0: "a", 2: "c"}).class_prompts == ["a", "b", "c"]


def test_names_with_braces_are_prompts_too():
    assert MgVtcConfig(id2label={0: "{0}"}, prompt_template="a {}").class_prompts == ["a {0}"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"projection_dim": 0}, "projection_dim must be at least 1, got 0"),
        ({"projection_dropout": 1.0}, r"projection_dropout must be in \[0, 1\), got 1.0"),
        ({"max_logit_scale": 0}, "max_logit_scale must be positive, got 0"),
        ({"logit_temperature": 0.0}, "logit_temperature must be positive and finite, got 0.0"),
        ({"logit_temperature": float("inf")}, "logit_temperature must be positive and finite, got inf"),
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\], got 1.5"),
        ({"prompt_template": "a photo"}, "needs one '{}' for the class name and no other braces, got 'a photo'"),
        ({"prompt_template": "{} {}"}, "needs one '{}'"),
        (
            {"prompt_templates": ["{}", "a photo"]},
            "needs one '{}' for the class name and no other braces, got 'a photo'",
        ),
        ({"prompt_templates": ["a {}", "{}"]}, "must be the first of prompt_templates, 'a {}', got '{}'"),
        ({"vision_only": True, "text_config": {"model_type": "bert"}}, "vision_only=True has no text tower"),
        ({"projection_dim": "256"}, "projection_dim"),
        ({"id2label": {0: "a", 2: "b"}}, r"must number the classes 0, 1, 2, ..., got the ids \[0, 2\]"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(StrictDataclassError, match=message):
        MgVtcConfig(**settings)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({0: "a", 1: None}, "1 has None"),
        ({0: "a", 1: 7}, "1 has 7"),
        ({0: ["a"], 1: "b"}, r"0 has \['a'\]"),
        ({0: "a", 1: " "}, "1 has ' '"),
        ({0: "a", 1: "a"}, "the name 'a' twice"),
        ({0: "a", 2: "b"}, r"the ids \[0, 2\]"),
    ],
)
def test_labels_that_are_not_different_texts_are_refused_by_name(labels, words):
    with pytest.raises((ValueError, StrictDataclassError), match=words):
        MgVtcConfig(id2label=labels)


@pytest.mark.parametrize("template", ["a {person} {}", "{0}", "{:>10}", "{} {", "{{}}", "{}{}", "none"])
def test_templates_that_pipelines_would_fill_otherwise_are_refused(template):
    with pytest.raises(ValueError, match=r"one '\{\}' for the class name and no other braces"):
        check_prompt_template(template)


@pytest.mark.parametrize("name", ["head {up}", "{}", "a}b{", "50 % %s"])
def test_names_with_braces_make_the_text_that_pipelines_make(name):
    config = MgVtcConfig(id2label={0: name, 1: "other"}, prompt_template="a person, {}")
    assert config.class_prompts[0] == config.prompt_template.format(name)


def test_class_names_are_in_the_order_of_their_ids_whatever_the_order_of_the_file():
    names = {str(class_id): f"gesture {class_id}" for class_id in range(12)}
    shuffled = {class_id: names[class_id] for class_id in sorted(names)}  # "10" and "11" before "2"
    config = MgVtcConfig.from_dict({"model_type": "mg_vtc", "id2label": shuffled, "vision_only": True})
    assert [*config.id2label.values()] == [*names.values()]
