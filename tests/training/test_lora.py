"""LoRA: what is trained, what is saved, and what PEFT makes of it."""

import copy

import pytest
import torch
from conftest import TINY_RESNET, TINY_VIT, make_rows
from damage import flip_bit

import mg_vtc
from mg_vtc import MgVtcConfig, MgVtcModel
from mg_vtc.runs.manifest import find_damage, read_manifest
from mg_vtc.training.lora import find_attention_layers

SETTINGS = {"lora_rank": 2, "max_steps": 3, "learning_rate": 3e-2, "weight_decay": 0.0}
IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def attentive(config):
    """A model with attention in both towers."""
    torch.manual_seed(0)
    return MgVtcModel(MgVtcConfig.from_dict(config.to_dict() | {"vision_config": TINY_VIT, "projection_dropout": 0.0}))


def logits_of(model):
    with torch.no_grad():
        return model.eval()(pixel_values=IMAGES).logits_per_image


def test_layers_are_the_linear_ones_of_attention(attentive):
    names = find_attention_layers(attentive.text_model)
    assert {name.rpartition(".")[2] for name in names} == {"q_lin", "k_lin", "v_lin", "out_lin"}
    assert len(names) == 4 * attentive.config.text_config.n_layers
    assert find_attention_layers(MgVtcModel(MgVtcConfig(vision_config=TINY_RESNET, vision_only=True))) == []


def test_untrained_adapters_change_nothing(make_trainer, attentive):
    before = logits_of(make_trainer(copy.deepcopy(attentive)).model)
    assert torch.equal(logits_of(make_trainer(attentive, lora_rank=2).model), before)


def test_attention_and_heads_are_trained_and_the_rest_of_the_towers_is_not(make_trainer, attentive):
    start = copy.deepcopy(attentive.state_dict())
    trainer = make_trainer(attentive, **SETTINGS, load_best_model_at_end=False)
    trainer.train()
    state = trainer.model.state_dict()
    assert state.keys() == start.keys()
    changed = {name for name in start if not torch.equal(state[name], start[name])} - {"class_embeds", "logit_scale"}
    layers = {f"{tower}.{name}.weight" for tower in ("vision_model", "text_model") for name in find_attention_layers(
        getattr(attentive, tower))}  # fmt: skip
    assert {name for name in changed if "_model." in name} == layers
    assert any(name.startswith("vision_projection") for name in changed)


def test_what_is_added_is_twice_the_product_of_the_matrices(make_trainer, attentive):
    start = copy.deepcopy(attentive.state_dict())
    trainer = make_trainer(attentive, **SETTINGS, load_best_model_at_end=False)
    seen = {}
    trained = trainer._adapters.merge

    def keep(model):
        seen.update({name: tensor.clone() for name, tensor in model.state_dict().items() if "lora_" in name})
        trained(model)

    trainer._adapters.merge = keep
    trainer.train()
    name = next(name for name in seen if "lora_A" in name).removesuffix(".lora_A.default.weight")
    product = seen[f"{name}.lora_B.default.weight"] @ seen[f"{name}.lora_A.default.weight"]
    assert product.abs().max() > 1e-4
    torch.testing.assert_close(trainer.model.state_dict()[f"{name}.weight"], start[f"{name}.weight"] + 2 * product)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's own
@pytest.mark.parametrize("load_best", [True, False])
def test_saved_model_and_adapter_have_the_logits_of_the_training(
    make_trainer, attentive, processor, tmp_path, load_best
):
    from peft import PeftModel

    base = copy.deepcopy(attentive)
    trainer = make_trainer(attentive, **SETTINGS, load_best_model_at_end=load_best, metric_for_best_model="loss")
    trainer.train()
    trainer.save_model()
    saved = MgVtcModel.from_pretrained(tmp_path)
    assert torch.equal(logits_of(saved), logits_of(trainer.model))
    assert read_manifest(tmp_path / "adapter").keys() == {"adapter_config.json", "adapter_model.safetensors"}
    assert find_damage(tmp_path / "adapter") == find_damage(tmp_path) == []
    flip_bit(tmp_path / "adapter" / "adapter_model.safetensors")
    (found,) = find_damage(tmp_path)
    assert "adapter/adapter_model.safetensors is damaged" in found
    flip_bit(tmp_path / "adapter" / "adapter_model.safetensors")  # which mends it
    assert not list(tmp_path.glob("adapter_*"))  # else transformers would take the folder for an adapter
    adapted = PeftModel.from_pretrained(base, tmp_path / "adapter")
    torch.testing.assert_close(logits_of(adapted.base_model.model), logits_of(trainer.model))
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_mode & 0o777 == (
        tmp_path / "config.json"
    ).stat().st_mode & 0o777


