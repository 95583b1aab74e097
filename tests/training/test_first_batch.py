"""The first batch of a training is kept as the model saw it, and keeping it changes nothing."""

import copy

import numpy as np
import pytest
import torch
from conftest import CLASS_NAMES, make_rows

from mg_vtc.runs.first_batch import read_first_batch
from mg_vtc.training.first_batch import FirstBatch


def train(trainer):
    """The images and classes that the model was given first."""
    given = []
    trainer.model.vision_model.register_forward_pre_hook(
        lambda _, args, kwargs: given.append(kwargs.get("pixel_values", args[0] if args else None).clone()),
        with_kwargs=True,
    )
    trainer.train()
    return given[0]


@pytest.mark.parametrize("mixing", [{}, {"mixup_alpha": 1.0}, {"cutmix_alpha": 1.0}])
def test_it_shows_what_the_model_was_given_with_the_shares_of_both_classes(mixing, make_trainer, processor, tmp_path):
    trainer = make_trainer(max_steps=2, **mixing)
    given = train(trainer)  # (8, 3, 32, 32)
    mean, std = (
        torch.tensor(getattr(processor.image_processor, name)).view(3, 1, 1) for name in ("image_mean", "image_std")
    )
    expected = (255 * (given * std + mean).clamp(0, 1)).permute(0, 2, 3, 1).numpy()
    seen = read_first_batch(tmp_path / "train_batch.jpg")
    assert len(seen) == 8
    for one, image in zip(seen, expected, strict=True):
        assert np.abs(np.asarray(one.image) - image).mean() < 12  # JPEG of noise
    for one, mirrored in zip(seen, seen[::-1], strict=True):
        assert sum(share for _, share in one.shares) == pytest.approx(1)
        assert all(name in CLASS_NAMES for name, _ in one.shares)
        if mixing and len(one.shares) == 2:
            assert one.shares[1][0] == mirrored.shares[0][0]
    assert any(len(one.shares) == 2 for one in seen) == bool(mixing)


def test_weights_are_the_same_to_the_bit_without_it(make_trainer, model, tmp_path, monkeypatch):
    start = copy.deepcopy(model.state_dict())
    trained = []
    for keeps in (True, False):
        model.load_state_dict(start)
        if not keeps:
            monkeypatch.setattr(FirstBatch, "write", lambda *_: None)
        make_trainer(model, max_steps=3, mixup_alpha=1.0, cutmix_alpha=1.0).train()
        trained.append(copy.deepcopy(model.state_dict()))
        assert (tmp_path / "train_batch.jpg").exists() == keeps
        (tmp_path / "train_batch.jpg").unlink(missing_ok=True)
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in start)


def test_loss_outside_of_a_training_writes_nothing(make_trainer, model, tmp_path):
    rows = make_rows(8)
    make_trainer().compute_loss(model, {name: torch.stack([row[name] for row in rows]) for name in rows[0]})
    assert not (tmp_path / "train_batch.jpg").exists()


def test_resumed_training_keeps_the_batch_of_its_start(make_trainer, tmp_path):
    make_trainer(max_steps=1).train()
    (tmp_path / "train_batch.jpg").write_bytes(b"of the start")
    make_trainer(max_steps=2).train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert (tmp_path / "train_batch.jpg").read_bytes() == b"of the start"
