"""AlexNet: the sizes in common use, and the Auto classes."""

import pytest
import torch
from transformers import AutoModel

from mg_vtc import AlexNetConfig, AlexNetModel


def test_number_of_parameters_is_that_of_the_single_column_network():
    with torch.device("meta"):
        model = AlexNetModel(AlexNetConfig())
    # 61,100,840 with the classifier of 1000 classes, which is not part of the tower
    assert sum(parameter.numel() for parameter in model.parameters()) == 61_100_840 - (4096 + 1) * 1000


def test_last_feature_map_of_224_pixels_is_6_x_6():
    model = AlexNetModel(AlexNetConfig(hidden_size=8)).eval()
    outputs = model(torch.zeros(2, 3, 224, 224), output_hidden_states=True)
    assert outputs.last_hidden_state.shape == (2, 256, 6, 6)
    assert outputs.pooler_output.shape == (2, 8)
    assert [state.shape[-1] for state in outputs.hidden_states] == [55, 27, 13, 13, 13]


def test_smallest_image_is_63_pixels():
    model = AlexNetModel(AlexNetConfig(hidden_size=8)).eval()
    assert model(torch.zeros(1, 3, 63, 63)).pooler_output.shape == (1, 8)
    with pytest.raises(ValueError, match=r"63 x 63 pixels or more, got \(62, 63\)"):
        model(torch.zeros(1, 3, 62, 63))


def test_it_opens_through_auto_model(tmp_path):
    model = AlexNetModel(AlexNetConfig(hidden_sizes=[4, 4, 4, 4, 4], hidden_size=8)).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    pixel_values = torch.randn(1, 3, 64, 64)
    assert type(loaded) is AlexNetModel
    torch.testing.assert_close(loaded(pixel_values).pooler_output, model(pixel_values).pooler_output)
