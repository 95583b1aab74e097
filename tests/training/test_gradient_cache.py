"""A batch in the memory of a chunk: value and gradient are those of the whole batch."""

import pytest
import torch
from conftest import TINY_VIT, batch_of, gradients_of, make_rows
from torch import nn
from transformers import AutoConfig

from mg_vtc import MgVtcModel, MgVtcTrainingArguments


def losses_and_gradients(make_trainer, model, batch, **settings):
    results = []
    for size in (None, 3):
        loss = make_trainer(model, gradient_cache=size, **settings).compute_loss(model, batch)
        results.append((loss.detach(), gradients_of(model, loss)))
    return results


@pytest.mark.parametrize("loss_type", ["js", "ce", "ce_identity", "ce_soft"])
def test_chunks_give_the_loss_and_gradients_of_the_whole_batch(make_trainer, model, loss_type):
    (loss, whole), (chunked_loss, chunked) = losses_and_gradients(
        make_trainer, model, batch_of(make_rows(8)), loss_type=loss_type
    )
    torch.testing.assert_close(chunked_loss, loss)
    assert chunked.keys() == whole.keys()
    largest = max(gradient.abs().max() for gradient in whole.values())
    for name, gradient in chunked.items():
        torch.testing.assert_close(gradient, whole[name], rtol=0, atol=1e-6 * max(1.0, largest.item()))


def test_chunks_of_a_tower_without_batch_norm_train_to_the_same_weights(make_trainer, config):
    config.vision_config = AutoConfig.for_model(**TINY_VIT)
    config.text_config.dropout = config.text_config.attention_dropout = config.projection_dropout = 0.0
    weights = []
    for size in (None, 3):
        torch.manual_seed(0)
        model = MgVtcModel(config)
        make_trainer(model, train=make_rows(16), max_steps=3, optim="sgd", gradient_cache=size).train()
        weights.append(model.state_dict())
    for name, tensor in weights[1].items():
        torch.testing.assert_close(tensor, weights[0][name], rtol=1e-4, atol=1e-6)


def test_chunks_are_never_in_the_tower_together(make_trainer, model):
    sizes = []
    model.vision_model.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    make_trainer(gradient_cache=3).compute_loss(model, batch_of(make_rows(8))).backward()
    assert sizes == [3, 3, 2, 2, 3, 3]  # recomputed from the last


def test_recomputed_chunks_leave_the_statistics_of_batch_norm(make_trainer, model):
    norms = [module for module in model.vision_model.modules() if isinstance(module, nn.BatchNorm2d)]
    trainer, batch = make_trainer(gradient_cache=4), batch_of(make_rows(8))
    model.train()
    loss = trainer.compute_loss(model, batch)
    before = [(norm.running_mean.clone(), norm.num_batches_tracked.clone()) for norm in norms]
    loss.backward()
    assert norms
    for norm, (mean, count) in zip(norms, before, strict=True):
        assert torch.equal(norm.running_mean, mean)
        assert norm.num_batches_tracked == count
        assert norm.momentum == 0.1


def test_chunk_of_one_image_is_refused_before_the_training(make_trainer):
    trainer = make_trainer(train=make_rows(8), gradient_cache=1)
    trainer.model.vision_model.embedder.embedder.convolution.stride = (32, 32)  # leaves a value per channel and image
    with pytest.raises(ValueError, match="leave one for a process or for a chunk of gradient_cache"):
        trainer.check_start()


def test_full_memory_is_named_with_what_to_lower(make_trainer, model):
    def fill(*args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    trainer = make_trainer()
    model.vision_model.register_forward_pre_hook(fill)
    with pytest.raises(MemoryError, match=r"cpu is full with per_device_train_batch_size 8 .* set gradient_cache"):
        trainer.train()


def test_memory_of_the_host_is_named_too(make_trainer, model):
    trainer = make_trainer()
    model.vision_model.register_forward_pre_hook(lambda *args: torch.empty(2**60))
    with pytest.raises(MemoryError, match="The memory of cpu is full"):
        trainer.train()


def test_other_errors_are_not_taken_for_full_memory(make_trainer, model):
    def fail(*args):
        raise RuntimeError("another fault")

    model.vision_model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="another fault"):
        make_trainer().train()


def test_compilation_and_recomputation_are_not_combined(tmp_path):
    with pytest.raises(ValueError, match="torch_compile cannot compile the recomputation of gradient_cache"):
        MgVtcTrainingArguments(output_dir=str(tmp_path), use_cpu=True, torch_compile=True, gradient_cache=4)
