"""Mixup, cutmix and label smoothing: what is mixed, and what the targets then are."""

import pytest
import torch
from conftest import batch_of, make_rows

from mg_vtc import MgVtcTrainingArguments, contrastive_loss
from mg_vtc.training.mixing import mix_images, mix_targets

LABELS = torch.tensor([0, 0, 1, 2])
CLASSES = torch.eye(3, dtype=torch.bool)[LABELS]  # (4, 3)
OTHERS = CLASSES.flip(0)
WEIGHTS = torch.full((4,), 0.7)


def test_mixup_is_a_weighted_mean_of_a_batch_and_its_reverse():
    images = torch.rand(4, 3, 8, 8)
    mixed, weight = mix_images(images, 0.5, 0.0)
    assert 0 <= weight <= 1
    torch.testing.assert_close(mixed, weight * images + (1 - weight) * images.flip(0))


def test_cutmix_weight_is_the_fraction_of_its_own_pixels():
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, 16, 24)
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, weight = mix_images(images, 0.0, 1.0)
        own = (mixed == images).float()
        torch.testing.assert_close(own.mean(dim=(1, 2, 3)), torch.full((4,), weight))
        assert torch.equal(torch.where(own > 0, images, images.flip(0)), mixed)
        rows, columns = own[0, 0].eq(0).any(dim=1), own[0, 0].eq(0).any(dim=0)
        assert (own[0, 0] == 0).sum() == rows.sum() * columns.sum()  # a rectangle


def test_weights_are_of_the_beta_distribution():
    images = torch.rand(2, 3, 2, 2)
    torch.manual_seed(0)
    weights = torch.tensor([mix_images(images, 0.5, 0.0)[1] for _ in range(4000)])
    assert weights.mean().item() == pytest.approx(0.5, abs=0.02)
    assert weights.var().item() == pytest.approx(1 / 8, abs=0.01)  # 1 / (4 (2 alpha + 1))


def test_with_both_each_is_used_for_half_of_the_batches():
    images = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 3, 64, 64)
    torch.manual_seed(0)
    cut = [mix_images(images, 1.0, 1.0)[0].unique().tolist() == [0.0, 1.0] for _ in range(400)]
    assert 160 < sum(cut) < 240


def test_targets_of_one_text_a_class_are_the_weights_of_the_classes():
    expected = torch.tensor([[0.7, 0.0, 0.3], [0.7, 0.3, 0.0], [0.3, 0.7, 0.0], [0.3, 0.0, 0.7]])
    torch.testing.assert_close(mix_targets(CLASSES, OTHERS, WEIGHTS), expected)


def test_smoothed_targets_are_those_of_torch():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    targets = mix_targets(CLASSES, CLASSES, torch.ones(4), label_smoothing=0.2)
    loss = contrastive_loss(logits, targets, loss_type="ce", symmetric=False)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, LABELS, label_smoothing=0.2))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_targets_of_repeated_texts_are_those_of_merged_texts(label_smoothing):
    pairs = LABELS[:, None] == LABELS
    repeated = mix_targets(pairs, pairs.flip(0), WEIGHTS, label_smoothing)
    counts = CLASSES.sum(dim=0)
    merged = mix_targets(CLASSES, OTHERS, WEIGHTS, label_smoothing, counts)
    torch.testing.assert_close(merged[:, LABELS], repeated)
    torch.testing.assert_close((merged * counts).sum(dim=1), torch.ones(4))


@pytest.mark.parametrize("loss_type", ["js", "kl", "ce"])
@pytest.mark.parametrize("text_batch", ["unique", "pairs", "classes"])
def test_trainer_compares_mixed_images_with_mixed_targets(make_trainer, model, loss_type, text_batch):
    batch = batch_of(make_rows(8, num_labels=3))
    settings = {"mixup_alpha": 0.5, "label_smoothing_factor": 0.1}
    trainer = make_trainer(loss_type=loss_type, text_batch=text_batch, **settings)
    model.eval()
    torch.manual_seed(1)
    loss = trainer.compute_loss(model, batch)
    torch.manual_seed(1)
    images, weight = mix_images(batch["pixel_values"], 0.5, 0.0)
    labels = batch["labels"]
    texts = {"unique": labels.unique(), "pairs": labels, "classes": torch.arange(6)}[text_batch]
    counts = labels.unique(return_counts=True)[1] if text_batch == "unique" else None
    own, others = labels[:, None] == texts, labels.flip(0)[:, None] == texts
    targets = mix_targets(own, others, torch.full((8,), weight), 0.1, counts)
    logits = model(pixel_values=images, **trainer._texts.class_texts.select(texts)).logits_per_image
    torch.testing.assert_close(loss, contrastive_loss(logits, targets, loss_type=loss_type, text_counts=counts))


def test_evaluation_is_never_mixed(make_trainer):
    plain, mixing = make_trainer(), make_trainer(mixup_alpha=1.0, cutmix_alpha=1.0, label_smoothing_factor=0.5)
    assert plain.evaluate()["eval_loss"] == mixing.evaluate()["eval_loss"]


@pytest.mark.parametrize("setting", ["mixup_alpha", "cutmix_alpha", "label_smoothing_factor"])
@pytest.mark.parametrize("loss_type", ["ce_identity", "ce_soft"])
def test_losses_without_targets_of_classes_refuse_to_mix(setting, loss_type):
    with pytest.raises(ValueError, match=f"{setting} mixes the targets"):
        MgVtcTrainingArguments(loss_type=loss_type, **{setting: 0.2})


@pytest.mark.parametrize(("setting", "value"), [("mixup_alpha", -1), ("cutmix_alpha", float("nan"))])
def test_weights_of_mixing_must_not_be_negative(setting, value):
    with pytest.raises(ValueError, match=f"{setting} must be 0"):
        MgVtcTrainingArguments(**{setting: value})


def test_label_smoothing_of_everything_is_refused():
    with pytest.raises(ValueError, match="label_smoothing_factor must be in"):
        MgVtcTrainingArguments(label_smoothing_factor=1.0)
