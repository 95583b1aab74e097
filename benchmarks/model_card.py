"""Render `model_card.md` from a run of the recipe `recommended`, and keep the records that it is rendered from.

    python benchmarks/gestures.py gestures
    mg-vtc train recommended --train_dir gestures/training --labels_file gestures/labels.csv
    python benchmarks/model_card.py runs/recommended

Without a run it renders the card again from the records in `benchmarks/recommended`, as a test does.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from mg_vtc.hub.model_card import write_model_card
from mg_vtc.runs.directory import CARD

ROOT = Path(__file__).parents[1]
RECORDS = Path(__file__).with_name("recommended")
NAMES = ("config.json", "recipe.yaml", "split.json", "provenance.json", "results/validation.json")


def render_card(records: Path) -> str:
    """Return the card of a run, without examples and figures, from its records."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(records, Path(folder, "run")))
        write_model_card(copy)
        return (copy / CARD).read_text(encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Render model_card.md from a run of the recipe recommended.")
    parser.add_argument("run", type=Path, nargs="?", help="folder of the run, whose records replace the kept ones")
    options = parser.parse_args()
    for name in NAMES if options.run is not None else ():
        (RECORDS / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(options.run / name, RECORDS / name)
    (ROOT / "model_card.md").write_text(render_card(RECORDS), encoding="utf-8")
    print(ROOT / "model_card.md")


if __name__ == "__main__":
    main()
