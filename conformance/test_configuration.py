"""transformers' common configuration tests over our configurations."""

import json
import unittest

from tests.test_configuration_common import ConfigTester
from tiny import ALEXNET, RESNET_DISTILBERT, VISION_ONLY_ALEXNET, TinyModel
from transformers import PreTrainedConfig

DUAL_ENCODER_FIELDS = ["projection_dim", "logit_scale_init_value"]


class TestConfiguration(unittest.TestCase):
    def _run_common_tests(self, config: PreTrainedConfig, common_properties: list[str], settings: list[str]) -> None:
        """Run them with the values that `config` has for `settings`, as its file states them."""
        self.model_tester = TinyModel(config, inputs={})
        in_file = json.loads(config.to_json_string())
        tester = ConfigTester(
            self,
            config_class=type(config),
            has_text_modality=False,
            common_properties=common_properties,
            **{name: in_file[name] for name in settings},
        )
        tester.run_common_tests()

    def test_mg_vtc_config_passes(self):
        settings = ["vision_config", "text_config", "projection_dim"]
        self._run_common_tests(RESNET_DISTILBERT, DUAL_ENCODER_FIELDS, settings)

    def test_vision_only_mg_vtc_config_with_our_own_tower_passes(self):
        settings = ["vision_config", "vision_only", "projection_dim"]
        self._run_common_tests(VISION_ONLY_ALEXNET, DUAL_ENCODER_FIELDS, settings)

    def test_alexnet_config_passes(self):
        self._run_common_tests(ALEXNET, ["hidden_size", "num_channels"], ["hidden_sizes", "hidden_size"])
