"""How fast is this project on an accelerator? One command, under 8 minutes, without a network.

    python benchmarks/gpu.py [--device cuda] [--batch_size 256]
    python benchmarks/gpu.py --device cpu --smoke

Needs the dependencies of the package, and timm for its row. Batches lie on the device already, except where the
loader is measured. Weights are random, labels uniform over the 32 iMiGUE classes, and texts their names. Each speed is
the best of a few repetitions, in bfloat16 mixed precision.

* limit: ResNet50 with a linear head and cross-entropy in the same loop, so the image alone.
* this project: ResNet50 and DistilBERT with the trainer's own objective, eager and compiled.
* timm: its ResNet50 in the loop of its `train.py` (channels last, autocast, fused AdamW).

`--smoke` takes the smallest towers and sizes, to see that it runs; its numbers say nothing.
"""

import argparse
import gc
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
import torch.nn.functional as F
import train_step
import transformers
from rounds import print_machine
from smallest import IMAGE_SIZE, TOWERS, VISION
from torch import nn
from torch.utils.data import DataLoader
from train_step import Batch, Step
from transformers import ResNetConfig, ResNetForImageClassification

from mg_vtc import MgVtcConfig, MgVtcForImageClassification, MgVtcModel, MgVtcTrainer, MgVtcTrainingArguments
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.data.dataset import ImageDataset
from mg_vtc.data.decoding import collate_images
from mg_vtc.models.processing_mg_vtc import build_processor, build_tokenizer
from mg_vtc.training.device import runs_ahead


class Setting(NamedTuple):
    """Device, and sizes that `--smoke` reduces."""

    device: torch.device
    smoke: bool
    batch_size: int
    image_size: int
    steps: int  # of a repetition
    repetitions: int

    def wait(self) -> None:
        """Wait for the device."""
        if runs_ahead(self.device):
            torch.accelerator.synchronize(self.device)

    def autocast(self) -> torch.autocast:
        """Return the context of bfloat16 mixed precision."""
        return torch.autocast(self.device.type, torch.bfloat16)


def make_batch(setting: Setting, batch_size: int) -> Batch:
    batch = train_step.make_batch(batch_size, smallest=setting.smoke)
    return {name: tensor.to(setting.device) for name, tensor in batch.items()}


def make_step(setting: Setting, model: nn.Module, compute_loss: Callable[[Batch], torch.Tensor]) -> Step:
    """Return a step of the loop that all arrangements share: fused AdamW, clipped gradients."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step(batch: Batch) -> None:
        with setting.autocast():
            loss = compute_loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def make_limit(setting: Setting) -> Step:
    config = ResNetConfig(**VISION if setting.smoke else {}, num_labels=len(IMIGUE_CLASS_NAMES))
    model = ResNetForImageClassification(config).train().to(setting.device, memory_format=torch.channels_last)
    return make_step(
        setting, model, lambda batch: F.cross_entropy(model(batch["pixel_values"]).logits, batch["labels"])
    )


def make_timm(setting: Setting) -> Step:
    import timm

    name = "test_resnet" if setting.smoke else "resnet50"
    model = timm.create_model(name, num_classes=len(IMIGUE_CLASS_NAMES)).train()
    model = model.to(setting.device, memory_format=torch.channels_last)
    return make_step(setting, model, lambda batch: F.cross_entropy(model(batch["pixel_values"]), batch["labels"]))


def make_model(setting: Setting) -> MgVtcModel:
    torch.manual_seed(0)
    towers = TOWERS if setting.smoke else {}
    return MgVtcForImageClassification(MgVtcConfig(**towers, id2label=dict(enumerate(IMIGUE_CLASS_NAMES))))


def make_trainer(setting: Setting, **settings: Any) -> MgVtcTrainer:
    use_cpu = setting.device.type == "cpu"
    arguments = MgVtcTrainingArguments(
        output_dir=tempfile.mkdtemp(), use_cpu=use_cpu, bf16=False, report_to="none", **settings
    )
    processor = build_processor(setting.image_size, build_tokenizer(IMIGUE_CLASS_NAMES))
    torch.manual_seed(0)
    model = train_step.make_model(smallest=setting.smoke)
    return MgVtcTrainer(model, arguments, eval_dataset=[0], processing_class=processor)


def make_project(setting: Setting, *, compiled: bool = False, **settings: Any) -> Step:
    """Return a step with the trainer's own objective."""
    trainer = make_trainer(setting, torch_compile=compiled, **settings)
    model = trainer.model.train()
    backend = "aot_eager" if setting.smoke else "inductor"  # of which the second takes long to compile
    called = torch.compile(model, backend=backend) if compiled else model
    trainer.model_wrapped = called

    def compute_loss(batch: Batch) -> torch.Tensor:
        loss = trainer.compute_loss(called, dict(batch))
        trainer._finite_losses._batches.clear()  # the loop here never logs
        return loss

    return make_step(setting, model, compute_loss)


