"""Losses that contrast images with texts: pure functions of tensors.

Shapes are written as suffixes: B images, U texts, D embedding width. Functions that serve both directions,
image->text and text->image, call the rows of a comparison R and its columns C.

Every loss works on logarithms of probabilities, in float32 at least (float64 stays float64) and with autocast
off, so that value and gradient stay finite where a softmax underflows. All values are in nats.
"""

import difflib
import math

import torch
import torch.nn.functional as F
from torch import Tensor

LOSS_TYPES = ("js", "kl", "ce", "ce_identity")  # of `contrastive_loss`; ce_soft is `soft_target_loss`
SATURATED_JS = 0.68  # nats, close below the bound ln 2 = 0.693, where hardly any gradient is left


def contrastive_loss(
    logits: Tensor,
    positives: Tensor,
    *,
    loss_type: str = "js",
    js_weight: float = 0.5,
    text_counts: Tensor | None = None,
    symmetric: bool = True,
    check_values: bool = True,
) -> Tensor:
    """Mean of the image->text and the text->image loss, each the mean over its rows that have a positive.

    A row compares P = softmax(row of `logits`) with Q = (row of `positives`) / (its sum); text->image takes columns:

    - `js`: Jensen-Shannon divergence of P and Q, in [0, ln 2]; see `_skewed_js` for `js_weight` other than 1/2.
    - `kl`: KL(Q||P) = sum of q (ln q - ln p).
    - `ce`: cross-entropy -(sum of q ln p), with several positives a row. Has the gradient of `kl`.
    - `ce_identity`: cross-entropy where text i alone belongs to image i, as in CLIP (Radford et al., ICML 2021): equal
      labels are negatives. Has the gradient of `ce` if the texts of one class share one embedding.

    Args:
        logits: similarities of images and texts times the scale, (B, U), floating point.
        positives: True where the text describes the image, (B, U), bool; or how much it does, floating point, 0 or
            more, as where images or labels are mixed (see `mix_targets`).
        loss_type: one of `LOSS_TYPES`.
        js_weight: weight of the target in the mixture of `js`, in (0, 1).
        text_counts: how often each text occurs in the batch, (U,), positive; None: once. Value and gradient are those
            of the batch with its texts repeated (`ce_identity` needs them so). Columns of one text share its count.
        symmetric: False leaves image->text alone, for classifiers without a text tower.
        check_values: False checks shapes and types only: a check of values waits for the device.

    Returns:
        The loss, a scalar. `soft_target_loss` is the loss that needs the embeddings.

    Raises:
        ValueError: if an argument is not as described, or no image has a positive text.
    """
    _check_loss_type(loss_type, js_weight)
    _check_comparison(logits, positives, text_counts, check_values)
    if loss_type == "ce_identity":
        _check_pairs(positives, text_counts, check_values)
        positives = torch.eye(len(positives), dtype=torch.bool, device=positives.device)
    logits_BU = _to_full_precision(logits)
    counts_B, counts_U = _counts(logits_BU, text_counts)
    image_to_text = _direction_loss(logits_BU, positives, counts_B, counts_U, loss_type, js_weight)
    if not symmetric:
        return image_to_text
    text_to_image = _direction_loss(logits_BU.T, positives.T, counts_U, counts_B, loss_type, js_weight)
    return (image_to_text + text_to_image) / 2


