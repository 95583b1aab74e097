"""A step must not make the host wait for the device, and batches of one size have one shape."""

import os
import traceback
from types import SimpleNamespace

import pytest
import torch
from conftest import batch_of, gradients_of, make_rows
from torch._dynamo.utils import counters
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModel, TrainerCallback
from transformers.training_args import OptimizerNames

from mg_vtc import MgVtcModel, MgVtcTrainingArguments
from mg_vtc.training.batch_texts import EXPANDED, find_unique, keep_from_waiting
from mg_vtc.training.device import choose_for_device, describe_device

aten = torch.ops.aten
READS = {  # operations whose result the host has to know
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten._unique,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.bincount,
    aten.equal,
}
ON_HOST = ("mix_images", "_draw_range")  # functions that read tensors of the host: random draws


COPIES = {torch.Tensor.tolist, torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.item, torch.Tensor.__bool__}


class HostCopies(TorchFunctionMode):
    """Note each copy of a tensor to the host by Python code, which is no operation on the CPU."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in COPIES:
            note(self.found, func.__name__)
        return func(*args, **kwargs or {})


def note(found, name):
    """Note what an operation of Python code outside of torch waits for, unless it is on the host anyway."""
    frames = traceback.extract_stack()[:-2]
    if not any(frame.name in ON_HOST for frame in frames):
        place = [frame for frame in frames if "/torch/" not in frame.filename][-1]
        found.append(f"{name} in {place.filename.rpartition('/')[2]}:{place.lineno}, {place.name}")


class HostWaits(TorchDispatchMode):
    """Note each operation that would wait for an accelerator, and where it is."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        reads = func.overloadpacket in READS
        if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
            reads = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        if reads:
            note(self.found, func)
        return func(*args, **kwargs or {})


class TraceSteps(TrainerCallback):
    """Trace each step of a trainer but the first, from its batch to the callbacks after the step of the optimizer."""

    def __init__(self):
        self.waits = HostWaits()
        self.copies = HostCopies(self.waits.found)
        self.num_traced = 0

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step > 0:  # the first batch is drawn
            self.waits.__enter__()
            self.copies.__enter__()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step > 1:
            self.copies.__exit__(None, None, None)
            self.waits.__exit__(None, None, None)
            self.num_traced += 1


@pytest.fixture
def running_ahead(monkeypatch):
    """Let the trainer treat the CPU as a device that the host runs ahead of."""
    monkeypatch.setattr("mg_vtc.training.trainer.runs_ahead", lambda device: True)


STEPS = {
    "unique texts": {},
    "all texts": {"text_batch": "classes"},
    "a text per image": {"loss_type": "ce_identity"},
    "soft targets": {"loss_type": "ce_soft"},
    "kl": {"loss_type": "kl"},
    "mixed images": {"mixup_alpha": 0.4, "cutmix_alpha": 1.0, "label_smoothing_factor": 0.1},
    "adjusted logits": {"loss_type": "ce", "text_batch": "classes", "logit_adjustment": 1.0},
    "averaged weights": {"ema_decay": 0.9},
    "frozen texts": {"freeze_text_model": True},
    "accumulation": {"gradient_accumulation_steps": 2},
    "no clipping": {"max_grad_norm": 0.0},
}
"""Settings that change what a step computes."""
QUIET = {"logging_strategy": "no", "eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}


@pytest.mark.usefixtures("running_ahead")
@pytest.mark.parametrize("settings", STEPS.values(), ids=STEPS)
def test_step_does_not_wait_for_the_device(make_trainer, settings):
    trainer = make_trainer(train=make_rows(40), max_steps=4, **QUIET, **settings)
    trace = TraceSteps()
    trainer.add_callback(trace)
    trainer.train()
    assert trace.num_traced == 3
    assert trace.waits.found == []


def test_trace_finds_the_reads_of_a_step_on_the_cpu(make_trainer):
    trainer = make_trainer(train=make_rows(40), max_steps=2, **QUIET)
    trace = TraceSteps()
    trainer.add_callback(trace)
    trainer.train()
    found = "\n".join(trace.waits.found)
    assert all(name in found for name in ("_unique2", "index.Tensor", "_local_scalar_dense"))


# --- One shape for batches of one size


@pytest.mark.parametrize("num_classes", [3, 6, 20])
def test_distinct_labels_come_in_a_fixed_number_with_the_counts_of_the_batch(num_classes):
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        labels = torch.randint(num_classes, (8,), generator=generator)
        found = find_unique(labels, num_classes)
        assert found.labels.shape == found.counts.shape == (min(num_classes, 8),)
        assert found.counts.min() > 0
        totals = torch.zeros(num_classes).index_add(0, found.labels, found.counts)
        torch.testing.assert_close(totals, labels.bincount(minlength=num_classes).float())


@pytest.mark.parametrize(
    "settings",
    [{}, {"loss_type": "kl"}, {"loss_type": "ce"}, {"label_smoothing_factor": 0.1}, {"class_texts": "mean"}],
    ids=lambda settings: "-".join(map(str, settings.values())) or "js",
)
def test_fixed_shapes_change_neither_value_nor_gradient(make_trainer, config, processor, monkeypatch, settings):
    if "class_texts" in settings:
        config.label_texts = [[name] + [f"{name} slowly"] * (label < 2) for label, name in config.id2label.items()]
    torch.manual_seed(0)
    model = MgVtcModel(config).eval()
    batch = batch_of(make_rows(10, num_labels=3))
    results = []
    for fixed in (False, True):
        monkeypatch.setattr("mg_vtc.training.trainer.runs_ahead", lambda device, fixed=fixed: fixed)
        loss, outputs = make_trainer(model, **settings).compute_loss(model, batch, return_outputs=True)
        results.append((loss.detach(), gradients_of(model, loss), len(outputs.text_embeds)))
    (loss, gradients, num_texts), (fixed_loss, fixed_gradients, num_fixed) = results
    assert num_texts < num_fixed
    torch.testing.assert_close(fixed_loss, loss)
    for name in gradients:
        torch.testing.assert_close(fixed_gradients[name], gradients[name], rtol=1e-4, atol=1e-6)


def make_text_tower(model_type, **settings):
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "hidden_size": 12, "num_attention_heads": 2, "intermediate_size": 24}
    sizes |= {"vocab_size": 50, "pad_token_id": 0, "attn_implementation": "sdpa"}
    return AutoModel.from_config(AutoConfig.for_model(model_type, **sizes | settings)).eval()


