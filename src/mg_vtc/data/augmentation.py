"""Augment images: move, bend, outline, recolour and partly cover them.

The result for an image depends only on (seed, epoch, index), not on the batch, the order or the worker. A resumed run
therefore continues with the same images.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Changes at strength 1; ranges and fractions scale with the strength.
SCALE = 0.3  # natural logarithm of the scale factor, either sign
ASPECT = 0.15  # natural logarithm of width / height
ROTATION = 20.0  # degrees
SHEAR = 0.15  # tangent
TRANSLATION = 0.1  # fraction of the side, each axis
BEND = 0.025  # fraction of the side: amplitude of each wave, along and across each axis
BEND_WAVES = 3  # cosines of 0.5, 1, 1.5, ... periods over the image
OUTLINED = 0.3  # fraction of the images
OUTLINE_ONLY = 0.25  # fraction of the outlined images that show only the outlines
RECOLOURED = 0.8  # fraction of the images
GREY = 0.15  # fraction of the recoloured images
SATURATION = 1.5  # largest factor
CONTRAST = 0.5  # natural logarithm of the factor
BRIGHTNESS = 40.0  # grey levels of 255
COVERED = 0.4  # fraction of the images
COVER = (0.1, 0.4)  # range of height and width of the rectangle, fraction of the side

YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]
)  # from RGB; hue rotates (I, Q)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of images, applied by calling the instance.

    Order: scale, rotate, shear, translate, bend and mirror (one warp), outline, recolour, cover, shift.

    Attributes:
        strength: Strength of all changes except the mirror and the shift, from 0 (none) to 1 (the constants of this
            module).
        horizontal_flip: Whether to mirror each image with probability 0.5. Do not use it if left and right distinguish
            classes.
        random_shift: Largest shift in pixels along each axis, 0 or more. The (2 * random_shift + 1)^2 shifts are
            equally likely; border pixels fill the gap.

    Raises:
        ValueError: A value is out of range.
    """

    strength: float = 0.0
    horizontal_flip: bool = False
    random_shift: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"The strength of the augmentation must be between 0 and 1, but it is {self.strength}.")
        if self.random_shift < 0:
            raise ValueError(f"random_shift must be 0 or more pixels, but it is {self.random_shift}.")

    def __call__(self, pixel_values: Tensor, *, seed: int, epoch: int, indices: Tensor) -> Tensor:
        """Augment a batch; without any change enabled, return `pixel_values` itself.

        Args:
            pixel_values: uint8 (batch_size, 3, height, width).
            seed: Seed of the run, 0 or more.
            epoch: Number of the epoch, 0 or more.
            indices: Row of each image in the data set, int64 (batch_size,), 0 or more.

        Returns:
            uint8 (batch_size, 3, height, width), channels last in memory.
        """
        if self == Augmentation():
            return pixel_values
        bits = mix_bits(seed, epoch, indices.numpy())  # (batch_size,)
        if self.strength > 0 or self.horizontal_flip:
            draws = _Draws(bits)
            pixels = _warp(pixel_values.contiguous().float(), draws, self.strength, mirror=self.horizontal_flip)
            _outline(pixels, draws, self.strength)
            _recolour(pixels, draws, self.strength)
            _cover(pixels, draws, self.strength)
            pixels = pixels.add_(0.5).clamp_(0, 255).to(torch.uint8)
            pixel_values = pixels.contiguous(memory_format=torch.channels_last)
        return _shift(pixel_values, bits, self.random_shift) if self.random_shift > 0 else pixel_values


