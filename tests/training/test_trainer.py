"""The trainer: what a batch is compared with, who learns at which rate, and what an evaluation says."""

import copy
import stat

import pytest
import torch
from conftest import TINY_VIT, batch_of, gradients_of, make_rows
from local_hub import Repo
from torch import nn
from transformers import AutoConfig, AutoModel, GPT2Config, TrainerCallback

from mg_vtc import MgVtcConfig, MgVtcModel, MgVtcTrainer, contrastive_loss, soft_target_loss


@pytest.mark.parametrize("loss_type", ["js", "kl", "ce"])
def test_unique_texts_equal_a_text_an_image_in_value_and_gradient(make_trainer, model, loss_type):
    batch = batch_of(make_rows(10, num_labels=3))
    model.eval()  # dropout and batch statistics would make the two calls differ
    results = []
    for text_batch in ("unique", "pairs"):
        loss = make_trainer(loss_type=loss_type, text_batch=text_batch).compute_loss(model, batch)
        results.append((loss.detach(), gradients_of(model, loss)))
    (unique, unique_gradients), (pairs, pairs_gradients) = results
    torch.testing.assert_close(unique, pairs)
    for name in pairs_gradients:
        torch.testing.assert_close(unique_gradients[name], pairs_gradients[name], rtol=1e-4, atol=1e-6)


def test_text_tower_sees_the_batchs_unique_labels_and_no_needless_padding(make_trainer, model, processor):
    seen = []
    model.text_model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True)
    batch = batch_of(make_rows(8))
    batch["labels"] = torch.tensor([3, 3, 1, 3, 1, 1, 3, 1])
    trainer = make_trainer()
    seen.clear()
    trainer.compute_loss(model, batch)
    names = [model.config.id2label[1], model.config.id2label[3]]
    expected = processor.tokenizer(names, padding=True, return_tensors="pt")
    assert torch.equal(seen[0]["input_ids"], expected["input_ids"])
    assert torch.equal(seen[0]["attention_mask"], expected["attention_mask"])


def test_classes_compare_with_every_prompt(make_trainer, model):
    batch = batch_of(make_rows(8, num_labels=2))
    loss, outputs = make_trainer(text_batch="classes").compute_loss(model, batch, return_outputs=True)
    assert outputs.logits_per_image.shape == (8, 6)
    positives = batch["labels"][:, None] == torch.arange(6)
    torch.testing.assert_close(loss, contrastive_loss(outputs.logits_per_image, positives))


def test_identity_takes_other_images_of_the_class_for_negatives(make_trainer, model):
    batch = batch_of(make_rows(8, num_labels=2))
    loss, outputs = make_trainer(loss_type="ce_identity").compute_loss(model, batch, return_outputs=True)
    target = torch.arange(8)
    expected = (
        nn.functional.cross_entropy(outputs.logits_per_image, target)
        + nn.functional.cross_entropy(outputs.logits_per_text, target)
    ) / 2
    torch.testing.assert_close(loss, expected)


def test_soft_targets_are_the_published_ones_for_embeddings_as_long_as_the_scale_says(make_trainer, model):
    batch = batch_of(make_rows(8))
    loss, outputs = make_trainer(loss_type="ce_soft").compute_loss(model, batch, return_outputs=True)
    images, texts = (model.logit_scale.exp().sqrt() * embeds for embeds in (outputs.image_embeds, outputs.text_embeds))
    torch.testing.assert_close(loss, soft_target_loss(images, texts, temperature=1.0))
    targets = ((images @ images.T + texts @ texts.T) / 2).softmax(dim=-1)
    expected = nn.functional.cross_entropy(outputs.logits_per_text, targets)
    expected = (expected + nn.functional.cross_entropy(outputs.logits_per_image, targets.T)) / 2
    torch.testing.assert_close(loss, expected)


def make_vision_only(dropout=0.0):
    """A model whose objective is a mean over images: no texts, no batch norm, no dropout."""
    torch.manual_seed(0)
    tower = AutoModel.from_config(AutoConfig.for_model(**TINY_VIT))
    return MgVtcModel.from_vision_text_pretrained(
        tower, vision_only=True, projection_dropout=dropout, id2label={i: str(i) for i in range(6)}
    )