def test_evaluation_in_the_training_is_that_of_its_checkpoint(make_trainer, attentive, tmp_path):
    trainer = make_trainer(attentive, **SETTINGS, load_best_model_at_end=False)
    trainer.train()
    losses = [log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log]
    saved = MgVtcModel.from_pretrained(tmp_path / "checkpoint-3")
    assert make_trainer(saved).evaluate()["eval_loss"] == pytest.approx(losses[-1], abs=1e-6)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_resumed_training_ends_like_one_that_was_not_interrupted(make_trainer, attentive, tmp_path, ema_decay):
    settings = SETTINGS | {"max_steps": 4, "ema_decay": ema_decay, "save_total_limit": None}
    whole = make_trainer(copy.deepcopy(attentive), **settings, load_best_model_at_end=False)
    whole.train()
    resumed = make_trainer(attentive, **settings, load_best_model_at_end=False)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    first, second = whole.model.state_dict(), resumed.model.state_dict()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_checkpoint_without_its_adapter_is_not_resumed(make_trainer, attentive, tmp_path):
    settings = SETTINGS | {"save_total_limit": None}
    make_trainer(copy.deepcopy(attentive), **settings).train()
    (tmp_path / "checkpoint-2" / "adapter" / "adapter_model.safetensors").unlink()
    (tmp_path / "checkpoint-2" / "manifest.json").unlink()  # of an earlier revision
    with pytest.raises(FileNotFoundError, match=r"lacks adapter/adapter_model\.safetensors"):
        make_trainer(attentive, **settings).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_tower_without_attention_is_refused_unless_the_other_is_named(make_trainer, model):
    with pytest.raises(ValueError, match=r"the vision tower \(resnet\) has none: set lora_towers to the other"):
        make_trainer(copy.deepcopy(model), lora_rank=2)
    start = copy.deepcopy(model.state_dict())
    trainer = make_trainer(model, **SETTINGS, lora_towers="text")
    trainer.train()
    state = trainer.model.state_dict()
    assert any(not torch.equal(state[name], start[name]) for name in start if name.startswith("vision_model."))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lora_rank": -1}, "lora_rank must be 0"),
        ({"lora_rank": 2, "lora_towers": "image"}, "'image' is not one of both, vision, text"),
        ({"lora_towers": "text"}, "goes with lora_rank"),
        ({"lora_rank": 2, "freeze_text_model": True}, "freeze_text_model leaves nothing"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(make_trainer, attentive, settings, words):
    with pytest.raises(ValueError, match=words):
        make_trainer(attentive, **settings)


def test_vision_only_model_has_no_text_tower_to_adapt(make_trainer):
    model = MgVtcModel(MgVtcConfig(vision_config=TINY_VIT, vision_only=True, num_labels=6, projection_dim=12))
    with pytest.raises(ValueError, match="set 'vision'"):
        make_trainer(model, lora_rank=2)
    make_trainer(model, make_rows(8), **SETTINGS, lora_towers="vision").train()


def test_adapter_that_is_opened_as_a_model_is_named(make_trainer, attentive, images_dir, tmp_path):
    make_trainer(attentive, **SETTINGS).train()
    with pytest.raises(ValueError, match="is an adapter, which holds no towers: pass the folder of its run"):
        mg_vtc.predict(tmp_path / "adapter", images_dir)