def time_steps(setting: Setting, step: Step, batch: Batch, *, warm_up: int = 3) -> float:
    """Return the shortest seconds of a step."""
    for _ in range(warm_up):
        step(batch)
    seconds = []
    for _ in range(setting.repetitions):
        setting.wait()
        start = time.perf_counter()
        for _ in range(setting.steps):
            step(batch)
        setting.wait()
        seconds.append((time.perf_counter() - start) / setting.steps)
    return min(seconds)


def measure_peak(setting: Setting, step: Step, batch: Batch) -> float:
    """Return the peak of the device's memory during a step, in GB; NaN on the CPU."""
    if setting.device.type != "cuda":
        step(batch)
        return float("nan")
    torch.cuda.reset_peak_memory_stats()
    step(batch)
    return torch.cuda.max_memory_allocated() / 1e9


def release_memory(setting: Setting) -> None:
    """Free the models of earlier steps, whose trainers refer to themselves."""
    gc.collect()
    if setting.device.type == "cuda":
        torch.cuda.empty_cache()


def print_training(setting: Setting) -> None:
    """Print images a second of each arrangement."""
    makers: dict[str, Callable[[Setting], Step]] = {
        "limit: ResNet50 + linear": make_limit,
        "this project, eager": make_project,
        "this project, compiled": lambda setting: make_project(setting, compiled=True),
    }
    if transformers.utils.is_timm_available():
        makers["timm"] = make_timm
    batch, limit = make_batch(setting, setting.batch_size), None
    print("| arrangement | images/s | of the limit |\n|---|---|---|")
    for name, make in makers.items():
        release_memory(setting)
        speed = setting.batch_size / time_steps(setting, make(setting), batch)
        limit = limit or speed
        print(f"| {name} | {speed:,.0f} | {speed / limit:.2f} |", flush=True)


def print_sweep(setting: Setting) -> None:
    """Print images a second and memory by the batch size, and with a gradient cache."""
    sizes = (4, 8) if setting.smoke else (64, 128, 256, 512, 1024)
    rows = [(size, None) for size in sizes] + [(sizes[-1], sizes[0])]
    print("\n| batch size | gradient_cache | images/s | peak memory, GB |\n|---|---|---|---|")
    for size, chunk in rows:
        release_memory(setting)
        step, batch = make_project(setting, gradient_cache=chunk), make_batch(setting, size)
        try:
            speed = size / time_steps(setting, step, batch)
            peak = measure_peak(setting, step, batch)
            print(f"| {size} | {chunk or 'off'} | {speed:,.0f} | {peak:.1f} |", flush=True)
        except torch.OutOfMemoryError:
            print(f"| {size} | {chunk or 'off'} | out of memory | |", flush=True)


