"""Grad-CAM (Selvaraju et al., ICCV 2017) for convolutional and transformer vision towers."""

import math
from collections.abc import Sequence

import torch

COARSEST = 4  # positions per side; coarser maps are not informative


def grad_cam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Weight feature maps by their mean gradient and keep the positive part: equations 1 and 2 of the paper.

    If the score is linear in the mean of each map, the result is the positive part of the class activation map (Zhou
    et al., CVPR 2016), divided by the number of positions.

    Args:
        activations: Feature maps of a layer, `(B, C, h, w)`.
        gradients: Gradients of the B scores with respect to the maps, `(B, C, h, w)`.

    Returns:
        Non-negative maps, `(B, h, w)`.
    """
    weights = gradients.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
    return (weights * activations).sum(dim=1).relu()  # (B, h, w)


def heat_map(states: Sequence[torch.Tensor], score: torch.Tensor) -> torch.Tensor:
    """Compute Grad-CAM of one score in the last layer with spatial positions.

    Uses the last map of at least 4 x 4 positions that has a gradient, or the last one if all are coarser. In a
    transformer that pools the class token this is the input of the last block: later patch states do not affect the
    score.

    Args:
        states: Outputs of the layers of a vision tower for one square image, first to last. Each is `(1, C, h, w)`,
            or `(1, positions, C)` with class and register tokens first. They need a gradient.
        score: Score computed from the states, 0-d.

    Returns:
        Map `(h, w)`, scaled to a maximum of 1; all 0 if no position contributes to the score.

    Raises:
        ValueError: No state has spatial positions.
    """
    gradients = torch.autograd.grad(score, states, allow_unused=True, materialize_grads=True)
    layer = find_layer(states, gradients)
    heat = grad_cam(to_feature_maps(states[layer].detach()), to_feature_maps(gradients[layer]))[0]  # (h, w)
    return heat / heat.max() if heat.any() else heat


def find_layer(states: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]) -> int:
    """Return the index of the layer whose map `heat_map` uses.

    Args:
        states: As for `heat_map`.
        gradients: Gradients of the score with respect to the states.

    Raises:
        ValueError: No state has spatial positions.
    """
    sides = {
        index: min(to_feature_maps(state).shape[2:]) for index, state in enumerate(states) if state.dim() in (3, 4)
    }
    spatial = [index for index, side in sides.items() if side > 1]
    if not spatial:
        raise ValueError("This vision tower has no layer with spatial positions, so Grad-CAM cannot be computed.")
    reached = [index for index in spatial if to_feature_maps(gradients[index]).any()] or spatial
    fine = [index for index in reached if sides[index] >= COARSEST] or reached
    return fine[-1]


def to_feature_maps(state: torch.Tensor) -> torch.Tensor:
    """Arrange patch tokens as a square feature map; return feature maps unchanged.

    Args:
        state: `(B, C, h, w)`, or `(B, positions, C)` with class and register tokens before the patch tokens.

    Returns:
        `(B, C, h, w)`.
    """
    if state.dim() == 4:
        return state
    side = math.isqrt(state.shape[1])
    return state[:, -(side**2) :].transpose(1, 2).unflatten(2, (side, side))  # (B, C, side, side)
