"""`mg-vtc predict`: predict images without labels."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from ..messages import escape
from .ensemble_flags import add_ensemble_flags, part_models


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "predict",
        help="predict images without labels",
        description="Predict images and videos, in a table or, with --output, in a file. Unreadable files are listed "
        "at the end (exit code 1). With --weights, several models predict together: MODEL MODEL INPUT --weights 2 1.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run, or Hub id")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="image, video, folder, glob, or webcam:0")
    _add_video_flags(parser)
    add_ensemble_flags(
        parser, "weights of an ensemble: the first words of the command, one for each weight, are its models"
    )
    parser.add_argument("--top_k", type=int, default=5, help="number of classes to return (default: 5)")
    parser.add_argument(
        "--vote",
        choices=("mean", "max", "majority"),
        help="one prediction a clip: the mean or the largest of its frames' probabilities, or the class that most "
        "frames rank first; a video or segment is a clip, and images are named <clip>.<frame>.<extension>",
    )
    parser.add_argument(
        "--candidate_labels",
        metavar="NAMES",
        help="names to choose from, separated by commas; put a name with a comma in double quotes, as in "
        "'head up,\"buckle button, adjusting tie\"'; by default the model's classes",
    )
    parser.add_argument(
        "--prompt_template",
        nargs="+",
        help="with --candidate_labels: prompt, with {} for the name; the embeddings of several are averaged",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help='score in [0, 1] below which the prediction is "none of these"; by default the one that mg-vtc calibrate '
        "--precision stored, if any, but for an ensemble none; 0 for none",
    )
    _add_output_flags(parser)
    parser.set_defaults(run=_predict)


def _add_video_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--segments",
        type=Path,
        metavar="CSV",
        help="intervals of the videos to predict: columns video, start_frame, end_frame; or a "
        "folder of <video>_label.csv",
    )
    parser.add_argument(
        "--first_frame",
        type=int,
        choices=(0, 1),
        default=1,
        help="number of the first frame in the label files; by default 1",
    )
    parser.add_argument(
        "--frames_per_clip",
        type=int,
        metavar="K",
        help="number of evenly spaced frames of each video or segment; by default all",
    )
    parser.add_argument("--crop", type=Path, metavar="CSV", help="CSV video,x,y,w,h: box to crop, in pixels")


def _add_output_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch_size", type=int, default=32, help="number of images at a time, in each process")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="output file; its suffix (.csv, .jsonl, .parquet) selects the format",
    )
    parser.add_argument(
        "--submission",
        choices=("lut", "miga", "mac", "mac_2024"),
        help="lut: FILE.csv with filename,class, classes from 1; miga: FILE.zip of the MiGA challenge, classes from "
        "0; mac, mac_2024: FILE.zip of the MAC challenge, with actions and body parts",
    )
    parser.add_argument(
        "--missing_class",
        metavar="NAME",
        help="with --submission: class for unreadable samples; without it they prevent a submission",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace FILE, or an interrupted run with other settings"
    )


def _predict(options: argparse.Namespace) -> None:
    models, inputs = part_models([options.model, *options.inputs], options.weights)
    if options.submission and not options.output:
        raise ValueError("--submission needs --output.")
    if options.missing_class and not options.output:
        raise ValueError("--missing_class needs --submission and --output.")

    from transformers.utils import logging

    from ..inference.predictor import RepeatedError, join_processes

    logging.disable_progress_bar()  # of loading weights
    from ..data.labels import split_names

    names = None if options.candidate_labels is None else split_names(options.candidate_labels)
    settings = {
        "segments": options.segments,
        "first_frame": options.first_frame,
        "frames_per_clip": options.frames_per_clip,
        "crop": options.crop,
        "top_k": options.top_k,
        "batch_size": options.batch_size,
        "vote": options.vote,
        "candidate_labels": names,
        "prompt_template": options.prompt_template,
        "weights": options.weights,
        "tta": options.tta,
        "threshold": options.threshold,
    }
    processes = join_processes()
    quiet = not processes.is_main_process
    try:
        if options.output:
            errors = _write(models, inputs, options, settings)
        else:
            errors = _show(models, inputs, settings, quiet=quiet)
    except RepeatedError:
        errors = []  # which must not end because another process does
    processes.destroy_process_group()
    if errors:
        for fault in errors:
            print(escape(f"{fault.file} cannot be read: {fault.error}"), file=sys.stderr)
        sys.exit(1)


def _write(models: list[str], inputs: list[str], options: argparse.Namespace, settings: dict[str, Any]) -> list[Any]:
    from ..inference.output import write_predictions

    written = write_predictions(
        models,
        inputs,
        options.output,
        submission=options.submission,
        missing_class=options.missing_class,
        overwrite=options.overwrite,
        **settings,
    )
    if written is None:  # not the first process
        return []
    resumed = f", resumed after {written.num_resumed:,}" if written.num_resumed else ""
    filled = ""
    if written.num_filled:
        filled = f", {written.num_filled:,} of them unreadable and set to {options.missing_class!r}"
    print(escape(f"{options.output}: {written.num_rows:,} rows{filled}{resumed}"))
    return written.errors


def _show(models: list[str], inputs: list[str], settings: dict[str, Any], *, quiet: bool) -> list[Any]:
    from ..inference.console import format_header, format_prediction
    from ..inference.predictor import predict

    width = shutil.get_terminal_size().columns
    header, errors = format_header(width, voted=settings["vote"] is not None), []
    for prediction in predict(models, inputs, **settings):
        if quiet:  # the first process prints it
            continue
        if prediction.error is not None:
            errors.append(prediction)
            continue
        if header:
            print(header)
            header = ""
        print(format_prediction(prediction, width), flush=True)
    return errors
