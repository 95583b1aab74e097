"""The configuration of AlexNet."""

import pytest
from huggingface_hub.errors import StrictDataclassError

from mg_vtc import AlexNetConfig


def test_default_sizes_are_those_in_common_use():
    config = AlexNetConfig()
    assert (config.hidden_sizes, config.hidden_size) == ((64, 192, 384, 256, 256), 4096)


def test_another_number_of_convolutions_is_refused():
    with pytest.raises(StrictDataclassError, match="five convolutions"):
        AlexNetConfig(hidden_sizes=[1, 2, 3])
