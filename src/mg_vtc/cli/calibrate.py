"""`mg-vtc calibrate`: fit the scores of a model to their accuracy on held-out images."""

import argparse
from typing import Any

from .evaluate import add_reading_flags, list_reading_settings


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "calibrate",
        help="fit scores to their accuracy, and choose a threshold for a stated precision",
        description="Fit the temperature by which logits are divided, so that a score of 80 % is correct 80 times in "
        "100, and store it in config.json. Predicted classes do not change.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run")
    parser.add_argument(
        "data", metavar="DATA", help="folder of class folders or of Parquet files, Hub data set, or the word demo"
    )
    parser.add_argument(
        "--split",
        choices=("selection", "validation", "test", "all"),
        help="by default the images of the run that were held out to choose a setting, else its validation images, "
        "else the validation split of the data, else all",
    )
    parser.add_argument(
        "--precision",
        type=float,
        metavar="P",
        help="also store the smallest threshold above which this fraction of the predictions is correct, such as 0.9; "
        'below it the prediction is "none of these"',
    )
    add_reading_flags(parser)
    parser.add_argument("--batch_size", type=int, default=32, help="number of images at a time")
    parser.set_defaults(run=_calibrate)


def _calibrate(options: argparse.Namespace) -> None:
    from datasets import disable_progress_bars
    from transformers.utils import logging

    from ..training.calibrate import calibrate

    logging.disable_progress_bar()  # of loading weights
    disable_progress_bars()
    settings = {name: getattr(options, name) for name in ("split", "precision", "batch_size")}
    done = calibrate(options.model, options.data, **settings, **list_reading_settings(options))
    clips = "" if done.num_clips is None else f" of {done.num_clips} clips"
    print(f"{options.model} on {options.data}: {done.num_images} images{clips}, split {done.split}")
    if done.chosen_on_these:
        print("the best checkpoint was chosen on these images, so the temperature is somewhat too low")
    print(f"temperature {done.temperature:.3f}\n\n{'score':28}{'before':>8}{'after*':>8}")
    print(f"{'expected calibration error':28}{done.error_before:8.1%}{done.error_after:8.1%}")
    print(f"{'cross-entropy':28}{done.entropy_before:8.3f}{done.entropy_after:8.3f}")
    print("* each fold of the images by the temperature of the others")
    if done.threshold is not None:
        print(f"\nthreshold {done.threshold:.3f} for a precision of {done.stated_precision:.1%}")
        for images, coverage in (("these images", done.fitted), ("by folds", done.by_folds)):
            assert coverage is not None
            precision = f", {coverage.precision:.1%} of them correct" if coverage.coverage else ""
            print(f"{images:28}{coverage.coverage:8.1%} of the predictions reach it{precision}")
    print(f"\n{options.model}/config.json")
