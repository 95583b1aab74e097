"""End a training at each of its last file writes, as a kill does, and repeat its command; print what is left as JSON.

python tests/killed_finish.py FOLDER
"""

import json
import os
import shutil
import signal
import sys
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from chaos_runs import TINY, draw_images, silence

from mg_vtc import train
from mg_vtc.runs.directory import has_finished
from mg_vtc.runs.manifest import OF_MODEL, find_damage
from mg_vtc.training import run as run_module

WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.copyfile", "shutil.rmtree")
TIMES = ("runtime", "per_second", "flos")


class StoppedError(Exception):
    """The training has ended, and nothing of its results was written."""


def train_quietly(work, folder, epochs):
    with silence(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # the last weights, which differ with the number of epochs; the best ones may not
        settings = TINY | {
            "num_train_epochs": epochs,
            "load_best_model_at_end": False,
            "resume_from_checkpoint": "auto",
        }
        train(settings, train_dir=str(work / "images"), output_dir=str(folder))


def read_model(folder):
    names = {path.relative_to(folder) for pattern in OF_MODEL for path in folder.glob(pattern)}
    return {str(name): (folder / name).read_bytes() for name in sorted(names)}


def read_results(folder):
    results = json.loads((folder / "all_results.json").read_text())
    return {name: value for name, value in results.items() if not any(word in name for word in TIMES)}


def kill_at(number, folder):
    """Kill this process before a write in a folder, counted from 0 once the checkpoint was read."""
    left = [number]

    def count(event, args):
        if event == "open":
            path, mode, flags = args
            is_write = any(letter in (mode or "") for letter in "wax+") or (mode is None and flags & os.O_WRONLY)
        else:
            path, is_write = (args[0] if args else None), event in WRITES
        if is_write and isinstance(path, (str, os.PathLike)) and str(path).startswith(str(folder)):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    sys.addaudithook(count)


def end_before_results(work, folder, epochs):
    """Train to the last checkpoint."""

    def stop(*args, **kwargs):
        raise StoppedError

    predict, run_module.MgVtcTrainer.predict = run_module.MgVtcTrainer.predict, stop
    try:
        train_quietly(work, folder, epochs)
    except StoppedError:
        pass
    finally:
        run_module.MgVtcTrainer.predict = predict


def main():
    work = Path(sys.argv[1])
    torch.set_num_threads(1)
    draw_images(work / "images")
    train_quietly(work, work / "old", 1)
    old = read_model(work / "old")
    shutil.copytree(work / "old", work / "begun")
    end_before_results(work, work / "begun", 2)  # beside the model of the shorter run
    shutil.copytree(work / "begun", work / "whole")
    train_quietly(work, work / "whole", 2)
    new, results = read_model(work / "whole"), read_results(work / "whole")
    assert old != new
    assert read_model(work / "begun") == old
    outcomes, number = [], 0
    while not outcomes or outcomes[-1]["killed"]:
        folder = shutil.copytree(work / "begun", work / "run")
        child = os.fork()
        if child == 0:
            kill_at(number, folder)
            train_quietly(work, folder, 2)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        left = read_model(folder)
        state = "old" if left == old else "new" if left == new else "mixed"
        outcome = {"number": number, "killed": os.WIFSIGNALED(status), "state": state}
        outcome |= {"named": bool(find_damage(folder, OF_MODEL)), "finished": has_finished(folder)}
        outcome["damaged"] = find_damage(folder) if outcome["finished"] else []
        train_quietly(work, folder, 2)
        repaired = read_model(folder) == new and read_results(folder) == results and not find_damage(folder)
        outcome["repaired"] = repaired and not list(folder.glob("*.part"))
        outcomes.append(outcome)
        shutil.rmtree(folder)
        number += 1
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main()
