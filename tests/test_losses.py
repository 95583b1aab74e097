"""Closed forms first, then oracles (scipy, torch), for value and gradient. Everything runs in float64 unless a
precision is the subject. Names follow the source: B images, U texts, z for logits."""

import functools
import math
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from mg_vtc.losses import LOSS_TYPES, _skewed_js, adjust_logits, contrastive_loss, saturated_fraction, soft_target_loss

LN2 = math.log(2)
LABELS = torch.tensor([0, 0, 1, 2, 2, 2, 3])  # of seven images; texts of classes 0 to 3 occur 2, 1, 3 and 1 times
COUNTS = torch.tensor([2, 1, 3, 1])
PER_TEXT = LABELS[:, None] == torch.arange(4)  # one column a class
PER_PAIR = LABELS[:, None] == LABELS  # one column an image
close = functools.partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)
image_to_text = functools.partial(contrastive_loss, symmetric=False)


def normal(*shape, seed=0, scale=3.0, dtype=torch.float64):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def gradient(loss, *inputs):
    """Gradients of loss(*inputs) with respect to its inputs, as a tuple."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    return torch.autograd.grad(loss(*leaves), leaves)


def target(positives):
    return positives.double() / positives.sum(-1, keepdim=True)


# --- Jensen-Shannon: closed forms


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_js_of_equal_rows_is_zero_and_of_disjoint_rows_ln_2(dtype):
    z = torch.where(PER_PAIR, 1e4, -1e4).to(dtype)
    assert contrastive_loss(z, PER_PAIR) == pytest.approx(0, abs=1e-6)
    assert contrastive_loss(-z, PER_PAIR) == pytest.approx(LN2, abs=1e-6)


def test_js_is_symmetric_and_its_skewed_form_swaps_the_weight():
    log_p, log_q = normal(5, 6, seed=1).log_softmax(-1), normal(5, 6, seed=2).log_softmax(-1)
    close(_skewed_js(log_p, log_q, 0.5), _skewed_js(log_q, log_p, 0.5))
    z = {weight: -(1 - weight) * math.log(1 - weight) for weight in (0.2, 0.8)}
    close(_skewed_js(log_p, log_q, 0.2) * z[0.2], _skewed_js(log_q, log_p, 0.8) * z[0.8])


def test_js_equals_the_squared_distance_of_scipy():
    z = normal(7, 4)
    js_B = jensenshannon(z.softmax(1), PER_TEXT.double(), axis=1) ** 2  # scipy divides by the sums itself
    js_U = jensenshannon(z.softmax(0), PER_TEXT.double(), axis=0) ** 2
    assert image_to_text(z, PER_TEXT) == pytest.approx(js_B.mean(), rel=1e-10)
    assert contrastive_loss(z, PER_TEXT) == pytest.approx((js_B.mean() + js_U.mean()) / 2, rel=1e-10)


def test_js_gradient_is_its_closed_form():
    z = normal(7, 4)
    p, q = z.softmax(-1), target(PER_TEXT)
    log_ratio = (2 * p / (p + q)).log()
    expected = p / 2 * (log_ratio - (p * log_ratio).sum(-1, keepdim=True))
    close(gradient(lambda z: 7 * image_to_text(z, PER_TEXT), z)[0], expected)


@pytest.mark.parametrize(
    ("margin", "js_gradient", "ce_gradient"),
    [(0, 5.4e-2, 0.98), (2, 4.8e-2, 1.00), (5, 1.9e-2, 1.29), (10, 3.2e-4, 1.41), (20, 2.9e-8, 1.41)],
)
def test_js_hardly_sees_a_confidently_wrong_row(margin, js_gradient, ce_gradient):
    """One image, 32 texts, one wrong text `margin` above all others: the gradient's norm to the digits printed."""
    text = torch.arange(32)[None]
    z, positives = margin * (text == 1).double(), text == 0
    assert gradient(lambda z: image_to_text(z, positives), z)[0].norm() == pytest.approx(js_gradient, rel=0.02)
    ce = gradient(lambda z: image_to_text(z, positives, loss_type="ce"), z)[0]
    assert ce.norm() == pytest.approx(ce_gradient, abs=0.005)


