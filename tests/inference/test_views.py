"""Views of images for test-time augmentation."""

import torch

from mg_vtc.inference.views import make_views


def noise(height=40, width=48):
    return torch.randint(0, 256, (2, 3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_first_view_is_the_batch_itself_and_all_have_its_form():
    pixels = noise()
    for mirror in (False, True):
        views = make_views(pixels, mirror=mirror)
        assert views[0] is pixels
        assert {(view.shape, view.dtype) for view in views} == {(pixels.shape, torch.uint8)}


def test_views_are_the_same_each_time():
    first, second = (make_views(noise(), mirror=True) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def test_half_of_the_views_are_the_mirror_images_of_the_others():
    views = make_views(noise(), mirror=True)
    plain = make_views(noise(), mirror=False)
    assert len(views) == 2 * len(plain)
    for view, other in zip(views[: len(plain)], views[len(plain) :], strict=True):
        assert torch.equal(view.flip(-1), other)


def test_mirror_images_of_a_symmetric_image_are_its_other_views():
    half = noise()
    symmetric = torch.cat([half, half.flip(-1)], dim=-1)
    views = make_views(symmetric, mirror=True)
    middle = len(views) // 2
    assert all(torch.equal(*pair) for pair in zip(views[:middle], views[middle:], strict=True))


def test_image_of_one_colour_is_all_of_its_views():
    plain = torch.full((1, 3, 32, 32), 77, dtype=torch.uint8)
    assert all(torch.equal(view, plain) for view in make_views(plain, mirror=True))


def test_enlarged_view_loses_the_border_and_keeps_the_middle():
    pixels = torch.zeros((1, 3, 44, 44), dtype=torch.uint8)
    pixels[:, :, 2:-2, 2:-2] = 255
    _, enlarged = make_views(pixels, mirror=False)
    assert (enlarged == 255).all()