def soft_target_loss(image_embeds: Tensor, text_embeds: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Cross-entropy with targets from the embeddings' own similarities, as in the simple CLIP implementation.

    With images I and texts T as rows, the logits are T I^T / temperature and the targets are
    softmax((I I^T + T T^T) / 2 x temperature) over the last dimension. The loss is the mean of the cross-entropies of
    (logits, targets) and of their transposes. The targets are not detached, and the columns of the transposed ones
    need not sum to one: both are so in the original. Labels play no part, unlike in `contrastive_loss`; while the
    similarity of each embedding to itself dominates, this is `ce_identity`.

    Source: M. Shariatnia, "Simple CLIP" (https://github.com/moein-shariatnia/OpenAI-CLIP).

    Args:
        image_embeds: (B, D), not normalised in the original.
        text_embeds: (B, D), row i belongs to image i.
        temperature: positive number or 0-d tensor.

    Returns:
        The loss, a scalar.

    Raises:
        ValueError: if the shapes are not equal and 2-dimensional, or the temperature is not positive and finite.
    """
    if image_embeds.ndim != 2 or image_embeds.shape != text_embeds.shape:
        raise ValueError(
            "image_embeds and text_embeds must have one shape (B, D), a text an image, "
            f"got {tuple(image_embeds.shape)} and {tuple(text_embeds.shape)}"
        )
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
    with torch.autocast(image_embeds.device.type, enabled=False):
        images_BD, texts_BD = _to_full_precision(image_embeds), _to_full_precision(text_embeds)
        logits_BB = texts_BD @ images_BD.T / temperature
        similarity_BB = (images_BD @ images_BD.T + texts_BD @ texts_BD.T) / 2
        targets_BB = F.softmax(similarity_BB * temperature, dim=-1)
        return (F.cross_entropy(logits_BB, targets_BB) + F.cross_entropy(logits_BB.T, targets_BB.T)) / 2


def adjust_logits(logits: Tensor, log_prior: Tensor, tau: float, *, check_values: bool = True) -> Tensor:
    """Logits to train on where classes are unequally frequent: s + tau ln pi, with pi_u the frequency of class u.

    image->text: P becomes softmax(s + tau ln pi). With cross-entropy and tau = 1 the best s + ln pi is ln p(class |
    image) up to a constant an image, so that s itself, by which classes are ranked afterwards, is ln p(image | class)
    up to such a constant: the score for equally frequent classes. The other losses compare with the same P.

    text->image: a text's softmax is over the images, and tau ln pi_u, the same for all of them, cancels. So value and
    gradient of that direction stay as they are.

    Not for texts that count as often as they occur in the batch, as with `text_counts` or a text an image: there P is
    already softmax(s + ln n) with their numbers n. In a batch with the frequencies pi, n is pi times the batch size,
    and image->text is exactly what this is at tau = 1.

    Source: A. K. Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, the logit adjusted loss.

    Args:
        logits: similarities of images and class texts times the scale, (B, U).
        log_prior: logarithm of the frequency of each class, (U,), finite.
        tau: weight of the prior, 0 or more.
        check_values: as for `contrastive_loss`.

    Returns:
        The adjusted logits, (B, U), in float32 at least.

    Raises:
        ValueError: if there is not one finite prior a column, or `tau` is negative or not finite.
    """
    if log_prior.shape != logits.shape[1:] or (check_values and not log_prior.isfinite().all()):
        raise ValueError(
            f"log_prior must hold one finite number a class, shape {tuple(logits.shape[1:])}, "
            f"got {tuple(log_prior.shape)} {log_prior.tolist()}; leave out classes that do not occur"
        )
    if not 0 <= tau < math.inf:
        raise ValueError(f"tau must be 0 or a positive number, got {tau}")
    return _to_full_precision(logits) + tau * log_prior


def saturated_fraction(
    logits: Tensor, positives: Tensor, *, text_counts: Tensor | None = None, check_values: bool = True
) -> Tensor:
    """Share of the image->text rows with a positive whose Jensen-Shannon divergence exceeds `SATURATED_JS`.

    A row that is confidently wrong lies at the bound ln 2, where its gradient vanishes: a share that stays near one
    is the sign of a stalled run.

    Args:
        logits: as for `contrastive_loss`, (B, U).
        positives: as for `contrastive_loss`, (B, U).
        text_counts: as for `contrastive_loss`, (U,).
        check_values: as for `contrastive_loss`.

    Returns:
        A number in [0, 1] as a 0-d tensor, without gradient.

    Raises:
        ValueError: if an argument is not as described, or no image has a positive text.
    """
    _check_comparison(logits, positives, text_counts, check_values)
    logits_BU = _to_full_precision(logits)
    counts_B, counts_U = _counts(logits_BU, text_counts)
    targets_BU, weights_B = _leave_out_empty_rows(positives, counts_B)
    js_B = _row_losses(logits_BU, targets_BU, counts_U, "js", 0.5)
    return ((js_B > SATURATED_JS) * weights_B).sum() / weights_B.sum()


def _direction_loss(
    logits_RC: Tensor, positives_RC: Tensor, counts_R: Tensor, counts_C: Tensor, loss_type: str, js_weight: float
) -> Tensor:
    """Mean over the rows that have a positive, of which there is at least one; row r counts counts_R[r] times."""
    targets_RC, weights_R = _leave_out_empty_rows(positives_RC, counts_R)
    loss_R = _row_losses(logits_RC, targets_RC, counts_C, loss_type, js_weight)
    return (loss_R * weights_R).sum() / weights_R.sum()


def _leave_out_empty_rows(positives_RC: Tensor, counts_R: Tensor) -> tuple[Tensor, Tensor]:
    """Return targets that give each row a positive, and the counts, which are 0 for the rows that have none.

    Rows are not selected: their number would have to be known to the host, which waits for the device.
    """
    is_empty_R = ~positives_RC.bool().any(dim=-1)
    return positives_RC + is_empty_R[:, None], counts_R * ~is_empty_R


def _row_losses(logits_RC: Tensor, positives_RC: Tensor, counts_C: Tensor, loss_type: str, js_weight: float) -> Tensor:
    """Objective of each row, (R,), where every row has a positive and column c stands for counts_C[c] equal ones."""
    with torch.autocast(logits_RC.device.type, enabled=False):  # full precision, whichever operations autocast lowers
        positives_RC = positives_RC.to(counts_C)
        sum_R1 = (positives_RC * counts_C).sum(dim=-1, keepdim=True)
        log_p_RC = F.log_softmax(logits_RC + counts_C.log(), dim=-1)
        log_q_RC = positives_RC.log() + (counts_C.log() - sum_R1.log())
        if loss_type == "js":
            return _skewed_js(log_p_RC, log_q_RC, js_weight)
        on_support_RC = positives_RC > 0
        kl_R = torch.where(on_support_RC, log_q_RC.exp() * (log_q_RC - log_p_RC), 0.0).sum(dim=-1)
        if loss_type == "kl":
            return kl_R
        # The entropy of Q over the repeated columns: ln(sum), less the mean of ln(positive), which is 0 for bool.
        log_positives_RC = torch.where(on_support_RC, positives_RC.log(), 0.0)
        return kl_R + sum_R1.squeeze(-1).log() - (log_q_RC.exp() * log_positives_RC).sum(dim=-1)


def _skewed_js(log_p_RC: Tensor, log_q_RC: Tensor, weight: float) -> Tensor:
    """Skewed Jensen-Shannon divergence of each row, (R,), scaled so that weight 1/2 gives the plain divergence.

    With pi = `weight` and M = pi Q + (1 - pi) P it is [pi KL(Q||M) + (1 - pi) KL(P||M)] / Z x (ln 2) / 2 for
    Z = -(1 - pi) ln(1 - pi). As pi -> 0 it tends to (ln 2)/2 KL(Q||P); as pi -> 1, slowly as 1/ln(1/(1 - pi)), to
    (ln 2)/2 times the part of P off the support of Q: for a single positive (ln 2)/4 of the L1 distance of P and Q.

    Source: E. Englesson and H. Azizpour, "Generalized Jensen-Shannon Divergence Loss for Learning with Noisy Labels",
    NeurIPS 2021, which divides by Z alone.
    """
    log_weight, log_rest = math.log(weight), math.log1p(-weight)
    # The odds that a text drawn from M came from Q turn both divergences into logistic losses, which keep their digits
    # where ln p - ln m would cancel. They are ln(0) off the support of Q, where M is (1 - pi) P.
    log_odds_RC = log_q_RC - log_p_RC + (log_weight - log_rest)
    log_q_over_m_RC = torch.where(log_q_RC > -math.inf, F.logsigmoid(log_odds_RC) - log_weight, 0.0)
    log_p_over_m_RC = F.logsigmoid(-log_odds_RC) - log_rest
    kl_q_R = (log_q_RC.exp() * log_q_over_m_RC).sum(dim=-1)
    kl_p_R = (log_p_RC.exp() * log_p_over_m_RC).sum(dim=-1)
    z = -(1 - weight) * log_rest
    return (weight * kl_q_R + (1 - weight) * kl_p_R) * (math.log(2) / 2 / z)


def _to_full_precision(x: Tensor) -> Tensor:
    """Return values in float32 or, if they are, in float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _counts(logits_BU: Tensor, text_counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return how often each image, (B,), and each text, (U,), occurs, in the dtype of the logits."""
    num_images, num_texts = logits_BU.shape
    counts_U = logits_BU.new_ones(num_texts) if text_counts is None else text_counts.to(logits_BU)
    return logits_BU.new_ones(num_images), counts_U


def _check_comparison(logits: Tensor, positives: Tensor, text_counts: Tensor | None, check_values: bool) -> None:
    """Raise ValueError unless the three belong together by shape, type and, if these are checked, values."""
    if logits.ndim != 2 or not logits.is_floating_point():
        raise ValueError(f"logits must be a floating point (B, U) tensor, got {tuple(logits.shape)} {logits.dtype}")
    if positives.shape != logits.shape or not (positives.dtype == torch.bool or positives.is_floating_point()):
        raise ValueError(
            f"positives must be bool or floating point and have the shape of the logits, {tuple(logits.shape)}, "
            f"got {tuple(positives.shape)} {positives.dtype}"
        )
    if text_counts is not None and text_counts.shape != logits.shape[1:]:
        raise ValueError(
            f"text_counts must hold a number a text, shape {tuple(logits.shape[1:])}, got {tuple(text_counts.shape)}"
        )
    if check_values:
        _check_values(positives, text_counts)


def _check_values(positives: Tensor, text_counts: Tensor | None) -> None:
    """Raise ValueError unless the values are in range and some image has a positive text."""
    if positives.is_floating_point() and not (positives.isfinite() & (positives >= 0)).all():
        raise ValueError("positives must be finite and 0 or more")
    if not positives.any():
        raise ValueError(
            "positives is False everywhere, so neither image->text nor text->image has a row to learn from; "
            "compare the images with the texts of their own classes"
        )
    if text_counts is not None and not ((text_counts > 0) & text_counts.isfinite()).all():
        raise ValueError(f"text_counts must be positive, got {text_counts.min()}; leave out texts that do not occur")


def _check_loss_type(loss_type: str, js_weight: float) -> None:
    """Raise ValueError for an unknown loss or a weight outside (0, 1)."""
    if loss_type not in LOSS_TYPES:
        nearest = difflib.get_close_matches(loss_type, LOSS_TYPES, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"loss_type {loss_type!r} is not one of {', '.join(LOSS_TYPES)}; the nearest is {nearest!r} "
            "(ce_soft is computed from the embeddings by soft_target_loss)"
        )
    if not 0 < js_weight < 1:
        raise ValueError(f"js_weight must lie strictly between 0 and 1, got {js_weight}; 0.5 is the plain divergence")


def _check_pairs(positives: Tensor, text_counts: Tensor | None, check_values: bool) -> None:
    """Raise ValueError unless text i is a positive of image i, as the identity target supposes."""
    if positives.dtype != torch.bool:
        raise ValueError("loss_type 'ce_identity' has one positive an image: positives must be bool")
    num_images, num_texts = positives.shape
    if num_images != num_texts:
        seen = f"{num_images} images and {num_texts} texts"
    elif text_counts is not None:
        seen = "text_counts"
    elif check_values and not positives.diagonal().all():
        seen = f"image {int(positives.diagonal().int().argmin())}, whose own text is not a positive"
    else:
        return
    raise ValueError(f"loss_type 'ce_identity' compares with a text an image (text_batch='pairs'), got {seen}")