def test_unnormalised_embeddings_with_a_small_temperature_start_without_a_gradient():
    images, texts = (F.layer_norm(normal(32, 256, seed=seed), (256,)) for seed in (0, 1))
    positives = torch.eye(32, dtype=torch.bool)
    z = {"normalised": F.normalize(images) @ F.normalize(texts).T / 0.07, "published head": images @ texts.T / 0.05}
    norms_B = {name: 32 * gradient(lambda z: image_to_text(z, positives), z[name])[0].norm(dim=1) for name in z}
    assert norms_B["normalised"].median() > 1e-2
    assert norms_B["published head"].median() < 1e-15
    assert (
        saturated_fraction(z["published head"], positives) > 0.9 > 0.1 > saturated_fraction(z["normalised"], positives)
    )


# --- Skewed Jensen-Shannon


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
def test_skewed_js_is_its_definition(weight):
    z = normal(7, 4)
    p, q = z.softmax(-1), target(PER_TEXT)
    m = weight * q + (1 - weight) * p
    kl_q, kl_p = ((torch.special.xlogy(a, a) - torch.special.xlogy(a, m)).sum(-1).mean() for a in (q, p))
    scaled = (weight * kl_q + (1 - weight) * kl_p) / (-(1 - weight) * math.log(1 - weight))
    close(image_to_text(z, PER_TEXT, js_weight=weight), scaled * LN2 / 2)


def test_skewed_js_tends_to_kl_as_the_weight_vanishes():
    z = normal(7, 4)
    limit = LN2 / 2 * contrastive_loss(z, PER_TEXT, loss_type="kl")
    assert contrastive_loss(z, PER_TEXT, js_weight=1e-9) == pytest.approx(limit.item(), rel=1e-6)
    assert contrastive_loss(z.float(), PER_TEXT, js_weight=1e-6) == pytest.approx(limit.item(), rel=1e-3)


def test_skewed_js_tends_to_the_mass_off_the_positives_as_the_weight_nears_one():
    """The way there is slow; its leading term, 1/ln(1/(1 - weight)), has a closed form too."""
    z = normal(7, 4)
    p, q = z.softmax(-1), target(PER_TEXT)
    off_B = (p * ~PER_TEXT).sum(-1)
    slope_B = off_B + torch.where(PER_TEXT, p * (p / q).log(), 0).sum(-1)
    rest = 1e-9
    expected = LN2 / 2 * (off_B - slope_B / math.log(rest))
    close(image_to_text(z, PER_TEXT, js_weight=1 - rest), expected.mean(), rtol=1e-6)
    close(off_B, (p - q).abs().sum(-1) / 2)  # with one positive a row this is the absolute error


# --- Cross-entropy, Kullback-Leibler


def test_ce_with_distinct_labels_and_ce_identity_with_any_are_cross_entropy():
    z, diagonal = normal(7, 7), torch.arange(7)
    expected = (F.cross_entropy(z, diagonal) + F.cross_entropy(z.T, diagonal)) / 2
    for loss_type in ("ce", "ce_identity", "kl"):
        close(contrastive_loss(z, torch.eye(7, dtype=torch.bool), loss_type=loss_type), expected)
    close(contrastive_loss(z, PER_PAIR, loss_type="ce_identity"), expected)
    close(image_to_text(z, PER_PAIR, loss_type="ce"), F.cross_entropy(z, target(PER_PAIR)))


def test_ce_exceeds_kl_by_the_entropy_of_the_target_and_has_its_gradient():
    z = normal(7, 7)
    kl, ce = (functools.partial(contrastive_loss, positives=PER_PAIR, loss_type=name) for name in ("kl", "ce"))
    close(ce(z) - kl(z), PER_PAIR.sum(-1).double().log().mean())
    close(gradient(ce, z), gradient(kl, z))


