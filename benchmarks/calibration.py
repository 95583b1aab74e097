"""Calibration error before and after temperature scaling, and what a threshold keeps.

    python benchmarks/gestures.py GESTURES
    python benchmarks/further_drawer.py FURTHER
    python benchmarks/calibration.py GESTURES FURTHER [--output_dir runs/method_table]
    python benchmarks/pretrained_towers.py TOWERS
    python benchmarks/calibration.py GESTURES FURTHER --towers TOWERS --rows recommended pretrained

The models are those of `method_table.py` on held-out clips, or those of whole recipes. They are trained if they are
missing, and scored after the last epoch. `mg-vtc calibrate` fits a temperature and a threshold of the stated precision
on the held-out clips, in a copy of the model. "After" is by folds of clips: no image is scored by a temperature or a
threshold that it helped to fit. FURTHER is then scored with the same model. Its own temperature, by folds of its
clips, shows what a temperature can do there at best. A campaign that was killed goes on with the missing models.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from itertools import product
from pathlib import Path

from cells import LAST_EPOCH, RESULTS, ROOT, TOWERS, mean_and_spread, revisions_of, run_cells, text_tower, vision_tower
from fine_tuning import difference
from method_table import ROWS, SEEDS, flags_of, slug, tune
from rounds import print_machine

import mg_vtc
from mg_vtc.evaluation.calibration import max_softmax, sort_into_bins
from mg_vtc.evaluation.intervals import number_groups
from mg_vtc.evaluation.metrics import find_top_k_hits
from mg_vtc.evaluation.temperature import cross_fit, fit_temperature

SHOWN = ("`js`", "`js`, all classes", "`ce`", "`ce_identity`", "`ce_soft`", "vision-only ResNet, `ce`")
RECIPES = ("recommended", "pretrained")
Scores = dict[str, float | None]


def make_cells(options: argparse.Namespace) -> dict[tuple[str, int], tuple[str, list[str]]]:
    """Name and flags of the cell of each row and seed."""
    source = ("--train_dir", str(options.folder))
    rows = [row for row in options.rows if row in ROWS]
    factors = tune(options.output_dir, source, options.jobs)[0] if rows else {}
    cells = {}
    for row, seed in product(options.rows, options.seeds):
        if row in rows:
            cells[row, seed] = f"gestures-clip-{slug(row)}-{seed}", flags_of(row, source, "clip", seed, factors[row])
        else:
            cells[row, seed] = f"{row}-{seed}", recipe_flags(row, source, seed, options.towers)
    return cells


def recipe_flags(recipe: str, source: tuple[str, ...], seed: int, towers: Path | None) -> list[str]:
    """Flags of a cell that is a whole recipe.

    Raises:
        ValueError: The towers of `pretrained` are missing.
    """
    flags = [str(ROOT / "src" / "mg_vtc" / "recipes" / f"{recipe}.yaml"), *source, "--seed", str(seed), *LAST_EPOCH]
    if recipe != "pretrained":
        return flags
    if towers is None:
        raise ValueError("The row 'pretrained' needs `--towers`: the folder that pretrained_towers.py wrote.")
    return [*flags, *vision_tower(towers), *text_tower(towers)]


def score(cell: Path, folder: Path, further: Path, precision: float) -> Scores:
    """Calibrate a copy of a model on its held-out clips, and score it on these and on another set."""
    with tempfile.TemporaryDirectory() as work:
        model = shutil.copytree(cell, Path(work, "model"))
        try:
            held_out = mg_vtc.calibrate(model, folder, split="validation", precision=precision)
        except ValueError:  # no threshold has this precision
            held_out = mg_vtc.calibrate(model, folder, split="validation")
        other = mg_vtc.evaluate(str(model), further, split="all")
    scaling, scores = other.results["temperature_scaling"], other.results["scores"]
    kept, further_kept = (held_out.by_folds, scaling["threshold"]) if held_out.by_folds is not None else (None, None)
    labels = other.predictions.labels
    logits = other.predictions.logits * held_out.temperature  # (num_rows, num_classes), before calibration
    folds = cross_fit(logits, labels, number_groups(len(labels), other.predictions.clips))
    own = sort_into_bins(max_softmax(folds.logits), find_top_k_hits(logits, labels, 1))
    return {
        "temperature": held_out.temperature,
        "before": held_out.error_before,
        "after": held_out.error_after,
        "entropy before": held_out.entropy_before,
        "entropy after": held_out.entropy_after,
        "coverage": 0.0 if kept is None else kept.coverage,
        "precision": None if kept is None or kept.coverage == 0 else kept.precision,
        "further top-1": scores["top1_accuracy"]["value"],
        "further top-5": scores["top5_accuracy"]["value"],
        "further before": scaling["expected_calibration_error_before"],
        "further after": scores["expected_calibration_error"]["value"],
        "further own": own.expected_error,
        "further temperature": fit_temperature(logits, labels),
        "further coverage": 0.0 if further_kept is None else further_kept["coverage"],
        "further precision": None if further_kept is None else further_kept["precision"],
    }


def score_once(cell: Path, options: argparse.Namespace) -> Scores:
    """Score a model, or read its scores if an earlier start of the command has them."""
    path = Path(f"{cell}.calibration.json")
    results = json.loads((cell / RESULTS).read_text(encoding="utf-8"))
    asked = [str(options.folder), str(options.further), options.precision, results]  # of a cell trained anew: others
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if known.get("asked") != asked:
        top = {f"top-{k}": results[f"eval_top{k}_accuracy"] for k in (1, 5)}
        scores = top | score(cell, options.folder, options.further, options.precision)
        known = {"asked": asked, "scores": scores}
        path.write_text(json.dumps(known, indent=1), encoding="utf-8")
    return known["scores"]


def show(values: list[float], digits: int = 2) -> str:
    """Numbers other than fractions: their mean and, of two or more, their standard deviation."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def show_known(values: list[float | None]) -> str:
    """Fractions as `mean_and_spread` shows them, without the seeds that have none."""
    known = [value for value in values if value is not None]
    missing = f" ({len(known)} of {len(values)} seeds)" if len(known) < len(values) else ""
    return f"{mean_and_spread(known)}{missing}" if known else "none"


