"""How fast is a train step? Images a second of this project, of the limit, and of a text an image.

    python benchmarks/train_step.py [--batch_sizes 16 32] [--rounds 5]

* limit: ResNet50 with a linear head and cross-entropy, so the picture alone.
* this project: ResNet50 and DistilBERT, the text tower on the batch's unique labels, padded to their longest.
* simple CLIP: the same towers, a text an image, padded to the longest.

All in float32 at 224 x 224 with random weights, fused AdamW, channels_last, gradients zeroed in place, labels uniform
over the 32 iMiGUE classes.
The arrangements take turns, each round in another order, so that neither a machine whose speed drifts nor the memory
that the one before leaves behind favours one; medians, and the medians of the ratios round by round.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification

from mg_vtc import MgVtcConfig, MgVtcModel, MgVtcTrainer, MgVtcTrainingArguments
from mg_vtc.data.labels import IMIGUE_CLASS_NAMES
from mg_vtc.processing import build_processor, build_tokenizer


def make_limit() -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
    """A step of ResNet50 with a linear head."""
    config = ResNetConfig(num_labels=len(IMIGUE_CLASS_NAMES))
    model = ResNetForImageClassification(config).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        loss = F.cross_entropy(model(batch["pixel_values"]).logits, batch["labels"])
        return take_step(loss, optimizer)

    return step


def make_contrast(text_batch: str) -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
    """A step of the model, with the trainer's own objective and optimiser."""
    model = MgVtcModel(MgVtcConfig(id2label=dict(enumerate(IMIGUE_CLASS_NAMES)))).train()
    arguments = MgVtcTrainingArguments(output_dir=tempfile.mkdtemp(), text_batch=text_batch, use_cpu=True)
    processor = build_processor(224, build_tokenizer(IMIGUE_CLASS_NAMES))
    trainer = MgVtcTrainer(model, arguments, eval_dataset=[0], processing_class=processor)
    optimizer = trainer.create_optimizer()
    return lambda batch: take_step(trainer.compute_loss(model, batch), optimizer)


def take_step(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    loss.backward()
    nn.utils.clip_grad_norm_((p for group in optimizer.param_groups for p in group["params"]), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)  # as the trainer does on a processor
    return loss


def measure(batch_size: int, rounds: int) -> None:
    """Print the table of one batch size."""
    generator = torch.Generator().manual_seed(0)
    arrangements = {
        "limit: ResNet50 + linear": make_limit(),
        "this project: unique labels": make_contrast("unique"),
        "simple CLIP: a text an image": make_contrast("pairs"),
    }
    speeds: dict[str, list[float]] = {name: [] for name in arrangements}
    for number in range(rounds + 1):  # the first warms up
        pixel_values = torch.randn(batch_size, 3, 224, 224, generator=generator)
        batch = {
            "pixel_values": pixel_values.contiguous(memory_format=torch.channels_last),
            "labels": torch.randint(len(IMIGUE_CLASS_NAMES), (batch_size,), generator=generator),
            "index": torch.arange(batch_size),
        }
        turn = number % len(arrangements)
        for name in [*arrangements, *arrangements][turn : turn + len(arrangements)]:
            start = time.perf_counter()
            arrangements[name](batch).item()
            if number:
                speeds[name].append(batch_size / (time.perf_counter() - start))
    limit = speeds["limit: ResNet50 + linear"]
    for name, values in speeds.items():
        ratio = statistics.median(value / other for value, other in zip(values, limit, strict=True))
        spread = (max(values) - min(values)) / statistics.median(values)
        print(f"| {batch_size} | {name} | {statistics.median(values):.2f} | {ratio:.2f} | {spread:.0%} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Images a second of a train step.")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {arguments.rounds} rounds\n")
    print("| batch | arrangement | images/s | of the limit | spread |\n|---|---|---|---|---|")
    for batch_size in arguments.batch_sizes:
        measure(batch_size, arguments.rounds)


if __name__ == "__main__":
    main()
