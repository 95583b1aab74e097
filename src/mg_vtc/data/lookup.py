"""Whether a name is a folder on this disk or a repository on the Hub, found out within seconds."""

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

KINDS = {"model": "model", "dataset": "data set"}
# HTTPError of httpx, or of whatever else this version of the client speaks through
TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]
MAX_SECONDS = 5  # of the one request that asks whether there is such a repository
_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?:datasets/)?([\w.-]+/[\w.-]+)/?.*")


def check_source(name: str, kind: Literal["model", "dataset"]) -> None:
    """Make sure that there is a folder or file of this name, or a repository on the Hub or in the cache.

    A name that can only be a path is not looked for on the Hub: one with several slashes, a backslash or a drive, or
    that begins with a point, a slash or a tilde.

    Args:
        name: Path, or id on the Hub such as "org/name".
        kind: What the repository is.

    Raises:
        FileNotFoundError: There is none; the message says where it was looked for, and what is called alike.
    """
    if Path(name).exists():
        return
    if page := _PAGE.fullmatch(name):
        raise FileNotFoundError(f"{name!r} is an address: give its id, {page[1]!r}.")
    if is_path(name):
        raise FileNotFoundError(f"There is no folder {name!r}.{hint_at_folder(name)}")
    tried = _look_on_hub(name, kind)
    if tried is not None:
        what, hint = KINDS[kind], hint_at_folder(name) if Path(name).parent.is_dir() else ""
        raise FileNotFoundError(
            f"There is no {what} {name!r}: no folder {name!r}, and no {what} of this name on a Hub within reach "
            f"({tried}); a private repository needs a token (HF_TOKEN, or `hf auth login`).{hint}"
        )


def is_path(name: str) -> bool:
    """Return whether a name can only be a path, and no id on the Hub."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return True
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _look_on_hub(name: str, kind: Literal["model", "dataset"]) -> str | None:
    """Return why there is no such repository within reach, or None where there may be one."""
    try:
        HfApi().repo_info(name, repo_type=kind, timeout=MAX_SECONDS)
    except RepositoryNotFoundError:
        return f"{constants.ENDPOINT} does not know it"
    except HfHubHTTPError:  # of which loading says more, such as that a licence must be accepted
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
    """Say of a path that is not there which folder is missing, or which one is called alike; it may be nothing."""
    path = Path(name).expanduser()
    if name.startswith("~") and path.exists():
        return f" Without quotes the shell reads it as {str(path)!r}."
    missing = next(part for part in [*reversed(path.parents), path] if not part.exists())
    if missing != path:
        return f" {str(missing)!r} is not there."
    siblings = [entry.name for entry in os.scandir(path.parent)] if os.access(path.parent, os.R_OK) else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    return f" Did you mean {str(path.parent / near[0])!r}?" if near else ""