def test_vision_only_cross_entropy_is_that_of_a_classifier(make_trainer):
    model, batch = make_vision_only(), batch_of(make_rows(8))
    loss, outputs = make_trainer(model, loss_type="ce").compute_loss(model, batch, return_outputs=True)
    torch.testing.assert_close(loss, nn.functional.cross_entropy(outputs.logits_per_image, batch["labels"]))


def adjusted_rows():
    """Twelve rows with 7, 3 and 2 of the classes 0, 2 and 5."""
    rows = make_rows(12)
    for row, label in zip(rows, [0] * 7 + [2] * 3 + [5] * 2, strict=True):
        row["labels"] = torch.tensor(label)
    return rows


@pytest.mark.parametrize("loss_type", ["js", "ce"])
@pytest.mark.parametrize("vision_only", [False, True])
def test_logits_are_adjusted_to_the_training_rows_and_their_classes_alone(make_trainer, model, loss_type, vision_only):
    model = make_vision_only() if vision_only else model
    rows = adjusted_rows()
    batch = batch_of(rows[5:9])  # of the classes 0 and 2
    settings = {"train": rows, "loss_type": loss_type, "logit_adjustment": 0.5}
    trainer = make_trainer(model, **settings, text_batch=None if vision_only else "classes")
    loss = trainer.compute_loss(model.eval(), batch)
    classes, log_prior = [0, 2, 5], torch.tensor([7 / 12, 3 / 12, 2 / 12]).log()
    logits = model(pixel_values=batch["pixel_values"]).logits_per_image[:, classes]
    positives = batch["labels"][:, None] == torch.tensor(classes)
    expected = contrastive_loss(logits + 0.5 * log_prior, positives, loss_type=loss_type, symmetric=not vision_only)
    torch.testing.assert_close(loss, expected)
    assert loss != make_trainer(model, **settings | {"logit_adjustment": 0.0}, text_batch="classes").compute_loss(
        model, batch
    )


def test_evaluation_is_never_adjusted(make_trainer):
    metrics = [
        make_trainer(train=adjusted_rows(), text_batch="classes", logit_adjustment=tau).evaluate() for tau in (0, 1)
    ]
    for name in ("eval_loss", "eval_top1_accuracy"):
        assert metrics[0][name] == metrics[1][name]


@pytest.mark.parametrize("text_batch", ["unique", "pairs"])
def test_logits_with_the_texts_of_the_batch_are_not_adjusted_twice(make_trainer, text_batch):
    with pytest.raises(ValueError, match=f"is 1.0, but with text_batch '{text_batch}' .* set text_batch 'classes'"):
        make_trainer(text_batch=text_batch, logit_adjustment=1.0)


def test_prior_of_rows_that_do_not_tell_their_classes_is_refused(make_trainer):
    with pytest.raises(ValueError, match="logit_adjustment must know the class of every training row"):
        make_trainer(train=list(make_rows(8)), text_batch="classes", logit_adjustment=1.0)


@pytest.mark.parametrize(("num_rows", "batch_size"), [(8, 1), (9, 8)])
def test_an_image_alone_in_its_batch_is_refused_unless_compared_with_all_classes(make_trainer, num_rows, batch_size):
    settings = {"train": make_rows(num_rows), "per_device_train_batch_size": batch_size}
    with pytest.raises(ValueError, match="leave a single image"):
        make_trainer(**settings)
    make_trainer(**settings, text_batch="classes")
    make_trainer(make_vision_only(), **settings, loss_type="ce")


def test_texts_that_are_one_to_the_tokenizer_are_refused(make_trainer, processor, config):
    config.id2label = {**config.id2label, 1: "head \u65e5", 4: "head \u6708"}  # not in the vocabulary
    with (
        pytest.warns(UserWarning, match="does not know all words of 'head \u65e5', 'head \u6708'"),
        pytest.raises(ValueError, match="have the same embedding in this text tower"),
    ):
        make_trainer(MgVtcModel(config))


def test_name_of_which_the_tokenizer_knows_no_word_is_refused(make_trainer, config):
    config.id2label = {**config.id2label, 1: "\u65e5"}
    with pytest.raises(ValueError, match="knows no word of the name '\u65e5'"):
        make_trainer(MgVtcModel(config))


