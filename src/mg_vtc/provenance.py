"""Where a model comes from, as far as it may be told to anybody: data, machine, code; never a path or a person."""

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
import transformers

from . import __version__
from .run_folder import PROVENANCE
from .training_args import MgVtcTrainingArguments


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
    return find_hub_dataset(recipe) or "a local folder of pictures"


def without_places(recipe: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a recipe what is true on this machine alone, and where it was published."""
    return {name: value for name, value in recipe.items() if not _is_place(name, value)}


def _is_place(name: str, value: Any) -> bool:
    if name.endswith("_dir") or name == "push_to_hub" or name.startswith("hub_"):
        return True
    if name == "labels_file":
        return value not in ("imigue", "smg")
    return isinstance(value, str) and (value.startswith(("/", "~", ".")) or Path(value).exists())


def write_provenance(folder: Path, arguments: MgVtcTrainingArguments, *, project: Path, seconds: float | None) -> None:
    """Write `provenance.json`: versions, commit, processor, processes and duration; what is not known is absent.

    Args:
        folder: Folder of the run.
        arguments: Of the run.
        project: Folder of `train.py`, whose commit is told where it is a checkout of git.
        seconds: How long the training took; None where it was not measured as a whole, as in a resumed run.
    """
    found = {
        "versions": library_versions(),
        "commit": find_commit(project),
        "processor": _name_processor(arguments.device),
        "num_processes": arguments.world_size,
        "num_threads": torch.get_num_threads() if arguments.device.type == "cpu" else None,
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
