"""Push of a model to the Hub: an explicit list of files in one commit."""

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..runs.manifest import MANIFEST, describe_file, dump_manifest, read_manifest
from .repo_id import check_repo_id
from .upload import ONNX, WEIGHTS, check_private, collect_upload, is_part_of_model

LOG_IN = "set HF_TOKEN, or run `hf auth login`, with a token that has write permission"
# HTTPError of the client's HTTP library
TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    onnx: bool = False,
    space_id: str | None = None,
) -> str:
    """Push the model in a folder to the Hub in one commit.

    For the uploaded files see `collect_upload`. Model files in the repository that this push lacks, such as those of a
    removed text tower or ONNX files, and the checkpoints of its training are deleted in the same commit; other files
    stay.

    Args:
        folder: Folder of a finished run, or of a saved model with a card.
        repo_id: Repository, such as "org/mg-vtc"; created if missing.
        private: Whether a new repository is private; by default the setting of its owner. An existing public
            repository is refused if True.
        revision: Branch, created if missing; by default "main".
        commit_message: Commit message.
        onnx: Whether to also export and push the ONNX files that transformers.js opens; needs the extra "onnx".
        space_id: Space to which the card links, such as "org/mg-vtc-space".

    Returns:
        URL of the model page.

    Raises:
        ValueError: The folder is not a model, `repo_id` or `space_id` is invalid, the repository is public but
            `private` is True, or the model cannot be exported.
        OSError: The folder or a token is missing, the Hub refused the push, or the connection failed. The repository
            then keeps its last revision.
    """
    files = collect_upload(Path(folder), repo_id, onnx=onnx, space_id=space_id)
    if onnx:  # whose export takes its time
        _check_token(repo_id)
    with _adding_onnx(files, Path(folder)) if onnx else nullcontext():
        page = prepare_repo(repo_id, private=private)
        branch = [] if revision is None else ["--revision", revision]
        more = ["--onnx"] * onnx + ([] if space_id is None else ["--space_id", space_id])
        with explaining(repo_id, again=shlex.join(["mg-vtc", "push", str(folder), repo_id, *branch, *more])):
            _commit(repo_id, files, commit_message or "Upload model", revision)
    return page if revision is None else f"{page}/tree/{revision}"


@contextmanager
def _adding_onnx(files: dict[str, bytes | Path], folder: Path) -> Iterator[None]:
    """Add the ONNX files of a model to those that are uploaded; they exist until the block ends."""
    from ..exporters.transformers_js import export_transformers_js  # needs the extra "onnx"

    with tempfile.TemporaryDirectory() as scratch:
        export_transformers_js(str(folder), Path(scratch))
        exported = {f"{ONNX}/{path.name}": path for path in sorted(Path(scratch).iterdir())}
        for name, path in exported.items():
            check_private(name, path.read_bytes(), folder)
            files[name] = path
        if isinstance(manifest := files.get(MANIFEST), bytes):
            entries = {name: describe_file(path) for name, path in exported.items()}
            files[MANIFEST] = dump_manifest(json.loads(manifest)["files"] | entries)
        yield


def _commit(repo_id: str, files: dict[str, bytes | Path], message: str, revision: str | None) -> None:
    """Replace the model in a repository by other files in one commit; a missing branch is created."""
    api = HfApi()
    if revision is not None:
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    present = api.list_repo_files(repo_id, revision=revision)
    # ONNX files that no manifest lists are the user's
    exported = [name for name in _read_pushed(repo_id, revision) if name.startswith(f"{ONNX}/")]
    of_model = {*filter(is_part_of_model, present), *exported}
    stale = sorted(of_model & set(present) - files.keys())
    api.create_commit(
        repo_id,
        [
            *(CommitOperationAdd(name, content) for name, content in sorted(files.items())),
            *(CommitOperationDelete(name) for name in stale),
        ],
        commit_message=message,
        revision=revision,
    )


def _read_pushed(repo_id: str, revision: str | None) -> dict[str, dict[str, Any]]:
    """Return the files of the manifest in a repository; none if it is missing or damaged, or the repository is."""
    try:
        path = Path(hf_hub_download(repo_id, MANIFEST, revision=revision))
    except (RepositoryNotFoundError, RevisionNotFoundError, RemoteEntryNotFoundError):
        return {}
    try:
        return read_manifest(path.parent) or {}
    except ValueError:
        return {}


def is_pushed(folder: str | Path, repo_id: str, *, revision: str | None = None) -> bool:
    """Return whether a repository has the model of a folder, by their manifests.

    Args:
        folder: Folder of a finished run.
        repo_id: Repository, which may not exist.
        revision: Branch; by default "main".

    Raises:
        ValueError: The manifest of the folder is damaged.
        OSError: The Hub is not reachable.
    """
    own = read_manifest(Path(folder)) or {}
    with explaining(repo_id):
        pushed = _read_pushed(repo_id, revision)
    exported = f"{ONNX}/"  # only in the repository
    return WEIGHTS in pushed and all(
        own.get(name) == known for name, known in pushed.items() if not name.startswith(exported)
    )


