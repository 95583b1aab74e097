"""Provenance of a run (data, hardware, versions), without paths or personal data."""

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
from ..data.class_lists import CLASS_LISTS
from .directory import PROVENANCE, RECIPE

INPUTS = (
    *("train_dir", "validation_dir", "dataset_name", "labels_file", "descriptions_file"),
    *("model_name_or_path", "vision_model_name_or_path", "text_model_name_or_path"),
)  # settings that name inputs of a run
ELSEWHERE = "<local path>"  # replaces a place in published recipes


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that compute scores."""
    return {
        "mg_vtc": __version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "Python": platform.python_version(),
    }


def find_hub_dataset(recipe: dict[str, Any]) -> str | None:
    """Return the Hub id of the data of a recipe, None for the demo and for local folders."""
    name = recipe.get("dataset_name")
    return None if name in (None, "demo") or Path(name).exists() else name


def name_data(recipe: dict[str, Any]) -> str:
    """Return a name for the data of a recipe, without paths."""
    if recipe.get("dataset_name") == "demo":
        return "the drawn demo of mg_vtc"
    if not (recipe.get("train_dir") or recipe.get("dataset_name")):
        return "images given in Python"
    return find_hub_dataset(recipe) or "a local folder of images"


def find_places(recipe: dict[str, Any]) -> list[str]:
    """Return the settings of a recipe that name a place of this machine; only the run itself can know them."""
    return sorted(name for name, value in recipe.items() if isinstance(value, str) and _is_place(name, value))


def _is_place(name: str, value: str) -> bool:
    if name == "labels_file":
        return value not in CLASS_LISTS
    looks_so = name.endswith("_dir") or value.startswith(("~", ".")) or Path(value).is_absolute()
    return looks_so or (name in INPUTS and value != "demo" and Path(value).exists())


def without_places(recipe: dict[str, Any], places: Sequence[str]) -> dict[str, Any]:
    """Return a recipe without places of the machine that trained.

    Inputs are replaced by a note, so that a run of this recipe fails instead of using a default.

    Args:
        recipe: Settings of a run.
        places: Settings that name a place, from `find_places`.
    """
    shown = {name: ELSEWHERE if name in INPUTS and name in places else value for name, value in recipe.items()}
    return {
        name: value
        for name, value in shown.items()
        if value == ELSEWHERE or not (name in places or name == "push_to_hub" or name.startswith("hub_"))
    }


def write_provenance(
    folder: Path, arguments: transformers.TrainingArguments, *, project: Path, seconds: float | None
) -> None:
    """Write `provenance.json`: versions, commit, processor, processes, duration and the settings that name places.

    Unknown values are absent.

    Args:
        folder: Folder of the run, with its recipe.
        arguments: Arguments of the run.
        project: Folder whose commit is recorded if it is a checkout of git.
        seconds: Duration of the training; None for a resumed run.
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
    """Return the commit of a checkout, with "-dirty" if files changed; None for other folders."""
    if not (project / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        described = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):  # no git, or a checkout that git refuses
        return None
    return described.stdout.strip()


def _name_processor(device: torch.device) -> str | None:
    """Return the model of the GPU or CPU, if the system names it."""
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