def _shift(pixel_values: Tensor, bits: np.ndarray, random_shift: int) -> Tensor:
    """Shift images by whole pixels, chosen by the bits `(batch_size,)`."""
    num_corners = np.uint64(2 * random_shift + 1)
    halves = np.stack([bits >> np.uint64(32), bits & np.uint64(0xFFFFFFFF)])  # (2, batch_size), each below 2^32
    corners = (halves * num_corners >> np.uint64(32)).astype(np.int64)  # (2, batch_size), 0..2 * random_shift
    images = pixel_values.permute(0, 2, 3, 1).numpy()  # (batch_size, height, width, 3)
    padded = np.pad(images, ((0, 0), (random_shift, random_shift), (random_shift, random_shift), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    crops = [
        image[top : top + height, left : left + width]
        for image, (top, left) in zip(padded, corners.T.tolist(), strict=True)
    ]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)  # (batch_size, 3, height, width)


def mix_bits(seed: int, epoch: int, indices: np.ndarray) -> np.ndarray:
    """Return 64 mixed bits per row by SplitMix64 (Steele et al., OOPSLA 2014), uint64 (batch_size,)."""
    state = np.zeros(len(indices), dtype=np.uint64)
    for number in (np.uint64(seed), np.uint64(epoch), indices.astype(np.uint64)):
        state = state + number + np.uint64(0x9E3779B97F4A7C15)  # wraps modulo 2^64, as SplitMix64 requires
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


class _Draws:
    """Uniform numbers in [0, 1): one stream of SplitMix64 (Steele et al., OOPSLA 2014) per image."""

    def __init__(self, bits: np.ndarray) -> None:
        self._state = bits  # (batch_size,)
        self._num_taken = 0

    def take(self, count: int) -> np.ndarray:
        """Return the next `count` numbers of each image, float64 (count, batch_size)."""
        numbers = np.arange(self._num_taken + 1, self._num_taken + count + 1, dtype=np.uint64)[:, None]  # (count, 1)
        self._num_taken += count
        bits = self._state + numbers * np.uint64(0x9E3779B97F4A7C15)  # (count, batch_size)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((bits ^ (bits >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53

    def take_signed(self, count: int) -> np.ndarray:
        """Return the next `count` numbers of each image, scaled to [-1, 1)."""
        return self.take(count) * 2 - 1


def _to_tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _warp(pixels: Tensor, draws: _Draws, strength: float, *, mirror: bool) -> Tensor:
    """Apply the geometric changes in one warp, (batch_size, 3, height, width); the border is replicated."""
    height, width = pixels.shape[2:]
    scale, aspect, angle, shear, right, down = draws.take_signed(6) * strength  # (batch_size,) each
    side = np.where(draws.take(1)[0] < 0.5, -1.0, 1.0) if mirror else 1.0
    scale, aspect, angle = np.exp(scale * SCALE), np.exp(aspect * ASPECT / 2), np.radians(angle * ROTATION)
    cos, sin, shear = np.cos(angle), np.sin(angle), shear * SHEAR
    # The sampling position, in -1..1, is the sum of a term of the column and a term of the row.
    part = (2, len(pixels), 1)  # x and y of the position
    across = (scale * aspect * side * np.stack([cos, sin])).reshape(part) * _centres(width)  # (2, batch_size, width)
    along = (scale / aspect * np.stack([shear * cos - sin, shear * sin + cos])).reshape(part) * _centres(height)
    across += np.stack([right, down]).reshape(part) * (2 * TRANSLATION)
    bends = draws.take_signed(4 * BEND_WAVES).reshape(2, 2, BEND_WAVES, -1, 1) * (2 * BEND * strength)
    across += (bends[0] * _waves(width)).sum(axis=1)
    along += (bends[1] * _waves(height)).sum(axis=1)  # (2, batch_size, height)
    grid = _to_tensor(across)[:, :, None, :] + _to_tensor(along)[:, :, :, None]  # (2, batch_size, height, width)
    grid = grid.permute(1, 2, 3, 0)  # (batch_size, height, width, 2)
    return torch.nn.functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _centres(size: int) -> np.ndarray:
    """Return the pixel centres in -1..1, (size,)."""
    return (np.arange(size) + 0.5) / size * 2 - 1


def _waves(size: int) -> np.ndarray:
    """Return cosines of 0.5, 1, 1.5, ... periods over a side, (BEND_WAVES, 1, size)."""
    return np.cos(np.pi / 2 * np.arange(1, BEND_WAVES + 1)[:, None, None] * (_centres(size) + 1))


def _outline(pixels: Tensor, draws: _Draws, strength: float) -> None:
    """Draw dark lines where neighbouring pixels differ, over the image or on white, in place."""
    chosen, only, weight = draws.take(3)  # (batch_size,) each
    rows = torch.from_numpy(np.flatnonzero(chosen < OUTLINED * strength))  # (num_rows,)
    if len(rows) == 0:
        return
    part = pixels[rows]  # (num_rows, 3, height, width)
    padded = torch.nn.functional.pad(part, (0, 1, 0, 1), mode="replicate")
    lines = torch.maximum((padded[:, :, 1:, :-1] - part).abs_(), (padded[:, :, :-1, 1:] - part).abs_())
    lines = lines.amax(dim=1, keepdim=True).mul_(3 / 255).clamp_(max=1)  # (num_rows, 1, height, width)
    alone = torch.from_numpy(only < OUTLINE_ONLY)[rows].view(-1, 1, 1, 1)
    weight = _to_tensor(0.3 + 0.7 * weight)[rows].view(-1, 1, 1, 1)
    pixels[rows] = torch.where(alone, 255.0, part) * (1 - torch.where(alone, 1.0, weight) * lines)


def _recolour(pixels: Tensor, draws: _Draws, strength: float) -> None:
    """Change hue, saturation, contrast and brightness, in place."""
    chosen, grey, saturation = draws.take(3)  # (batch_size,) each
    hue, contrast, brightness = draws.take_signed(3)
    turn = np.where(grey < GREY, 0.0, saturation * SATURATION) * np.exp(1j * np.pi * hue)  # (batch_size,)
    chroma = np.zeros((len(pixels), 3, 3))
    chroma[:, 0, 0] = 1
    chroma[:, 1, 1] = chroma[:, 2, 2] = turn.real
    chroma[:, 2, 1] = turn.imag
    chroma[:, 1, 2] = -turn.imag
    matrix = np.linalg.inv(YIQ) @ chroma @ YIQ  # (batch_size, 3, 3)
    chosen = chosen < RECOLOURED * strength
    matrix = np.where(chosen[:, None, None], matrix, np.eye(3))
    contrast = np.where(chosen, np.exp(contrast * CONTRAST), 1.0)[:, None]  # (batch_size, 1)
    mean = (matrix @ pixels.mean(dim=(2, 3)).double().numpy()[:, :, None])[:, :, 0]  # (batch_size, 3)
    offset = (1 - contrast) * mean + (chosen * brightness * BRIGHTNESS)[:, None]  # (batch_size, 3)
    factors = _to_tensor(matrix * contrast[:, None])[..., None, None]  # (batch_size, 3, 3, 1, 1)
    red, green, blue = pixels.split(1, dim=1)  # (batch_size, 1, height, width) each
    recoloured = factors[:, :, 0] * red
    recoloured += factors[:, :, 1] * green
    recoloured += factors[:, :, 2] * blue
    recoloured += _to_tensor(offset)[..., None, None]
    pixels.copy_(recoloured.clamp_(0, 255))


def _cover(pixels: Tensor, draws: _Draws, strength: float) -> None:
    """Cover a rectangle with one colour, in place."""
    chosen, top, left = draws.take(3)  # (batch_size,) each
    sides = COVER[0] + draws.take(2) * (COVER[1] - COVER[0])  # (2, batch_size), fraction of the side
    colours = _to_tensor(draws.take(3).T * 255)  # (batch_size, 3)
    height, width = pixels.shape[2:]
    heights, widths = (sides * [[height], [width]]).round().astype(int)  # (batch_size,) each, pixels
    tops, lefts = (top * (height - heights + 1)).astype(int), (left * (width - widths + 1)).astype(int)
    for row in np.flatnonzero(chosen < COVERED * strength):
        y, x = tops[row], lefts[row]
        pixels[row, :, y : y + heights[row], x : x + widths[row]] = colours[row, :, None, None]