def test_tower_whose_first_token_sees_no_other_is_refused(make_trainer, config):
    config.id2label = {i: f"touching {name}" for i, name in config.id2label.items()}
    tower = GPT2Config(vocab_size=200, n_embd=16, n_layer=1, n_head=2)
    with pytest.raises(ValueError, match="or the tower is a decoder"):
        make_trainer(MgVtcModel(MgVtcConfig(**config.to_dict() | {"text_config": tower})))


def test_vision_only_refuses_objectives_that_pair_texts(make_trainer):
    with pytest.raises(ValueError, match="'ce_identity' needs texts"):
        make_trainer(make_vision_only(), loss_type="ce_identity")


def test_accumulated_gradient_is_that_of_the_larger_batch_for_a_mean_over_images(make_trainer):
    weights = []
    for batch_size, steps in ((8, 1), (2, 4)):
        trainer = make_trainer(
            make_vision_only(),
            loss_type="ce",
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=steps,
            optim="sgd",
            max_grad_norm=0.0,
            learning_rate=1.0,
            lr_scheduler_type="constant",
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
        )
        trainer.train()
        weights.append(trainer.model.state_dict())
    assert not torch.equal(weights[0]["class_embeds"], make_vision_only().class_embeds)
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-5, atol=1e-6)


def test_one_step_changes_every_trainable_parameter_and_no_frozen_one(make_trainer, model):
    for parameter in model.text_model.embeddings.parameters():
        parameter.requires_grad_(False)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer = make_trainer(weight_decay=0.0, load_best_model_at_end=False, save_strategy="no", eval_strategy="no")
    trainer.train()
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, before[name]) == (not parameter.requires_grad), name


def test_gradients_are_zeroed_in_the_memory_they_have(make_trainer, model):
    make_trainer(load_best_model_at_end=False, save_strategy="no", eval_strategy="no").train()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


def test_scale_is_brought_back_into_its_range_before_each_step(make_trainer, model):
    with torch.no_grad():
        model.logit_scale.fill_(7.0)
    make_trainer(learning_rate=0.0, load_best_model_at_end=False, save_strategy="no", eval_strategy="no").train()
    assert model.logit_scale.exp().item() == pytest.approx(100)


@pytest.mark.parametrize("batch_size", [5, 12])
def test_validation_loss_is_the_objective_over_the_whole_set_whatever_the_batch(
    make_trainer, model, class_texts, batch_size
):
    rows = make_rows(12)
    metrics = make_trainer(evaluation=rows, per_device_eval_batch_size=batch_size).evaluate()
    batch = batch_of(rows)
    model.set_class_embeds(**class_texts)
    with torch.no_grad():
        logits = model.eval()(batch["pixel_values"]).logits_per_image
    expected = contrastive_loss(logits, batch["labels"][:, None] == torch.arange(6))
    assert metrics["eval_loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert metrics["eval_top5_accuracy"] == pytest.approx(
        (logits.topk(5).indices == batch["labels"][:, None]).any(dim=1).float().mean().item()
    )


def test_evaluation_encodes_the_prompts_anew(make_trainer, model, class_texts):
    trainer = make_trainer()
    trainer.evaluate()
    first = model.class_embeds.clone()
    with torch.no_grad():
        model.text_projection.projection.weight.mul_(-1)
    trainer.evaluate()
    assert not torch.equal(model.class_embeds, first)


def test_loss_that_is_not_finite_stops_before_the_step_and_names_the_rows(make_trainer, model):
    rows = make_rows(8)
    rows[5]["pixel_values"][:] = float("nan")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer = make_trainer(train=rows, per_device_train_batch_size=8)
    with pytest.raises(FloatingPointError, match=r"The loss is nan at step 1 .*training rows \[.*5.*\], numbered as"):
        trainer.train()
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_saturated_share_is_logged_with_the_loss(make_trainer):
    trainer = make_trainer(max_steps=2, train=make_rows(16))
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert logs
    assert all(0 <= log["saturated_fraction"] <= 1 for log in logs)


