"""The graph of the web page: from the pixels of a canvas to scores and a heat map.

Resizing, normalization and the gradient of Grad-CAM are part of the graph, so a page needs no numerics of its own.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from transformers import BaseImageProcessor

from ..data.decoding import find_resizing
from ..inference.grad_cam import find_layer, grad_cam, to_feature_maps
from ..models.modeling_mg_vtc import MgVtcForImageClassification

aten = torch.ops.aten


class ImageGraph(nn.Module):
    """RGBA pixels and the embeddings of names -> logits and, if the tower has spatial positions, a heat map.

    Args:
        model: Model in evaluation mode, float32.
        processor: Its image processor, which only resizes and normalizes.

    Attributes:
        has_heat: Whether there is a heat map.
    """

    mean: torch.Tensor  # (1, 3, 1, 1)
    std: torch.Tensor  # (1, 3, 1, 1)

    def __init__(self, model: MgVtcForImageClassification, processor: BaseImageProcessor) -> None:
        super().__init__()
        self.resizing = find_resizing(processor)
        self.register_buffer("mean", torch.tensor(processor.image_mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(processor.image_std).view(1, 3, 1, 1))
        unit, none = torch.ones(1, 1), torch.zeros(1, 1)
        self.bias = model.compare(none, unit).item()
        self.scale = model.compare(unit, unit).item() - self.bias
        side = self.resizing.image_size
        example = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        with torch.enable_grad():
            self.core, self.has_heat = _trace(model, example)

    def forward(self, pixels: torch.Tensor, name_embeds: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compare an image with names.

        Args:
            pixels: uint8 (height, width, 4), as a canvas gives them; the fourth channel is ignored.
            name_embeds: Embeddings of names, of norm 1 if the model normalizes, (num_names, projection_dim).

        Returns:
            Logits (num_names,) and, if `has_heat`, Grad-CAM of the name with the highest one, (h, w) in 0..1.
        """
        image = pixels[:, :, :3].permute(2, 0, 1)[None]  # (1, 3, height, width)
        pixel_values = (self._resize(image).float() / 255 - self.mean) / self.std  # (1, 3, side, side)
        cosines, *heat = self.core(pixel_values, name_embeds)
        return (self.scale * cosines + self.bias, *heat)

    def _resize(self, image: torch.Tensor) -> torch.Tensor:
        """Resize as `mg_vtc.data.decoding.resize` does, with sizes that are known when the graph runs."""
        side, edge, mode = self.resizing.image_size, self.resizing.shortest_edge, self.resizing.resample
        if edge is None:
            return F.interpolate(image, (side, side), mode=mode, antialias=True)
        height, width = image.shape[2:]
        shorter = torch.sym_min(height, width)
        size = (edge * height // shorter, edge * width // shorter)
        resized: torch.Tensor = F.interpolate(image, size, mode=mode, antialias=True)
        top, left = ((length - side) // 2 for length in size)
        return resized.narrow(2, top, side).narrow(3, left, side)


def _trace(model: MgVtcForImageClassification, example: torch.Tensor) -> tuple[nn.Module, bool]:
    """Trace the model and the gradient of its best score into one graph of operators.

    Returns:
        A module (pixel_values, name_embeds) -> cosines and heat map, and whether it has the heat map.
    """
    model.requires_grad_(False)

    def encode(pixel_values: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        outputs = model.get_image_features(pixel_values, output_hidden_states=True, return_dict=True)
        return [*(outputs.hidden_states or ()), outputs.last_hidden_state], model._embed(outputs.pooler_output)

    def compare(image_embeds: torch.Tensor, name_embeds: torch.Tensor) -> torch.Tensor:
        return (image_embeds * name_embeds).sum(dim=-1)  # (num_names,); not a MatMul, so it stays float in int8

    def score(pixel_values: torch.Tensor, name_embeds: torch.Tensor) -> tuple[torch.Tensor, ...]:
        states, image_embeds = encode(pixel_values)
        cosines = compare(image_embeds, name_embeds).detach()
        if layer is None:
            return (cosines,)
        best = name_embeds.index_select(0, cosines.argmax()[None])  # (1, projection_dim)
        (gradient,) = torch.autograd.grad((image_embeds * best).sum(), [states[layer]])
        heat = grad_cam(to_feature_maps(states[layer]), to_feature_maps(gradient))[0]  # (h, w)
        return cosines, (heat / heat.max().clamp(min=1e-12)).detach()

    class_embeds = model._embed(model.class_embeds)  # (num_labels, projection_dim)
    layer = _find_heat_layer(*encode(example.requires_grad_()), class_embeds)
    table: dict[Any, Any] = {**core_aten_decompositions()}
    table[aten.convolution_backward.default] = _differentiate_convolution
    return make_fx(score, decomposition_table=table)(example, class_embeds), layer is not None


def _find_heat_layer(states: list[torch.Tensor], image_embeds: torch.Tensor, class_embeds: torch.Tensor) -> int | None:
    best = (image_embeds @ class_embeds.T).max()
    gradients = torch.autograd.grad(best, states, allow_unused=True, materialize_grads=True)
    try:
        return find_layer(states, gradients)
    except ValueError:  # no spatial positions
        return None


def _differentiate_convolution(
    gradient: torch.Tensor,
    image: torch.Tensor,
    weight: torch.Tensor,
    bias_sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    output_mask: list[bool],
) -> tuple[torch.Tensor, None, None]:
    """Compute the gradient of a convolution with respect to its input as a transposed convolution."""
    assert not transposed
    assert output_mask[1:] == [False, False]  # the weights have no gradient
    missing = [
        image.shape[2 + i]
        - ((gradient.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (weight.shape[2 + i] - 1) + 1)
        for i in range(2)
    ]
    return aten.convolution(gradient, weight, None, stride, padding, dilation, True, missing, groups), None, None
