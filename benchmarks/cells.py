"""How benchmarks train: a table's runs are cells, each the project's own command in a folder of its own.

A cell that is finished is not run again, so that a campaign which was killed goes on with the cells that are missing.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SMALL = str(ROOT / "src" / "mg_vtc" / "recipes" / "small.yaml")
PRETRAINED = str(ROOT / "src" / "mg_vtc" / "recipes" / "pretrained.yaml")
TRAIN = (sys.executable, str(ROOT / "train.py"))  # a process, so without the seconds of a launcher
# Flags of a cell that is to be quick: smaller images, and the rates that suited js best in the method's table.
QUICK = (
    *("--image_size", "48", "--learning_rate", "3e-3"),
    *("--vision_learning_rate", "3e-3", "--text_learning_rate", "3e-4"),
)
# Flags of a cell that is scored after its last epoch, so that the images it is scored on choose nothing.
LAST_EPOCH = ("--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "false")
RESULTS = "all_results.json"
# The flag of a campaign for `text_flags`.
INITIALIZER_RANGE = {"type": float, "default": 0.09, "help": "of the text tower; with 0.02 all texts start as one"}
# The flag of a campaign for `vision_tower` and `text_tower`.
TOWERS = {"type": Path, "help": "folder that pretrained_towers.py wrote"}


def run_cells(
    cells: Mapping[str, Sequence[str]], folder: Path, *, jobs: int, command: Sequence[str] = TRAIN
) -> dict[str, dict[str, float]]:
    """Run the cells that are not finished, and read what all of them wrote.

    Cell NAME is `command flags --output_dir folder/NAME` on one thread; its screen goes to `folder/NAME.log`, whose
    first line are the flags. A cell that was broken off starts anew. How far it is stands on stderr.

    Args:
        cells: Flags of each cell, without `--output_dir`.
        folder: Where the cells are; it is made if it is missing.
        jobs: How many cells run at a time, 1 or more.
        command: What the flags are given to.

    Returns:
        `all_results.json` of each cell, in the order of `cells`.

    Raises:
        ValueError: A cell's folder was not made by this cell with these flags.
        SystemExit: A cell failed. Those that ran beside it are stopped, and start anew next time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in cells if not _is_finished(folder / name, cells[name])]
    print(f"{len(cells) - len(missing)} of {len(cells)} cells are done, in {folder}", file=sys.stderr, flush=True)
    begun, waiting, running = time.monotonic(), list(missing), {}
    signals: list[int] = []  # read between the starts of cells, so that each of them is stopped, too
    before = signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    try:
        while waiting or running:
            if signals:
                sys.exit("stopped")
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                running[name] = _start(folder / name, cells[name], command)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                if running.pop(name).returncode != 0 or not (folder / name / RESULTS).exists():
                    sys.exit(f"Cell {name!r} failed; its screen is in {folder / name}.log")
                done = len(missing) - len(waiting) - len(running)
                left = (time.monotonic() - begun) / done * (len(missing) - done) / 60
                print(f"{done} of {len(missing)}: {name}; {left:.0f} min left", file=sys.stderr, flush=True)
            time.sleep(0.1)
    finally:
        for process in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        signal.signal(signal.SIGTERM, before)
    if signals:
        sys.exit("stopped")
    return {name: json.loads((folder / name / RESULTS).read_text(encoding="utf-8")) for name in cells}


def campaign_parser(description: str, name: str, *, epochs: int) -> argparse.ArgumentParser:
    """Flags of a campaign on one folder: what is trained on, with which seeds, and where its cells are.

    Args:
        description: What it finds out.
        name: Of its folder in `runs/`.
        epochs: Length of a cell, by default.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path, help="class folders, such as benchmarks/gestures.py makes")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of split, draws and weights")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--output_dir", type=Path, default=Path("runs") / name)
    return parser


def small_text_config(initializer_range: float) -> dict[str, Any]:
    """The text tower of the recipe `small`, with random weights of this standard deviation."""
    text_config = yaml.safe_load(Path(SMALL).read_text(encoding="utf-8"))["text_config"]
    return text_config | {"initializer_range": initializer_range}


def text_flags(initializer_range: float) -> tuple[str, str]:
    """Flags of a cell: such a text tower."""
    return "--text_config", json.dumps(small_text_config(initializer_range))


def vision_tower(towers: Path) -> tuple[str, str]:
    """Flags of a cell: the pretrained vision tower of a folder that pretrained_towers.py wrote."""
    return "--vision_model_name_or_path", str(towers / "efficientnet-lite0")


def text_tower(towers: Path) -> tuple[str, str]:
    """Flags of a cell: the pretrained text tower of such a folder."""
    return "--text_model_name_or_path", str(towers / "all-minilm-l6-v2")


def mean_and_spread(values: Sequence[float]) -> str:
    """Fractions as percent, such as "61.1 ± 2.0": their mean and, of two or more, their standard deviation."""
    percents = [100 * value for value in values]
    spread = f" ± {statistics.stdev(percents):.1f}" if len(percents) > 1 else ""
    return f"{statistics.mean(percents):.1f}{spread}"


def revisions_of(cells: Iterable[str], folder: Path) -> list[str]:
    """The revisions of the project that made these cells."""
    logs = [(folder / f"{name}.log").read_text(encoding="utf-8").splitlines() for name in cells]
    return sorted({log[1].removeprefix("at revision ") for log in logs})


def _revision() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _is_finished(cell: Path, flags: Sequence[str]) -> bool:
    """Whether the cell has its results; what it left when it was broken off is deleted."""
    if not cell.exists():
        return False
    log = Path(f"{cell}.log")
    seen = log.read_text(encoding="utf-8").partition("\n")[0] if log.exists() else None
    if seen != shlex.join(flags):
        raise ValueError(
            f"{cell} was run with other flags, {seen!r} instead of {shlex.join(flags)!r} (the first line of "
            f"{log.name}): choose another folder, or delete the cell."
        )
    if (cell / RESULTS).exists():
        return True
    shutil.rmtree(cell)
    return False


def _start(cell: Path, flags: Sequence[str], command: Sequence[str]) -> subprocess.Popen:
    """Start a cell in a process group of its own, so that a kill takes its children along."""
    with open(f"{cell}.log", "w", encoding="utf-8") as log:
        print(shlex.join(flags), file=log)
        print(f"at revision {_revision()}", file=log, flush=True)
        return subprocess.Popen(
            [*command, *flags, "--output_dir", str(cell)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
