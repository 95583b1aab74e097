"""`results.csv` of a run: its log as a table."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import atomic_write

RESULTS_TABLE = "results.csv"
COLUMNS = (
    *("epoch", "step", "loss", "eval_loss", "eval_top1_accuracy", "eval_top5_accuracy", "eval_mean_class_accuracy"),
    *("eval_macro_f1", "learning_rate", "vision_learning_rate", "text_learning_rate", "logit_scale", "grad_norm"),
    "saturated_fraction",
)  # the first ones; others, of the user's own metrics, follow in the order of the log
CONSTANT = ("eval_samples", "total_flos")
TIMES = ("_runtime", "_per_second")  # ends of the names of what differs between equal runs


def tabulate(history: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a log: a row for each step with a loss or an evaluation, by default each epoch.

    Values have their names in the log and six digits. Times are left out, so equal runs have equal tables.

    Args:
        history: `log_history` of a Trainer's state.
    """
    steps: dict[int, dict[str, Any]] = {}
    for log in history:
        if "loss" in log or any(name.startswith("eval_") for name in log):
            steps[log["step"]] = log | steps.get(log["step"], {})  # a later evaluation is of the finished model
    logged = dict.fromkeys(name for _, row in sorted(steps.items()) for name in row)
    kept = [name for name in logged if not (name in CONSTANT or name.endswith(TIMES))]
    columns = [name for name in COLUMNS if name in kept] + [name for name in kept if name not in COLUMNS]
    return columns, [[_format(row.get(name)) for name in columns] for _, row in sorted(steps.items())]


def _format(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def write_results_table(folder: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write `results.csv` of a run; see `tabulate`. A run without logs has none."""
    columns, rows = tabulate(history)
    if not rows:
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    with atomic_write(folder / RESULTS_TABLE) as file:
        file.write(text.getvalue().encode())
