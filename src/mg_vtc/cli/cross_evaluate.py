"""`mg-vtc cross_evaluate`: evaluate models on the data sets of each other."""

import argparse
from pathlib import Path
from typing import Any

from ..messages import escape
from .output_flags import add_output_flags, check_output, write_output


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "cross_evaluate",
        help="evaluate models on the data sets of each other",
        description="Evaluate each model on each data set, through the names of the classes that its own data set "
        "shares with it. A table says which classes of iMiGUE, SMG and Micro-Action-52 are the same.",
        allow_abbrev=False,
    )
    parser.add_argument("models", metavar="MODEL", nargs="+", help="folder of a run, or Hub id")
    parser.add_argument(
        "--data", metavar="DATA", nargs="+", required=True, help="folders of images or Parquet files, or Hub data sets"
    )
    parser.add_argument(
        "--class_map", type=Path, metavar="CSV", help="table of shared classes: name, and a column for each data set"
    )
    parser.add_argument("--split", choices=("train", "validation", "test", "all"), help="as for mg-vtc evaluate")
    parser.add_argument("--prompt_template", nargs="+", help="texts of a class, {} is its name")
    parser.add_argument("--batch_size", type=int, default=32, help="number of images at a time")
    add_output_flags(parser)
    parser.set_defaults(run=_cross_evaluate)


def _cross_evaluate(options: argparse.Namespace) -> None:
    check_output(options)
    from datasets import disable_progress_bars
    from transformers.utils import logging

    from ..data.class_map import SHARED_CLASSES
    from ..evaluation.cross_evaluation import cross_evaluate

    logging.disable_progress_bar()  # of loading weights
    disable_progress_bars()
    cells = cross_evaluate(
        options.models,
        options.data,
        class_map=options.class_map or SHARED_CLASSES,
        split=options.split,
        prompt_template=options.prompt_template,
        batch_size=options.batch_size,
    )
    print(escape(format_matrix(cells), keep="\n"))
    if options.output is not None:
        write_output(options.output, cells)


def format_matrix(cells: list[dict[str, Any]]) -> str:
    """Format the scores of `cross_evaluate` as a table with a row for each model and a column for each data set."""
    data = list(dict.fromkeys(cell["data"] for cell in cells))
    models = list(dict.fromkeys(cell["model"] for cell in cells))
    shown = {(cell["model"], cell["data"]): _format_cell(cell) for cell in cells}
    first = max(map(len, ("model", *models)))
    widths = {name: max(len(name), *(len(shown[model, name]) for model in models)) for name in data}
    lines = ["  ".join([f"{'model':{first}}", *(f"{name:>{widths[name]}}" for name in data)])]
    for model in models:
        lines.append("  ".join([f"{model:{first}}", *(f"{shown[model, name]:>{widths[name]}}" for name in data)]))
    lines.append("top-1 accuracy over the shared classes (their number, the accuracy by chance, the number of images)")
    return "\n".join(lines)


def _format_cell(cell: dict[str, Any]) -> str:
    if cell["scores"] is None:
        return f"- ({cell['num_classes']})"
    top1 = cell["scores"]["top1_accuracy"]["value"]
    return f"{top1:.1%} ({cell['num_classes']}, {cell['chance']:.1%}, {cell['num_images']})"
