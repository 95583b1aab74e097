"""The model: closed forms first, then the parts against each other, then towers of other kinds."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY_BERT, TINY_VIT
from transformers import (
    AutoModelForImageClassification,
    AutoModelForZeroShotImageClassification,
    DistilBertModel,
    ResNetModel,
    SegformerConfig,
)

from mg_vtc import MgVtcConfig, MgVtcForImageClassification, MgVtcModel

PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TINY_ALEXNET = {"model_type": "alexnet", "hidden_sizes": [4, 4, 4, 4, 4], "hidden_size": 16}


def test_logits_are_scaled_cosines(model, class_texts):
    outputs = model(PIXELS, **class_texts)
    assert outputs.logits_per_image.shape == (3, 6)
    torch.testing.assert_close(outputs.image_embeds.norm(dim=-1), torch.ones(3))
    cosines = F.cosine_similarity(outputs.image_embeds[:, None], outputs.text_embeds[None], dim=-1)
    torch.testing.assert_close(outputs.logits_per_image, cosines / 0.07, rtol=1e-4, atol=1e-4)
    assert torch.equal(outputs.logits_per_text, outputs.logits_per_image.T)


def test_as_published_there_is_no_norm_and_a_fixed_scale_of_one(config, class_texts):
    config.normalize, config.logit_scale_init_value, config.learn_logit_scale = False, 0, False
    model = MgVtcModel(config).eval()
    outputs = model(PIXELS, **class_texts)
    torch.testing.assert_close(outputs.logits_per_image, outputs.image_embeds @ outputs.text_embeds.T)
    torch.testing.assert_close(outputs.image_embeds, model.get_image_features(PIXELS).pooler_output)
    assert "logit_scale" not in dict(model.named_parameters())
    assert model.logit_scale == 0


def test_scale_never_exceeds_its_bound(model, class_texts):
    with torch.no_grad():
        model.logit_scale.fill_(10.0)
    outputs = model(PIXELS, **class_texts)
    torch.testing.assert_close(outputs.logits_per_image, 100 * outputs.image_embeds @ outputs.text_embeds.T)
    model.clamp_logit_scale()
    assert model.logit_scale.item() == pytest.approx(math.log(100))


def test_clamped_scale_keeps_its_gradient(model, class_texts):
    with torch.no_grad():
        model.logit_scale.fill_(10.0)
    model.clamp_logit_scale()
    model(PIXELS, **class_texts).logits_per_image.sum().backward()
    assert model.logit_scale.grad.abs() > 0


def test_padding_does_not_matter(model, class_texts):
    padded = {name: F.pad(tensor, (0, 5)) for name, tensor in class_texts.items()}
    torch.testing.assert_close(
        model(PIXELS, **padded).text_embeds, model(PIXELS, **class_texts).text_embeds, rtol=1e-5, atol=1e-5
    )


def test_without_texts_the_classes_are_compared_with(model, class_texts):
    expected = model(PIXELS, **class_texts).logits_per_image
    model.set_class_embeds(**class_texts)
    torch.testing.assert_close(model(PIXELS).logits_per_image, expected)


def test_class_embeds_are_computed_without_dropout_and_the_mode_is_kept(model, class_texts):
    model.set_class_embeds(**class_texts)
    expected = model.class_embeds.clone()
    model.train().set_class_embeds(**class_texts)
    assert model.training
    assert torch.equal(model.class_embeds, expected)


def test_class_embeds_need_a_text_a_class(model, class_texts):
    with pytest.raises(ValueError, match="got 2 texts for 6 classes"):
        model.set_class_embeds(class_texts["input_ids"][:2])


def test_one_checkpoint_serves_both_tasks(model, class_texts, tmp_path):
    model.set_class_embeds(**class_texts)
    model.save_pretrained(tmp_path)
    zero_shot, report = AutoModelForZeroShotImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    classifier, classifier_report = AutoModelForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert type(zero_shot) is MgVtcModel
    assert type(classifier) is MgVtcForImageClassification
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[key]
        assert not classifier_report[key]
    torch.testing.assert_close(classifier(PIXELS).logits, zero_shot(PIXELS, **class_texts).logits_per_image)


def test_classification_never_runs_the_text_tower(model):
    classifier = MgVtcForImageClassification(model.config).eval()
    classifier.text_model.register_forward_hook(lambda *_: pytest.fail("the text tower ran"))
    assert classifier(PIXELS).logits.shape == (3, 6)


def test_classification_loss_is_the_cross_entropy(model):
    classifier = MgVtcForImageClassification(model.config).eval()
    labels = torch.tensor([0, 5, 2])
    outputs = classifier(PIXELS, labels=labels)
    torch.testing.assert_close(outputs.loss, F.cross_entropy(outputs.logits, labels))


def test_vision_only_learns_its_class_table(config):
    config = MgVtcConfig(vision_config=config.vision_config, vision_only=True, id2label=config.id2label)
    model = MgVtcModel(config)
    assert not any("text" in name for name in model.state_dict())
    F.cross_entropy(model(PIXELS).logits_per_image, torch.tensor([0, 1, 2])).backward()
    assert model.class_embeds.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="vision-only"):
        model(PIXELS, input_ids=torch.ones(1, 3, dtype=torch.long))


@pytest.mark.parametrize("vision", [TINY_VIT, TINY_ALEXNET])
@pytest.mark.parametrize("text", [TINY_BERT | {"vocab_size": 200}])
def test_other_towers_train_save_and_load(vision, text, tmp_path):
    model = MgVtcModel(MgVtcConfig(vision_config=dict(vision), text_config=dict(text), num_labels=3))
    pixel_values = torch.randn(2, 3, 64 if vision is TINY_ALEXNET else 32, 64 if vision is TINY_ALEXNET else 32)
    texts = {"input_ids": torch.tensor([[2, 7, 3], [2, 9, 3]]), "token_type_ids": torch.zeros(2, 3, dtype=torch.long)}
    (model(pixel_values, **texts).logits_per_image * torch.randn(2, 2)).sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    model.eval().save_pretrained(tmp_path)
    loaded = MgVtcModel.from_pretrained(tmp_path)
    torch.testing.assert_close(
        loaded(pixel_values, **texts).logits_per_image, model(pixel_values, **texts).logits_per_image
    )


def test_text_without_a_pooler_is_its_first_token(model, class_texts):
    hidden = model.text_model(**class_texts).last_hidden_state
    torch.testing.assert_close(
        model.get_text_features(**class_texts).pooler_output, model.text_projection(hidden[:, 0])
    )


def test_pretrained_towers_are_joined_with_their_weights(model, tmp_path):
    model.vision_model.save_pretrained(tmp_path / "vision")
    model.text_model.save_pretrained(tmp_path / "text")
    joined = MgVtcModel.from_vision_text_pretrained(
        str(tmp_path / "vision"), str(tmp_path / "text"), projection_dim=5, id2label={0: "a", 1: "b"}
    )
    assert type(joined.vision_model) is ResNetModel
    assert type(joined.text_model) is DistilBertModel
    for tower in ("vision_model", "text_model"):
        for name, tensor in getattr(model, tower).state_dict().items():
            assert torch.equal(getattr(joined, tower).state_dict()[name], tensor), name
    assert joined.config.projection_dim == 5
    assert joined.vision_model.config is joined.config.vision_config


def test_towers_in_half_precision_are_joined_in_float32(model, tmp_path):
    model.vision_model.half().save_pretrained(tmp_path / "vision")
    joined = MgVtcModel.from_vision_text_pretrained(str(tmp_path / "vision"), vision_only=True)
    assert {parameter.dtype for parameter in joined.parameters()} == {torch.float32}


def test_vision_tower_without_a_pooled_state_is_refused_by_name(config):
    tower = SegformerConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 1], mlp_ratios=[1, 1, 1, 1]
    )
    model = MgVtcModel(MgVtcConfig(vision_config=tower, vision_only=True))
    with pytest.raises(ValueError, match="SegformerModel gives no pooled state"):
        model(PIXELS)


def test_freshly_made_models_of_one_seed_are_equal(config):
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(MgVtcModel(config).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
