"""Next commands after a training, ready to paste."""

import glob
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from ..messages import escape
from ..runs.directory import (
    CARD,
    CONFUSION,
    CURVES,
    FIRST_BATCH,
    RECIPE,
    SAMPLES,
    SPLIT,
    read_recipe,
    read_record,
)
from ..runs.results_table import RESULTS_TABLE

TO_LOOK_AT = (CARD, RESULTS_TABLE, CURVES, CONFUSION, FIRST_BATCH)


def describe_folder(folder: Path) -> str:
    """Return a line that names the folder of a run and the files in it to look at."""
    *others, last = ["its model", *(name for name in TO_LOOK_AT if (folder / name).is_file())]
    names = f"{', '.join(others)} and {last}" if others else last
    return f"The run is in {folder}, with {names}."


def describe_next(folder: Path) -> list[str]:
    """Return the last lines of a run: its files, and commands to evaluate, predict with and show its model.

    Names in them are quoted.
    """
    recipe, _ = read_recipe(folder / RECIPE)
    data = recipe.get("validation_dir") or recipe.get("train_dir") or recipe.get("dataset_name")
    split = read_record(folder / SPLIT)
    image = find_image(folder, recipe, split)
    python = Path(sys.executable)
    python = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    command = python.with_name("mg-vtc")
    evaluation = f"  {shlex.join([str(command), 'evaluate', str(folder), str(data)])}"
    model, file = (json.dumps(name, ensure_ascii=False) for name in (str(folder), image))  # as Python has them
    code = (
        "import mg_vtc; from transformers import pipeline; \\\n"
        f'             print(pipeline("image-classification", {model})({file}))'
    )
    lines = [
        "",
        describe_folder(folder),
        "Next:",
        *([evaluation] if split.get("split_by") != "none" else []),  # else no image is held out
        f"  {shlex.join([str(command), 'predict', str(folder), str(image)])}",
        f"  {shlex.join([str(command), 'app', str(folder)])}   # a page on this machine",
        "or in Python:",
        *f"  {shlex.join([str(python), '-c', code])}".split("\n"),
    ]
    return [escape(line) for line in lines]


def find_image(folder: Path, recipe: dict[str, Any], split: dict[str, Any]) -> str:
    """Return an image to try the model on: a drawn sample, or a held-out image or, without any, a training image."""
    held_out = [*split.get("validation", [])[:1], *split.get("train", [])[:1]]
    roots = [Path(recipe[name]) for name in ("validation_dir", "train_dir") if recipe.get(name)]
    names = [(root, name) for root in roots for name in held_out]
    places = [place for root, name in names for place in (root / name, *root.glob(f"*/{glob.escape(name)}"))]
    found = [*sorted((folder / SAMPLES).glob("*.png")), *(place for place in places if place.is_file())]
    return str(found[0]) if found else "IMAGE"
