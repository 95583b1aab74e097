"""Dual encoders that are taken over: their logits are those of the parent, before and after saving."""

import pytest
import torch
from dual_encoders import FAMILIES, SIDE, TEXTS, make_parent, make_tokenizer, tokenize
from transformers import (
    AlignConfig,
    AutoModel,
    AutoModelForImageClassification,
    Siglip2Config,
    Siglip2VisionConfig,
)

from mg_vtc import MgVtcModel
from mg_vtc.models.modeling_tower import build_tower

CLASSES = dict(enumerate(TEXTS))


@pytest.fixture
def pixel_values():
    return torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def take_over(family, **settings):
    parent, tokenizer = make_parent(family), make_tokenizer(family)
    with torch.no_grad():
        model = MgVtcModel.from_dual_encoder(parent, id2label=CLASSES, text_padding_side=tokenizer.padding_side)
    return parent, model.eval()


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_logits_are_those_of_the_parent_before_and_after_saving(family, pixel_values, tmp_path):
    parent, model = take_over(family)
    expected = parent(pixel_values=pixel_values, **tokenize(family, TEXTS)).logits_per_image  # (3, 4)
    texts = make_tokenizer(family)(list(TEXTS), padding=True, return_tensors="pt")  # as the pipeline pads
    model.set_class_embeds(**texts)
    model.save_pretrained(tmp_path)
    reloaded, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    for one in (model, reloaded.eval()):
        torch.testing.assert_close(
            one(pixel_values=pixel_values, **texts).logits_per_image, expected, rtol=0, atol=1e-5
        )
    classifier = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(classifier(pixel_values=pixel_values).logits, expected, rtol=0, atol=2e-5)


@torch.no_grad()
def test_texts_of_siglip_do_not_depend_on_the_others_of_their_batch(pixel_values):
    _, model = take_over("siglip")
    tokenizer = make_tokenizer("siglip")
    together = model.get_text_features(**tokenizer(list(TEXTS), padding=True, return_tensors="pt")).pooler_output
    for row, text in zip(together, TEXTS, strict=True):
        alone = model.get_text_features(**tokenizer([text], return_tensors="pt")).pooler_output[0]
        torch.testing.assert_close(alone, row, rtol=0, atol=1e-5)


@torch.no_grad()
def test_padded_texts_have_the_hidden_states_and_attentions_of_the_parent():
    parent, model = take_over("siglip")
    for tower in (parent, model):
        tower.set_attn_implementation("eager")  # which has attentions
    texts = make_tokenizer("siglip")(list(TEXTS), padding=True, return_tensors="pt")
    asked = {"output_hidden_states": True, "output_attentions": True}
    expected = parent.text_model(**tokenize("siglip", TEXTS), **asked)
    found = model.get_text_features(**texts, **asked)
    assert len(found.hidden_states) == 3  # embeddings and two layers
    assert len(found.attentions) == 2
    torch.testing.assert_close(found.hidden_states, expected.hidden_states)
    torch.testing.assert_close(found.attentions, expected.attentions)


def test_text_longer_than_the_training_is_refused():
    _, model = take_over("siglip")
    with pytest.raises(ValueError, match="has 70 tokens, but this text tower was trained with 64"):
        model.get_text_features(input_ids=torch.ones(1, 70, dtype=torch.int64))


def test_scale_of_siglip_may_exceed_that_of_clip():
    _, model = take_over("siglip")
    assert model.config.max_logit_scale > model.logit_scale.exp() > 100
    scale = model.logit_scale.clone()
    model.clamp_logit_scale()
    assert model.logit_scale == scale


def test_bias_is_learned_and_a_softmax_does_not_see_it(pixel_values):
    _, model = take_over("siglip")
    logits = model(pixel_values=pixel_values).logits_per_image
    logits.sigmoid().sum().backward()
    assert model.logit_bias.grad is not None
    with torch.no_grad():
        model.logit_bias.add_(3)
        changed = model(pixel_values=pixel_values).logits_per_image
    torch.testing.assert_close(changed.softmax(dim=1), logits.softmax(dim=1))


def test_other_dual_encoders_are_refused_by_name():
    parent = torch.nn.Module()
    parent.config = AlignConfig()
    with pytest.raises(ValueError, match="'align' model cannot be taken over as a dual encoder, only clip,"):
        MgVtcModel.from_dual_encoder(parent)


def test_siglip_2_of_any_aspect_ratio_is_refused_with_one_of_fixed_resolution():
    parent = torch.nn.Module()
    parent.config = Siglip2Config()
    for build in (
        lambda: MgVtcModel.from_dual_encoder(parent),
        lambda: build_tower(Siglip2VisionConfig(), "pixel_values"),
    ):
        with pytest.raises(ValueError, match=r"\(NaFlex\) is not supported: .* google/siglip2-base-patch16-224"):
            build()


def test_fields_of_the_parent_cannot_be_given():
    with pytest.raises(ValueError, match="projection_dim is that of the dual encoder: leave it out"):
        MgVtcModel.from_dual_encoder(make_parent("clip"), projection_dim=12)