def test_rates_of_the_towers_and_the_scale_are_logged(make_trainer, model):
    rates = {"learning_rate": 1e-3, "vision_learning_rate": 1e-2, "text_learning_rate": 1e-4}
    settings = {"layer_decay": 0.5, "lr_scheduler_type": "linear", "max_steps": 4, "logging_steps": 1} | QUIET
    of_last_layer = {"learning_rate": 1e-3, "vision_learning_rate": 5e-3, "text_learning_rate": 5e-5}
    trainer = make_trainer(train=make_rows(16), logging_strategy="steps", **rates, **settings)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    for step, log in enumerate(logs):
        assert {name: log[name] for name in rates} == pytest.approx(
            {name: rate * (1 - step / 4) for name, rate in of_last_layer.items()}
        )
    assert logs[-1]["logit_scale"] == pytest.approx(model.logit_scale.exp().item())


def test_a_frozen_tower_has_no_rate_in_the_log(make_trainer):
    trainer = make_trainer(max_steps=1, freeze_text_model=True, **QUIET)
    trainer.train()
    assert "vision_learning_rate" in trainer.state.log_history[0]
    assert "text_learning_rate" not in trainer.state.log_history[0]


def test_a_users_own_optimizer_is_logged_without_parts(make_trainer, model):
    trainer = make_trainer(max_steps=1, **QUIET)
    trainer.optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    trainer.train()
    assert trainer.state.log_history[0]["learning_rate"] > 0


def test_checkpoints_are_filled_and_readable_by_others(make_trainer, model, class_texts, tmp_path):
    make_trainer(load_best_model_at_end=False, eval_strategy="no").train()
    checkpoint = MgVtcModel.from_pretrained(tmp_path / "checkpoint-1")
    stored = checkpoint.class_embeds.clone()
    checkpoint.set_class_embeds(**class_texts)
    torch.testing.assert_close(stored, checkpoint.class_embeds)
    mode = (tmp_path / "checkpoint-1" / "model.safetensors").stat().st_mode
    assert mode & stat.S_IRGRP
    assert mode & stat.S_IROTH


QUIET = {"load_best_model_at_end": False, "save_strategy": "no", "eval_strategy": "no"}


@pytest.mark.parametrize("tower", ["vision_model", "text_model"])
def test_frozen_tower_stays_as_it_was_and_the_rest_learns(make_trainer, model, tower):
    before = copy.deepcopy(model.state_dict())  # with the statistics of batch norm
    make_trainer(max_steps=2, weight_decay=0.1, **{f"freeze_{tower}": True}, **QUIET).train()
    for name, tensor in model.state_dict().items():
        if name.startswith(tower):
            assert torch.equal(tensor, before[name]), name
    changed = {
        name.split(".")[0] for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert {"vision_projection", "text_projection", "vision_model", "text_model"} - changed == {tower}


def test_frozen_text_tower_encodes_each_class_once_for_the_whole_run(make_trainer, model):
    sizes = []
    model.text_model.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    trainer = make_trainer(
        freeze_text_model=True,
        max_steps=3,
        train=make_rows(24),
        save_strategy="no",
        eval_strategy="steps",
        eval_steps=1,
        load_best_model_at_end=False,
    )
    trainer.train()
    trainer.save_model()
    assert sizes == [6]


def test_frozen_text_tower_that_is_loaded_anew_is_encoded_anew(make_trainer, model, tmp_path):
    trainer = make_trainer(freeze_text_model=True)
    with torch.no_grad():
        model.text_model.embeddings.word_embeddings.weight.mul_(-2)
    model.save_pretrained(tmp_path / "other")
    expected = model.get_text_states(**trainer._texts.class_texts.inputs)
    assert not torch.allclose(trainer._texts._states, expected)
    trainer._load_weights(tmp_path / "other")
    torch.testing.assert_close(trainer._texts._states, expected)


def test_vision_only_has_no_text_tower_to_freeze(make_trainer):
    with pytest.raises(ValueError, match="has no text tower"):
        make_trainer(make_vision_only(), loss_type="ce", freeze_text_model=True)


def test_frozen_text_tower_gives_the_loss_and_gradients_of_one_that_is_run(make_trainer, model):
    batch = batch_of(make_rows(8))
    model.eval()
    results = []
    for frozen in (False, True):
        loss = make_trainer(freeze_text_model=frozen).compute_loss(model, batch)
        results.append((loss.detach(), gradients_of(model, loss)))
    (loss, gradients), (frozen_loss, frozen_gradients) = results
    torch.testing.assert_close(frozen_loss, loss)
    for name, gradient in frozen_gradients.items():
        expected = torch.zeros_like(gradient) if name.startswith("text_model") else gradients[name]
        torch.testing.assert_close(gradient, expected)


def test_texts_in_chunks_give_the_loss_and_gradients_of_all_at_once(make_trainer, model):
    batch = batch_of(make_rows(8))
    model.eval()
    results = []
    for size in (256, 4):
        loss = make_trainer(text_batch="classes", text_chunk_size=size).compute_loss(model, batch)
        results.append((loss.detach(), gradients_of(model, loss)))
    (loss, gradients), (chunked_loss, chunked_gradients) = results
    torch.testing.assert_close(chunked_loss, loss)
    for name, gradient in chunked_gradients.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-4, atol=1e-6)


