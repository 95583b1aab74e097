"""Where a model comes from, as far as it may be told to anybody: data, machine, code; never a path or a person."""

import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml

from .. import __version__
from .directory import PROVENANCE, RECIPE

INPUTS = (
    *("train_dir", "validation_dir", "dataset_name", "labels_file"),
    *("vision_model_name_or_path", "text_model_name_or_path"),
)  # settings of what a run reads
ELSEWHERE = "on the machine that trained"  # stands for a place of it in what is published


def library_versions() -> dict[str, str]:
    """Versions of what computes a score."""
    return {
        "mg_vtc": __version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "Python": platform.python_version(),
    }


def find_hub_dataset(recipe: dict[str, Any]) -> str | None:
    """Return the Hub id of the data of a recipe, None for the demo and for what is on this machine."""
    name = recipe.get("dataset_name")
    return None if name in (None, "demo") or Path(name).exists() else name


def name_data(recipe: dict[str, Any]) -> str:
    """Name the data of a recipe; a folder of this machine has no name that strangers need to know."""
    if recipe.get("dataset_name") == "demo":
        return "the drawn demo of mg_vtc"
    if not (recipe.get("train_dir") or recipe.get("dataset_name")):
        return "images given in Python"
    return find_hub_dataset(recipe) or "a local folder of pictures"


def find_places(recipe: dict[str, Any]) -> list[str]:
    """Name the settings of a recipe that say where something is on this machine.

    Whether "weights/resnet" is a folder or an id of the Hub is known only where and when the run reads it.
    """
    return sorted(name for name, value in recipe.items() if isinstance(value, str) and _is_place(name, value))


def _is_place(name: str, value: str) -> bool:
    if name == "labels_file":
        return value not in ("imigue", "smg")
    looks_so = name.endswith("_dir") or value.startswith(("~", ".")) or Path(value).is_absolute()
    return looks_so or (name in INPUTS and value != "demo" and Path(value).exists())


def without_places(recipe: dict[str, Any], places: Sequence[str]) -> dict[str, Any]:
    """Leave out of a recipe where its run wrote and was published, and name no place that it read.

    What it read is not left out but told to be elsewhere, so that no run goes on silently from a default.

    Args:
        recipe: Settings of a run.
        places: Those that name a place of the machine of the run, as `find_places` found there.
    """
    told = {name: ELSEWHERE if name in INPUTS and name in places else value for name, value in recipe.items()}
    return {
        name: value
        for name, value in told.items()
        if value == ELSEWHERE or not (name in places or name == "push_to_hub" or name.startswith("hub_"))
    }


def write_provenance(
    folder: Path, arguments: transformers.TrainingArguments, *, project: Path, seconds: float | None
) -> None:
    """Write `provenance.json`: versions, commit, processor, processes and duration; what is not known is absent.

    It also has the names of the settings that name a place of this machine, as this can be told here alone.

    Args:
        folder: Folder of the run, with its recipe.
        arguments: Of the run.
        project: Folder of `train.py`, whose commit is told where it is a checkout of git.
        seconds: How long the training took; None where it was not measured as a whole, as in a resumed run.
    """
    recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
    found = {
        "versions": library_versions(),
        "commit": find_commit(project),
        "processor": _name_processor(arguments.device),
        "num_processes": arguments.world_size,
        "num_threads": torch.get_num_threads() if arguments.device.type == "cpu" else None,
        "places": find_places(recipe),
        "training_seconds": None if seconds is None else round(seconds, 1),
    }
    known = {name: value for name, value in found.items() if value is not None}
    (folder / PROVENANCE).write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def find_commit(project: Path) -> str | None:
    """Describe the commit of a checkout, with "-dirty" where files were changed; None for what is no checkout.

    A checkout that the project is merely a part of, as of somebody's own work, does not count.
    """
    if not (project / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        described = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):  # no git, or a checkout that git does not read
        return None
    return described.stdout.strip()


def _name_processor(device: torch.device) -> str | None:
    """Return the model of the GPU or else of the CPU, None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())
    return platform.processor() or None