@pytest.mark.parametrize("model_type", EXPANDED)
def test_tower_has_the_same_states_without_waiting(model_type):
    tower = make_text_tower(model_type)
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])  # (2, 5)
    texts = {"input_ids": torch.arange(3, 13).view(2, 5) * mask, "attention_mask": mask}
    expected = tower(**texts).last_hidden_state
    assert keep_from_waiting(tower)
    assert keep_from_waiting(tower)  # as a second trainer of the model asks
    assert len(tower._forward_pre_hooks) == 1
    with HostWaits() as waits:
        found = tower(**texts).last_hidden_state
    assert waits.found == []
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()])


def test_tower_that_reads_from_left_to_right_keeps_its_mask():
    assert not keep_from_waiting(make_text_tower("gpt2"))
    assert not keep_from_waiting(make_text_tower("bert", is_decoder=True))


@pytest.mark.usefixtures("running_ahead")
@pytest.mark.parametrize(
    "settings", [{"text_pooling": "mean"}, {"text_pooling": "last"}, {"text_length": 24}], ids=str
)
def test_fixed_shapes_pool_and_pad_as_without_them(make_trainer, config, settings, monkeypatch):
    for name, value in settings.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    model, batch = MgVtcModel(config).eval(), batch_of(make_rows(10, num_labels=3))
    ahead = make_trainer(model).compute_loss(model, batch)
    monkeypatch.setattr("mg_vtc.training.trainer.runs_ahead", lambda device: False)
    torch.manual_seed(0)
    other = MgVtcModel(config).eval()
    torch.testing.assert_close(ahead, make_trainer(other).compute_loss(other, batch))


def test_compilation_is_over_after_the_first_epoch(make_trainer, model):
    torch._dynamo.reset()
    counters.clear()
    compiled = []

    class CountGraphs(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            compiled.append(counters["stats"]["unique_graphs"])

    rows = make_rows(164)  # 20 batches of eight and one of four
    settings = {"torch_compile": True, "torch_compile_backend": "eager", "max_steps": -1, "num_train_epochs": 3}
    trainer = make_trainer(train=rows, **QUIET, **settings)
    trainer.add_callback(CountGraphs())
    trainer.train()
    torch._dynamo.reset()
    assert len(compiled) == 3 * 21
    assert compiled[0] > 0
    assert compiled[21:] == [compiled[20]] * 42


# --- Losses that are not finite


@pytest.mark.usefixtures("running_ahead")
def test_loss_that_is_not_finite_is_found_before_weights_are_saved(make_trainer, tmp_path):
    rows = make_rows(40)
    rows[5]["pixel_values"][:] = float("nan")
    trainer = make_trainer(
        train=rows,
        num_train_epochs=3,
        max_steps=-1,
        save_strategy="steps",
        save_steps=5,
        eval_strategy="no",
        load_best_model_at_end=False,
        logging_strategy="no",
    )
    with pytest.raises(FloatingPointError, match=r"The loss is nan at step (\d) \(epoch .*training rows \[.*5.*\]"):
        trainer.train()
    assert trainer.state.global_step == 5
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.usefixtures("running_ahead")
def test_loss_that_is_not_finite_is_found_at_the_end_of_a_silent_training(make_trainer):
    rows = make_rows(16)
    rows[5]["pixel_values"][:] = float("nan")
    trainer = make_trainer(train=rows, max_steps=2, **QUIET)
    with pytest.raises(FloatingPointError, match=r"The loss is nan at step [12] "):
        trainer.train()


# --- What is chosen for a device


@pytest.fixture
def gpu(monkeypatch):
    """Let torch say that there is a GPU with bfloat16; nothing is computed on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)


def settings(**given):
    return SimpleNamespace(**{"bf16": None, "fp16": False, "use_cpu": False, "dataloader_num_workers": None} | given)


@pytest.mark.parametrize(
    ("given", "bf16", "workers"),
    [
        ({}, True, 4),
        ({"fp16": True}, False, 4),
        ({"bf16": False, "dataloader_num_workers": 0}, False, 0),
        ({"use_cpu": True}, False, 0),
    ],
)
@pytest.mark.usefixtures("gpu")
def test_gpu_gets_bfloat16_and_workers_unless_the_user_says_otherwise(given, bf16, workers):
    args = settings(**given)
    choose_for_device(args)
    assert (args.bf16, args.dataloader_num_workers) == (bf16, workers)


def test_cpu_gets_float32_and_no_workers(tmp_path):
    args = MgVtcTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    assert (args.bf16, args.dataloader_num_workers) == (False, 0)
    assert "CPU thread" in describe_device(args)


def test_line_of_the_device_lists_what_is_used():
    args = settings(
        device=torch.device("xpu"),
        bf16=True,
        dataloader_num_workers=4,
        dataloader_pin_memory=True,
        optim=OptimizerNames.ADAMW_TORCH_FUSED,
        torch_compile=False,
    )
    assert describe_device(args) == (
        "xpu in bfloat16, images with channels last, fused AdamW, 4 loader workers, pinned memory"
    )
