"""Does a train step cost more with more classes? Seconds and peak memory of a step for 32 to 10,000 of them.

    python benchmarks/classes.py [--rounds 5]

Small towers (those of the recipe small) at 64 px, batches of 64. With `text_batch` unique the text tower reads the
labels of the batch, so that time should grow with those alone; with `text_batch` classes it reads all, in chunks.
Memory is the peak of a process of its own that takes three steps. What grows with the classes in any case are their
token ids and `class_embeds`.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from rounds import measure_rounds, peak_memory, peak_memory_of, print_machine, speed_ratios, spread
from smallest import TOWERS, add_smallest
from train_step import take_step

from mg_vtc import MgVtcConfig, MgVtcModel, MgVtcTrainer, MgVtcTrainingArguments
from mg_vtc.models.processing_mg_vtc import build_processor, build_tokenizer

SETTINGS = [  # classes, labels in the batch, text_batch
    (32, 32, "unique"),
    (1_000, 32, "unique"),
    (10_000, 32, "unique"),
    (10_000, 64, "unique"),
    (10_000, 64, "classes"),
]
SMALLEST = [(6, 3, "unique"), (6, 6, "classes")]
BATCH_SIZE, IMAGE_SIZE = 64, 64
RECIPE = yaml.safe_load((Path(__file__).parents[1] / "src" / "mg_vtc" / "recipes" / "small.yaml").read_text())


def make_step(num_classes: int, num_unique: int, text_batch: str, *, smallest: bool = False) -> Callable[[], None]:
    """A step on a batch with `num_unique` of `num_classes` labels."""
    towers = TOWERS if smallest else RECIPE
    names = [f"gesture {number}" for number in range(num_classes)]
    tokenizer = build_tokenizer(names)
    text_config = towers["text_config"] | {"vocab_size": len(tokenizer)}
    model = MgVtcModel(
        MgVtcConfig(
            vision_config=dict(towers["vision_config"]), text_config=text_config, id2label=dict(enumerate(names))
        )
    ).train()
    arguments = MgVtcTrainingArguments(output_dir=tempfile.mkdtemp(), text_batch=text_batch, use_cpu=True)
    trainer = MgVtcTrainer(model, arguments, eval_dataset=[0], processing_class=build_processor(IMAGE_SIZE, tokenizer))
    optimizer = trainer.create_optimizer()
    generator = torch.Generator().manual_seed(0)
    labels = torch.randperm(num_classes, generator=generator)[:num_unique]
    batch = {
        "pixel_values": torch.randn(BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator),
        "labels": labels[torch.arange(BATCH_SIZE) % num_unique],
        "index": torch.arange(BATCH_SIZE),
    }
    return lambda: take_step(trainer.compute_loss(model, batch), optimizer, set_to_none=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of a train step by the number of classes.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--setting", type=int, help="Take three steps of this one and print the peak in bytes.")
    add_smallest(parser)
    arguments = parser.parse_args()
    settings, size = SMALLEST if arguments.smallest else SETTINGS, {"smallest": arguments.smallest}
    if arguments.setting is not None:
        step = make_step(*settings[arguments.setting], **size)
        for _ in range(3):
            step()
        print(peak_memory())
        return
    seconds = measure_rounds({setting: make_step(*setting, **size) for setting in settings}, arguments.rounds)
    print_machine(f"Train step by the number of classes, batches of {BATCH_SIZE}.")
    print("| classes | labels in the batch | text_batch | ms a step | times the first | spread | peak MB |")
    print("|---|---|---|---|---|---|---|")
    flags = ["--smallest"][: arguments.smallest]
    for number, (num_classes, num_unique, text_batch) in enumerate(settings):
        setting = settings[number]
        slower = 1 / statistics.median(speed_ratios(seconds, setting))
        peak = peak_memory_of(__file__, *flags, "--setting", str(number)) / 1e6
        print(
            f"| {num_classes:,} | {num_unique} | {text_batch} | {1e3 * statistics.median(seconds[setting]):.0f} "
            f"| {slower:.2f} | {spread(seconds, setting):.0%} | {peak:.0f} |"
        )


if __name__ == "__main__":
    main()