def write_upload(
    folder: str | Path,
    output_dir: str | Path,
    repo_id: str | None = None,
    *,
    onnx: bool = False,
    space_id: str | None = None,
) -> list[str]:
    """Write the files that `push_to_hub` would upload to a local folder, ready to be served.

    Args:
        folder: Folder of a finished run, or of a saved model with a card.
        output_dir: New or empty folder, written atomically.
        repo_id: Repository name for the examples in the card; by default the placeholder "MODEL" stays.
        onnx: See `push_to_hub`.
        space_id: See `push_to_hub`.

    Returns:
        Names of the files in `output_dir`.

    Raises:
        ValueError: `push_to_hub` would refuse the folder or the name, or `output_dir` is a file or not empty.
    """
    output = Path(os.path.abspath(output_dir))
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ValueError(f"{output} already exists and is not an empty folder: choose a new one.")
    files = collect_upload(Path(folder), repo_id, onnx=onnx, space_id=space_id)
    with _adding_onnx(files, Path(folder)) if onnx else nullcontext():
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
            whole = Path(scratch, output.name)
            for name, content in files.items():
                (whole / name).parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, bytes):
                    (whole / name).write_bytes(content)
                else:
                    shutil.copyfile(content, whole / name)
            whole.replace(output)
        return sorted(files)


def prepare_repo(repo_id: str, *, private: bool | None = None, space_sdk: str | None = None) -> str:
    """Create a repository if it is missing, and check that the token has write permission.

    Args:
        repo_id: Repository, such as "org/mg-vtc".
        private: Whether a new repository is private; if True, an existing one must be private.
        space_sdk: SDK of a Space; by default the repository is a model.

    Returns:
        URL of its page.

    Raises:
        ValueError: `repo_id` is invalid, or the repository is public but `private` is True.
        OSError: There is no token, the Hub refused it, or the Hub is not reachable.
    """
    check_repo_id(repo_id)
    _check_token(repo_id)
    with explaining(repo_id):
        api, kind = HfApi(), "model" if space_sdk is None else "space"
        page = api.create_repo(repo_id, repo_type=kind, space_sdk=space_sdk, private=private, exist_ok=True)
        api.auth_check(repo_id, repo_type=kind, write=True)  # create_repo accepts repositories of other owners
        if private and not api.repo_info(repo_id, repo_type=kind).private:  # it existed before
            raise ValueError(
                f"{repo_id} already exists and is public, so nothing was pushed: make it private in its settings, or "
                "choose another name."
            )
    return str(page)


def _check_token(repo_id: str) -> None:
    if get_token() is None:
        raise OSError(f"Pushing {repo_id} requires a Hub token: {LOG_IN}.")


@contextmanager
def explaining(repo_id: str, *, again: str | None = None) -> Iterator[None]:
    """Turn errors of the Hub client into one-line errors with a way out.

    Args:
        repo_id: Requested repository.
        again: Command that repeats an interrupted push.

    Raises:
        OSError: The Hub refused the request or is not reachable.
    """
    whole = f" The files on the Hub are consistent (a push is one commit). To retry, run: {again}" if again else ""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise OSError(f"HF_HUB_OFFLINE is set, so {repo_id} cannot be pushed: unset it.") from error
    except RevisionNotFoundError as error:
        raise OSError(f"{repo_id} does not have this revision: pass the name of a branch.") from error
    except HfHubHTTPError as error:
        raise OSError(f"{_refusal(error, repo_id)}{whole}") from error
    except (TRANSPORT_ERROR, RuntimeError, ConnectionError) as error:  # RuntimeError: failed upload
        reasons = [str(reason).strip().split("\n")[0].rstrip(".") for reason in (error, error.__cause__) if reason]
        reason = ": ".join(reason for reason in reasons if reason)
        raise OSError(f"The connection to the Hub for {repo_id} failed: {reason}.{whole}") from error


def _refusal(error: HfHubHTTPError, repo_id: str) -> str:
    status, owner = error.response.status_code, repo_id.split("/")[0]
    if status == 403:
        return (
            f"The token may not write to {repo_id}: the repository belongs to another owner, or the token has no "
            f"write permission for {owner!r}. Choose a repository of your own, or {LOG_IN} for {owner!r}."
        )
    if isinstance(error, RepositoryNotFoundError) and status != 401:
        return f"{repo_id} does not exist, or is a private repository of another owner: choose another name."
    if status == 401:
        return f"The Hub does not accept the token for {repo_id}: {LOG_IN}."
    if status in (409, 412):
        return f"{repo_id} was changed by another push at the same time."
    reason = " ".join((error.server_message or str(error)).split())
    return f"The Hub refused {repo_id} with status {status}: {reason.rstrip('.')}."
