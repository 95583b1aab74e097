"""Augmentation: each change is what its constant says, and depends on the image alone."""

import numpy as np
import pytest
import torch
from scipy import stats

from mg_vtc.data import augmentation
from mg_vtc.data.augmentation import YIQ, Augmentation

RNG = np.random.default_rng(0)
IMAGES = torch.from_numpy(RNG.integers(0, 256, (16, 3, 20, 24), dtype=np.uint8))
AUGMENTATIONS = [Augmentation(strength=1.0, horizontal_flip=True, random_shift=2), Augmentation(random_shift=2)]
CHANGES = ("SCALE", "ASPECT", "ROTATION", "SHEAR", "TRANSLATION", "BEND", "OUTLINED", "RECOLOURED", "COVERED")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):
    """Leave one kind of change, or with constants given as large as they say."""

    def leave(**constants: object) -> None:
        for name in CHANGES:
            monkeypatch.setattr(augmentation, name, 0.0)
        for name, value in constants.items():
            monkeypatch.setattr(augmentation, name, value)

    return leave


def augment(images: torch.Tensor, *, strength: float = 1.0, epoch: int = 0) -> torch.Tensor:
    return Augmentation(strength)(images, seed=1, epoch=epoch, indices=torch.arange(len(images)))


def make_lines(batch_size: int, size: int = 40) -> torch.Tensor:
    """Return equal images of smooth light that falls along both axes, uint8 (batch_size, 3, size, size)."""
    light = 40 + np.add.outer(3 * np.arange(size), np.arange(size))  # (size, size)
    return torch.from_numpy(light.astype(np.uint8)).expand(batch_size, 3, size, size)


@pytest.mark.parametrize("settings", AUGMENTATIONS)
def test_augmented_images_are_uint8_of_the_same_shape_with_the_channels_last(settings: Augmentation):
    before = IMAGES.clone()
    augmented = settings(IMAGES, seed=0, epoch=0, indices=torch.arange(16))
    assert (augmented.dtype, augmented.shape) == (torch.uint8, IMAGES.shape)
    assert augmented.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(IMAGES, before)


@pytest.mark.parametrize("settings", AUGMENTATIONS)
def test_augmentation_depends_on_the_image_not_on_the_batch(settings: Augmentation):
    indices = torch.arange(100, 116)
    together = settings(IMAGES, seed=5, epoch=3, indices=indices)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    shuffled = settings(IMAGES[order], seed=5, epoch=3, indices=indices[order])
    assert torch.equal(shuffled, together[order])
    for row in range(16):
        alone = settings(IMAGES[row : row + 1], seed=5, epoch=3, indices=indices[row : row + 1])
        assert torch.equal(alone[0], together[row])


@pytest.mark.parametrize("settings", AUGMENTATIONS)
def test_augmentation_changes_with_seed_epoch_and_index(settings: Augmentation):
    indices = torch.arange(16)
    first = settings(IMAGES, seed=0, epoch=1, indices=indices)
    assert torch.equal(first, settings(IMAGES, seed=0, epoch=1, indices=indices))
    others = [
        settings(IMAGES, seed=1, epoch=1, indices=indices),
        settings(IMAGES, seed=1, epoch=0, indices=indices),
        settings(IMAGES, seed=0, epoch=2, indices=indices),
        settings(IMAGES, seed=0, epoch=1, indices=indices + 1),
    ]
    for other in others:
        assert not torch.equal(first, other)
    assert not torch.equal(others[0], others[1])


def test_no_augmentation_gives_back_what_it_got():
    assert Augmentation()(IMAGES, seed=1, epoch=1, indices=torch.arange(16)) is IMAGES


def test_draws_of_a_seed_are_those_of_every_version():
    draws = augmentation._Draws(augmentation.mix_bits(1, 2, np.array([3])))
    drawn = [float(draws.take(1)[0, 0]), *draws.take_signed(2)[:, 0].tolist()]
    assert drawn == [0.1300857085561754, 2 * 0.4373184320319292 - 1, 2 * 0.9549255112847241 - 1]


def test_without_changes_full_strength_is_the_identity(only):
    only()
    assert torch.equal(augment(IMAGES), IMAGES)


def test_tiny_strength_is_nearly_the_identity():
    lines = make_lines(200)
    augmented = augment(lines, strength=1e-6)
    assert (augmented.int() - lines.int()).abs().max() <= 1


