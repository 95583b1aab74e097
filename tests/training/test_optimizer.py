"""Rates and decays of the parts of a model."""

from torch import nn

from mg_vtc import MgVtcTrainingArguments
from mg_vtc.training.optimizer import group_parameters, measure_distances


def settings_by_name(model, tmp_path, **settings):
    arguments = MgVtcTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **settings)
    groups = group_parameters(model, arguments)
    name_of = {parameter: name for name, parameter in model.named_parameters()}
    return {name_of[p]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}, groups


def test_each_part_has_its_rate_and_norms_biases_and_scale_do_not_decay(model, tmp_path):
    rates = {"learning_rate": 1e-3, "vision_learning_rate": 1e-4, "text_learning_rate": 1e-5}
    seen, groups = settings_by_name(model, tmp_path, **rates, weight_decay=1e-3, tower_weight_decay=1e-2)
    assert set(seen) == {name for name, _ in model.named_parameters()}
    normed = {
        f"{module_name}.{name}"
        for module_name, module in model.named_modules()
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d)
        for name, _ in module.named_parameters()
    }
    for name, (rate, decay) in seen.items():
        tower = name.split(".")[0]
        assert rate == {"vision_model": 1e-4, "text_model": 1e-5}.get(tower, 1e-3), name
        if name in normed or name.endswith("bias") or name == "logit_scale":
            assert decay == 0, name
        else:
            assert decay == (1e-2 if tower.endswith("model") else 1e-3), name
    assert groups[0]["lr"] == 1e-3  # whose rate is logged


def test_rate_and_decay_of_the_heads_are_those_of_all_where_no_other_is_given(model, tmp_path):
    seen, _ = settings_by_name(model, tmp_path, learning_rate=1e-2, weight_decay=0.1)
    assert set(seen.values()) == {(1e-2, 0.1), (1e-2, 0.0)}


def test_a_rate_of_zero_is_a_rate(model, tmp_path):
    seen, _ = settings_by_name(model, tmp_path, text_learning_rate=0.0)
    assert {rate for name, (rate, _) in seen.items() if name.startswith("text_model")} == {0.0}


def test_parameters_without_gradient_are_in_no_group(model, tmp_path):
    model.text_model.requires_grad_(False)
    seen, _ = settings_by_name(model, tmp_path)
    assert not any(name.startswith("text_model") for name in seen)


def test_layers_have_the_rate_of_their_tower_times_the_decay_to_the_power_of_their_distance(model, tmp_path):
    settings = {"learning_rate": 1e-2, "vision_learning_rate": 1e-3, "text_learning_rate": 1e-4}
    seen, groups = settings_by_name(model, tmp_path, **settings, layer_decay=0.5)
    rates = {name: rate for name, (rate, _) in seen.items()}
    assert set(rates) == {name for name, _ in model.named_parameters()}
    assert groups[0]["lr"] == 1e-2
    blocks = len(model.text_model.transformer.layer)
    assert rates["text_model.embeddings.word_embeddings.weight"] == 1e-4 * 0.5 ** (blocks + 1)
    for number in range(blocks):
        rate = rates[f"text_model.transformer.layer.{number}.attention.q_lin.weight"]
        assert rate == 1e-4 * 0.5 ** (blocks - number)
    stages = len(model.config.vision_config.depths)
    assert rates["vision_model.embedder.embedder.convolution.weight"] == 1e-3 * 0.5 ** (stages + 1)
    (last,) = {rate for name, rate in rates.items() if f"vision_model.encoder.stages.{stages - 1}." in name}
    assert last == 1e-3 * 0.5
    assert {rate for name, rate in rates.items() if name.startswith(("vision_projection", "text_projection"))} == {
        1e-2
    }


def test_what_follows_the_blocks_has_the_rate_of_the_tower():
    names = [
        "embeddings.weight",
        "encoder.layers.0.weight",
        "encoder.layers.1.weight",
        "layernorm.weight",
        "pooler.weight",
    ]
    distances = measure_distances(f"vision_model.{name}" for name in names)
    assert [*distances.values()] == [3, 2, 1, 0, 0]


def test_without_layer_decay_the_groups_are_those_of_the_towers(model, tmp_path):
    assert len(settings_by_name(model, tmp_path)[1]) == 6
