"""transformers' common model tests over our models, with tiny towers of random weights.

Every test that does not apply is named below, with the reason. Those that skip themselves need what is not here: an
accelerator, flash attention, experts, `generate`, and the like.
"""

import unittest
from collections.abc import Callable
from typing import Any

import torch
from tests.test_modeling_common import ModelTesterMixin
from tiny import ALEXNET, BERT, RESNET, RESNET_DISTILBERT, VISION_ONLY_ALEXNET, VIT, VIT_BERT, TinyModel

from mg_vtc import AlexNetModel, MgVtcForImageClassification, MgVtcModel

SEED = torch.Generator().manual_seed(0)
IMAGES = {"pixel_values": torch.rand(3, 3, 32, 32, generator=SEED)}
LARGE_IMAGES = {"pixel_values": torch.rand(3, 3, 64, 64, generator=SEED)}
TEXTS = {
    "input_ids": torch.randint(1, 99, (3, 7), generator=SEED),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0, 0]]),
}

# The state of a convolutional layer is a feature map, (batch_size, channels, height, width): its height and width are
# expected in the places of a length and a width. AlexNet's first map stands where other models have embeddings.
RESNET_STATES = {"num_hidden_layers": 2, "seq_length": 8, "hidden_size": 8}
VIT_STATES = {"num_hidden_layers": 2, "seq_length": 17, "hidden_size": 32, "num_attention_heads": 4}
ALEXNET_STATES = {"num_hidden_layers": 4, "seq_length": 15, "hidden_size": 15}
TEXT_TOWER = TinyModel(BERT, TEXTS, num_hidden_layers=2)

TRAINING_WITH_CHECKPOINTING = (
    "test_training_gradient_checkpointing",
    "test_training_gradient_checkpointing_use_reentrant_false",
    "test_training_gradient_checkpointing_use_reentrant_true",
)
RANDOM_CLASS_EMBEDS = {
    "test_init_weights_can_init_buffers": "wants buffers of fixed values, and class_embeds are random until they are "
    "filled; test_can_init_all_missing_weights checks them, from one seed"
}
NO_LOSS = dict.fromkeys(
    ("test_training", *TRAINING_WITH_CHECKPOINTING),
    "wants a loss, and MgVtcModel has none by design: the trainer computes it from the outputs",
)
STATES_BY_TOWER = dict.fromkeys(
    ("test_attention_outputs", "test_hidden_states_output", "test_retain_grad_hidden_states_attentions"),
    "MgVtcModel gives the states of its towers in vision_model_output and text_model_output, as CLIPModel does; the "
    "tests of get_image_features and get_text_features check them",
)
NO_ATTENTION = {"test_get_image_features_attentions": "ResNet has no attention"}
NO_TEXT_INPUT = {"test_resize_tokens_embeddings": "wants input_ids, and MgVtcForImageClassification reads no text"}
RESNET_RUNS_ALONE = {
    "test_can_capture_specific_layers_hidden_states": "ResNet keeps the states of all layers or of none; the test "
    "expects a choice because the text tower, which does not run, offers one",
    **dict.fromkeys(
        TRAINING_WITH_CHECKPOINTING, "ResNet has no layers to checkpoint, and the text tower does not run"
    ),
}
NO_TEXT_TOWER = dict.fromkeys(
    (
        "test_get_text_features_hidden_states",
        "test_get_text_features_output_0",
        "test_get_text_features_output_1",
        "test_get_text_features_output_2",
    ),
    "there is no text tower: get_text_features raises ValueError",
)
NO_LAYERS_TO_CHECKPOINT = dict.fromkeys(
    (
        "test_gradient_checkpointing_backward_compatibility",
        "test_gradient_checkpointing_enable_disable",
        "test_peft_gradient_checkpointing_enable_disable",
        *TRAINING_WITH_CHECKPOINTING,
    ),
    "AlexNet has no layers to checkpoint: transformers raises ValueError on the attempt",
)
FIVE_CONVOLUTIONS = {
    "test_num_layers_is_small": "AlexNet has five convolutions, however small",
    "test_model_get_set_embeddings": "AlexNet has no embeddings: get_input_embeddings raises NotImplementedError",
    "test_resize_tokens_embeddings": "AlexNet has no embeddings: get_input_embeddings raises NotImplementedError",
}
NO_HEAD = {"test_training": "wants a loss, and AlexNetModel is a tower without a head"}