def test_ce_identity_equals_ce_when_a_class_shares_its_text_embedding():
    images, class_texts = normal(7, 5, scale=1), normal(4, 5, seed=1, scale=1)

    def loss(loss_type, images, class_texts):
        return contrastive_loss(images @ class_texts[LABELS].T, PER_PAIR, loss_type=loss_type)

    ce, identity = (functools.partial(loss, name) for name in ("ce", "ce_identity"))
    close(gradient(identity, images, class_texts), gradient(ce, images, class_texts))


def test_softmax_of_ten_times_the_positives_nearly_is_the_target():
    for num_positives in range(1, 65):
        positives = (torch.arange(64) < num_positives)[None]
        assert (torch.softmax(10.0 * positives, -1) - target(positives)).abs().max() <= 0.003


# --- Merged texts, missing positives, order


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("loss_type", ["js", "kl", "ce"])
def test_merged_texts_equal_repeated_texts_in_value_and_gradient(loss_type, symmetric):
    loss = functools.partial(contrastive_loss, loss_type=loss_type, js_weight=0.3, symmetric=symmetric)
    for counts in (COUNTS, torch.tensor([1, 4, 2, 9])):  # the batch's own counts, and any others
        columns = torch.arange(4).repeat_interleave(counts)
        merged = functools.partial(loss, positives=PER_TEXT, text_counts=counts)
        close(merged(normal(7, 4)), loss(normal(7, 4)[:, columns], PER_TEXT[:, columns]))
        repeated = gradient(lambda z, columns=columns: loss(z[:, columns], PER_TEXT[:, columns]), normal(7, 4))
        close(gradient(merged, normal(7, 4)), repeated)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("loss_type", ["js", "kl", "ce"])
def test_columns_of_one_text_may_share_its_count(loss_type, symmetric):
    columns = torch.tensor([0, 0, 0, 1, 2, 3])
    shared = COUNTS[columns].double() / torch.tensor([3, 3, 3, 1, 1, 1])
    loss = functools.partial(contrastive_loss, loss_type=loss_type, symmetric=symmetric)
    expected = functools.partial(loss, positives=PER_TEXT, text_counts=COUNTS)
    repeated = lambda z: loss(z[:, columns], PER_TEXT[:, columns], text_counts=shared)  # noqa: E731
    close(repeated(normal(7, 4)), expected(normal(7, 4)))
    close(gradient(repeated, normal(7, 4)), gradient(expected, normal(7, 4)))


def test_values_that_are_right_need_no_check():
    z = normal(7, 4)
    unchecked = contrastive_loss(z, PER_TEXT, text_counts=COUNTS, check_values=False)
    assert unchecked == contrastive_loss(z, PER_TEXT, text_counts=COUNTS)


def test_merged_texts_equal_repeated_texts_in_the_saturated_share():
    z = normal(7, 4)
    z[2] = torch.tensor([4.0, 0.0, 4.0, 4.0])  # three wrong texts, JS 0.675; six if repeated, JS 0.683
    assert saturated_fraction(z, PER_TEXT, text_counts=COUNTS) == saturated_fraction(z[:, LABELS], PER_PAIR)
    assert saturated_fraction(z, PER_TEXT, text_counts=COUNTS) > saturated_fraction(z, PER_TEXT)


@pytest.mark.parametrize("loss_type", ["js", "kl", "ce"])
def test_rows_and_columns_without_a_positive_are_left_out_of_the_mean_only(loss_type):
    z, positives = normal(3, 4), torch.zeros(3, 4, dtype=torch.bool)
    positives[0, 1] = positives[0, 2] = positives[2, 1] = True
    rows, columns = [0, 2], [1, 2]
    loss = functools.partial(contrastive_loss, loss_type=loss_type, symmetric=False)
    expected = (loss(z[rows], positives[rows]) + loss(z.T[columns], positives.T[columns])) / 2
    close(contrastive_loss(z, positives, loss_type=loss_type), expected)
    assert torch.isfinite(gradient(lambda z: contrastive_loss(z, positives, loss_type=loss_type), z)[0]).all()


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_order_of_images_and_texts_does_not_matter(loss_type):
    rows = torch.tensor([3, 6, 0, 5, 1, 2, 4])
    columns = rows if loss_type == "ce_identity" else rows.flip(0)  # the identity target moves with its pairs
    z, loss = normal(7, 7), functools.partial(contrastive_loss, loss_type=loss_type)
    close(loss(z[rows][:, columns], PER_PAIR[rows][:, columns]), loss(z, PER_PAIR))
    permuted = gradient(lambda z: loss(z, PER_PAIR[rows][:, columns]), z[rows][:, columns])[0]
    close(permuted, gradient(lambda z: loss(z, PER_PAIR), z)[0][rows][:, columns])


