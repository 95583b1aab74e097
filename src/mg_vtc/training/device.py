"""Choices for the device of a training: precision, loader workers, and what to do where its memory is full."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import TrainingArguments

MOST_WORKERS = 4  # one reads some 2,600 images a second from the cache, and a GPU trains on fewer than 10,000


def runs_ahead(device: torch.device) -> bool:
    """Return whether the host runs ahead of a device, so that reading a value from it waits for its earlier work."""
    return device.type != "cpu"


def choose_for_device(args: TrainingArguments) -> None:
    """Set what is left open: bfloat16 and loader workers on a GPU, neither on a CPU."""
    on_gpu = torch.cuda.is_available() and not args.use_cpu
    if args.bf16 is None:
        args.bf16 = on_gpu and not args.fp16 and torch.cuda.is_bf16_supported(including_emulation=False)
    if args.dataloader_num_workers is None:
        processes = max(1, torch.cuda.device_count()) if on_gpu else 1
        args.dataloader_num_workers = min(MOST_WORKERS, (os.cpu_count() or 1) // processes) if on_gpu else 0


def describe_device(args: TrainingArguments) -> str:
    """Return the device and what is used of it: the threads of a CPU, or the precision and the loader of a GPU."""
    if not runs_ahead(args.device):
        threads = torch.get_num_threads()
        return f"{threads} CPU thread{'s' if threads > 1 else ''} (OMP_NUM_THREADS changes it)"
    name = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else args.device.type
    precision = "bfloat16" if args.bf16 else "float16" if args.fp16 else "float32"
    used = [f"{name} in {precision}", "images with channels last"]
    if args.optim.value == "adamw_torch_fused":
        used.append("fused AdamW")
    if args.torch_compile:
        used.append("compiled")
    used.append(f"{args.dataloader_num_workers} loader workers")
    if args.dataloader_pin_memory:
        used.append("pinned memory")
    return ", ".join(used)


@contextmanager
def naming_full_memory(args: TrainingArguments) -> Iterator[None]:
    """Say what to lower where a training runs out of memory.

    Raises:
        MemoryError: It did.
    """
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)):
            raise
        raise MemoryError(
            f"The memory of {args.device} is full with per_device_train_batch_size {args.per_device_train_batch_size} "
            f"and per_device_eval_batch_size {args.per_device_eval_batch_size}. A smaller training batch also "
            "contrasts each image with fewer others. To keep it, set gradient_cache, such as 16, or "
            "activation_checkpointing. A smaller image_size and, on a GPU, bf16 take less, too."
        ) from error