def not_applicable(reasons: dict[str, str]) -> Callable[[type], type]:
    """Class decorator that skips the named tests; a name that no test has is an `AttributeError`."""

    def skip(tests: type) -> type:
        for name, reason in reasons.items():
            setattr(tests, name, unittest.skip(reason)(getattr(tests, name)))
        return tests

    return skip


class CommonTests(ModelTesterMixin):
    test_can_init_all_missing_weights_before_2023 = True  # our files state no year, which would count as before


class MgVtcModelTests(CommonTests):
    all_model_classes = (MgVtcModel,)
    additional_model_inputs = ("input_ids",)
    _is_composite = True


class MgVtcForImageClassificationTests(CommonTests):
    all_model_classes = (MgVtcForImageClassification,)
    test_all_params_have_gradient = False  # the text tower does not run
    _is_composite = True

    def _prepare_for_class(
        self, inputs_dict: dict[str, Any], model_class: type, return_labels: bool = False
    ) -> dict[str, Any]:
        inputs = super()._prepare_for_class(inputs_dict, model_class)
        return inputs | {"labels": torch.tensor([0, 1, 1])} if return_labels else inputs


@not_applicable(NO_LOSS | STATES_BY_TOWER | NO_ATTENTION | RANDOM_CLASS_EMBEDS)
class TestResNetDistilBert(MgVtcModelTests, unittest.TestCase):
    skip_test_image_features_output_shape = True  # the last state is a feature map
    model_tester = TinyModel(
        RESNET_DISTILBERT,
        IMAGES | TEXTS,
        vision_model_tester=TinyModel(RESNET, IMAGES, **RESNET_STATES),
        text_model_tester=TEXT_TOWER,
    )


@not_applicable(NO_LOSS | STATES_BY_TOWER | RANDOM_CLASS_EMBEDS)
class TestViTBert(MgVtcModelTests, unittest.TestCase):
    model_tester = TinyModel(
        VIT_BERT,
        IMAGES | TEXTS,
        vision_model_tester=TinyModel(VIT, IMAGES, **VIT_STATES),
        text_model_tester=TEXT_TOWER,
    )


@not_applicable(RESNET_RUNS_ALONE | NO_TEXT_INPUT | RANDOM_CLASS_EMBEDS)
class TestResNetDistilBertForImageClassification(MgVtcForImageClassificationTests, unittest.TestCase):
    has_attentions = False
    skip_test_image_features_output_shape = True
    model_tester = TinyModel(RESNET_DISTILBERT, IMAGES, **RESNET_STATES, text_model_tester=TEXT_TOWER)


@not_applicable(NO_TEXT_INPUT | RANDOM_CLASS_EMBEDS)
class TestViTBertForImageClassification(MgVtcForImageClassificationTests, unittest.TestCase):
    model_tester = TinyModel(VIT_BERT, IMAGES, **VIT_STATES, text_model_tester=TEXT_TOWER)


@not_applicable(FIVE_CONVOLUTIONS | NO_LAYERS_TO_CHECKPOINT | NO_TEXT_TOWER)
class TestVisionOnlyAlexNetForImageClassification(MgVtcForImageClassificationTests, unittest.TestCase):
    has_attentions = False
    skip_test_image_features_output_shape = True
    model_tester = TinyModel(VISION_ONLY_ALEXNET, LARGE_IMAGES, **ALEXNET_STATES)


@not_applicable(FIVE_CONVOLUTIONS | NO_HEAD)
class TestAlexNet(CommonTests, unittest.TestCase):
    all_model_classes = (AlexNetModel,)
    has_attentions = False
    model_tester = TinyModel(ALEXNET, LARGE_IMAGES, **ALEXNET_STATES)
