"""Train a tiny model for hours, and compare memory, file handles, threads and step time of the first and last tenth.

    python benchmarks/chaos_soak.py --hours 2 --output_dir runs/soak

A run of the package takes the steps, with a new loader worker in each epoch, and an evaluation and a checkpoint every
`INTERVAL` steps. About each second a line goes to `samples.jsonl`, which a kill leaves whole; `--table` prints the
table of a run that is not over. A finished run is not repeated.

A measure is flat if it is within 5 % in the last tenth of the steps of what it was in the first. Other programs change
the speed of a shared machine, also in CPU time. So the CPU time of steps is judged as a multiple of that of a
reference: forward and backward passes of a copy of the model, a few at each sample.
"""

import argparse
import copy
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import torch
from chaos_runs import TINY, draw_images, flags_of, read_lines, write_summary
from rounds import resident_memory
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from mg_vtc.training.build import build_trainer
from mg_vtc.training.recipe import parse_recipe
from mg_vtc.training.run import run

INTERVAL = 500  # steps between two evaluations, logs and checkpoints
LIMIT = 0.05  # by which the last tenth may differ from the first
SECONDS_PER_SAMPLE = 1.0
PASSES = 5  # of the reference at a sample
LEVELS = ("memory, MB", "file handles", "threads")
TIMES = ("wall time per step, ms", "CPU time per step, ms", "CPU time per pass of the reference, ms")
MULTIPLES = ("CPU time per step, passes", "the same with loading, evaluation and checkpoints, passes")
JUDGED = (*LEVELS, *MULTIPLES)


class Sampler(TrainerCallback):
    """Write a sample about each second, and end the training after some hours.

    A sample has the levels of this moment, and sums since the start of the training: the steps, their CPU and wall
    times in seconds, the CPU time of the passes of the reference, and that of everything but these.

    Args:
        file: File of the lines.
        hours: Length of the training.
    """

    def __init__(self, file: TextIO, hours: float):
        self._file = file
        self._hours = hours
        self._sums = {"steps": 0, "wall_of_steps": 0.0, "cpu_of_steps": 0.0, "passes": 0, "cpu_of_passes": 0.0}
        self._sampled = -SECONDS_PER_SAMPLE

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._batch = torch.rand(args.train_batch_size, 3, *2 * (TINY["image_size"],))  # (batch_size, 3, side, side)
        self._texts = torch.zeros(3, 5, dtype=torch.long)  # token ids, (num_texts, length)
        self._reference = copy.deepcopy(kwargs["model"])
        self._began = time.monotonic(), time.process_time()

    def _time_reference(self) -> None:
        """Add passes of the reference to the sums."""
        begin = time.process_time()
        for _ in range(PASSES):
            self._reference.zero_grad(set_to_none=False)
            self._reference(self._batch, self._texts).logits_per_image.sum().backward()
        self._sums["cpu_of_passes"] += time.process_time() - begin
        self._sums["passes"] += PASSES

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._step_began = time.monotonic(), time.process_time()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        wall, cpu = time.monotonic(), time.process_time()
        self._sums["steps"] += 1
        self._sums["wall_of_steps"] += wall - self._step_began[0]
        self._sums["cpu_of_steps"] += cpu - self._step_began[1]
        seconds = wall - self._began[0]
        control.should_training_stop |= seconds >= 3600 * self._hours
        if seconds < self._sampled + SECONDS_PER_SAMPLE and not control.should_training_stop:
            return
        self._sampled = seconds
        sample = {"seconds": seconds, "cpu": cpu - self._began[1] - self._sums["cpu_of_passes"]}
        sample |= self._sums | read_levels()
        self._time_reference()
        print(json.dumps(sample), file=self._file, flush=True)


def read_levels() -> dict[str, float]:
    """Return memory, file handles and threads of this process."""
    handles, threads = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task"))
    return dict(zip(LEVELS, (resident_memory() / 1e6, handles, threads), strict=True))


def take_tenth(samples: Sequence[dict[str, float]], place: int) -> dict[str, float]:
    """Return the measures of the first (0) to the last (9) tenth of the steps: mean levels, and times per step.

    Raises:
        ValueError: There are too few samples to tell tenths apart.
    """
    length = samples[-1]["steps"] / 10 if samples else 0.0
    tenth = [one for one in samples if place * length <= one["steps"] <= (place + 1) * length]
    if len(tenth) < 2:
        raise ValueError(f"Tenth {place} of {len(samples)} samples has fewer than 2: let the training run longer.")
    change = {name: last - tenth[0][name] for name, last in tenth[-1].items()}
    wall, of_steps, of_all = (change[name] / change["steps"] for name in ("wall_of_steps", "cpu_of_steps", "cpu"))
    of_pass = change["cpu_of_passes"] / change["passes"]
    levels = {name: sum(one[name] for one in tenth) / len(tenth) for name in LEVELS}
    times = (1e3 * wall, 1e3 * of_steps, 1e3 * of_pass)
    multiples = (of_steps / of_pass, of_all / of_pass)
    return levels | dict(zip((*TIMES, *MULTIPLES), (*times, *multiples), strict=True))


def compare_tenths(samples: Sequence[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return the measures of the first and the last tenth."""
    first, last = take_tenth(samples, 0), take_tenth(samples, 9)
    return {name: (first[name], last[name]) for name in first}


def is_flat(first: float, last: float) -> bool:
    """Return whether the last tenth is as the first one."""
    return abs(last / first - 1) <= LIMIT


def print_table(samples: Sequence[dict[str, float]]) -> None:
    """Print the measures of the first and the last tenth, and their ratio."""
    print("| measure | first tenth | last tenth | ratio | flat |\n|---|---|---|---|---|")
    for name, (first, last) in compare_tenths(samples).items():
        verdict = ("yes" if is_flat(first, last) else "no") if name in JUDGED else "not judged"
        print(f"| {name} | {first:.2f} | {last:.2f} | {last / first:.3f} | {verdict} |")
    print(f"\n{samples[-1]['steps']:,} steps in {samples[-1]['seconds'] / 3600:.2f} h, {len(samples):,} samples")


def train(folder: Path, hours: float) -> None:
    """Train in a folder for some hours, and write the samples."""
    settings = TINY | {
        "train_dir": str(draw_images(folder / "images", per_class=200)),
        "output_dir": str(folder / "run"),
        "num_train_epochs": 1_000_000,  # the sampler ends the training
        "dataloader_num_workers": 1,
        **{f"{kind}_strategy": "steps" for kind in ("eval", "save", "logging")},
        **{f"{kind}_steps": INTERVAL for kind in ("eval", "save", "logging")},
    }
    trainer, splits = build_trainer(parse_recipe(flags_of(settings)))
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as file:
        trainer.add_callback(Sampler(file, hours))
        run(trainer, splits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--table", action="store_true", help="only print the table of the samples so far")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/soak"))
    options = parser.parse_args()
    samples, finished = options.output_dir / "samples.jsonl", options.output_dir / f"finished-{options.hours:g}"
    if not options.table and not finished.exists():
        torch.set_num_threads(1)  # more would only wait for each other over tensors so small
        logging.disable_progress_bar()
        shutil.rmtree(options.output_dir, ignore_errors=True)
        train(options.output_dir, options.hours)
        finished.touch()
    try:
        print_table(read_lines(samples))
    except ValueError as error:
        sys.exit(str(error))
    tenths = compare_tenths(read_lines(samples))
    flat = sum(is_flat(*tenths[name]) for name in JUDGED)
    write_summary(options.output_dir, survived=flat, lost=len(JUDGED) - flat, silent=0)


if __name__ == "__main__":
    main()