def test_texts_in_chunks_are_never_in_the_tower_together(make_trainer, model):
    sizes = []
    model.text_model.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    trainer = make_trainer(text_batch="classes", text_chunk_size=4)
    trainer.compute_loss(model, batch_of(make_rows(8))).backward()
    assert set(sizes) == {4, 2}


def losses_of(trainer):
    trainer.train()
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


def without_dropout(config):
    config.text_config.dropout = config.text_config.attention_dropout = config.projection_dropout = 0.0
    torch.manual_seed(0)
    return MgVtcModel(config)


THREE_STEPS = QUIET | {"max_steps": 3, "logging_strategy": "steps", "logging_steps": 1, "text_batch": "classes"}


# torch's own compiler imports a part of torch that is deprecated
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_compiled_model_has_the_same_losses(make_trainer, config, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    losses = losses_of(make_trainer(without_dropout(config), train=make_rows(24), **THREE_STEPS))
    trainer = make_trainer(without_dropout(config), train=make_rows(24), torch_compile=True, **THREE_STEPS)
    assert losses_of(trainer) == pytest.approx(losses, rel=1e-4)
    assert len(losses) == 3
    assert isinstance(trainer.model_wrapped, torch._dynamo.OptimizedModule)


def test_activation_checkpointing_runs_a_tower_again_and_has_the_same_losses(make_trainer, config):
    losses, calls = [], []
    for again in (False, True):
        model, count = without_dropout(config), []
        model.text_model.transformer.layer[0].attention.register_forward_hook(lambda *_, count=count: count.append(1))
        trainer = make_trainer(model, train=make_rows(24), activation_checkpointing=again, **THREE_STEPS)
        count.clear()
        losses.append(losses_of(trainer))
        calls.append(len(count))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert calls == [3 + 1, 6 + 1]  # and once for the class embeddings, at the end


def test_bfloat16_autocast_trains_to_about_the_same_loss(make_trainer, config):
    full, half = (losses_of(make_trainer(without_dropout(config), bf16=bf16, **THREE_STEPS)) for bf16 in (False, True))
    assert full != half
    assert half == pytest.approx(full, rel=0.05)


# The Hub

HUB = {"push_to_hub": True, "hub_model_id": "org/mg-vtc"}


def test_repository_is_made_before_the_training_and_filled_by_the_push_alone(hub_client, make_trainer, tmp_path):
    trainer = make_trainer(**HUB, hub_private_repo=True)
    repo = hub_client.repos["org/mg-vtc"]
    assert repo.private
    trainer.train()
    trainer.save_model()
    assert list(repo.messages.values()) == ["initial commit"]
    (tmp_path / "README.md").write_text("---\ntags: [custom_code]\n---\n# Gestures")
    assert trainer.push_to_hub("Trained") == f"{hub_client.address}/org/mg-vtc"
    assert list(repo.messages.values()) == ["initial commit", "Trained"]
    files = hub_client.files("org/mg-vtc")
    assert {"model.safetensors", "modeling_mg_vtc.py", "preprocessor_config.json"} <= files.keys()
    assert (tmp_path / "checkpoint-1").exists()
    assert not [name for name in files if "checkpoint" in name or name.endswith((".bin", ".pt", ".pth"))]


def test_model_of_a_training_in_python_is_pushed_with_a_card(hub_client, make_trainer):
    make_trainer(**HUB).push_to_hub()
    assert {"README.md", "model.safetensors", "recipe.yaml"} <= hub_client.files("org/mg-vtc").keys()


@pytest.mark.parametrize("taken", [False, True])
def test_no_permission_is_reported_before_the_training(hub_client, make_trainer, taken):
    if taken:  # which the client then finds there, and takes for made
        hub_client.repos["other/mg-vtc"] = Repo()
        hub_client.repos["other/mg-vtc"].commit("main", {}, "theirs")
    with pytest.raises(OSError, match="may not write to other/mg-vtc"):
        make_trainer(push_to_hub=True, hub_model_id="other/mg-vtc")


def test_settings_that_were_changed_later_are_checked_too(hub_client, make_trainer, model, processor):
    arguments = make_trainer().args
    arguments.set_push_to_hub("org/mg-vtc", token="hf_SECRET")
    with pytest.raises(ValueError, match="hub_token would be saved"):
        MgVtcTrainer(
            model, arguments, train_dataset=make_rows(8), eval_dataset=make_rows(8), processing_class=processor
        )


@pytest.mark.parametrize(("loss", "best_step"), [(0.4, 20), (0.6, 10), (0.5, 10), (float("nan"), 10)])
def test_of_equal_scores_the_one_with_the_lower_loss_is_the_best(make_trainer, loss, best_step):
    trainer = make_trainer(save_strategy="epoch")
    for step, metrics in (
        (10, {"eval_top1_accuracy": 0.9, "eval_loss": 0.5}),
        (20, {"eval_top1_accuracy": 0.9, "eval_loss": loss}),
    ):
        trainer.state.global_step = step
        trainer.state.log_history.append(metrics | {"step": step})
        trainer._determine_best_metric(metrics, None)
    assert trainer.state.best_global_step == best_step


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's own
def test_model_wrapped_by_peft_is_refused(make_trainer, model):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(target_modules=["q_lin"]))
    with pytest.raises(ValueError, match=r"saves only an adapter.*merge_and_unload"):
        make_trainer(model=adapted)


