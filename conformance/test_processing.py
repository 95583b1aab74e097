"""transformers' common processor tests over the processor that is saved with a model."""

import unittest

from tests.test_processing_common import ProcessorTesterMixin
from transformers import CLIPProcessor

from mg_vtc.models.processing_mg_vtc import build_processor, build_tokenizer


class TestProcessor(ProcessorTesterMixin, unittest.TestCase):
    processor_class = CLIPProcessor

    @classmethod
    def _setup_from_components(cls) -> CLIPProcessor:
        return build_processor(image_size=32, tokenizer=build_tokenizer(["lower newer", "upper older longer string"]))