def test_flip_mirrors_half_of_the_images_and_nothing_else():
    images = IMAGES.repeat(125, 1, 1, 1)  # (2000, 3, height, width)
    flipped = Augmentation(horizontal_flip=True)(images, seed=0, epoch=0, indices=torch.arange(2000))
    kept = (flipped == images).all(dim=(1, 2, 3))
    mirrored = (flipped == images.flip(3)).all(dim=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert stats.binomtest(int(mirrored.sum()), 2000, 0.5).pvalue > 1e-3


def test_draws_are_uniform_and_independent():
    draws = augmentation._Draws(augmentation.mix_bits(3, 1, np.arange(20_000)))
    numbers = np.concatenate([draws.take(2), draws.take_signed(2) / 2 + 0.5])  # (4, 20000)
    for row in numbers:
        assert stats.kstest(row, "uniform").pvalue > 1e-3
    correlations = np.corrcoef(np.concatenate([numbers, numbers[:, :1].repeat(20_000, 1), numbers])[:4])
    assert np.abs(correlations - np.eye(4)).max() < 0.03
    assert np.abs(np.corrcoef(numbers[:, :-1], numbers[:, 1:])[:4, 4:]).max() < 0.03  # of neighbouring rows


def test_translation_moves_by_up_to_its_share_of_the_side(only):
    only(TRANSLATION=0.1)
    lines = make_lines(2000)
    middle = (augment(lines).double() - lines)[:, 0, 20, 20].numpy()  # 3 * down + right, in pixels
    assert 3 * 4 + 4 >= np.abs(middle).max() > 0.9 * (3 * 4 + 4)
    assert abs(middle.mean()) < 0.7
    down_and_right = np.add.outer(3 * np.linspace(-4, 4, 101), np.linspace(-4, 4, 101))
    assert middle.std() == pytest.approx(down_and_right.std(), rel=0.05)


def test_rotation_turns_the_light_by_up_to_its_angle(only):
    only(ROTATION=20.0)
    turned = augment(make_lines(1000)).double().numpy()[:, 0, 15:25, 15:25]  # (1000, 10, 10)
    down, right = np.diff(turned, axis=1).mean(axis=(1, 2)), np.diff(turned, axis=2).mean(axis=(1, 2))
    np.testing.assert_allclose(np.hypot(down, right), np.hypot(3, 1), rtol=0.05)
    angles = np.degrees(np.arctan2(right, down) - np.arctan2(1, 3))
    assert stats.kstest(angles / 40 + 0.5, "uniform").statistic < 0.06
    assert np.abs(angles).max() < 21


@pytest.mark.parametrize(("constant", "axes"), [("SCALE", (1, 1)), ("ASPECT", (-0.5, 0.5))])
def test_scale_is_log_uniform(only, constant: str, axes: tuple[float, float]):
    only(**{constant: 0.3})
    scaled = augment(make_lines(1000)).double().numpy()[:, 0, 7:33, 7:33]  # (1000, 26, 26)
    down, right = np.diff(scaled, axis=1).mean(axis=(1, 2)), np.diff(scaled, axis=2).mean(axis=(1, 2))
    logs = np.log(down / 3), np.log(right)  # (1000,) each
    for log, axis in zip(logs, axes, strict=True):
        assert stats.kstest(log / axis / 0.6 + 0.5, "uniform").statistic < 0.1  # of rounded grey levels
    np.testing.assert_allclose(logs[0] / axes[0], logs[1] / axes[1], atol=0.05)


def test_bend_moves_no_point_farther_than_all_waves_together(only):
    only(BEND=0.02)
    lines = make_lines(500)
    moved = (augment(lines).double() - lines)[:, 0]  # (500, 40, 40), 3 * down + right
    assert moved.abs().max() <= (3 + 1) * 2 * 3 * 0.02 * 40 + 1
    rms = (3**2 + 1**2) ** 0.5 * 0.02 * 40  # of uniform amplitudes, three along and three across each axis
    assert moved[:, 5:35, 5:35].pow(2).mean().sqrt() == pytest.approx(rms, rel=0.25)
    assert moved[:, 10:30, 10:30].std(dim=(1, 2)).min() > 0.1  # not as a whole


def test_outlines_darken_edges_and_leave_flat_parts(only):
    only(OUTLINED=1.0, OUTLINE_ONLY=0.5)
    image = torch.full((400, 3, 20, 20), 200, dtype=torch.uint8)
    image[:, :, :, 10:] = 90
    outlined = augment(image)
    flat = outlined[:, 0, 5, 3]
    assert set(flat.tolist()) == {200, 255}  # with the image beneath, and without it
    assert stats.binomtest(int((flat == 255).sum()), 400, 0.5).pvalue > 1e-3
    assert (outlined[flat == 255][:, :, :, 9] == 0).all()
    assert (outlined[flat == 255][:, :, :, 12:] == 255).all()
    assert outlined[flat == 200][:, 0, :, 9].max() <= 0.7 * 200
    assert (outlined[flat == 200][:, :, :, 12:] == 90).all()


def test_recoloured_images_keep_their_mean_brightness_but_for_the_brightness_drawn(only):
    only(RECOLOURED=1.0, CONTRAST=0.3, BRIGHTNESS=20.0, SATURATION=0.5)
    images = torch.from_numpy(RNG.integers(100, 156, (1000, 3, 8, 8), dtype=np.uint8))  # nothing is clipped
    means = [np.einsum("c,bchw->b", YIQ[0], part.double().numpy()) / 64 for part in (images, augment(images))]
    change = means[1] - means[0]
    assert stats.kstest(change / 40 + 0.5, "uniform").pvalue > 1e-3


def test_contrast_is_log_uniform_and_grey_images_stay_grey(only):
    only(RECOLOURED=1.0, CONTRAST=0.5, BRIGHTNESS=0.0)
    images = torch.tensor([88, 168], dtype=torch.uint8).repeat(1000, 3, 8, 4)  # (1000, 3, 8, 8)
    recoloured = augment(images).double().numpy()
    assert np.ptp(recoloured, axis=1).max() <= 1
    logs = np.log(np.ptp(recoloured[:, 0], axis=(1, 2)) / 80)
    assert stats.kstest(logs + 0.5, "uniform").statistic < 0.07


def test_shares_are_those_of_the_strength(only):
    flat = torch.full((3000, 3, 10, 10), 120, dtype=torch.uint8)
    for constants in ({"RECOLOURED": 0.8, "BRIGHTNESS": 40.0, "CONTRAST": 0.0}, {"COVERED": 0.4}):
        only(**constants)
        share = next(iter(constants.values())) * 0.5
        changed = int((augment(flat, strength=0.5) != flat).any(dim=3).any(dim=2).any(dim=1).sum())
        assert changed / 3000 == pytest.approx(share, abs=0.035)


def test_a_cover_is_one_rectangle_of_one_colour_inside_the_image(only):
    only(COVERED=1.0, COVER=(0.1, 0.4))
    flat = torch.full((2000, 3, 20, 40), 7, dtype=torch.uint8)
    covered = augment(flat)
    for image in covered[:300]:
        changed = (image != 7).any(dim=0)  # (20, 40)
        rows, columns = changed.any(dim=1).nonzero()[:, 0], changed.any(dim=0).nonzero()[:, 0]
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert 2 <= height <= 8
        assert 4 <= width <= 16
        assert changed.sum() == height * width
        assert len(image[:, changed].unique(dim=1).T) == 1
    where = (covered != 7).any(dim=1).double().mean(dim=0)  # (20, 40), how often each pixel is covered
    assert where.min() > 0


def make_batch(batch_size: int, size: int = 7) -> torch.Tensor:
    """Return `batch_size` equal images whose pixels all differ, uint8 (batch_size, 3, size, size)."""
    return torch.arange(3 * size * size, dtype=torch.uint8).view(1, 3, size, size).expand(batch_size, -1, -1, -1)


def find_move(shifted: torch.Tensor, image: torch.Tensor, random_shift: int) -> tuple[int, int]:
    """Return the one (down, right) that makes `shifted` of `image`, by edge padding and cropping."""
    padded = np.pad(image.numpy(), ((0, 0), (random_shift, random_shift), (random_shift, random_shift)), mode="edge")
    height, width = image.shape[1:]
    moves = [
        (random_shift - top, random_shift - left)
        for top in range(2 * random_shift + 1)
        for left in range(2 * random_shift + 1)
        if np.array_equal(padded[:, top : top + height, left : left + width], shifted.numpy())
    ]
    assert len(moves) == 1
    return moves[0]


def test_shift_takes_every_move_equally_often():
    num_images = 4500
    batch = make_batch(num_images, size=5)
    shifted = Augmentation(random_shift=1)(batch, seed=3, epoch=2, indices=torch.arange(num_images))
    moves = [find_move(image, batch[0], 1) for image in shifted]
    counts = np.unique(moves, axis=0, return_counts=True)[1]
    assert len(counts) == 9
    # Chi-squared with 8 degrees of freedom stays below 26.1 with p = 0.999.
    assert ((counts - 500) ** 2 / 500).sum() < 26.1


def test_shift_replicates_edges():
    batch = make_batch(20)
    shifted = Augmentation(random_shift=3)(batch, seed=0, epoch=0, indices=torch.arange(20))
    assert shifted.dtype == torch.uint8
    assert len({find_move(image, batch[0], 3) for image in shifted}) > 10


def test_moves_of_a_seed_are_those_of_every_version():
    shifted = Augmentation(random_shift=3)(make_batch(6), seed=1, epoch=2, indices=torch.arange(6))
    moves = [find_move(image, make_batch(1)[0], 3) for image in shifted]
    assert moves == [(-3, 3), (3, -3), (0, 2), (1, -2), (-2, 0), (-2, 0)]


def test_values_out_of_range_are_refused():
    with pytest.raises(ValueError, match="0 or more pixels, but it is -1"):
        Augmentation(random_shift=-1)
    with pytest.raises(ValueError, match=r"between 0 and 1, but it is 1\.5"):
        Augmentation(strength=1.5)