def test_wise_ft_ends_between_the_start_and_the_trained_weights(make_trainer, model):
    start = copy.deepcopy(model)
    trained = make_trainer(copy.deepcopy(model), learning_rate=1e-2, max_steps=2)
    trained.train()
    mixed = make_trainer(copy.deepcopy(model), learning_rate=1e-2, max_steps=2, wise_ft_alpha=0.25)
    mixed.train()
    for name, parameter in mixed.model.named_parameters():
        expected = 0.75 * start.get_parameter(name) + 0.25 * trained.model.get_parameter(name)
        torch.testing.assert_close(parameter, expected)
    embeds = mixed.model.class_embeds.clone()
    mixed.refresh_class_embeds()
    assert torch.equal(mixed.model.class_embeds, embeds)  # those of the mixed weights


def test_fraction_that_is_chosen_is_the_best_on_the_selection_rows(make_trainer, model):
    rows = make_rows(12)
    trainer = make_trainer(model, learning_rate=1e-2, max_steps=2, wise_ft_alpha="auto", selection=rows)
    start = copy.deepcopy(model)
    chosen = trainer.train().metrics["wise_ft_alpha"]
    scores = {}
    for tenth in range(11):
        mixed = make_trainer(
            copy.deepcopy(start), learning_rate=1e-2, max_steps=2, wise_ft_alpha=max(tenth / 10, 1e-9)
        )
        mixed.train()
        metrics = mixed.evaluate(rows)
        scores[tenth / 10] = (metrics["eval_top1_accuracy"], -metrics["eval_loss"])
    assert scores[chosen][0] == max(scores.values())[0]
    assert scores[chosen][1] == pytest.approx(max(scores.values())[1], abs=1e-6)
    assert trainer.evaluate(rows)["eval_loss"] == pytest.approx(-scores[chosen][1], abs=1e-6)


def test_fraction_cannot_be_chosen_without_rows_for_it(make_trainer):
    with pytest.raises(ValueError, match="wise_ft_alpha is 'auto', which needs selection_dataset"):
        make_trainer(wise_ft_alpha="auto")


