"""Pooling of texts, and projection heads."""

import pytest
import torch
from conftest import TINY_DISTILBERT, TINY_RESNET
from huggingface_hub.errors import StrictDataclassError
from transformers import BertConfig

from mg_vtc import MgVtcConfig, MgVtcModel
from mg_vtc.models.modeling_tower import pool_texts

STATES = torch.arange(24.0).reshape(2, 4, 3)  # (texts, tokens, width)
IDS = torch.tensor([[5, 7, 9, 0], [5, 9, 0, 0]])
MASK = (IDS > 0).int()
CONFIG = BertConfig(eos_token_id=9)


@pytest.mark.parametrize(
    ("pooling", "positions"), [("cls", (0, 0)), ("eos", (2, 1)), ("last", (2, 1))], ids=lambda value: str(value)
)
def test_pooled_state_is_that_of_one_token(pooling, positions):
    pooled = pool_texts(STATES, pooling, CONFIG, input_ids=IDS, attention_mask=MASK)
    torch.testing.assert_close(pooled, torch.stack([STATES[row, place] for row, place in enumerate(positions)]))


def test_mean_is_that_of_the_tokens_without_padding():
    pooled = pool_texts(STATES, "mean", CONFIG, input_ids=IDS, attention_mask=MASK)
    torch.testing.assert_close(pooled, torch.stack([STATES[0, :3].mean(dim=0), STATES[1, :2].mean(dim=0)]))


def test_last_token_is_found_where_texts_are_padded_on_the_left():
    pooled = pool_texts(STATES, "last", CONFIG, input_ids=IDS.flip(1), attention_mask=MASK.flip(1))
    torch.testing.assert_close(pooled, STATES[:, 3])


def make(**config):
    torch.manual_seed(0)
    text = config.pop("text_config", TINY_DISTILBERT | {"vocab_size": 60})
    return MgVtcModel(MgVtcConfig(vision_config=TINY_RESNET, text_config=text, projection_dim=12, **config)).eval()


def test_pooling_layer_that_is_not_used_is_not_built(tmp_path):
    bert = {"model_type": "bert", "vocab_size": 60, "hidden_size": 16, "intermediate_size": 16}
    bert |= {"num_hidden_layers": 1, "num_attention_heads": 2}
    assert make(text_config=bert).text_model.pooler is not None
    model = make(text_config=bert, text_pooling="mean")
    assert model.text_model.pooler is None
    model.save_pretrained(tmp_path)
    _, info = MgVtcModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())


@pytest.mark.parametrize("projection", ["mlp", "linear"])
def test_projection_maps_to_the_shared_space(projection):
    model = make(projection=projection)
    assert model(torch.randn(2, 3, 32, 32), input_ids=IDS).image_embeds.shape == (2, 12)
    has_bias = [name for name, _ in model.vision_projection.named_parameters() if "bias" in name]
    assert bool(has_bias) == (projection == "mlp")


def test_no_projection_needs_towers_of_the_same_width():
    with pytest.raises(ValueError, match=r"projection 'none' needs towers of width 12 .*'linear' or 'mlp'"):
        make(projection="none")


@pytest.mark.parametrize("setting", ["projection", "text_pooling", "text_padding_side"])
def test_unknown_word_is_refused(setting):
    with pytest.raises(StrictDataclassError, match=f"{setting} must be one of .*, got 'other'"):
        MgVtcConfig(**{setting: "other"})
