"""How fast is a train step? Images a second of this project beside the limit and the peers' arrangements.

    python benchmarks/train_step.py [--batch_size 32] [--rounds 4]

* limit: ResNet50 with a linear head and cross-entropy, so the image alone; channels last in memory, fused AdamW,
  gradients zeroed in place, as in this project.
* this project: ResNet50 and DistilBERT by the trainer's own objective: the text tower reads the batch's unique labels,
  padded to their longest.
* simple CLIP: the same towers, a text an image, padded to the longest of all texts; torch's default memory layout and
  zeroing, which that implementation leaves as they are.
* run_clip: the same, padded to 128 tokens, as transformers' example does.

All in float32 at 224 x 224 with random weights; labels are uniform over the 32 iMiGUE classes, texts are their names.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from rounds import measure_rounds, print_machine, print_table, speed_ratios
from smallest import IMAGE_SIZE, TOWERS, VISION, add_smallest
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification

from mg_vtc import MgVtcConfig, MgVtcModel, MgVtcTrainer, MgVtcTrainingArguments, contrastive_loss
from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.models.processing_mg_vtc import build_processor, build_tokenizer

Batch = dict[str, torch.Tensor]
Step = Callable[[Batch], None]


def make_limit(*, smallest: bool = False) -> Step:
    """A step of ResNet50 with a linear head."""
    config = ResNetConfig(**VISION if smallest else {}, num_labels=len(IMIGUE_CLASS_NAMES))
    model = ResNetForImageClassification(config).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step(batch: Batch) -> None:
        loss = F.cross_entropy(model(batch["pixel_values"]).logits, batch["labels"])
        take_step(loss, optimizer, set_to_none=False)

    return step


def make_model(*, smallest: bool) -> MgVtcModel:
    return MgVtcModel(MgVtcConfig(**TOWERS if smallest else {}, id2label=dict(enumerate(IMIGUE_CLASS_NAMES)))).train()


def make_project(*, smallest: bool = False, **settings: Any) -> Step:
    """A step of this project, with the trainer's own objective and optimiser, and other settings of a training."""
    model = make_model(smallest=smallest)
    arguments = MgVtcTrainingArguments(output_dir=tempfile.mkdtemp(), use_cpu=True, **settings)
    processor = build_processor(224, build_tokenizer(IMIGUE_CLASS_NAMES))
    trainer = MgVtcTrainer(model, arguments, eval_dataset=[0], processing_class=processor)
    optimizer = trainer.create_optimizer()
    return lambda batch: take_step(trainer.compute_loss(model, batch), optimizer, set_to_none=False)


def make_peer(padding: str, *, smallest: bool = False) -> Step:
    """A step of the same towers with a text an image, as the peers arrange it: "longest" or "max_length" (128)."""
    model = make_model(smallest=smallest)
    tokenizer = build_tokenizer(IMIGUE_CLASS_NAMES)
    texts = tokenizer(IMIGUE_CLASS_NAMES, padding=padding, max_length=128, truncation=True, return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step(batch: Batch) -> None:
        inputs = {name: tensor[batch["labels"]] for name, tensor in texts.items()}  # each (batch_size, length)
        logits = model(batch["pixel_values"].contiguous(), **inputs).logits_per_image
        positives = torch.eye(len(logits), dtype=torch.bool)
        take_step(contrastive_loss(logits, positives, loss_type="ce_identity"), optimizer, set_to_none=True)

    return step


def take_step(loss: torch.Tensor, optimizer: torch.optim.Optimizer, *, set_to_none: bool) -> None:
    loss.backward()
    nn.utils.clip_grad_norm_((p for group in optimizer.param_groups for p in group["params"]), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=set_to_none)


def make_batch(batch_size: int, *, smallest: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(0)
    size = IMAGE_SIZE if smallest else 224
    pixel_values = torch.randn(batch_size, 3, size, size, generator=generator)
    return {
        "pixel_values": pixel_values.contiguous(memory_format=torch.channels_last),
        "labels": torch.randint(len(IMIGUE_CLASS_NAMES), (batch_size,), generator=generator),
        "index": torch.arange(batch_size),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Images a second of a train step.")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4)
    add_smallest(parser)
    arguments = parser.parse_args()
    size = {"smallest": arguments.smallest}
    batch = make_batch(arguments.batch_size, **size)
    steps = {
        "limit: ResNet50 + linear": make_limit(**size),
        "this project": make_project(**size),
        "simple CLIP": make_peer("longest", **size),
        "run_clip": make_peer("max_length", **size),
    }
    seconds = measure_rounds({name: lambda step=step: step(batch) for name, step in steps.items()}, arguments.rounds)
    print_machine(f"Train step, batches of {arguments.batch_size}.")
    print_table(seconds, arguments.batch_size, "images", of="of the limit")
    project = speed_ratios(seconds, "this project")
    for peer in ("simple CLIP", "run_clip"):
        ratios = [own / other for own, other in zip(project, speed_ratios(seconds, peer), strict=True)]
        print(f"\nThis project is {statistics.median(ratios):.2f} times as fast as the arrangement of {peer}.")


if __name__ == "__main__":
    main()