def print_loader(setting: Setting) -> None:
    """Print images a second that the loader brings to the device from the cache, by the number of workers."""
    num_images, size = (64, IMAGE_SIZE) if setting.smoke else (8192, setting.image_size)
    pixels = np.random.default_rng(0).integers(0, 256, (num_images, size, size, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, pixels)
        rows = datasets.Dataset.from_dict({"label": [0] * num_images, "row": range(num_images)})
        dataset = ImageDataset(rows, size, pixels=np.load(path, mmap_mode="r"))
        pins = setting.device.type == "cuda"
        print("\n| loader workers | images/s from the cache |\n|---|---|")
        for workers in (1, 2) if setting.smoke else (1, 2, 4, 8):
            order = np.random.default_rng(0).permutation(num_images).tolist()
            loader = DataLoader(
                dataset,
                setting.batch_size,
                sampler=order,
                num_workers=workers,
                collate_fn=collate_images,
                pin_memory=pins,
            )
            start, count = 0.0, 0
            for number, batch in enumerate(loader):
                batch["pixel_values"].to(setting.device, non_blocking=pins)
                if number == 0:  # the start of the workers is not the loader's speed
                    start = time.perf_counter()
                else:
                    count += len(batch["pixel_values"])
            setting.wait()
            print(f"| {workers} | {count / (time.perf_counter() - start):,.0f} |", flush=True)


@torch.inference_mode()
def print_inference(setting: Setting) -> None:
    """Print predictions a second of the classifier."""
    model = make_model(setting).eval().to(setting.device, memory_format=torch.channels_last)
    print("\n| images at a time | predictions/s |\n|---|---|")
    for size in (1, setting.batch_size):
        pixel_values = make_batch(setting, size)["pixel_values"]

        def step(batch: Batch, pixel_values: torch.Tensor = pixel_values) -> None:
            with setting.autocast():
                model(pixel_values=pixel_values)

        print(f"| {size} | {size / time_steps(setting, step, {}):,.0f} |", flush=True)


def count_waits(setting: Setting) -> str:
    """Return how often the host waits for the device in a step, without the Trainer's loop around it."""
    if setting.device.type != "cuda":
        return "not counted: the host does not run ahead of a CPU"
    step, batch = make_project(setting), make_batch(setting, setting.batch_size)
    for _ in range(3):
        step(batch)
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        for _ in range(5):
            step(batch)
        torch.cuda.set_sync_debug_mode("default")
    places = sorted({f"{one.filename.rpartition('/')[2]}:{one.lineno}" for one in found})
    return f"{len(found) / 5:g} a step{': ' + ', '.join(places) if places else ''}"


@torch.inference_mode()
def compare_with_cpu(setting: Setting) -> str:
    """Return the largest difference of the logits to those of the CPU, both in float32."""
    model = make_model(setting).eval()
    pixel_values = make_batch(setting, 8)["pixel_values"]
    expected = model(pixel_values=pixel_values.cpu()).logits
    with torch.backends.cudnn.flags(allow_tf32=False):
        found = model.to(setting.device)(pixel_values=pixel_values).logits.cpu()
    return f"{(found - expected).abs().max():.1e}, where logits are up to {expected.abs().max():.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed on an accelerator.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--smoke", action="store_true", help="the smallest sizes, to see that it runs")
    options = parser.parse_args()
    if options.smoke:
        setting = Setting(torch.device(options.device), True, 8, IMAGE_SIZE, steps=1, repetitions=1)
    else:
        setting = Setting(torch.device(options.device), False, options.batch_size, 224, steps=20, repetitions=3)
    torch.backends.cudnn.benchmark = True
    start = time.perf_counter()
    size = f"batches of {setting.batch_size} at {setting.image_size} px"
    print_machine(f"{setting.device.type}, {size}, bfloat16, transformers {transformers.__version__}.")
    print_training(setting)
    print_sweep(setting)
    print_loader(setting)
    print_inference(setting)
    print(f"\nThe host waits for the device: {count_waits(setting)}")
    print(f"Largest difference to the CPU in float32: {compare_with_cpu(setting)}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
