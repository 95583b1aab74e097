"""Check quickly whether a name is a local folder or a repository on the Hub."""

import difflib
import os
import re
from pathlib import Path
from typing import Literal

import datasets
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from .file_tree import find_files
from .labels import shorten

SHARDS = (".parquet", ".arrow", ".tar", ".json", ".jsonl", ".csv", ".zip")  # that hold rows, with or without images
KINDS = {"model": "model", "dataset": "data set"}
# HTTPError of the HTTP library of this version of huggingface_hub, such as httpx
TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]
MAX_SECONDS = 5  # timeout of the request that looks up the repository
_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?:datasets/)?([\w.-]+/[\w.-]+)/?.*")


def check_source(name: str, kind: Literal["model", "dataset"]) -> None:
    """Check that a name is a local folder or file, or a repository on the Hub or in the cache.

    Names that can only be paths are not looked up on the Hub: those with several slashes, a backslash or a drive, or
    with a leading dot, slash or tilde.

    Args:
        name: Path, or id on the Hub such as "org/name".
        kind: Kind of the repository.

    Raises:
        FileNotFoundError: Nothing was found; the message lists the places searched and similar names.
        ValueError: A shard of a local data set is a pipe, a socket or a device, of which a read may never end.
    """
    if Path(name).exists():
        special = find_files(Path(name)).special_files if kind == "dataset" and Path(name).is_dir() else []
        if faulty := [str(path) for path in special if path.suffix in SHARDS]:
            raise ValueError(f"{name} contains pipes, sockets or devices instead of files: {shorten(faulty)}.")
        return
    if page := _PAGE.fullmatch(name):
        raise FileNotFoundError(f"{name!r} is a URL: give the id {page[1]!r} instead.")
    if is_path(name):
        raise FileNotFoundError(f"There is no folder {name!r}.{hint_at_folder(name)}")
    tried = _look_on_hub(name, kind)
    if tried is not None:
        what, hint = KINDS[kind], hint_at_folder(name) if Path(name).parent.is_dir() else ""
        raise FileNotFoundError(
            f"There is no {what} {name!r}: no folder {name!r}, and no reachable {what} of this name on the Hub "
            f"({tried}). Private repositories need a token (HF_TOKEN, or `hf auth login`).{hint}"
        )


def is_path(name: str) -> bool:
    """Return whether a name can only be a path, not an id on the Hub."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return True
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _look_on_hub(name: str, kind: Literal["model", "dataset"]) -> str | None:
    """Return why there is no such repository within reach, or None if there may be one."""
    try:
        HfApi().repo_info(name, repo_type=kind, timeout=MAX_SECONDS)
    except RepositoryNotFoundError:
        return f"not found on {constants.ENDPOINT}"
    except HfHubHTTPError:  # loading gives the reason, such as a license to accept
        return None
    except OfflineModeIsEnabled:
        return None if _is_cached(name, kind) else "HF_HUB_OFFLINE is set, and it is not in the cache"
    except (TRANSPORT_ERROR, OSError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        return None if _is_cached(name, kind) else f"{constants.ENDPOINT} cannot be reached: {reason}"
    return None


def _is_cached(name: str, kind: str) -> bool:
    folders = [Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type=kind) / "snapshots"]
    if kind == "dataset":
        folders.append(Path(datasets.config.HF_DATASETS_CACHE) / name.replace("/", "___"))
    return any(folder.is_dir() for folder in folders)


def hint_at_folder(name: str) -> str:
    """Return a hint for a path that does not exist: the missing parent or a similar name; may be empty."""
    path = Path(name).expanduser()
    if name.startswith("~") and path.exists():
        return f" Without quotes, the shell expands it to {str(path)!r}."
    missing = next(part for part in [*reversed(path.parents), path] if not part.exists())
    if missing != path:
        return f" {str(missing)!r} does not exist."
    siblings = [entry.name for entry in os.scandir(path.parent)] if os.access(path.parent, os.R_OK) else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    return f" Did you mean {str(path.parent / near[0])!r}?" if near else ""
