"""Which objective learns? Every objective with several seeds on one folder, by the project's own command.

    python benchmarks/objectives.py FOLDER [--recipe configs/small.yaml] [--seeds 0 1 2] [--output_dir runs/objectives]

Each cell is `accelerate launch train.py RECIPE --train_dir FOLDER --loss_type L --seed S --output_dir DIR/L-S`, all
other settings being those of the recipe. A finished cell is not run again, so a campaign that was killed goes on.
Prints mean and standard deviation over the seeds, in percent, of the best epoch by top-1 on the validation pictures.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from mg_vtc.training_args import TRAINING_LOSS_TYPES

ROOT = Path(__file__).parents[1]
BASELINES = ("majority_class_top1", "five_commonest_top5")


def run_cell(arguments: argparse.Namespace, loss_type: str, seed: int) -> dict[str, float]:
    """Results of one run, which is made if it is not there."""
    folder = arguments.output_dir / f"{loss_type}-{seed}"
    results = folder / "all_results.json"
    if not results.exists():
        command = [sys.executable, "-m", "accelerate.commands.launch", ROOT / "train.py", arguments.recipe]
        command += ["--train_dir", arguments.folder, "--loss_type", loss_type, "--seed", seed, "--output_dir", folder]
        if folder.exists():
            command.append("--overwrite_output_dir")  # a cell that was killed starts anew
        subprocess.run([str(word) for word in command], check=True, stdout=sys.stderr)
    return json.loads(results.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Every objective with several seeds on one folder.")
    parser.add_argument("folder", type=Path, help="Folder of pictures, as for --train_dir.")
    parser.add_argument("--recipe", type=Path, default=ROOT / "configs" / "small.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output_dir", type=Path, default=Path("runs/objectives"))
    arguments = parser.parse_args()
    cells = {
        loss_type: [run_cell(arguments, loss_type, seed) for seed in arguments.seeds]
        for loss_type in TRAINING_LOSS_TYPES
    }
    print("| objective | top-1 | top-5 | top-1 by seed |\n|---|---|---|---|")
    for loss_type, results in cells.items():
        top = {k: [100 * result[f"eval_top{k}_accuracy"] for result in results] for k in (1, 5)}
        spread = {k: statistics.stdev(top[k]) if len(results) > 1 else 0.0 for k in (1, 5)}
        row = [f"{statistics.mean(top[k]):.1f} ± {spread[k]:.1f}" for k in (1, 5)]
        print(f"| `{loss_type}` | {' | '.join(row)} | {', '.join(f'{value:.1f}' for value in top[1])} |")
    constant = [next(iter(cells.values()))[0][f"baseline_{name}_accuracy"] for name in BASELINES]
    print(f"| the same answer always | {100 * constant[0]:.1f} | {100 * constant[1]:.1f} | |")


if __name__ == "__main__":
    main()
