"""`mg-vtc interpolate`: a model between the start and the end of a training."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "interpolate",
        help="write a model between the start and the end of a training (WiSE-FT)",
        description="Write a model whose weights lie between those of two models. It has the classes and the "
        "processor of MODEL_B.",
        allow_abbrev=False,
    )
    parser.add_argument("model_a", metavar="MODEL_A", help="start of a training: folder or Hub id, such as a CLIP")
    parser.add_argument("model_b", metavar="MODEL_B", help="trained model: folder of a run, or Hub id")
    parser.add_argument("--alpha", type=float, required=True, help="weight of MODEL_B, in [0, 1]")
    parser.add_argument("--output_dir", type=Path, required=True, metavar="FOLDER", help="output folder")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier interpolation wrote")
    parser.set_defaults(run=_interpolate)


def _interpolate(options: argparse.Namespace) -> None:
    from transformers.utils import logging

    from ..training.interpolate import interpolate

    logging.disable_progress_bar()  # of loading weights
    print(
        interpolate(options.model_a, options.model_b, options.alpha, options.output_dir, overwrite=options.overwrite)
    )
