"""Where a model looked: Grad-CAM (Selvaraju et al., ICCV 2017), for towers of feature maps and of tokens."""

import math
from collections.abc import Sequence

import torch

COARSEST = 4  # positions a side below which a map says little about where


def grad_cam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Weigh feature maps by their mean gradient and keep what speaks for the score: equations 1 and 2 of the paper.

    Where the score is linear in the mean of each map, this is the positive part of the class activation map (Zhou et
    al., CVPR 2016), divided by the number of positions.

    Args:
        activations: Feature maps of a layer, `(B, C, h, w)`.
        gradients: Derivatives of the B scores by them, `(B, C, h, w)`.

    Returns:
        `(B, h, w)`, 0 or more.
    """
    weights = gradients.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
    return (weights * activations).sum(dim=1).relu()  # (B, h, w)


def heat_map(states: Sequence[torch.Tensor], score: torch.Tensor) -> torch.Tensor:
    """Grad-CAM of one score in the last layer that tells positions apart.

    That is the last stage, unless its map is coarser than 4 x 4, as that of a small picture is: then the last one that
    is not. Of a transformer whose score is read from a class token, it is the input of the last block: behind it, what
    patches hold reaches the score no more.

    Args:
        states: What the layers of a vision tower gave for one square picture, from first to last, each
            `(1, C, h, w)`, or `(1, positions, C)` with tokens of no position first. They need a gradient.
        score: What was computed from them, 0-d.

    Returns:
        `(h, w)`, from 0 to 1, which is the largest value, or all 0 where nothing speaks for the score.

    Raises:
        ValueError: No state has positions.
    """
    gradients = torch.autograd.grad(score, states, allow_unused=True, materialize_grads=True)
    maps = [
        (to_feature_maps(state.detach()), to_feature_maps(gradient))
        for state, gradient in zip(states, gradients, strict=True)
        if state.dim() in (3, 4)
    ]
    maps = [(state, gradient) for state, gradient in maps if min(state.shape[2:]) > 1]
    if not maps:
        raise ValueError("This vision tower keeps no positions up to its answer: there is no map of where it looked.")
    reached = [pair for pair in maps if pair[1].any()] or maps
    fine = [pair for pair in reached if min(pair[0].shape[2:]) >= COARSEST] or reached
    heat = grad_cam(*fine[-1])[0]  # (h, w)
    return heat / heat.max() if heat.any() else heat


def to_feature_maps(state: torch.Tensor) -> torch.Tensor:
    """Arrange tokens as the square of patches they come from; feature maps stay as they are.

    Args:
        state: `(B, C, h, w)`, or `(B, positions, C)` with class and register tokens before those of the patches.

    Returns:
        `(B, C, h, w)`.
    """
    if state.dim() == 4:
        return state
    side = math.isqrt(state.shape[1])
    return state[:, -(side**2) :].transpose(1, 2).unflatten(2, (side, side))  # (B, C, side, side)
