"""Views of an image for test-time augmentation."""

import torch

ZOOM = 1.1  # of the enlarged view


def make_views(pixel_values: torch.Tensor, *, mirror: bool) -> list[torch.Tensor]:
    """Return the views of a batch of images, of which the first is the batch itself.

    Args:
        pixel_values: uint8 (batch_size, 3, height, width).
        mirror: Whether to add the horizontal mirror image of each view; only for models that were trained with it, as
            left and right may be different classes.

    Returns:
        Views, each uint8 (batch_size, 3, height, width): the images, enlarged by `ZOOM` about their centre, and the
        mirror images of both.
    """
    views = [pixel_values, _enlarge(pixel_values)]
    return [*views, *(view.flip(-1) for view in views)] if mirror else views


def _enlarge(pixel_values: torch.Tensor) -> torch.Tensor:
    height, width = pixel_values.shape[2:]
    top, left = (round(side * (1 - 1 / ZOOM) / 2) for side in (height, width))
    middle = pixel_values[:, :, top : height - top, left : width - left]
    return torch.nn.functional.interpolate(middle, (height, width), mode="bilinear", antialias=True)
