"""`mg-vtc benchmark`: compare the exported forms of a model on this machine."""

import argparse
from pathlib import Path
from typing import Any

from .evaluate import add_reading_flags, list_reading_settings


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "benchmark",
        help="compare size, speed and accuracy of a model and its ONNX files on this machine",
        description="Measure a model in torch and its exported classifiers (mg-vtc export --format onnx) in turn, on "
        "the processor. A machine that is too noisy is refused.",
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of a run")
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        help="labelled images for the top-1 accuracy: folder, Hub data set, or the word demo",
    )
    parser.add_argument(
        "--split", choices=("train", "validation", "test", "all"), help="of the data; the default is that of evaluate"
    )
    parser.add_argument("--rounds", type=int, default=10, help="number of rounds, at least")
    add_reading_flags(parser)
    parser.set_defaults(run=_benchmark)


def _benchmark(options: argparse.Namespace) -> None:
    from datasets import disable_progress_bars
    from transformers.utils import logging

    from ..exporters.benchmark import BATCH_SIZE, benchmark

    if options.rounds < 2:
        raise ValueError(f"--rounds must be at least 2, got {options.rounds}.")
    if options.data is None and options.split is not None:
        raise ValueError("--split selects images of DATA: give DATA, too.")
    logging.disable_progress_bar()  # of loading weights
    disable_progress_bars()
    reading = {} if options.data is None else {"split": options.split} | list_reading_settings(options)
    forms = benchmark(options.model, options.data, rounds=options.rounds, **reading)
    print(f"{'form':22}{'MB':>8}{'ms':>9}{'images/s':>10}{'speed':>8}{'spread':>8}{'top-1':>8}")
    for form in forms:
        accuracy = "" if form.top1_accuracy is None else f"{form.top1_accuracy:.1%}"
        print(
            f"{form.name:22}{form.num_bytes / 1e6:8.1f}{form.milliseconds:9.2f}{form.images_per_second:10.1f}"
            f"{form.speed:8.2f}{form.spread:8.0%}{accuracy:>8}"
        )
    print(
        f"ms: one image; images/s: batches of {BATCH_SIZE}; speed: one image against torch, and its spread over the "
        "rounds. Without decoding and resizing."
    )