def test_linear_probe_trains_the_heads_alone_and_then_the_towers(make_trainer, model):
    settings = {"max_steps": -1, "num_train_epochs": 2, "learning_rate": 1e-2, "linear_probe_epochs": 1}
    start = copy.deepcopy(model.state_dict())
    trainer = make_trainer(**settings, save_strategy="no", load_best_model_at_end=False)
    after: list[dict] = []

    class Keep(TrainerCallback):
        def on_epoch_end(self, *args, **kwargs):
            after.append(copy.deepcopy(trainer.model.state_dict()))

    trainer.add_callback(Keep)
    trainer.train()

    def changed(state):
        return {name.split(".")[0] for name, tensor in state.items() if not torch.equal(tensor, start[name])}

    assert {"vision_model", "text_model"} & changed(after[0]) == set()  # batch norm statistics, too
    assert {"vision_projection", "text_projection"} <= changed(after[0])
    assert {"vision_model", "text_model"} <= changed(after[1])
    assert all(parameter.requires_grad for parameter in trainer.model.parameters())


def test_bias_of_the_logits_stays_as_it_was_taken_over(make_trainer, config):
    config.use_logit_bias = True
    model = MgVtcModel(config)
    model.logit_bias.data.fill_(-10.0)
    trainer = make_trainer(model, max_steps=3, learning_rate=1e-2)
    trainer.train()
    assert trainer.model.logit_bias.item() == -10.0


class KeepWeights(TrainerCallback):
    """The weights after each step, and those that each evaluation and checkpoint sees."""

    def __init__(self):
        self.after_steps, self.evaluated = [], []

    def on_step_end(self, *args, model, **kwargs):
        self.after_steps.append(copy.deepcopy(model.state_dict()))

    def on_evaluate(self, *args, model, **kwargs):
        self.evaluated.append(copy.deepcopy(model.state_dict()))


def test_average_is_its_recursion_and_is_evaluated_saved_and_kept_at_the_end(make_trainer, model, tmp_path):
    start, kept = copy.deepcopy(model.state_dict()), KeepWeights()
    trainer = make_trainer(ema_decay=0.3, max_steps=4, learning_rate=1e-2, load_best_model_at_end=False)
    trainer.add_callback(kept)
    trainer.train()
    saved = MgVtcModel.from_pretrained(tmp_path / "checkpoint-4").state_dict()
    for name in dict(model.named_parameters()):
        average = start[name]
        for step, weights in enumerate(kept.after_steps, start=1):
            decay = min(0.3, (1 + step) / (10 + step))
            average = decay * average + (1 - decay) * weights[name]
        for ended in (kept.evaluated[-1][name], saved[name], trainer.model.state_dict()[name]):
            torch.testing.assert_close(ended, average)
    embeds = trainer.model.class_embeds.clone()
    trainer.refresh_class_embeds()
    assert torch.equal(trainer.model.class_embeds, embeds)  # those of the averaged weights


def test_average_leaves_the_training_as_it_is(make_trainer, config, processor):
    ends = []
    for ema_decay in (0.0, 0.9):
        torch.manual_seed(0)
        kept = KeepWeights()
        trainer = make_trainer(MgVtcModel(config), ema_decay=ema_decay, max_steps=4, learning_rate=1e-2)
        trainer.add_callback(kept)
        trainer.train()
        ends.append({name: kept.after_steps[-1][name] for name in dict(trainer.model.named_parameters())})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_average_goes_on_in_a_resumed_training(make_trainer, config, tmp_path):
    def train(**settings):
        torch.manual_seed(0)
        trainer = make_trainer(
            MgVtcModel(config),
            **{"ema_decay": 0.9, "max_steps": 6, "learning_rate": 1e-2},
            **{"save_total_limit": None, "load_best_model_at_end": False},
        )
        trainer.train(**settings)
        return trainer.model.state_dict()

    whole = train()
    resumed = train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    (tmp_path / "checkpoint-2" / "weights_before_averaging.safetensors").unlink()
    (tmp_path / "checkpoint-2" / "manifest.json").unlink()  # of an earlier revision
    with pytest.raises(FileNotFoundError, match="lacks weights_before_averaging"):
        train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_decay_of_the_average_must_be_below_one(make_trainer, value):
    with pytest.raises(ValueError, match="ema_decay must be 0"):
        make_trainer(ema_decay=value)
