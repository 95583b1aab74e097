"""`mg-vtc cross_evaluate`: evaluate models on the data sets of each other."""

import argparse
import json
from pathlib import Path
from typing import Any

from ..files import atomic_write
from ..messages import escape


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
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the scores as JSON to FILE, too")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE")
    parser.set_defaults(run=_cross_evaluate)


def _cross_evaluate(options: argparse.Namespace) -> None:
    if options.output is not None and options.output.exists() and not options.overwrite:
        raise ValueError(f"{options.output} exists: choose another --output, or add --overwrite.")
    if options.output is not None and options.output.is_dir():
        raise ValueError(f"{options.output} is a folder: --output needs the name of a file.")
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
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(options.output) as file:
            file.write(f"{json.dumps(cells, indent=1, allow_nan=False)}\n".encode())
        print(escape(str(options.output)))


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
    lines.append("top-1 accuracy over the shared classes; in brackets their number, and the accuracy by chance")
    return "\n".join(lines)


def _format_cell(cell: dict[str, Any]) -> str:
    if cell["scores"] is None:
        return f"- ({cell['num_classes']})"
    top1 = cell["scores"]["top1_accuracy"]["value"]
    return f"{top1:.1%} ({cell['num_classes']}, {cell['chance']:.1%})"