# --- Numerics


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_gradient_is_the_derivative(loss_type, symmetric):
    loss = functools.partial(contrastive_loss, loss_type=loss_type, symmetric=symmetric, js_weight=0.3)
    z = normal(7, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, PER_PAIR), z)
    if loss_type != "ce_identity":
        assert torch.autograd.gradcheck(lambda z: loss(z[:, :4], PER_TEXT, text_counts=COUNTS), z)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_losses_keep_their_bounds_and_stay_finite(data):
    num_images, num_texts = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 6))
    labels = torch.tensor(data.draw(st.lists(st.integers(0, num_texts - 1), min_size=num_images, max_size=num_images)))
    positives = labels[:, None] == torch.arange(num_texts)
    counts = torch.tensor(data.draw(st.lists(st.integers(1, 5), min_size=num_texts, max_size=num_texts)))
    scale = data.draw(st.sampled_from([0.0, 1.0, 100.0, 1e4]))
    z = normal(num_images, num_texts, seed=data.draw(st.integers(0, 99)), scale=scale, dtype=torch.float32)
    loss = functools.partial(contrastive_loss, z, positives, text_counts=counts)
    assert -1e-6 <= loss() <= LN2 + 1e-6
    assert -1e-6 <= loss(loss_type="kl") <= loss(loss_type="ce") + 1e-6
    for loss_type in ("js", "kl", "ce"):
        assert torch.isfinite(gradient(lambda z, t=loss_type: contrastive_loss(z, positives, loss_type=t), z)[0]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("labels", [[0], [0, 0, 0], [0, 1, 2], [0, 1, 0]], ids=["one", "equal", "distinct", "mixed"])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_value_and_gradient_are_finite_at_the_extremes_in_any_precision(loss_type, labels, dtype):
    positives = torch.tensor(labels)[:, None] == torch.tensor(labels)
    size = len(labels)
    for sign in (positives * 2 - 1, 1 - positives * 2, normal(size, size).sign()):
        z = (1e4 * sign).to(dtype)
        expected = contrastive_loss(z.float(), positives, loss_type=loss_type)
        with torch.autocast("cpu", torch.bfloat16):
            close(contrastive_loss(z, positives, loss_type=loss_type), expected)
            (grad,) = gradient(lambda z: contrastive_loss(z, positives, loss_type=loss_type), z)
        assert torch.isfinite(expected)
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_js_has_a_gradient_where_the_naive_formula_has_none(dtype):
    positives = torch.eye(4, dtype=torch.bool)
    z = torch.where(positives, -60.0, 60.0).to(dtype)

    def naive(z):
        p, q = z.softmax(-1), positives.to(dtype)
        m = (p + q) / 2
        return (F.kl_div(m.log(), p, reduction="batchmean") + F.kl_div(m.log(), q, reduction="batchmean")) / 2

    assert gradient(naive, z)[0].isnan().any()
    assert gradient(lambda z: image_to_text(z, positives), z)[0].isfinite().all()


# --- Targets that are more than a class


SOFT = 0.1 + torch.rand(7, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("loss_type", ["js", "kl", "ce"])
def test_positives_of_zero_and_one_are_those_of_bool(loss_type):
    z, loss = normal(7, 4), functools.partial(contrastive_loss, loss_type=loss_type, text_counts=COUNTS)
    assert torch.equal(loss(z, PER_TEXT.double()), loss(z, PER_TEXT))
    assert torch.equal(saturated_fraction(z, PER_TEXT.double()), saturated_fraction(z, PER_TEXT))


def test_soft_cross_entropy_is_that_of_torch():
    z = normal(7, 4)
    rows, columns = SOFT / SOFT.sum(1, keepdim=True), SOFT.T / SOFT.T.sum(1, keepdim=True)
    close(contrastive_loss(z, SOFT, loss_type="ce"), (F.cross_entropy(z, rows) + F.cross_entropy(z.T, columns)) / 2)


def test_soft_kl_and_js_are_those_of_scipy():
    z = normal(7, 4)
    close(image_to_text(z, SOFT, loss_type="kl"), torch.tensor(entropy(SOFT, z.softmax(1), axis=1)).mean())
    close(image_to_text(z, SOFT), torch.tensor(jensenshannon(z.softmax(1), SOFT, axis=1) ** 2).mean())


@pytest.mark.parametrize("loss_type", ["js", "kl", "ce"])
def test_soft_merged_texts_equal_repeated_texts_in_value_and_gradient(loss_type):
    repeated = torch.arange(4).repeat_interleave(COUNTS)
    loss = functools.partial(contrastive_loss, loss_type=loss_type)
    merged = lambda z: loss(z, SOFT, text_counts=COUNTS)  # noqa: E731
    in_full = lambda z: loss(z[:, repeated], SOFT[:, repeated])  # noqa: E731
    close(merged(normal(7, 4)), in_full(normal(7, 4)))
    close(gradient(merged, normal(7, 4)), gradient(in_full, normal(7, 4)))


@pytest.mark.parametrize("loss_type", ["js", "kl", "ce"])
def test_soft_gradient_is_the_derivative_also_without_support(loss_type):
    targets = torch.where(SOFT > 0.5, SOFT, 0.0)
    assert torch.autograd.gradcheck(
        lambda z: contrastive_loss(z, targets, loss_type=loss_type, js_weight=0.3), normal(7, 4).requires_grad_()
    )


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_soft_positives_must_be_finite_and_not_negative(value):
    with pytest.raises(ValueError, match="finite and 0 or more"):
        contrastive_loss(normal(7, 4), torch.full((7, 4), value))


def test_ce_identity_refuses_soft_positives():
    with pytest.raises(ValueError, match="positives must be bool"):
        contrastive_loss(normal(7, 7), PER_PAIR.double(), loss_type="ce_identity")


# --- Share of saturated rows


def test_saturated_share_counts_the_rows_with_a_positive_beyond_the_threshold():
    """Of two texts, the right one with chance p: JS = [(1 - p) ln 2 + p ln(2 p / (1 + p)) - ln((1 + p) / 2)] / 2."""

    def excess(p):
        return ((1 - p) * LN2 + p * math.log(2 * p / (1 + p)) - math.log((1 + p) / 2)) / 2 - 0.68

    threshold = math.log(brentq(excess, 1e-6, 0.5))  # about ln 0.0046
    z = torch.tensor([[threshold - 0.01, 0.0], [threshold + 0.01, 0.0], [0.0, 0.0], [-99.0, 0.0]])
    z[:, 1] = torch.log1p(-z[:, 0].exp())
    positives = torch.tensor([[True, False]] * 3 + [[False, False]])
    assert saturated_fraction(z, positives) == pytest.approx(1 / 3)
    assert saturated_fraction(z[:1].requires_grad_(), positives[:1]) == 1
    assert not saturated_fraction(z.requires_grad_(), positives).requires_grad


# --- Targets from the embeddings


def test_soft_target_loss_is_the_published_formula():
    images, texts = normal(5, 3, scale=1), normal(5, 3, seed=1, scale=1)
    tau = 0.7
    expected = 0.0
    targets = torch.stack([((images @ images[i] + texts @ texts[i]) / 2 * tau).softmax(0) for i in range(5)])
    for i in range(5):
        expected -= targets[i] @ (images @ texts[i] / tau).log_softmax(0)  # row i: text i over the images
        expected -= targets[:, i] @ (texts @ images[i] / tau).log_softmax(0)
    close(soft_target_loss(images, texts, tau), expected / 10)


def test_soft_target_loss_has_the_gradient_through_its_targets_and_temperature():
    inputs = (normal(4, 3, scale=1), normal(4, 3, seed=1, scale=1), torch.tensor(0.7, dtype=torch.float64))
    assert torch.autograd.gradcheck(soft_target_loss, [x.requires_grad_() for x in inputs])


def test_soft_target_loss_starts_as_ce_identity():
    images, texts = (F.layer_norm(normal(8, 256, seed=seed), (256,)) for seed in (0, 1))
    expected = contrastive_loss(images @ texts.T, torch.eye(8, dtype=torch.bool), loss_type="ce_identity")
    close(soft_target_loss(images, texts), expected)


def test_soft_target_loss_computes_in_full_precision_inside_autocast():
    images, texts = (normal(8, 16, seed=seed, dtype=torch.bfloat16) for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        loss = soft_target_loss(images, texts)
    close(loss, soft_target_loss(images.float(), texts.float()))


# --- Refusals

Z = torch.zeros(2, 3)
POSITIVES = torch.ones(2, 3, dtype=torch.bool)
PAIRS = "compares with a text an image (text_batch='pairs'), got "


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logits": Z[0]}, "logits must be a floating point (B, U) tensor, got (3,) torch.float32"),
        ({"logits": Z.int()}, "logits must be a floating point (B, U) tensor, got (2, 3) torch.int32"),
        ({"positives": POSITIVES.T}, "the shape of the logits, (2, 3), got (3, 2) torch.bool"),
        (
            {"positives": POSITIVES.int()},
            "positives must be bool or floating point and have the shape of the logits, (2, 3), got (2, 3)",
        ),
        ({"positives": ~POSITIVES}, "positives is False everywhere"),
        ({"text_counts": torch.ones(2).long()}, "a number a text, shape (3,), got (2,)"),
        ({"text_counts": torch.tensor([1.0, math.inf, 1.0])}, "text_counts must be positive"),
        ({"text_counts": torch.tensor([2, 0, 1])}, "text_counts must be positive, got 0; leave out texts"),
        ({"loss_type": "jss"}, "loss_type 'jss' is not one of js, kl, ce, ce_identity; the nearest is 'js'"),
        ({"loss_type": "identity"}, "the nearest is 'ce_identity' (ce_soft is computed from the embeddings by"),
        ({"js_weight": 0.0}, "js_weight must lie strictly between 0 and 1, got 0.0; 0.5 is the plain divergence"),
        ({"js_weight": 1.0}, "got 1.0; 0.5 is"),
        ({"js_weight": math.nan}, "got nan; 0.5 is"),
        ({"loss_type": "ce_identity"}, PAIRS + "2 images and 3 texts"),
    ],
)
def test_contrastive_loss_refuses(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        contrastive_loss(**{"logits": Z, "positives": POSITIVES} | arguments)


def test_ce_identity_refuses_merged_texts_and_foreign_pairs():
    z, positives = torch.zeros(3, 3), torch.eye(3, dtype=torch.bool)
    with pytest.raises(ValueError, match=re.escape(PAIRS + "text_counts")):
        contrastive_loss(z, positives, loss_type="ce_identity", text_counts=torch.ones(3).long())
    with pytest.raises(ValueError, match=re.escape(PAIRS + "image 1, whose own text is not a positive")):
        contrastive_loss(z, positives[[0, 2, 1]], loss_type="ce_identity")


def test_saturated_share_and_soft_target_loss_refuse():
    with pytest.raises(ValueError, match="positives is False everywhere"):
        saturated_fraction(Z, ~POSITIVES)
    with pytest.raises(ValueError, match=re.escape("one shape (B, D), a text an image, got (2, 3) and (3, 2)")):
        soft_target_loss(Z, Z.T)
    for temperature in (0.0, -1.0, math.inf, torch.tensor(math.nan)):
        with pytest.raises(ValueError, match=f"temperature must be positive and finite, got {temperature}"):
            soft_target_loss(Z, Z, temperature)


# --- Logit adjustment

LOG_PRIOR = (COUNTS.double() / 7).log()


def test_adjusted_cross_entropy_is_that_of_logits_plus_tau_log_prior():
    z = normal(7, 4)

    def oracle(z):
        return F.cross_entropy(z + 0.7 * torch.tensor([2 / 7, 1 / 7, 3 / 7, 1 / 7], dtype=torch.float64).log(), LABELS)

    def loss(z):
        return image_to_text(adjust_logits(z, LOG_PRIOR, 0.7), PER_TEXT, loss_type="ce")

    close(loss(z), oracle(z))
    close(gradient(loss, z), gradient(oracle, z))


@pytest.mark.parametrize("loss_type", [name for name in LOSS_TYPES if name != "ce_identity"])
def test_adjustment_leaves_text_to_image_as_it_is(loss_type):
    z = normal(7, 4, seed=3)

    def text_to_image(z):
        both = contrastive_loss(z, PER_TEXT, loss_type=loss_type)
        return 2 * both - image_to_text(z, PER_TEXT, loss_type=loss_type)

    def adjusted(z):
        return text_to_image(adjust_logits(z, LOG_PRIOR, 1.5))

    close(adjusted(z), text_to_image(z))
    close(gradient(adjusted, z), gradient(text_to_image, z))


@pytest.mark.parametrize("loss_type", [name for name in LOSS_TYPES if name != "ce_identity"])
def test_counts_of_a_batch_with_the_frequencies_of_the_prior_are_the_adjustment_with_tau_1(loss_type):
    z = normal(7, 4, seed=4)

    def counted(z):
        return image_to_text(z, PER_TEXT, loss_type=loss_type, text_counts=COUNTS)

    def adjusted(z):
        return image_to_text(adjust_logits(z, LOG_PRIOR, 1.0), PER_TEXT, loss_type=loss_type)

    # cross-entropy with n positives has their entropy ln n besides, of which no gradient comes
    entropy = COUNTS[LABELS].double().log().mean() if loss_type == "ce" else 0.0
    close(adjusted(z) + entropy, counted(z))
    close(gradient(adjusted, z), gradient(counted, z))


@pytest.mark.parametrize("prior", [[0.5, 0.5], [0.9, 0.1], [0.999, 0.001]])
def test_best_logits_with_tau_1_are_the_likelihoods_whatever_the_prior(prior):
    prior = torch.tensor(prior, dtype=torch.float64)
    likelihood = torch.tensor([[0.6, 0.1], [0.3, 0.4], [0.1, 0.5]], dtype=torch.float64)  # p(image | class)
    joint = likelihood * prior  # p(image, class), of three images and two classes

    def expected_loss(z):
        return -(joint * adjust_logits(z, prior.log(), 1.0).log_softmax(-1)).sum()

    (at_the_likelihoods,) = gradient(expected_loss, likelihood.log())
    close(at_the_likelihoods, torch.zeros_like(likelihood))  # of a convex function


@pytest.mark.parametrize("loss_type", [name for name in LOSS_TYPES if name != "ce_identity"])
def test_adjustment_by_nothing_or_by_equal_frequencies_changes_nothing(loss_type):
    z = normal(7, 4, seed=5)
    expected = contrastive_loss(z, PER_TEXT, loss_type=loss_type)
    for log_prior, tau in ((LOG_PRIOR, 0.0), (torch.full((4,), 0.25).log(), 2.0)):
        close(contrastive_loss(adjust_logits(z, log_prior, tau), PER_TEXT, loss_type=loss_type), expected)


def test_adjusted_logits_are_in_float32_at_least():
    assert adjust_logits(normal(7, 4, dtype=torch.bfloat16), LOG_PRIOR.float(), 1.0).dtype == torch.float32


@pytest.mark.parametrize("log_prior", [torch.zeros(3), torch.tensor([0.0, -1.0, -math.inf, 0.0])])
def test_adjustment_needs_a_finite_prior_a_class(log_prior):
    with pytest.raises(ValueError, match=r"one finite number a class, shape \(4,\), got .*leave out classes"):
        adjust_logits(normal(7, 4), log_prior, 1.0)


@pytest.mark.parametrize("tau", [-1.0, math.inf, math.nan])
def test_adjustment_needs_a_weight_that_is_not_negative(tau):
    with pytest.raises(ValueError, match="tau must be 0 or a positive number, got"):
        adjust_logits(normal(7, 4), LOG_PRIOR, tau)
