"""Recipes: the file first, then the flags; nothing unknown passes."""

import pytest
import yaml

from mg_vtc.training.recipe import DEFAULT_TEXT_MODEL, DEFAULT_VISION_MODEL, parse_recipe


@pytest.fixture
def write(tmp_path):
    def write(**settings):
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({"dataset_name": "demo", "output_dir": str(tmp_path / "run")} | settings))
        return str(path)

    return write


def test_flags_override_the_file_and_the_file_the_defaults(write):
    recipe = parse_recipe([write(learning_rate=0.5, image_size=96), "--image_size", "32"])
    assert recipe.training.learning_rate == 0.5
    assert recipe.data.image_size == 32
    assert recipe.data.train_val_split == 0.2


def test_settings_repeat_the_run_whatever_the_defaults_become(write, tmp_path):
    settings = parse_recipe([write(image_size=96), "--loss_type", "kl"]).settings
    assert settings["vision_model_name_or_path"] == DEFAULT_VISION_MODEL
    assert settings["text_batch"] == "unique"
    assert settings["seed"] == 42
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(settings))
    assert parse_recipe([str(path)]).settings == settings


@pytest.mark.parametrize(
    ("key", "value"), [("balanced_sampling", True), ("logit_adjustment", 0.5), ("loss_type", "js")]
)
def test_settings_that_are_off_are_written_where_they_are_on(write, key, value):
    assert parse_recipe([write(**{key: value})]).settings[key] == value
    assert (key in parse_recipe([write()]).settings) == (key == "loss_type")


@pytest.mark.parametrize(
    ("key", "value"), [("js_weight", None), ("learn_logit_scale", False), ("report_to", ["none"])]
)
def test_yaml_values_are_read_like_flags(write, key, value):
    recipe = parse_recipe([write(**{key: value})])
    if value is not None:
        assert (getattr(recipe.model, key, None) is False) or recipe.training.report_to == []
    else:
        assert recipe.training.js_weight == 0.5


@pytest.mark.parametrize("value", [2.5, "big", [1, 2], True])
def test_yaml_values_of_the_wrong_type_are_refused(write, value):
    with pytest.raises(ValueError, match=r"image_size|unknown argument"):
        parse_recipe([write(image_size=value)])


def test_numbers_that_yaml_reads_as_text_are_numbers(write):
    assert parse_recipe([write(learning_rate="1e-4")]).training.learning_rate == 1e-4


def test_unknown_key_is_refused_with_the_nearest_name(write):
    with pytest.raises(ValueError, match=r"unknown key 'js_wieght'\. Did you mean 'js_weight'\?"):
        parse_recipe([write(js_wieght=0.3)])


def test_unknown_flag_is_refused_with_the_nearest_name(write):
    with pytest.raises(ValueError, match=r"unknown argument '--los_type'\. Did you mean '--loss_type'\?"):
        parse_recipe([write(), "--los_type", "js"])


def test_abbreviated_flag_is_refused(write):
    with pytest.raises(ValueError, match="unknown argument '--learning_rat'"):
        parse_recipe([write(), "--learning_rat", "1"])


def test_missing_recipe_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no recipe nowhere\.yaml"):
        parse_recipe(["nowhere.yaml"])


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n"])
def test_file_that_is_no_recipe_is_refused(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.yaml"):
        parse_recipe([str(path)])


def test_default_towers_are_the_methods(write):
    model = parse_recipe([write()]).model
    assert (model.vision_model_name_or_path, model.text_model_name_or_path) == (
        DEFAULT_VISION_MODEL,
        DEFAULT_TEXT_MODEL,
    )


def test_vision_only_has_no_text_tower(write):
    assert parse_recipe([write(vision_only=True)]).model.text_model_name_or_path is None
    with pytest.raises(ValueError, match="vision_only excludes a text tower"):
        parse_recipe([write(vision_only=True, text_model_name_or_path="bert")])


def test_a_tower_has_one_origin(write):
    with pytest.raises(ValueError, match="both set the vision tower"):
        parse_recipe([write(vision_model_name_or_path="a", vision_config={"model_type": "resnet"})])


def test_flag_of_a_random_tower_overrides_the_recipes_pretrained_one(write):
    recipe = parse_recipe([write(vision_model_name_or_path="a"), "--vision_config", '{"model_type": "vit"}'])
    assert recipe.model.vision_model_name_or_path is None
    assert recipe.model.vision_config == {"model_type": "vit"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "resnett"}, r"no model_type 'resnett'\. Did you mean 'resnet'\?"),
        ({"model_type": "resnet", "deppths": [1]}, r"resnet has no setting 'deppths'\. Did you mean 'depths'\?"),
        ({"depths": [1]}, 'needs a "model_type"'),
    ],
)
def test_towers_that_transformers_does_not_know_are_refused(write, config, message):
    with pytest.raises(ValueError, match=message):
        parse_recipe([write(vision_config=config)])


def test_towers_may_be_set_in_the_words_of_every_model(write):
    recipe = parse_recipe([write(text_config={"model_type": "distilbert", "hidden_size": 8, "n_heads": 2})])
    assert recipe.model.text_config["hidden_size"] == 8


@pytest.mark.parametrize("text", ["resnet", "[1]", '{"depth": 3}'])
def test_tower_that_is_not_json_with_a_model_type_is_refused(write, text):
    with pytest.raises(ValueError, match="vision_config"):
        parse_recipe([write(), "--vision_config", text])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset_name": None}, "Give either train_dir"),
        ({"train_dir": "x"}, "Give either train_dir"),
        ({"validation_dir": "x"}, "goes with train_dir"),
        ({"labels_file": "x"}, "go with train_dir"),
        ({"train_val_split": 1.0}, "train_val_split must be at least 0 and less than 1, got 1.0"),
        ({"image_size": 0}, "image_size must be 1 or more, got 0"),
        ({"random_shift": -1}, "random_shift must be 0 or more pixels, but it is -1"),
        ({"augmentation": 1.5}, "must be between 0 and 1, but it is 1.5"),
    ],
)
def test_data_settings_out_of_range_are_refused(write, settings, message):
    with pytest.raises(ValueError, match=message):
        parse_recipe([write(**settings)])


def test_flag_vision_only_takes_the_place_of_the_text_tower_of_a_recipe():
    small = "small"
    assert parse_recipe([small, "--train_dir", "x", "--vision_only"]).model.text_config is None
    assert parse_recipe([small, "--train_dir", "x", "--vision_only", "false"]).model.text_config is not None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--split_by", "video"), "split_by must be one of frame, clip, subject, got 'video'"),
        (("--num_folds", "1"), "num_folds must be 2 or more, got 1"),
        (("--fold", "0"), "fold 0 is not a fold of num_folds None"),
        (("--num_folds", "3", "--fold", "3"), "fold 3 is not a fold of num_folds 3"),
        (("--num_folds", "2", "--validation_dir", "y"), "validation_dir bring their own"),
    ],
)
def test_splits_that_make_no_sense_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        parse_recipe(["--train_dir", "x", *flags])
