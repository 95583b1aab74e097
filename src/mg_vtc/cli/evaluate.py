"""`mg-vtc evaluate`: score a model on labelled images and write a report."""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from ..messages import escape
from .ensemble_flags import add_ensemble_flags


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "evaluate",
        help="score a model on labelled images and write a report",
        description="Score a model on labelled images, with intervals and baselines. Images that the run was trained "
        "on are recognized by their content and scored only on request.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "model", metavar="MODEL", nargs="+", help="folder of a run, or Hub id; several models are an ensemble"
    )
    parser.add_argument(
        "data", metavar="DATA", help="folder of class folders or of Parquet files, Hub data set, or the word demo"
    )
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test", "all"),
        help="by default the test split, else the validation images of the run if these are its data, else the "
        "validation split of the data, else all",
    )
    add_reading_flags(parser)
    _add_name_flags(parser)
    parser.add_argument(
        "--vote",
        choices=("mean", "max", "majority"),
        help="also score one prediction per clip: the mean or the largest of its frames' probabilities, or the class "
        "that most frames rank first",
    )
    parser.add_argument(
        "--group_by", metavar="COLUMN", help="also score the images of each subject, gender or other value of a column"
    )
    add_ensemble_flags(parser, "weights of the models of an ensemble; by default all are equal")
    parser.add_argument("--batch_size", type=int, default=32, help="number of images at a time")
    parser.add_argument(
        "--output_dir",
        type=Path,
        metavar="FOLDER",
        help="by default MODEL/report or, for a Hub id or several models, ./report",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    parser.set_defaults(run=_evaluate)


def _add_name_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for names that the text tower encodes."""
    parser.add_argument(
        "--zero_shot", action="store_true", help="compare with the class names of the data, encoded by the text tower"
    )
    parser.add_argument(
        "--candidate_labels",
        metavar="NAMES",
        help="as --zero_shot, but with these classes of the data alone, separated by commas; put a name with a comma "
        "in double quotes; images of other classes are left out",
    )
    parser.add_argument(
        "--prompt_template",
        nargs="+",
        help="with --zero_shot or --candidate_labels: texts of a class, {} is its name",
    )


def add_reading_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how labelled images are read."""
    parser.add_argument("--dataset_config_name", help="configuration of a Hub data set")
    parser.add_argument(
        "--skip_corrupt_images",
        action="store_true",
        default=None,
        help="leave out files that cannot be read; default: the setting of the run",
    )
    parser.add_argument("--labels_file", help="CSV id,name that names the class folders, or imigue, smg or ma52")
    parser.add_argument("--image_column_name", default="image", help="column of the images in a Hub data set")
    parser.add_argument(
        "--label_column_name", default="label", help="column of the classes in a Hub data set or a metadata file"
    )
    parser.add_argument(
        "--clip_column_name", help="column of the clips in a Hub data set or a metadata file; default: that of the run"
    )


def list_reading_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `evaluate` that say how labelled images are read."""
    return {
        "config_name": options.dataset_config_name,
        "labels_file": options.labels_file,
        "skip_corrupt_images": options.skip_corrupt_images,
        "image_column": options.image_column_name,
        "label_column": options.label_column_name,
        "clip_column": options.clip_column_name,
    }


def _evaluate(options: argparse.Namespace) -> None:
    missing = [module for module in ("jinja2", "matplotlib", "sklearn") if importlib.util.find_spec(module) is None]
    from datasets import disable_progress_bars
    from transformers.utils import logging

    from ..data.labels import split_names
    from ..evaluation.console import summarize
    from ..evaluation.evaluate import check_report_folder, evaluate, write_evaluation

    is_folder = len(options.model) == 1 and Path(options.model[0]).is_dir()
    folder = options.output_dir or (Path(options.model[0]) if is_folder else Path()) / "report"
    check_report_folder(options.model, folder, overwrite=options.overwrite)
    logging.disable_progress_bar()  # of loading weights
    disable_progress_bars()
    evaluation = evaluate(
        options.model,
        options.data,
        split=options.split,
        zero_shot=options.zero_shot,
        candidate_labels=None if options.candidate_labels is None else split_names(options.candidate_labels),
        prompt_template=options.prompt_template,
        batch_size=options.batch_size,
        vote=options.vote,
        weights=options.weights,
        tta=options.tta,
        group_by=options.group_by,
        **list_reading_settings(options),
    )
    print(escape(summarize(evaluation.results), keep="\n"), flush=True)
    written = write_evaluation(evaluation, folder, overwrite=options.overwrite, with_report=not missing)
    print(f"\n{escape(str(written))}")
    if missing:
        print(f'report.html needs {" and ".join(missing)}: pip install "mg-vtc[report]"')