def print_tables(runs: dict[str, list[Scores]], precision: float) -> None:
    """Print scores and calibration errors on both sets, with paired differences, and what the threshold keeps."""
    columns = {row: {name: [one[name] for one in of_row] for name in of_row[0]} for row, of_row in runs.items()}
    titles = "temperature | error before | after | difference | cross-entropy before | after"
    first = next(iter(columns))
    print(f"| held-out clips | top-1 | against {first} | top-5 | {titles} |")
    print("|---" * 10 + "|")
    for row, of_row in columns.items():
        top1, top5, before, after = (mean_and_spread(of_row[name]) for name in ("top-1", "top-5", "before", "after"))
        entropies = (show(of_row["entropy before"]), show(of_row["entropy after"]))
        change = difference(of_row["after"], of_row["before"])
        against = "" if row == first else difference(of_row["top-1"], columns[first]["top-1"])
        shown = (top1, against, top5, show(of_row["temperature"]), before, after, change, *entropies)
        print(f"| {row} | {' | '.join(shown)} |")
    titles = "error before | after | difference | with its own temperature | which is"
    print(f"\n| further drawer | top-1 | against {first} | top-5 | {titles} |")
    print("|---" * 9 + "|")
    for row, of_row in columns.items():
        names = ("further top-1", "further top-5", "further before", "further after", "further own")
        top1, *scores, own = (mean_and_spread(of_row[name]) for name in names)
        against = "" if row == first else difference(of_row["further top-1"], columns[first]["further top-1"])
        change = difference(of_row["further after"], of_row["further before"])
        print(f"| {row} | {' | '.join((top1, against, *scores, change, own, show(of_row['further temperature'])))} |")
    kept = f"threshold of a precision of {precision:.0%} | held-out clips: kept | correct"
    print(f"\n| {kept} | further drawer: kept | correct |")
    print("|---" * 5 + "|")
    for row, of_row in columns.items():
        names = ("coverage", "precision", "further coverage", "further precision")
        print(f"| {row} | {' | '.join(show_known(of_row[name]) for name in names)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibration error before and after temperature scaling.")
    parser.add_argument("folder", type=Path, help="what benchmarks/gestures.py made")
    parser.add_argument("further", type=Path, help="what benchmarks/further_drawer.py made")
    parser.add_argument("--rows", nargs="+", choices=(*ROWS, *RECIPES), default=list(SHOWN), help="models")
    parser.add_argument("--towers", **TOWERS)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="of split and weights")
    parser.add_argument("--precision", type=float, default=0.9, help="of the threshold")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/method_table"))
    options = parser.parse_args()
    if not 0 < options.precision < 1:
        parser.error(f"--precision must be between 0 and 1, got {options.precision}.")
    named = make_cells(options)
    cells = dict(named.values())
    run_cells(cells, options.output_dir, jobs=options.jobs)
    runs: dict[str, list[Scores]] = {row: [] for row in options.rows}
    for seed, row in product(options.seeds, options.rows):
        runs[row].append(score_once(options.output_dir / named[row, seed][0], options))
    print_machine(f"Calibration, mean ± standard deviation of {len(options.seeds)} seeds.")
    print_tables(runs, options.precision)
    print(f"\nRevision of the models: {', '.join(revisions_of(cells, options.output_dir))}.")


if __name__ == "__main__":
    main()
